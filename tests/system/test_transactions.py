"""Contract 4.8: messages that become visible together or never; who may do what, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from goqueue_client import parse_duration
from harness import PATIENCE, Broker, Setting, eventually, micros, now_us, ok, refused, unique
from producing import Producer

Restart = Callable[[Broker], Any]
RESTARTS = [pytest.param(Broker.restart, id="SIGTERM"), pytest.param(Broker.crash, id="kill -9")]


def seen(broker: Broker, topic: str) -> list[str]:
    return sorted(m["value"] for m in broker.everything(topic))


# Life of a transaction.


def test_commit(broker: Broker, topic: str) -> None:
    """Over two topics and several partitions; nothing before, everything after."""
    other = unique("topic")
    broker.create(topic, 3)
    p = Producer(broker)
    before = now_us()
    transaction = p.begin()
    assert transaction.startswith("txn-")
    first = p.publish(topic, *"abc", key="k") + p.publish(topic, "d", partition=2)
    second = p.publish(other, "x", "y", "z")  # made by the way
    assert {r["partition"] for r in second} == {0, 1, 2}
    assert all(set(r) == {"partition", "offset", "duplicate"} and not r["duplicate"] for r in first + second)
    assert seen(broker, topic) == seen(broker, other) == []
    [told] = p.open()
    assert told == p.transaction(transaction)
    assert told["state"] == "ongoing"
    assert told["transaction_id"] == transaction
    assert (told["producer_id"], told["epoch"], told["transactional_id"]) == (p.id, p.epoch, p.name)
    assert before - 1000 <= micros(told["started_at"]) <= now_us() + 1000
    assert told["start_time"] == told["started_at"]
    places = {(topic, r["partition"]) for r in first} | {(other, r["partition"]) for r in second}
    assert {(x["topic"], x["partition"]) for x in told["partitions"]} == places
    reply = p.commit()
    assert reply == {"status": "committed", "transaction_id": transaction,
                     "partitions_committed": len(places), "messages": 7}
    assert seen(broker, topic) == list("abcd")
    assert seen(broker, other) == list("xyz")
    stored = {(m["topic"], m["partition"], m["offset"]) for t in (topic, other) for m in broker.everything(t)}
    assert stored == {(topic, r["partition"], r["offset"]) for r in first} | {
        (other, r["partition"], r["offset"]) for r in second
    }
    assert p.open() == []
    ended = p.transaction(transaction)
    assert ended["state"] == "completed_commit"
    assert micros(ended["ended_at"]) >= micros(ended["started_at"]) == micros(told["started_at"])


def test_abort(broker: Broker, topic: str) -> None:
    p = Producer(broker)
    transaction = p.begin()
    p.publish(topic, *"abc", partition=0)
    assert p.abort() == {"status": "aborted", "transaction_id": transaction,
                         "partitions_aborted": 1, "messages": 3}
    assert seen(broker, topic) == []
    assert p.transaction(transaction)["state"] == "completed_abort"
    [result] = broker.publish(topic, {"value": "after", "partition": 0})
    assert result["offset"] == 3
    assert broker.values(topic) == ["after"]
    assert broker.consume(topic, offset=1)["messages"][0]["offset"] == 3


def test_repeated_ends(broker: Broker, topic: str) -> None:
    p = Producer(broker)
    assert p.abort() == {"status": "aborted", "partitions_aborted": 0, "messages": 0, "already": True}
    refused(p.try_commit(), 409, "no_transaction")
    p.begin()
    p.publish(topic, "a")
    first = p.commit()
    for _ in range(3):
        assert p.commit() == {**first, "already": True}
    refused(p.try_abort(), 409, "transaction_committed")
    p.begin()
    p.publish(topic, "b")
    first = p.abort()
    for _ in range(3):
        assert p.abort() == {**first, "already": True}
    refused(p.try_commit(), 409, "transaction_aborted")
    p.begin()
    assert p.commit()["messages"] == 0
    assert seen(broker, topic) == ["a"]


def test_begin_twice(broker: Broker, topic: str) -> None:
    """While it is empty it is the same transaction; a repeated begin is harmless."""
    p = Producer(broker)
    first = p.begin()
    assert p.begin() == p.begin() == first
    p.publish(topic, "a")
    refused(p.try_begin(), 409, "transaction_in_progress")
    p.commit()
    assert p.begin() != first
    p.abort()


def test_outside_a_transaction(broker: Broker, topic: str) -> None:
    p = Producer(broker)
    refused(p.try_publish(topic, "a"), 409, "no_transaction")
    p.begin()
    p.commit()
    refused(p.try_publish(topic, "b"), 409, "no_transaction")
    p.begin()
    p.abort()
    refused(p.try_publish(topic, "c"), 409, "no_transaction")
    assert seen(broker, topic) == []


def test_many_at_once(broker: Broker, topic: str) -> None:
    """Transactions of many producers interleave in the same partitions; each is whole or not there."""
    broker.create(topic, 2)
    producers = [Producer(broker) for _ in range(8)]
    expected = []
    for p in producers:
        p.begin()
    with ThreadPoolExecutor(8) as pool:
        for turn in range(5):
            list(pool.map(lambda i: producers[i].publish(topic, f"{i}-{turn}"), range(8)))
    for i, p in enumerate(producers):
        if i % 3:
            p.commit()
            expected += [f"{i}-{turn}" for turn in range(5)]
        else:
            p.abort()
    assert seen(broker, topic) == sorted(expected)


# Fencing.


def test_fencing(broker: Broker, topic: str) -> None:
    """Init aborts what is open, before it answers; the zombie never gets anything in."""
    zombie = Producer(broker)
    transaction = zombie.begin()
    zombie.publish(topic, "lost")
    p = Producer(broker, zombie.name)
    assert (p.id, p.epoch) == (zombie.id, 1)
    assert p.transaction(transaction)["state"] == "completed_abort"
    for call in (
        zombie.try_begin,
        lambda: zombie.try_publish(topic, "zombie"),
        zombie.try_commit,
        zombie.try_abort,
        zombie.heartbeat,
        lambda: zombie.try_offsets("g", "m", {"t": {"0": 1}}),
        lambda: zombie.post("/transactions/add-partition", {**zombie.named, "topic": topic, "partition": 0}),
    ):
        refused(call(), 409, "producer_fenced")
    refused(p.try_commit(), 409, "no_transaction")
    p.begin()
    p.publish(topic, "kept")
    refused(zombie.try_commit(), 409, "producer_fenced")
    refused(zombie.try_abort(), 409, "producer_fenced")
    p.commit()
    assert seen(broker, topic) == ["kept"]


@pytest.mark.parametrize("epoch", [1, 5, 32767, 32768, 2**31, 2**63 - 1, -1])
def test_epochs_that_are_not_the_present_one(broker: Broker, topic: str, epoch: int) -> None:
    p = Producer(broker)
    p.begin()
    p.epoch = epoch
    for call in (p.try_begin, lambda: p.try_publish(topic, "x"), p.try_commit, p.try_abort):
        refused(call(), 409, "producer_fenced")
    assert broker.get(f"/topics/{topic}").status_code == 200  # it is made before that is known


@pytest.mark.parametrize("who", [{"producer_id": 0}, {"producer_id": -7}, {"producer_id": 2**62},
                                 {"transactional_id": "other"}], ids=str)
def test_producers_that_are_not_there(broker: Broker, who: dict[str, Any]) -> None:
    p = Producer(broker)
    p.begin()
    body = {**p.named, **who, "topic": "t", "value": "v", "partition": 0}
    for call in ("begin", "publish", "commit", "abort", "add-partition"):
        refused(broker.post(f"/transactions/{call}", body), 404, "producer_not_found")


# Timeouts.


def test_timeout(broker: Broker, topic: str) -> None:
    p = Producer(broker, transaction_timeout="1s")
    sent = time.monotonic()
    transaction = p.begin()
    p.publish(topic, "late", partition=0)
    eventually(lambda: p.transaction(transaction)["state"] == "completed_abort")
    assert time.monotonic() - sent >= 1
    told = p.transaction(transaction)
    assert told["timed_out"] is True
    assert 1_000_000 <= micros(told["ended_at"]) - micros(told["started_at"]) <= 1_500_000 * PATIENCE
    assert p.open() == []
    refused(p.try_publish(topic, "too late"), 409, "transaction_aborted")
    refused(p.try_commit(), 409, "transaction_aborted")
    assert p.abort()["already"] is True
    ok(p.heartbeat())
    assert p.begin() != transaction
    p.publish(topic, "kept", partition=0)
    p.commit()
    assert broker.values(topic) == ["kept"]


def test_activity_does_not_prolong(broker: Broker, topic: str) -> None:
    p = Producer(broker, transaction_timeout_ms=1000)
    p.begin()
    end = time.monotonic() + 10 * PATIENCE
    while (reply := p.try_publish(topic, "x")).status_code == 200:
        assert time.monotonic() < end
        ok(p.heartbeat())
        time.sleep(0.05)
    refused(reply, 409, "transaction_aborted")
    assert seen(broker, topic) == []


def test_a_timeout_frees_the_readers(broker: Broker, topic: str) -> None:
    broker.create(topic)
    p = Producer(broker, transaction_timeout="1s")
    p.begin()
    p.publish(topic, "never")
    broker.publish(topic, "behind")
    assert broker.values(topic) == []
    page = broker.consume(topic, timeout="10s")
    assert [m["value"] for m in page["messages"]] == ["behind"]


@pytest.mark.parametrize("restart", RESTARTS)
def test_timeout_after_a_restart(own_broker: Broker, restart: Restart) -> None:
    p = Producer(own_broker, transaction_timeout="1s")
    transaction = p.begin()
    p.publish("t", "never", partition=0)
    restart(own_broker)
    eventually(lambda: p.transaction(transaction)["state"] == "completed_abort", seconds=15)
    refused(p.try_commit(), 409, "transaction_aborted")
    assert own_broker.values("t") == []


# What readers see.


def test_simple_consume_is_read_committed(broker: Broker, topic: str) -> None:
    """Nothing at or behind the first open message of the partition; other partitions go on."""
    broker.create(topic, 2)
    p, q = Producer(broker), Producer(broker)
    for value in ("0", "1"):
        broker.publish(topic, {"value": value, "partition": 0})
    p.begin()
    q.begin()
    p.publish(topic, "p2", partition=0)
    broker.publish(topic, {"value": "3", "partition": 0}, {"value": "other", "partition": 1})
    q.publish(topic, "q4", partition=0)
    broker.publish(topic, {"value": "5", "partition": 0})
    page = broker.consume(topic)
    assert [m["value"] for m in page["messages"]] == ["0", "1"]
    assert page["next_offset"] == 2
    assert broker.values(topic, offset=2) == broker.values(topic, offset=5) == []
    assert broker.consume(topic, offset=5)["next_offset"] == 5
    assert broker.values(topic, 1) == ["other"]
    p.abort()
    assert broker.values(topic) == ["0", "1", "3"]
    assert broker.values(topic, offset=2) == ["3"]
    q.commit()
    assert broker.values(topic) == ["0", "1", "3", "q4", "5"]


def test_a_reader_that_goes_on_misses_nothing(broker: Broker, topic: str) -> None:
    """next_offset never steps over what is still open."""
    broker.create(topic)
    p = Producer(broker)
    at, got = 0, []

    def go_on() -> None:
        nonlocal at
        page = broker.consume(topic, offset=at, limit=2)
        got.extend(m["value"] for m in page["messages"])
        at = page["next_offset"]

    expected = []
    for turn in range(12):
        broker.publish(topic, f"plain-{turn}")
        expected.append(f"plain-{turn}")
        p.begin()
        values = [f"{turn}-{i}" for i in range(turn % 4)]
        for value in values:
            p.publish(topic, value)
            broker.publish(topic, f"beside-{value}")
            go_on()
        if turn % 2:
            p.commit()
            expected += [v for value in values for v in (value, f"beside-{value}")]
        else:
            p.abort()
            expected += [f"beside-{value}" for value in values]
        go_on()
    for _ in range(40):
        go_on()
    assert got == expected


@pytest.mark.parametrize("before", ["aborted", "delayed", "cancelled"])
def test_hidden_messages_right_before_open_ones(broker: Broker, topic: str, before: str) -> None:
    """next_offset steps over those that are gone, but not over the open ones behind them."""
    broker.create(topic)
    p, q = Producer(broker), Producer(broker)
    if before == "aborted":
        q.begin()
        q.publish(topic, "gone", "gone too")
        q.abort()
    else:
        broker.publish(topic, *({"value": "later", "delay": "1h"} for _ in range(2)))
        for offset in range(2 if before == "cancelled" else 0):
            ok(broker.delete(f"/topics/{topic}/delayed/0/{offset}"))
    p.begin()
    p.publish(topic, "a", "b")
    broker.publish(topic, "c")
    for offset in range(3):
        page = broker.consume(topic, offset=offset)
        assert (page["messages"], page["next_offset"]) == ([], 2)
    p.commit()
    assert broker.values(topic, offset=2) == ["a", "b", "c"]


def test_parked_consume_wakes_at_the_commit(broker: Broker, topic: str) -> None:
    broker.create(topic)
    p = Producer(broker)
    p.begin()
    p.publish(topic, "a")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(broker.consume, topic, timeout="20s")
        time.sleep(0.2)
        assert not waiting.done()
        sent = time.monotonic()
        p.commit()
        assert [m["value"] for m in waiting.result()["messages"]] == ["a"]
        assert time.monotonic() - sent < 5 * PATIENCE


def test_groups_are_not_blocked(broker: Broker) -> None:
    """A group gets what is committed, also behind open messages; those come with the commit."""
    s = Setting(broker, ["before"])
    p, q = Producer(broker), Producer(broker)
    p.begin()
    q.begin()
    p.publish(s.topic, "p")
    q.publish(s.topic, "q")
    broker.publish(s.topic, "behind")
    messages = s.receive(2)
    assert [m["value"] for m in messages] == ["before", "behind"]
    for m in messages:
        ok(broker.ack(m["receipt_handle"]))
    assert s.poll(timeout="200ms") == []
    assert s.position() == 1
    p.commit()
    [message] = s.receive(1)
    assert (message["value"], message["offset"], message["delivery_count"]) == ("p", 1, 1)
    ok(broker.ack(message["receipt_handle"]))
    assert s.position() == 2
    q.abort()
    assert s.poll(timeout="200ms") == []
    eventually(lambda: s.position() == 4)


def test_parked_poll_wakes_at_the_commit(broker: Broker) -> None:
    s = Setting(broker, 0)
    p = Producer(broker)
    p.begin()
    p.publish(s.topic, "a")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(s.poll, timeout="20s")
        time.sleep(0.2)
        assert not waiting.done()
        p.commit()
        assert [m["value"] for m in waiting.result()] == ["a"]


def test_commits_are_seen_whole(broker: Broker, topic: str) -> None:
    """A reader of many partitions that starts at the end of one sees all of an earlier commit."""
    partitions, rounds, size = 4, 30, 12
    broker.create(topic, partitions)
    p = Producer(broker)

    def run() -> None:
        for turn in range(rounds):
            p.begin()
            for i in range(size):
                p.publish(topic, str(turn), partition=i % partitions)
            if turn % 3 == 2:
                p.abort()
            else:
                p.commit()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        while True:
            last = running.done()
            # The last partition first: what is there of a commit must be in those read after it.
            counts = [{turn: values.count(turn) for turn in set(values)}
                      for i in reversed(range(partitions)) for values in [broker.all_values(topic, i)]]
            for earlier, later in zip(counts, counts[1:]):
                assert all(later.get(turn) == n == size // partitions for turn, n in earlier.items())
            if last:
                break
        running.result()
    whole = [str(t) for t in range(rounds) if t % 3 != 2 for _ in range(size)]
    assert seen(broker, topic) == sorted(whole)


def test_counts_of_the_topic(broker: Broker, topic: str) -> None:
    broker.create(topic)
    p = Producer(broker)
    p.begin()
    p.publish(topic, "a", "b")
    p.commit()
    p.begin()
    p.publish(topic, "c")
    p.abort()
    info = ok(broker.get(f"/topics/{topic}"))
    assert info["total_messages"] == 2
    assert info["partition_offsets"]["0"]["next"] == 3


# What messages may be.


def test_delayed_messages(broker: Broker) -> None:
    """Visible at the later of due time and commit."""
    s = Setting(broker, 0)
    p = Producer(broker)
    p.begin()
    far = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    p.publish(s.topic, "soon", delay="300ms")
    p.publish(s.topic, "later", delay="1h")
    p.publish(s.topic, "far", deliverAt=far)
    p.publish(s.topic, "now", delay="0s")
    assert s.poll(timeout="600ms") == []  # due, but open
    p.commit()
    messages = s.receive(2)
    assert sorted(m["value"] for m in messages) == ["now", "soon"]
    assert sorted(m["value"] for m in broker.pending(s.topic)) == ["far", "later"]
    p.begin()
    p.publish(s.topic, "aborted", delay="300ms")
    p.publish(s.topic, "after", delay="1500ms")
    p.abort()
    p.begin()
    p.publish(s.topic, "committed", delay=f"{int(1000 * PATIENCE)}ms")
    p.commit()
    assert s.poll() == []
    [message] = s.receive(1)
    assert message["value"] == "committed"
    assert len(broker.pending(s.topic)) == 2
    assert s.poll(timeout="1s") == []


def test_priorities(broker: Broker) -> None:
    s = Setting(broker, ["plain"])
    p = Producer(broker)
    p.begin()
    for priority in ("background", "LOW", "normal", "High", "critical"):
        p.publish(s.topic, priority.lower(), priority=priority)
    p.commit()
    values = s.values(max_messages=10)
    assert values == ["critical", "high", "plain", "normal", "low", "background"]


def test_all_fields(broker: Broker, topic: str) -> None:
    p = Producer(broker)
    p.begin()
    value = 'quote " back \\ nul \0 snow ☃ clef 𝄞 \x7f'
    p.publish(topic, value, key="ключ", headers={"a": "1", "b": value, "c": None}, priority="low",
              partition=None, sequence=None, delay=None, deliverAt=None, unknown=[{}], transactional_id=p.name)
    p.commit()
    [m] = broker.everything(topic)
    assert (m["value"], m["key"], m["headers"]) == (value, "ключ", {"a": "1", "b": value})
    assert (m["priority"], m["partition"]) == ("low", 2)


def test_keys_go_where_plain_ones_go(broker: Broker, topic: str) -> None:
    broker.create(topic, 7)
    p = Producer(broker)
    p.begin()
    keys = [f"key-{i}" for i in range(30)]
    mine = [p.publish(topic, "", key=key)[0]["partition"] for key in keys]
    plain = [r["partition"] for r in broker.publish(topic, *({"value": "", "key": k} for k in keys))]
    assert mine == plain
    round_robin = [p.publish(topic, "")[0]["partition"] for _ in range(14)]
    assert sorted(round_robin) == sorted(list(range(7)) * 2)
    p.commit()


def test_duplicates(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    p = Producer(broker)
    for turn in ("first", "second"):  # numbers count anew in each transaction
        p.begin()
        for number, more in enumerate([{"key": "k"}, {"partition": 1}, {}, {"partition": -1}]):
            reply = ok(p.try_publish(topic, turn, sequence=number, **more))
            assert reply["duplicate"] is False
            assert ok(p.try_publish(topic, turn, sequence=number, **more)) == {**reply, "duplicate": True}
            refused(p.try_publish(topic, "x", sequence=number, **more), 409, "sequence_conflict")
        assert p.commit()["messages"] == 4
    assert len(broker.everything(topic)) == 8


LARGE = "x" * 65536


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"value": None}, 400),
        ({"value": 1}, 400),
        ({"value": {}}, 400),
        ({"topic": None}, 400),
        ({"topic": ""}, 400),
        ({"topic": "__x"}, 400),
        ({"topic": "a/b"}, 400),
        ({"topic": "a" * 256}, 400),
        ({"topic": 7}, 400),
        ({"topic": "gone.dlq"}, 404),
        ({"producer_id": None}, 400),
        ({"producer_id": "1"}, 400),
        ({"producer_id": 1.0}, 400),
        ({"epoch": None}, 400),
        ({"epoch": "0"}, 400),
        ({"epoch": True}, 400),
        ({"transactional_id": ""}, 400),
        ({"transactional_id": 5}, 400),
        ({"transactional_id": "a" * 256}, 400),
        ({"key": 5}, 400),
        ({"key": LARGE}, 413),
        ({"headers": {"h": LARGE}}, 413),
        ({"headers": {"h": 1}}, 400),
        ({"headers": []}, 400),
        ({"partition": -2}, 400),
        ({"partition": 3}, 400),
        ({"partition": 2**40}, 400),
        ({"partition": "0"}, 400),
        ({"sequence": -1}, 400),
        ({"sequence": 2**31}, 400),
        ({"sequence": "1"}, 400),
        ({"priority": "urgent"}, 400),
        ({"priority": 1}, 400),
        ({"delay": "soon"}, 400),
        ({"delay": "-1s"}, 400),
        ({"delay": "8761h"}, 400),
        ({"delay": 5}, 400),
        ({"deliverAt": "tomorrow"}, 400),
        ({"deliverAt": "9999-01-01T00:00:00Z"}, 400),
    ],
    ids=lambda x: str(x)[:40],
)
def test_publish_refuses(broker: Broker, more: dict[str, Any], status: int) -> None:
    p = Producer(broker)
    p.begin()
    topic = broker.create(unique("topic"), 3)
    p.publish(topic, "good")
    body = {**p.who, "topic": topic, "value": "bad", **more}
    refused(broker.post("/transactions/publish", body), status)
    assert p.commit()["messages"] == 1
    assert seen(broker, topic) == ["good"]


def test_the_largest_value(broker: Broker, topic: str) -> None:
    p = Producer(broker)
    p.begin()
    value = "v" * (16 << 20)
    p.publish(topic, value, sequence=1, partition=0)
    assert ok(p.try_publish(topic, value, sequence=1, partition=0))["duplicate"] is True
    refused(p.try_publish(topic, value + "v"), 413, "payload_too_large")
    p.commit()
    assert broker.values(topic) == [value]


@pytest.mark.parametrize("garbage", ["", "{", "null", "[]", "5", '"x"', '{"value":"\\ud800"}', "{}{}",
                                     '{"producer_id":1,"epoch":0,"topic":"t","value":"v"', "\xff"])
@pytest.mark.parametrize("call", ["begin", "publish", "add-partition", "ack", "offsets", "commit", "abort"])
def test_garbage(broker: Broker, call: str, garbage: str) -> None:
    content = garbage.encode("latin-1")
    refused(broker.client.post(f"/transactions/{call}", content=content), 400, "invalid_json")


@pytest.mark.parametrize("call", ["begin", "add-partition", "commit", "abort"])
@pytest.mark.parametrize("missing", ["producer_id", "epoch", "transactional_id"])
def test_required_members(broker: Broker, call: str, missing: str) -> None:
    p = Producer(broker)
    p.begin()
    body = {**p.named, "topic": "t", "partition": 0}
    for value in (None, [], ""):
        error = refused(broker.post(f"/transactions/{call}", {**body, missing: value}), 400)["error"]
        assert missing in error
    del body[missing]
    assert missing in refused(broker.post(f"/transactions/{call}", body), 400)["error"]


def test_methods(broker: Broker) -> None:
    for call in ("begin", "publish", "add-partition", "ack", "offsets", "commit", "abort"):
        refused(broker.get(f"/transactions/{call}"), 404, "transaction_not_found")  # GET of an id
        refused(broker.delete(f"/transactions/{call}"), 405)
    refused(broker.post("/transactions/stats"), 405)
    refused(broker.post("/transactions/txn-1"), 405)
    refused(broker.post("/transactions"), 405)


def test_duplicate_members(broker: Broker, topic: str) -> None:
    """The last wins, also of those that are not the message's."""
    p = Producer(broker)
    p.begin()
    body = (f'{{"topic":"x","value":"a","epoch":"no","producer_id":1,"sequence":"no","value":"b",'
            f'"topic":"{topic}","sequence":null,"epoch":{p.epoch},"producer_id":{p.id}}}')
    ok(broker.client.post("/transactions/publish", content=body))
    p.commit()
    assert seen(broker, topic) == ["b"]


