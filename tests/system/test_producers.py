"""Contract 4.8: producers, their epochs, and sequence numbers outside transactions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import Broker, ok, refused, unique
from producing import Producer

WINDOW = 1000


# Init and heartbeat.


def test_init(broker: Broker) -> None:
    name = unique()
    reply = ok(broker.post("/producers/init", {"transactional_id": name}))
    assert reply == {"producer_id": reply["producer_id"], "epoch": 0, "transactional_id": name}
    assert reply["producer_id"] >= 1
    for epoch in range(1, 5):
        again = ok(broker.post("/producers/init", {"transactional_id": name}))
        assert again == {**reply, "epoch": epoch}
    other = ok(broker.post("/producers/init", {"transactional_id": unique()}))
    assert other["producer_id"] > reply["producer_id"]
    assert other["epoch"] == 0


@pytest.mark.parametrize("body", [None, {}, {"transactional_id": None, "unknown": [1]}])
def test_init_without_a_name(broker: Broker, body: Any) -> None:
    first, second = (ok(broker.post("/producers/init", body)) for _ in range(2))
    assert set(first) == {"producer_id", "epoch"}
    assert first["epoch"] == second["epoch"] == 0
    assert first["producer_id"] != second["producer_id"]


@pytest.mark.parametrize("name", ["x", "a" * 255, "ü" * 127, "a b/c\n", "nul\0nul", "transfer-ACC-1-ACC-2"])
def test_names(broker: Broker, name: str) -> None:
    p = Producer(broker, name)
    assert ok(broker.post("/producers/init", {"transactional_id": name}))["producer_id"] == p.id
    p.epoch += 1
    p.begin()
    assert p.open()[0]["transactional_id"] == name
    assert p.abort()


@pytest.mark.parametrize(
    "body",
    [
        {"transactional_id": ""},
        {"transactional_id": "a" * 256},
        {"transactional_id": "ü" * 128},
        {"transactional_id": 5},
        {"transaction_timeout_ms": 999},
        {"transaction_timeout_ms": 900_001},
        {"transaction_timeout_ms": -1},
        {"transaction_timeout_ms": "1000"},
        {"transaction_timeout_ms": 1000.5},
        {"transaction_timeout": "999ms"},
        {"transaction_timeout": "15m1ms"},
        {"transaction_timeout": "0"},
        {"transaction_timeout": "-1s"},
        {"transaction_timeout": "soon"},
        {"transaction_timeout": 60},
        [],
    ],
    ids=str,
)
def test_init_refuses(broker: Broker, body: Any) -> None:
    refused(broker.post("/producers/init", body), 400)


@pytest.mark.parametrize("timeout", [{"transaction_timeout_ms": t} for t in (1000, 900_000)]
                         + [{"transaction_timeout": t} for t in ("1s", "15m", "1m30s")], ids=str)
def test_timeouts_in_range(broker: Broker, timeout: dict[str, Any]) -> None:
    assert Producer(broker, **timeout).epoch == 0


def test_init_garbage(broker: Broker) -> None:
    for garbage in ("{", "null", "5", '"a"', '{"transactional_id":"\\ud800"}', "{}{}"):
        refused(broker.client.post("/producers/init", content=garbage), 400, "invalid_json")
    assert broker.get("/producers/init").status_code == 405


def test_heartbeat(broker: Broker) -> None:
    p = Producer(broker)
    for body in ({}, {"transactional_id": p.name}, {"transactional_id": None}):
        assert ok(p.heartbeat(**body)) == {"success": True, "status": "ok"}
    nameless = Producer(broker, None)
    assert ok(nameless.heartbeat())["success"] is True
    refused(p.heartbeat(transactional_id="other"), 404, "producer_not_found")
    refused(nameless.heartbeat(transactional_id="other"), 404, "producer_not_found")
    for epoch in (1, 7, 32768, 2**40, -1):
        refused(p.heartbeat(epoch=epoch), 409, "producer_fenced")
    Producer(broker, p.name)
    refused(p.heartbeat(), 409, "producer_fenced")


@pytest.mark.parametrize("producer", ["0", "-1", "999999999", "9" * 30, "x", "1.0", "%00", "1%2F2"])
def test_heartbeat_of_nobody(broker: Broker, producer: str) -> None:
    refused(broker.post(f"/producers/{producer}/heartbeat", {"epoch": 0}), 404)


@pytest.mark.parametrize("body", [None, {}, {"epoch": None}, {"epoch": "0"}, {"epoch": 0.0},
                                  {"epoch": 0, "transactional_id": 1}, []], ids=str)
def test_heartbeat_refuses(broker: Broker, body: Any) -> None:
    p = Producer(broker)
    refused(broker.post(f"/producers/{p.id}/heartbeat", body), 400)


def test_producers_survive(own_broker: Broker) -> None:
    b = own_broker
    p, nameless = Producer(b), Producer(b, None)
    for restart in (b.restart, b.crash):
        restart()
        ok(p.heartbeat())
        ok(nameless.heartbeat())
        again = Producer(b, p.name)
        assert (again.id, again.epoch) == (p.id, p.epoch + 1)
        refused(p.heartbeat(), 409, "producer_fenced")
        p = again
    new = Producer(b)
    assert new.id > max(p.id, nameless.id)


def test_tenants(broker: Broker) -> None:
    """A name is the tenant's own; a producer of another tenant is not there."""
    name = unique()
    mine = Producer(broker, name)
    theirs = Producer(broker, name, tenant="acme")
    assert theirs.id != mine.id
    assert (mine.epoch, theirs.epoch) == (0, 0)
    body = {"epoch": 0}
    refused(theirs.post(f"/producers/{mine.id}/heartbeat", body), 404, "producer_not_found")
    refused(mine.post(f"/producers/{theirs.id}/heartbeat", body), 404, "producer_not_found")
    refused(theirs.post("/transactions/begin", mine.named), 404, "producer_not_found")
    ok(theirs.heartbeat())


