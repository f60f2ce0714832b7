"""Long polls: in a crowd, in turn, and from clients that are gone (contract 4.5 and 7.4)."""

from __future__ import annotations

import json
import random
import resource
import select
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import PATIENCE, Broker, Raw, Setting, check_error, eventually, ok, unique

MEMBERS = 100  # of each group in the crowd; a topic has as many partitions
TOPICS = 10
JOINS = 1_000  # at a time; the broker holds so many back, to make one rebalance of them
CROWD_MAX, CROWD_MIN = 10_000, 2_000
POLL_BYTES_MAX = 20_000  # resident, for a connection with its member and its parked poll
SPARE_FILES = 300  # of this process
WAKES = 100


def poll_request(group: str, member: str, **query: Any) -> bytes:
    query.setdefault("timeout", "60s")
    arguments = "&".join(f"{k}={v}" for k, v in query.items())
    target = f"/groups/{group}/poll?member_id={member}&{arguments}"
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def post_request(path: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def result(raw: Raw) -> Any:
    """The JSON of the next reply, which must be a success."""
    reply = raw.reply()
    assert reply is not None, "the connection was closed"
    assert reply[0] == 200, reply
    return json.loads(reply[2])


def park(broker: Broker, group: str, member: str, **query: Any) -> Raw:
    """A poll that has come to the broker: it shows as a sign of life of its member."""

    def seen() -> Any:
        members = ok(broker.get(f"/groups/{group}"))["members"]
        return next(m["last_heartbeat"] for m in members if m["member_id"] == member)

    before = seen()
    raw = broker.raw(poll_request(group, member, **query), timeout=70)
    eventually(lambda: seen() != before)
    return raw


def close(raw: Raw, how: str) -> None:
    if how == "reset":
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.socket.close()


# In a crowd.


@pytest.fixture
def files_max() -> Iterator[int]:
    """As many descriptors as this process may have; the broker inherits the number."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Crowd:
    """Members with a connection each, in groups of equal size, each of which reads one of the topics."""

    def __init__(self, broker: Broker, size: int) -> None:
        self.broker = broker
        self.topics = [broker.create(unique(f"topic-{i}"), MEMBERS) for i in range(TOPICS)]
        self.groups = [unique(f"group-{i}") for i in range(size // MEMBERS)]
        self.bytes_before = broker.rss_bytes()
        self.raws = [broker.raw(timeout=60) for _ in range(size)]
        self.polls: list[bytes] = []
        self.number = {raw.socket.fileno(): i for i, raw in enumerate(self.raws)}
        self.epoll = select.epoll()
        for first in range(0, size, JOINS):
            self.join(range(first, min(first + JOINS, size)))

    def join(self, numbers: range) -> None:
        for i in numbers:
            body = {"client_id": "c", "topics": [self.topic(i)], "session_timeout": "5m"}
            self.raws[i].send(post_request(f"/groups/{self.group(i)}/join", body))
        for i in numbers:
            self.polls.append(poll_request(self.group(i), result(self.raws[i])["member_id"]))
            self.epoll.register(self.raws[i].socket.fileno(), select.EPOLLIN)

    def group(self, number: int) -> str:
        return self.groups[number // MEMBERS]

    def topic(self, number: int) -> str:
        return self.topics[number // MEMBERS % TOPICS]

    def readers(self, topic: str) -> list[str]:
        return self.groups[self.topics.index(topic) :: TOPICS]

    def park(self, number: int) -> None:
        self.raws[number].send(self.polls[number])

    def answered(self, seconds: float) -> list[int]:
        return [self.number[fd] for fd, _ in self.epoll.poll(seconds, len(self.raws))]

    def messages(self, count: int) -> dict[int, Any]:
        """The one message of each of the next polls that are answered, by their numbers; so many and no more."""
        got: dict[int, Any] = {}
        while len(got) < count:
            answered = self.answered(30)
            assert answered, f"only {len(got)} of {count} polls were woken"
            for number in answered:
                messages = result(self.raws[number])["messages"]
                assert len(messages) == 1, messages
                assert messages[0]["topic"] == self.topic(number)
                assert number not in got
                got[number] = messages[0]
        assert len(got) == count and self.answered(0) == []
        return got

    def close(self) -> None:
        self.epoll.close()
        for raw in self.raws:
            raw.socket.close()


@pytest.fixture
def crowd(files_max: int, own_broker: Broker) -> Iterator[Crowd]:
    # Three quarters of the broker's descriptors are for connections.
    size = min(CROWD_MAX, files_max * 3 // 4 - SPARE_FILES) // MEMBERS * MEMBERS
    if size < CROWD_MIN:
        pytest.skip(f"ulimit -Hn is {files_max}: too few descriptors for {CROWD_MIN} polls")
    crowd = Crowd(own_broker, size)
    yield crowd
    crowd.close()


@pytest.mark.slow
def test_a_publish_wakes_just_the_polls_that_wait_for_it(crowd: Crowd) -> None:
    broker = crowd.broker
    for number in range(len(crowd.raws)):
        crowd.park(number)
    owners: dict[tuple[str, int], set[int]] = {}
    for i in range(WAKES):
        topic, partition = random.choice(crowd.topics), random.randrange(MEMBERS)
        broker.publish(topic, {"value": str(i), "partition": partition})
        readers = crowd.readers(topic)
        woken = crowd.messages(len(readers))
        assert sorted(crowd.group(number) for number in woken) == sorted(readers)
        assert owners.setdefault((topic, partition), set(woken)) == set(woken)
        for number, message in woken.items():
            assert (message["topic"], message["partition"], message["value"]) == (topic, partition, str(i))
            ok(broker.ack(message["receipt_handle"]))
            crowd.park(number)
    assert crowd.answered(0) == []  # nobody got an empty answer meanwhile
    used = broker.rss_bytes() - crowd.bytes_before
    assert used / len(crowd.raws) <= POLL_BYTES_MAX
    # And all others were parked: each gets the message of its partition.
    for topic in crowd.topics:
        broker.publish(topic, *({"value": "last", "partition": p} for p in range(MEMBERS)))
    assert {m["value"] for m in crowd.messages(len(crowd.raws)).values()} == {"last"}


# In turn.


def test_parked_polls_of_a_member_are_answered_oldest_first(broker: Broker) -> None:
    s = Setting(broker, 0)
    parked = [park(broker, s.group, s.member) for _ in range(5)]
    for i, raw in enumerate(parked):
        with raw:
            broker.publish(s.topic, f"for {i}")
            assert [m["value"] for m in result(raw)["messages"]] == [f"for {i}"]


def test_members_with_equal_partitions_get_equal_shares(broker: Broker, topic: str, group: str) -> None:
    """Each round has as much for both; the one that came first must not get it all."""
    broker.create(topic, 4)
    with ThreadPoolExecutor(2) as pool:
        members = [j["member_id"] for j in pool.map(lambda _: broker.join(group, topic), range(2))]
        for i in range(25):
            polls = [pool.submit(broker.receive, group, m, 20) for m in members]
            broker.publish(topic, *({"value": str(n), "partition": n % 4} for n in range(40)))
            shares = [poll.result() for poll in polls]
            assert [{m["partition"] for m in share} for share in shares].count(set()) == 0
            for share in shares:
                for message in share:
                    ok(broker.ack(message["receipt_handle"]))


@pytest.mark.parametrize("limit", [1, 10, 100])
def test_a_busy_topic_does_not_starve_a_quiet_one(broker: Broker, group: str, limit: int) -> None:
    busy, quiet = broker.create(unique("busy"), 8), broker.create(unique("quiet"))
    member = broker.join(group, busy, quiet)["member_id"]
    for partition in range(8):
        broker.publish(busy, *[{"value": "x" * 10, "partition": partition}] * 500)
    broker.poll(group, member, max_messages=limit)
    broker.publish(quiet, "seldom")
    polls = 0
    seen = False
    while not seen:
        seen = any(m["topic"] == quiet for m in broker.poll(group, member, max_messages=limit))
        polls += 1
        assert polls <= -(-9 // limit)  # nine partitions take turns


# From clients that are gone.


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_gone_client_swallows_nothing(broker: Broker, how: str) -> None:
    """Several of its polls wait before those of the one that is still there."""
    s = Setting(broker, 0)
    for _ in range(3):
        close(park(broker, s.group, s.member), how)
    with park(broker, s.group, s.member) as alive:
        broker.publish(s.topic, "x")
        [message] = result(alive)["messages"]
        assert (message["value"], message["delivery_count"]) == ("x", 1)


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_client_gone_amid_its_reply_loses_nothing(broker: Broker, how: str) -> None:
    """More than fits into the sockets: the broker sees that it cannot send the reply."""
    values = [f"{i} " + "x" * 1_000_000 for i in range(12)]
    s = Setting(broker, 0, visibility_timeout="10m")
    for value in values:
        broker.publish(s.topic, value)
    raw = broker.raw(poll_request(s.group, s.member))
    raw.head()  # it is on its way
    close(raw, how)
    again = s.receive(len(values))
    assert [m["value"] for m in again] == values
    assert {m["delivery_count"] for m in again} == {1}


def test_what_a_silent_client_was_sent_comes_again(broker: Broker) -> None:
    """One that is there, as far as the broker can tell, but does nothing any more."""
    s = Setting(broker, 0, visibility_timeout="1s")
    with park(broker, s.group, s.member) as silent:
        broker.publish(s.topic, "x")
        [message] = s.receive(1)
        assert (message["value"], message["delivery_count"]) == ("x", 2)
        assert result(silent)["messages"][0]["offset"] == message["offset"]


# When there is no room for more.


def refused_connection(broker: Broker) -> bool:
    """Whether a new connection is answered with a 503 at once, without a request."""
    with broker.raw() as raw:
        raw.socket.settimeout(0.3 * PATIENCE)
        try:
            reply = raw.reply()
        except TimeoutError:
            return False
        assert reply is not None and reply[0] == 503, reply
        assert reply[1]["retry-after"] == "1"
        assert check_error(503, reply[1]["content-type"], reply[2])["code"] == "not_ready"
        return raw.closed()


def test_over_the_limit_of_connections(idle_broker: Broker) -> None:
    broker = idle_broker.start(LIMITS_CONNECTIONS="8")
    hello = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    raws = [broker.raw(hello) for _ in range(8)]
    assert [raw.reply() is not None for raw in raws] == [True] * 8
    assert refused_connection(broker)
    told = "WARN connections_refused reason=limit refused=1 open=8 limit=8"
    eventually(lambda: any(told in line for line in broker.lines))
    for raw in raws:  # those that are served are not disturbed
        raw.send(hello)
        assert raw.reply() is not None
        raw.socket.close()
    eventually(lambda: not refused_connection(broker))
    ok(broker.get("/livez"))


def test_connections_leave_descriptors_for_files(idle_broker: Broker) -> None:
    """With every connection taken that can be had, the broker still opens what it writes."""
    broker = idle_broker.start(prefix=("sh", "-c", 'ulimit -n 256 && exec "$@"', "sh"))
    assert any("connections_limited connections=192 wanted=20000" in line for line in broker.lines)
    topic = broker.create(unique("topic"), 20)
    raws = [broker.raw() for _ in range(191)]
    eventually(lambda: refused_connection(broker))
    broker.publish(topic, *({"value": "x", "partition": p} for p in range(20)))
    assert [broker.values(topic, p) for p in range(20)] == [["x"]] * 20
    for raw in raws:
        raw.socket.close()


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_dead_client_does_not_keep_its_member(broker: Broker, how: str) -> None:
    """Its poll would wait for a minute, its session ends after one second."""
    topic, group = broker.create(unique()), unique("g")
    member = broker.join(group, topic, session_timeout="1s")["member_id"]
    close(park(broker, group, member), how)
    # The bound is only there so that a broken broker fails before its poll ends by itself.
    eventually(lambda: not ok(broker.get(f"/groups/{group}"))["members"], seconds=30)