# Topics that come, go and grow.


def test_no_auto_creation(topic: str) -> None:
    b = Broker(TOPICS_AUTOCREATE="false")
    try:
        b.start()
        p = Producer(b)
        p.begin()
        refused(p.try_publish(topic, "a"), 404, "topic_not_found")
        b.create(topic)
        p.publish(topic, "b")
        p.commit()
        assert seen(b, topic) == ["b"]
    finally:
        b.close()


def test_a_topic_that_grows(broker: Broker, topic: str) -> None:
    broker.create(topic, 1)
    p = Producer(broker)
    p.begin()
    p.publish(topic, "a")
    refused(p.try_publish(topic, "x", partition=2), 400)
    ok(broker.post(f"/admin/topics/{topic}/partitions", {"count": 3}))
    assert p.publish(topic, "b", partition=2) == [{"partition": 2, "offset": 0, "duplicate": False}]
    assert {r["partition"] for r in p.publish(topic, *"cde")} == {0, 1, 2}
    assert p.commit()["partitions_committed"] == 3
    assert seen(broker, topic) == list("abcde")


def test_a_topic_that_is_deleted(broker: Broker, topic: str) -> None:
    """What was in it is gone; the rest of the transaction goes on, and a new topic is another one."""
    other = unique("topic")
    p = Producer(broker)
    transaction = p.begin()
    p.publish(topic, "gone", sequence=1)
    p.publish(other, "kept")
    ok(broker.delete(f"/topics/{topic}"))
    assert {x["topic"] for x in p.transaction(transaction)["partitions"]} == {other}
    assert ok(p.try_publish(topic, "gone", sequence=1))["duplicate"] is False
    p.publish(topic, "new")
    p.commit()
    assert seen(broker, topic) == ["gone", "new"]
    assert seen(broker, other) == ["kept"]
    p.begin()
    p.publish(topic, "x")
    ok(broker.delete(f"/topics/{topic}"))
    p.abort()