# Sequence numbers of a producer without transactions.


def test_publish_is_visible_at_once(broker: Broker, topic: str) -> None:
    p = Producer(broker, None)
    [reply] = p.publish(topic, "hello", key="k", headers={"h": "1"}, priority="high")
    assert reply == {"partition": reply["partition"], "offset": 0, "duplicate": False}
    [message] = broker.everything(topic)
    assert message["value"] == "hello"
    assert message["key"] == "k"
    assert message["headers"] == {"h": "1"}
    assert message["priority"] == "high"
    assert message["partition"] == reply["partition"]


def test_duplicates(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    p = Producer(broker, None)
    for more in ({"key": "k"}, {"partition": 1}, {}, {"partition": -1}, {"key": "k", "partition": 2}):
        before = len(broker.everything(topic))
        first = ok(p.try_publish(topic, "v", sequence=len(more) + 10 * before, **more))
        again = ok(p.try_publish(topic, "v", sequence=len(more) + 10 * before, **more))
        assert first["duplicate"] is False
        assert again == {**first, "duplicate": True}
        assert len(broker.everything(topic)) == before + 1


def test_no_sequence_no_detection(broker: Broker, topic: str) -> None:
    p = Producer(broker, None)
    replies = p.publish(topic, "v", "v", "v", partition=0) + p.publish(topic, "v", partition=0, sequence=None)
    assert [r["offset"] for r in replies] == [0, 1, 2, 3]
    assert not any(r["duplicate"] for r in replies)


@pytest.mark.parametrize(
    "change",
    [{"value": "w"}, {"value": ""}, {"key": "j"}, {"key": None}],
    ids=str,
)
def test_conflicts(broker: Broker, topic: str, change: dict[str, Any]) -> None:
    p = Producer(broker, None)
    body = {"value": "v", "key": "k", "partition": 0, "sequence": 5}
    ok(p.try_publish(topic, **body))
    refused(p.try_publish(topic, **{**body, **change}), 409, "sequence_conflict")
    assert len(broker.everything(topic)) == 1
    assert ok(p.try_publish(topic, **body))["duplicate"] is True


def test_key_and_value_do_not_run_into_each_other(broker: Broker, topic: str) -> None:
    p = Producer(broker, None)
    ok(p.try_publish(topic, "bc", key="a", partition=0, sequence=0))
    refused(p.try_publish(topic, "c", key="ab", partition=0, sequence=0), 409, "sequence_conflict")


def test_escapes_make_no_difference(broker: Broker, topic: str) -> None:
    """The same text, written in another way, is the same message."""
    p = Producer(broker, None)
    head = f'{{"producer_id":{p.id},"epoch":0,"topic":"{topic}","partition":0,"sequence":1,"value":'
    texts = ['"a\\u0062\\/\\u00fc"}', '"ab/ü"}', '"\\u0061b/\\u00FC"}']
    replies = [ok(broker.client.post("/transactions/publish", content=(head + t).encode())) for t in texts]
    assert [r["duplicate"] for r in replies] == [False, True, True]
    assert {r["offset"] for r in replies} == {0}


def test_any_start_any_gap(broker: Broker, topic: str) -> None:
    p = Producer(broker, None)
    numbers = [2**31 - 1, 7, 0, 1, 1000000, 8]
    for number in numbers:
        assert ok(p.try_publish(topic, str(number), sequence=number, partition=0))["duplicate"] is False
    assert broker.values(topic) == [str(n) for n in numbers]


@pytest.mark.parametrize("sequence", [-1, 2**31, 2**63, "1", 1.0, [], True], ids=str)
def test_bad_sequences(broker: Broker, topic: str, sequence: Any) -> None:
    refused(Producer(broker, None).try_publish(topic, "v", sequence=sequence), 400)
    assert broker.get(f"/topics/{topic}").status_code == 404


def test_windows_are_apart(broker: Broker, topic: str) -> None:
    """By producer, topic, partition; a keyless message has one of the topic."""
    broker.create(topic, 2)
    other = broker.create(unique("topic"), 1)
    a, b = Producer(broker, None), Producer(broker, None)
    calls = [(a, topic, {"partition": 0}), (a, topic, {"partition": 1}), (a, topic, {}),
             (a, other, {"partition": 0}), (b, topic, {"partition": 0})]
    for number in (0, 1):
        for p, to, more in calls:
            for expected in (False, True):
                reply = ok(p.try_publish(to, f"{number}{more}", sequence=number, **more))
                assert reply["duplicate"] is expected


@pytest.mark.slow
def test_the_window_keeps_a_thousand(broker: Broker, topic: str) -> None:
    broker.create(topic, 1)
    p = Producer(broker, None)

    def send(number: int) -> bool:
        return bool(ok(p.try_publish(topic, str(number), sequence=number, partition=0))["duplicate"])

    assert not any(map(send, range(WINDOW)))
    assert all(send(n) for n in (0, 1, 500, WINDOW - 1))
    assert not send(WINDOW)
    assert send(1)
    assert not send(0)  # it was the oldest, and is forgotten


def test_concurrent_duplicates_are_stored_once(broker: Broker, topic: str) -> None:
    broker.create(topic, 4)
    p = Producer(broker, None)
    with ThreadPoolExecutor(8) as pool:
        for round_ in range(10):
            body = {"sequence": round_} if round_ % 2 else {"sequence": round_, "key": "k"}
            replies = [f.result() for f in [pool.submit(p.try_publish, topic, str(round_), **body)
                                            for _ in range(8)]]
            places = {(ok(r)["partition"], ok(r)["offset"]) for r in replies}
            assert len(places) == 1
            assert sorted(ok(r)["duplicate"] for r in replies) == [False] + [True] * 7
    assert sorted(m["value"] for m in broker.everything(topic)) == sorted(map(str, range(10)))


def test_windows_survive(own_broker: Broker) -> None:
    b = own_broker
    b.create("t", 2)
    p = Producer(b, None)
    first = [ok(p.try_publish("t", str(n), sequence=n)) for n in range(20)]
    for restart in (b.restart, b.crash, b.restart):
        restart()
        for n in range(20):
            assert ok(p.try_publish("t", str(n), sequence=n)) == {**first[n], "duplicate": True}
        refused(p.try_publish("t", "other", sequence=3), 409, "sequence_conflict")
    assert len(b.everything("t")) == 20


def test_a_duplicate_of_a_deleted_topic(broker: Broker, topic: str) -> None:
    """The new topic of the same name is another one."""
    broker.create(topic)
    p = Producer(broker, None)
    ok(p.try_publish(topic, "v", sequence=1, partition=0))
    ok(broker.delete(f"/topics/{topic}"))
    broker.create(topic)
    assert ok(p.try_publish(topic, "v", sequence=1, partition=0))["duplicate"] is False
    assert broker.values(topic) == ["v"]


def test_a_nameless_producer_has_no_transactions(broker: Broker) -> None:
    p = Producer(broker, None)
    refused(p.post("/transactions/begin", p.who), 400)
    refused(p.post("/transactions/begin", {**p.who, "transactional_id": "x"}), 404, "producer_not_found")
    for call in ("commit", "abort"):
        refused(p.post(f"/transactions/{call}", p.who), 400)
