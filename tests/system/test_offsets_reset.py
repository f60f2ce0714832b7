"""Contract 4.5: POST /groups/{g}/offsets/reset."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from harness import PATIENCE, Broker, Setting, eventually, micros, ok, refused, running, unique

DISTANT_PAST, DISTANT_FUTURE = "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


def post(broker: Broker, group: str, **body: Any) -> Any:
    return broker.post(f"/groups/{group}/offsets/reset", body)


def reset(s: Setting, **body: Any) -> dict[int, tuple[int, int]]:
    """What the reply says: of each partition its new offset and the lag."""
    reply = ok(post(s.broker, s.group, topic=s.topic, **body))
    assert reply["group_id"] == s.group
    assert reply["reset_count"] == len(reply["new_offsets"])
    assert all(p["topic"] == s.topic for p in reply["new_offsets"])
    told = {p["partition"]: (p["offset"], p["lag"]) for p in reply["new_offsets"]}
    for partition, (offset, _) in told.items():
        assert s.position(partition) == offset
    return told


def lag(s: Setting, partition: int = 0) -> int:
    """As /metrics tells it."""
    labels = {f'group="{s.group}"', f'topic="{s.topic}"', f'partition="{partition}"'}
    [line] = [
        line
        for line in s.broker.get("/metrics").text.splitlines()
        if line.startswith("goqueue_consumer_lag{") and all(label in line for label in labels)
    ]
    return int(line.rsplit(" ", 1)[1])


def at(us: int, hours: int = 0) -> str:
    """That time in a time zone, with all digits."""
    zone = timezone(timedelta(hours=hours))
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=us)
    return moment.astimezone(zone).isoformat(timespec="microseconds")


# Each strategy.


def test_latest_and_earliest(broker: Broker) -> None:
    s = Setting(broker, 5)
    assert lag(s) == 5
    assert reset(s, strategy="latest") == {0: (5, 0)}
    assert lag(s) == 0
    assert s.poll() == []
    broker.publish(s.topic, "5")
    assert lag(s) == 1
    assert s.values() == ["5"]
    assert reset(s, strategy="earliest") == {0: (0, 6)}
    assert lag(s) == 6
    assert s.values() == [str(i) for i in range(6)]


@pytest.mark.parametrize(("offset", "to"), [(0, 0), (3, 3), (5, 5), (6, 5), (2**63 - 1, 5)])
def test_an_offset(broker: Broker, offset: int, to: int) -> None:
    """Beyond the end: the end, so that nothing that comes is missed."""
    s = Setting(broker, 5)
    assert reset(s, strategy="offset", offset=offset) == {0: (to, 5 - to)}
    broker.publish(s.topic, "5")
    assert s.values() == [str(i) for i in range(to, 6)]


def test_what_was_done_is_delivered_again(broker: Broker) -> None:
    s = Setting(broker, 5)
    for message in s.poll():
        ok(broker.ack(message["receipt_handle"]))
    assert (s.position(), lag(s)) == (5, 0)
    assert reset(s, strategy="offset", offset=2) == {0: (2, 3)}
    again = s.poll()
    assert [m["value"] for m in again] == ["2", "3", "4"]
    for message in again:
        ok(broker.ack(message["receipt_handle"]))
    assert (s.position(), lag(s)) == (5, 0)


def test_what_is_done_ahead_counts(broker: Broker) -> None:
    """Forward, the position goes on over what was acked; the lag leaves it out, too."""
    s = Setting(broker, 6)
    held = s.poll()
    for i in (2, 3, 5):
        ok(broker.ack(held[i]["receipt_handle"]))
    assert (s.position(), lag(s)) == (0, 3)
    assert reset(s, strategy="offset", offset=1) == {0: (1, 2)}
    assert reset(s, strategy="offset", offset=2) == {0: (4, 1)}
    assert lag(s) == 1


def test_partitions(broker: Broker) -> None:
    s = Setting(broker, 0, partitions=3)
    for partition in range(3):
        broker.publish(s.topic, *({"value": "x", "partition": partition} for _ in range(partition + 2)))
    assert reset(s, strategy="latest") == {0: (2, 0), 1: (3, 0), 2: (4, 0)}
    assert reset(s, strategy="earliest", partition=1) == {1: (0, 3)}
    assert [lag(s, p) for p in range(3)] == [0, 3, 0]
    assert {m["partition"] for m in s.poll()} == {1}
    assert reset(s, strategy="offset", offset=3, partition=-1) == {0: (2, 0), 1: (3, 0), 2: (3, 1)}
    assert reset(s, strategy="earliest", partition=None) == {0: (0, 2), 1: (0, 3), 2: (0, 4)}


def test_with_messages_in_flight(broker: Broker) -> None:
    """As a commit: what is below the new position is done, what is above is delivered again."""
    s = Setting(broker, 4)
    held = s.poll(max_messages=3)
    reset(s, strategy="latest")
    assert s.poll() == []
    assert ok(broker.ack(held[0]["receipt_handle"]))["already"] is True
    reset(s, strategy="earliest")
    assert s.values() == ["0", "1", "2", "3"]
    refused(broker.ack(held[1]["receipt_handle"]), 410, "receipt_expired")
    assert s.position() == 0


def test_a_parked_poll_wakes(broker: Broker) -> None:
    s = Setting(broker, 2)
    reset(s, strategy="latest")
    for strategy in ({"strategy": "earliest"}, {"strategy": "timestamp", "timestamp": DISTANT_PAST}):
        with ThreadPoolExecutor(1) as pool:
            parked = pool.submit(s.poll, timeout="20s")
            time.sleep(0.15)
            assert not parked.done()
            start = time.monotonic()
            reset(s, **strategy)
            messages = parked.result()
        assert time.monotonic() - start < 1 * PATIENCE
        assert [m["value"] for m in messages] == ["0", "1"]
        reset(s, strategy="latest")


def test_without_members(broker: Broker) -> None:
    s = Setting(broker, 3)
    ok(broker.post(f"/groups/{s.group}/leave", {"member_id": s.member}))
    assert reset(s, strategy="offset", offset=2) == {0: (2, 1)}
    s.member = broker.join(s.group, s.topic)["member_id"]
    assert s.values() == ["2"]


def test_a_topic_that_the_group_has_not_read(broker: Broker, topic: str) -> None:
    """The position is there when it is read first, whatever its readers want then."""
    s = Setting(broker, 1)
    broker.create(topic, 2)
    broker.publish(topic, *({"value": str(i), "partition": 0} for i in range(3)))
    reply = ok(post(broker, s.group, topic=topic, strategy="offset", offset=1, partition=0))
    assert reply["new_offsets"] == [{"topic": topic, "partition": 0, "offset": 1, "lag": 2}]
    broker.join(s.group, s.topic, topic, member_id=s.member, auto_offset_reset="latest")
    assert [m["value"] for m in s.poll() if m["topic"] == topic] == ["1", "2"]


def test_dead_letters_of_a_topic(broker: Broker) -> None:
    s = Setting(broker, 2)
    for message in s.poll():
        ok(broker.reject(message["receipt_handle"]))
    reply = ok(post(broker, s.group, topic=f"{s.topic}.dlq", strategy="latest"))
    assert reply["new_offsets"] == [{"topic": f"{s.topic}.dlq", "partition": 0, "offset": 2, "lag": 0}]


def test_delayed_messages_are_no_lag(broker: Broker) -> None:
    s = Setting(broker, ["a", {"value": "later", "delay": "1h"}, "b"])
    assert reset(s, strategy="earliest") == {0: (0, 2)}
    assert lag(s) == 2
    assert reset(s, strategy="offset", offset=2) == {0: (2, 1)}


# By time.


def batches(s: Setting, count: int, pause: float = 0.005, size: int = 2) -> list[int]:
    """Publishes batches with time between them; the time of each."""
    for i in range(count):
        if i > 0:
            time.sleep(pause)
        s.broker.publish(s.topic, *[f"{i}"] * size)
    times = [micros(m["timestamp"]) for m in s.broker.everything(s.topic)][::size]
    assert sorted(set(times)) == times
    return times


def seek(s: Setting, timestamp: str, partition: int = 0) -> int:
    told = reset(s, strategy="timestamp", timestamp=timestamp, partition=partition)
    return told[partition][0]


def test_times(broker: Broker) -> None:
    s = Setting(broker, 0)
    times = batches(s, 4)
    for i, us in enumerate(times):
        assert seek(s, at(us - 1)) == 2 * i
        assert seek(s, at(us)) == 2 * i
        assert seek(s, at(us, hours=2)) == seek(s, at(us, hours=-11)) == 2 * i
        assert seek(s, at(us + 1)) == 2 * (i + 1)
        assert seek(s, at(us).replace("+00:00", "999Z")) == 2 * i  # digits beyond are dropped
    assert seek(s, DISTANT_PAST) == 0
    assert seek(s, DISTANT_FUTURE) == 8
    assert reset(s, strategy="timestamp", timestamp=at(times[3])) == {0: (6, 2)}
    assert s.values() == ["3", "3"]


def test_times_of_several_partitions(broker: Broker) -> None:
    s = Setting(broker, 0, partitions=4)
    for partition in (0, 1, 2):  # nothing in the last
        broker.publish(s.topic, *({"value": "x", "partition": partition} for _ in range(partition + 1)))
        time.sleep(0.005)
    times = [micros(broker.consume(s.topic, p)["messages"][0]["timestamp"]) for p in (0, 1, 2)]
    assert reset(s, strategy="timestamp", timestamp=at(times[1])) == {
        0: (1, 0), 1: (0, 2), 2: (0, 3), 3: (0, 0)}
    assert reset(s, strategy="timestamp", timestamp=at(times[1] + 1), partition=1) == {1: (2, 0)}
    assert reset(s, strategy="timestamp", timestamp=DISTANT_FUTURE) == {
        0: (1, 0), 1: (2, 0), 2: (3, 0), 3: (0, 0)}


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_times_in_a_long_log(how: str) -> None:
    """Over several log files and many index entries, before and after a restart."""
    for b in running(LOG_SEGMENTSIZE="1MiB"):
        s = Setting(b, 0)
        for i in range(300):
            b.publish(s.topic, *[f"{i} " + "x" * 4000] * random.Random(i).randrange(1, 6))
        assert len(list(b.data.glob("**/*.log"))) > 2
        messages = b.everything(s.topic)
        times = [micros(m["timestamp"]) for m in messages]
        rng = random.Random(7)
        asked = [times[0] - 1, times[0], times[-1], times[-1] + 1]
        asked += [rng.randrange(times[0], times[-1]) for _ in range(40)]
        asked += [t + d for t in rng.sample(times, 40) for d in (-1, 0, 1)]
        for restart in (None, getattr(b, how)):
            if restart is not None:
                restart()
            for us in asked:
                first = sum(t < us for t in times)
                assert seek(s, at(us)) == first, us


def test_times_while_messages_are_published(broker: Broker) -> None:
    s = Setting(broker, 0)
    published: list[int] = []

    def publish() -> None:
        for i in range(150):
            published.append(broker.publish(s.topic, str(i))[0]["offset"])

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(publish)
        eventually(lambda: len(published) > 3)
        while not future.done():
            message = broker.consume(s.topic, 0, offset=published[-1], limit=1)["messages"][0]
            assert seek(s, message["timestamp"]) <= message["offset"]
            assert seek(s, at(micros(message["timestamp"]) + 1)) > message["offset"]
        future.result()


# It is durable, and it is all or nothing.


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_positions_survive(own_broker: Broker, how: str) -> None:
    s = Setting(own_broker, 0)
    times = batches(s, 3)
    held = s.poll(max_messages=4)
    assert seek(s, at(times[1])) == 2
    getattr(own_broker, how)()
    assert s.position() == 2
    assert lag(s) == 4
    assert s.values() == ["2", "2"]  # the others above the new position are in flight still
    ok(own_broker.ack(held[2]["receipt_handle"]))
    assert (s.position(), lag(s)) == (3, 3)
    reset(s, strategy="latest")
    getattr(own_broker, how)()
    assert (s.position(), s.poll()) == (6, [])


@pytest.mark.parametrize(
    "how", [{"strategy": "earliest"}, {"strategy": "latest"}, {"strategy": "offset", "offset": 1},
            {"strategy": "timestamp", "timestamp": DISTANT_FUTURE}],
)  # fmt: skip
def test_what_is_not_there(broker: Broker, how: dict[str, Any]) -> None:
    s = Setting(broker, 2)
    refused(post(broker, unique(), topic=s.topic, **how), 404, "group_not_found")
    for name in (unique(), "no such name", "__x", ""):
        refused(post(broker, s.group, topic=name, **how), 404, "topic_not_found")
    for partition in (1, 1024, 2**32 - 1, 2**32, 2**62):
        refused(post(broker, s.group, topic=s.topic, partition=partition, **how), 404,
                "partition_not_found")  # fmt: skip
    tenant = {"X-Tenant-ID": "acme"}
    path = f"/groups/{s.group}/offsets/reset"
    reply = broker.request("POST", path, {"topic": s.topic, **how}, headers=tenant)
    assert reply.status_code == 404
    assert s.position() in (None, 0)
    assert s.values() == ["0", "1"]


GOOD = {"topic": "t", "strategy": "earliest"}


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("topic", {**GOOD, "topic": None}),
        ("topic", {**GOOD, "topic": 5}),
        ("partition", {**GOOD, "partition": -2}),
        ("partition", {**GOOD, "partition": "0"}),
        ("partition", {**GOOD, "partition": 0.5}),
        ("strategy", {**GOOD, "strategy": None}),
        ("strategy", {**GOOD, "strategy": ""}),
        ("strategy", {**GOOD, "strategy": "Latest"}),
        ("strategy", {**GOOD, "strategy": 1}),
        ("offset", {**GOOD, "strategy": "offset"}),
        ("offset", {**GOOD, "strategy": "offset", "offset": -1}),
        ("offset", {**GOOD, "strategy": "offset", "offset": "1"}),
        ("offset", {**GOOD, "offset": -1}),
        ("timestamp", {**GOOD, "strategy": "timestamp"}),
        ("timestamp", {**GOOD, "strategy": "timestamp", "timestamp": ""}),
        ("timestamp", {**GOOD, "strategy": "timestamp", "timestamp": 1700000000}),
        ("timestamp", {**GOOD, "strategy": "timestamp", "timestamp": "2024-01-01"}),
        ("timestamp", {**GOOD, "strategy": "timestamp", "timestamp": "2024-01-01T00:00:00"}),
        ("timestamp", {**GOOD, "strategy": "timestamp", "timestamp": "2024-13-01T00:00:00Z"}),
        ("timestamp", {**GOOD, "timestamp": "yesterday"}),
        ("invalid JSON", []),
        ("invalid JSON", "earliest"),
        ("invalid JSON", None),
    ],
)
def test_bad_resets(broker: Broker, group: str, field: str, body: Any) -> None:
    error = refused(broker.post(f"/groups/{group}/offsets/reset", body), 400)
    assert error["error"].startswith(field), error
    refused(broker.post("/groups/a b/offsets/reset", GOOD), 400)