def test_add_partition(broker: Broker, topic: str) -> None:
    broker.create(topic, 2)
    p = Producer(broker)

    def add(**more: Any) -> Any:
        body = {**p.named, "topic": topic, "partition": 1, **more}
        return broker.post("/transactions/add-partition", body)

    refused(add(), 409, "no_transaction")
    p.begin()
    assert ok(add()) == {"status": "added"}
    refused(add(partition=2), 404, "partition_not_found")
    refused(add(topic=unique()), 404, "topic_not_found")
    refused(add(topic="a b"), 404, "topic_not_found")
    refused(add(epoch=9), 409, "producer_fenced")
    refused(add(producer_id=10**9), 404, "producer_not_found")
    for bad in ({"partition": -1}, {"partition": "1"}, {"partition": None}, {"topic": None}, {"topic": 5}):
        refused(add(**bad), 400)
    assert p.open()[0]["partitions"] == []
    assert p.begin()  # still empty


# Lists and statistics.


def test_list_and_stats(own_broker: Broker) -> None:
    b = own_broker
    empty = ok(b.get("/transactions/stats"))
    assert empty == {"active_transactions": 0, "committed_total": 0, "aborted_total": 0,
                     "avg_duration": "0s", "timed_out_total": 0, "producers": 0}
    assert ok(b.get("/transactions")) == {"transactions": [], "count": 0}
    producers = [Producer(b) for _ in range(4)]
    ids = [p.begin() for p in producers]
    assert [t["transaction_id"] for t in ok(b.get("/transactions"))["transactions"]] == ids
    assert [t["transaction_id"] for t in ok(b.get("/transactions", limit=2))["transactions"]] == ids[:2]
    for limit in ("0", "-1", "x"):
        refused(b.get("/transactions", limit=limit), 400)
    assert ok(b.get("/transactions", limit=10**12))["count"] == 4
    producers[0].commit()
    producers[1].abort()
    time.sleep(0.05)
    producers[2].commit()
    Producer(b, producers[3].name)
    short = Producer(b, transaction_timeout="1s")
    short.begin()
    eventually(lambda: ok(b.get("/transactions/stats"))["timed_out_total"] == 1)
    stats = ok(b.get("/transactions/stats"))
    assert (stats["active_transactions"], stats["committed_total"], stats["aborted_total"]) == (0, 2, 3)
    assert stats["producers"] == 5
    assert 0.2 <= parse_duration(stats["avg_duration"]) < 1 * PATIENCE
    text = b.get("/metrics").text
    for name, value in (("started", 5), ("committed", 2), ("aborted", 3)):
        assert f"\ngoqueue_broker_transactions_{name}_total {value}\n" in text
    for restart in (b.restart, b.crash):
        restart()
        assert ok(b.get("/transactions/stats")) == stats


@pytest.mark.parametrize("name", ["txn-0", "txn-", "txn-x", "x", "0", "txn-99999999", "txn-01", "txn--1",
                                  "TXN-1", "txn-" + "9" * 40, "txn-1%00"])
def test_transactions_that_are_not_there(broker: Broker, name: str) -> None:
    Producer(broker).begin()
    refused(broker.get(f"/transactions/{name}"), 404, "transaction_not_found")


def test_tenants(broker: Broker, topic: str) -> None:
    p, q = Producer(broker), Producer(broker, tenant="acme")
    mine, theirs = p.begin(), q.begin()
    p.publish(topic, "mine", partition=0)
    q.publish(topic, "theirs", partition=0)
    assert [t["transaction_id"] for t in ok(q.get("/transactions"))["transactions"]] == [theirs]
    assert theirs not in [t["transaction_id"] for t in ok(p.get("/transactions"))["transactions"]]
    refused(q.get(f"/transactions/{mine}"), 404, "transaction_not_found")
    refused(p.get(f"/transactions/{theirs}"), 404, "transaction_not_found")
    refused(q.post("/transactions/commit", p.named), 404, "producer_not_found")
    refused(q.post("/transactions/publish", {**p.who, "topic": topic, "value": "x"}), 404)
    assert q.transaction(theirs)["partitions"] == [{"topic": topic, "partition": 0}]
    stats, both = ok(q.get("/transactions/stats")), ok(p.get("/transactions/stats"))
    assert (stats["active_transactions"], stats["producers"]) == (1, 1)
    assert both["active_transactions"] >= 2  # without a tenant: the whole broker
    q.commit()
    assert broker.values(topic) == []
    p.commit()
    assert broker.values(topic) == ["mine"]
    page = ok(broker.request("GET", f"/topics/{topic}/partitions/0/messages", headers=q.headers))
    assert [m["value"] for m in page["messages"]] == ["theirs"]


# Offsets in a transaction.


def test_offsets(broker: Broker) -> None:
    s = Setting(broker, 5)
    p = Producer(broker)
    refused(p.try_offsets(s.group, s.member, {s.topic: {"0": 3}}), 409, "no_transaction")
    p.begin()
    assert ok(p.try_offsets(s.group, s.member, {s.topic: {"0": 2}})) == {"status": "added"}
    assert s.position() in (None, 0)
    refused(p.try_begin(), 409, "transaction_in_progress")
    ok(p.try_offsets(s.group, s.member, [{"topic": s.topic, "partition": 0, "offset": 3}]))
    p.commit()
    assert s.position() == 3
    assert s.values() == ["3", "4"]
    p.begin()
    ok(p.try_offsets(s.group, s.member, {s.topic: {"0": 5}}))
    p.abort()
    assert s.position() == 3


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"group": None}, 400, None),
        ({"group": ".."}, 400, None),
        ({"group": 5}, 400, None),
        ({"group": "nobody"}, 404, None),
        ({"member_id": None}, 400, None),
        ({"member_id": "nobody"}, 404, "member_not_found"),
        ({"offsets": None}, 400, None),
        ({"offsets": {}}, 400, None),
        ({"offsets": 5}, 400, None),
        ({"offsets": {"T": {"0": -1}}}, 400, None),
        ({"offsets": {"T": {"x": 1}}}, 400, None),
        ({"offsets": {"T": {"9": 1}}}, 404, "partition_not_found"),
        ({"offsets": {"T": {"0": 1}, "no topic": {"0": 1}}}, 404, "topic_not_found"),
        ({"generation": 99}, 409, "stale_generation"),
        ({"generation": "1"}, 400, None),
        ({"producer_id": 10**9}, 404, "producer_not_found"),
        ({"epoch": 9}, 409, "producer_fenced"),
        ({"transactional_id": "other"}, 404, "producer_not_found"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_offsets_refused(broker: Broker, more: dict[str, Any], status: int, code: "str | None") -> None:
    s = Setting(broker, 3)
    p = Producer(broker)
    p.begin()
    if isinstance(more.get("offsets"), dict):
        more = {"offsets": json.loads(json.dumps(more["offsets"]).replace('"T"', f'"{s.topic}"'))}
    body = {**p.who, "group": s.group, "member_id": s.member, "offsets": {s.topic: {"0": 1}}, **more}
    refused(broker.post("/transactions/offsets", body), status, code)
    p.commit()
    assert s.position() in (None, 0)


# Restarts.


@pytest.mark.parametrize("restart", RESTARTS)
def test_restart_in_each_state(own_broker: Broker, restart: Restart) -> None:
    b = own_broker
    b.create("t", 2)
    committed, aborted, going, doomed = (Producer(b) for _ in range(4))
    ids = {}
    for name, p in (("c", committed), ("a", aborted), ("g", going), ("d", doomed)):
        ids[name] = p.begin()
        for i in range(3):
            p.publish("t", f"{name}{i}", sequence=i, partition=i % 2)
    committed.commit()
    aborted.abort()
    member = b.join("g", "t")["member_id"]
    for _ in range(2):
        restart(b)
        assert going.transaction(ids["g"])["state"] == "ongoing"
        assert committed.commit()["already"] is True
        assert aborted.abort()["already"] is True
        refused(committed.try_abort(), 409, "transaction_committed")
        refused(aborted.try_commit(), 409, "transaction_aborted")
        assert ok(going.try_publish("t", "g0", sequence=0, partition=0))["duplicate"] is True
        refused(going.try_publish("t", "x", sequence=0, partition=0), 409, "sequence_conflict")
        assert going.transaction(ids["c"])["state"] == "completed_commit"
        assert going.transaction(ids["a"])["state"] == "completed_abort"
    b.receive("g", member, 3)
    assert going.commit()["messages"] == 3
    assert Producer(b, doomed.name).epoch == 1
    expected = sorted(f"{name}{i}" for name in "cg" for i in range(3))
    assert seen(b, "t") == expected
    restart(b)
    assert seen(b, "t") == expected
    refused(doomed.try_commit(), 409, "producer_fenced")
    b.receive("g", member, 3)


@pytest.mark.parametrize("restart", RESTARTS)
def test_delayed_ones_over_a_restart(own_broker: Broker, restart: Restart) -> None:
    b = own_broker
    s = Setting(b, 0)
    p = Producer(b)
    p.begin()
    p.publish(s.topic, "soon", delay="100ms")
    p.publish(s.topic, "later", delay="1h")
    restart(b)
    time.sleep(0.2)
    assert s.poll() == []
    p.commit()
    restart(b)
    assert [m["value"] for m in s.receive(1)] == ["soon"]
    assert [m["value"] for m in b.pending(s.topic)] == ["later"]


def test_replays_do_not_add_up(own_broker: Broker) -> None:
    """The state after kill -9 is the state before, whatever the snapshot has of it."""
    b = own_broker
    p, q = Producer(b), Producer(b, None)
    for turn in range(30):
        p.begin()
        p.publish("t", f"{turn}")
        ok(q.try_publish("t", f"q{turn}", sequence=turn))
        (p.commit if turn % 2 else p.abort)()
        if turn % 10 == 9:
            before, stats = seen(b, "t"), ok(b.get("/transactions/stats"))
            b.crash()
            assert (seen(b, "t"), ok(b.get("/transactions/stats"))) == (before, stats)
    assert ok(b.get("/transactions/stats"))["committed_total"] == 15
