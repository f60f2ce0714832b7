"""POST /transactions/ack: what was consumed is done with what is published, or neither is."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from harness import PATIENCE, Broker, Setting, after, eventually, ok, refused, unique
from producing import Producer

SHORT = f"{int(300 * PATIENCE)}ms"
RESTARTS = [pytest.param(Broker.restart, id="SIGTERM"), pytest.param(Broker.crash, id="kill -9")]


def begun(broker: Broker, **init: Any) -> Producer:
    p = Producer(broker, **init)
    p.begin()
    return p


def receipts(messages: list[dict[str, Any]]) -> list[str]:
    return [m["receipt_handle"] for m in messages]


def test_commit(broker: Broker) -> None:
    s = Setting(broker, 3)
    held = s.receive(3)
    p = begun(broker)
    reply = ok(p.try_ack(*receipts(held)))
    assert reply["status"] == "added"
    assert reply["count"] == 3
    assert p.open()[0]["acks"] == 3
    refused(p.try_begin(), 409, "transaction_in_progress")  # it is not empty
    assert s.position() in (None, 0)
    p.commit()
    assert s.position() == 3
    for receipt in receipts(held):
        assert ok(broker.ack(receipt))["already"] is True
        refused(broker.nack(receipt), 404, "message_not_found")
        refused(broker.reject(receipt), 404, "message_not_found")
        refused(broker.extend(receipt), 404, "message_not_found")
    assert s.poll(timeout="200ms") == []


def test_abort_gives_the_delivery_back(broker: Broker) -> None:
    """As if nothing had been: the same receipt is good again until its time is over."""
    s = Setting(broker, 2)
    held = s.receive(2)
    p = begun(broker)
    p.ack(*receipts(held))
    p.abort()
    assert s.position() in (None, 0)
    assert s.poll() == []
    ok(broker.ack(held[0]["receipt_handle"]))
    assert ok(broker.nack(held[1]["receipt_handle"], delay="0s"))["requeued"] is True
    [again] = s.receive(1)
    assert (again["value"], again["delivery_count"]) == ("1", 2)


def test_nobody_gets_it_meanwhile(broker: Broker) -> None:
    """Not when its visibility timeout passes, not by a plain ack, nack or reject of the receipt."""
    s = Setting(broker, 1, topic={"visibility_timeout": SHORT})
    [held] = s.receive(1)
    p = begun(broker)
    p.ack(held["receipt_handle"])
    for call in (broker.ack, broker.nack, broker.reject, broker.extend):
        refused(call(held["receipt_handle"]), 409, "transaction_in_progress")
    after(held["visibility_deadline"], 0.3)
    assert s.poll(timeout="300ms") == []
    p.commit()
    assert s.poll(timeout="300ms") == []
    assert s.position() == 1
    assert broker.dead_letters(s.topic) == []


def test_abort_after_the_deadline(broker: Broker) -> None:
    s = Setting(broker, 1, topic={"visibility_timeout": SHORT})
    [held] = s.receive(1)
    p = begun(broker)
    p.ack(held["receipt_handle"])
    after(held["visibility_deadline"], 0.2)
    p.abort()
    [again] = s.receive(1)
    assert (again["value"], again["delivery_count"]) == ("0", 2)
    refused(broker.ack(held["receipt_handle"]), 410, "receipt_expired")


def test_timeout(broker: Broker) -> None:
    s = Setting(broker, 1, topic={"visibility_timeout": SHORT})
    [held] = s.receive(1)
    p = begun(broker, transaction_timeout="1s")
    p.ack(held["receipt_handle"])
    [again] = s.receive(1)
    assert (again["value"], again["delivery_count"]) == ("0", 2)
    refused(p.try_ack(again["receipt_handle"]), 409, "transaction_aborted")
    ok(broker.ack(again["receipt_handle"]))


def test_fencing(broker: Broker) -> None:
    s = Setting(broker, 1)
    [held] = s.receive(1)
    zombie = begun(broker)
    zombie.ack(held["receipt_handle"])
    p = Producer(broker, zombie.name)
    refused(zombie.try_ack(held["receipt_handle"]), 409, "producer_fenced")
    refused(p.try_ack(held["receipt_handle"]), 409, "no_transaction")
    p.begin()
    p.ack(held["receipt_handle"])
    p.commit()
    assert s.position() == 1


def test_repeats(broker: Broker) -> None:
    s = Setting(broker, 2)
    held = s.receive(2)
    p = begun(broker)
    first, second = receipts(held)
    for _ in range(3):
        p.ack(first)
    p.ack(first, second, first)
    assert p.open()[0]["acks"] == 2
    p.commit()
    assert s.position() == 2


def test_in_another_transaction(broker: Broker) -> None:
    s = Setting(broker, 2)
    held = s.receive(2)
    p, q = begun(broker), begun(broker)
    p.ack(held[1]["receipt_handle"])
    error = refused(q.try_ack(*receipts(held)), 409, "transaction_in_progress")
    assert error.get("receipt_handle_index", 1) == 1
    p.abort()
    q.ack(*receipts(held))  # nothing of it was added before
    q.commit()
    assert s.position() == 2


def test_all_or_none(broker: Broker) -> None:
    """The handle that is to blame is named; the others are as they were."""
    s = Setting(broker, 4)
    held = s.receive(4)
    good, nacked, acked, other = receipts(held)
    ok(broker.nack(nacked, delay="0s"))
    s.receive(1)
    ok(broker.ack(acked))
    p = begun(broker)
    for bad, status, code in ((nacked, 410, "receipt_expired"), (acked, 404, "message_not_found"),
                              ("garbage", 400, "invalid_receipt"), (good[:-1], 400, "invalid_receipt"),
                              (good[:30] + ("A" if good[30] != "A" else "B") + good[31:], 404, "message_not_found")):
        error = refused(p.try_ack(good, bad, other), status, code)
        assert error["receipt_handle_index"] == 1
        assert "receipt_handles[1]" in error["error"]
        assert p.open()[0]["acks"] == 0
    ok(broker.ack(good))
    ok(broker.nack(other, delay="0s"))


def test_groups_one_at_a_time(broker: Broker) -> None:
    s = Setting(broker, 1)
    second = broker.join(unique("group"), s.topic)
    group = unique("group")
    member = broker.join(group, s.topic)["member_id"]
    [mine], [theirs] = s.receive(1), broker.receive(group, member, 1)
    assert second["member_id"]
    p = begun(broker)
    error = refused(p.try_ack(mine["receipt_handle"], theirs["receipt_handle"]), 400)
    assert error["receipt_handle_index"] == 1
    p.ack(mine["receipt_handle"])
    p.ack(theirs["receipt_handle"])
    p.commit()
    assert s.position() == broker.positions(group)[s.topic]["0"] == 1


@pytest.mark.parametrize("handles", [None, [], "x", {}, [1], [None], ["x", []], ["x"] * 1001], ids=lambda h: str(h)[:12])
def test_bad_bodies(broker: Broker, handles: Any) -> None:
    p = begun(broker)
    refused(broker.post("/transactions/ack", {**p.who, "receipt_handles": handles}), 400)


def test_errors_of_the_transaction(broker: Broker) -> None:
    s = Setting(broker, 1)
    [receipt] = receipts(s.receive(1))
    p = Producer(broker)
    refused(p.try_ack(receipt), 409, "no_transaction")
    refused(Producer(broker, None).try_ack(receipt), 409, "no_transaction")
    p.begin()
    body = {**p.named, "receipt_handles": [receipt]}
    refused(broker.post("/transactions/ack", {**body, "producer_id": 10**9}), 404, "producer_not_found")
    refused(broker.post("/transactions/ack", {**body, "transactional_id": "x"}), 404, "producer_not_found")
    refused(broker.post("/transactions/ack", {**body, "epoch": 9}), 409, "producer_fenced")
    stranger = Producer(broker, tenant="acme")
    stranger.begin()
    error = refused(stranger.try_ack(receipt), 404, "message_not_found")
    assert error["receipt_handle_index"] == 0
    ok(broker.ack(receipt))  # none of it touched the delivery


def test_a_thousand(broker: Broker) -> None:
    s = Setting(broker, 1000)
    held = s.receive(1000, max_messages=1000)
    p = begun(broker)
    p.ack(*receipts(held))
    p.commit()
    assert s.position() == 1000


def test_leaving_and_others(broker: Broker) -> None:
    """A member that leaves takes nothing along: committed is done, aborted goes to another one."""
    for end, expected in (("commit", []), ("abort", ["0", "1"])):
        s = Setting(broker, 2)
        held = s.receive(2)
        p = begun(broker)
        p.ack(*receipts(held))
        ok(broker.post(f"/groups/{s.group}/leave", {"member_id": s.member}))
        heir = broker.join(s.group, s.topic)["member_id"]
        assert broker.poll(s.group, heir, timeout="300ms") == []
        ok(getattr(p, f"try_{end}")())
        got = [m["value"] for m in broker.receive(s.group, heir, len(expected))]
        assert sorted(got) == expected
        assert broker.poll(s.group, heir, timeout="200ms") == []


def test_committing_offsets_past_it(broker: Broker) -> None:
    """A commit or reset of offsets that went over the message wins over the acknowledgement."""
    s = Setting(broker, 3)
    held = s.receive(3)
    p = begun(broker)
    p.ack(*receipts(held)[:2])
    ok(s.commit(3))
    p.commit()
    assert s.position() == 3
    assert s.poll(timeout="200ms") == []
    ok(s.commit(0))
    assert len(s.receive(3)) == 3


def test_topic_or_group_deleted(broker: Broker) -> None:
    s, t = Setting(broker, 1), Setting(broker, 1)
    p = begun(broker)
    p.ack(*receipts(s.receive(1)))
    p.ack(*receipts(t.receive(1)))
    ok(broker.delete(f"/topics/{s.topic}"))
    ok(broker.delete(f"/groups/{t.group}"))
    p.commit()


def test_key_order(broker: Broker) -> None:
    """The next message of a key waits for the transaction that has the one before."""
    values = [{"value": str(i), "key": "k"} for i in range(3)]
    s = Setting(broker, values, ordering="key")
    p = begun(broker)
    [first] = s.receive(1)
    p.ack(first["receipt_handle"])
    assert s.poll(timeout="200ms") == []
    p.commit()
    [second] = s.receive(1)
    assert second["value"] == "1"
    p.begin()
    p.ack(second["receipt_handle"])
    p.abort()
    assert s.poll(timeout="200ms") == []
    ok(broker.ack(second["receipt_handle"]))
    assert s.receive(1)[0]["value"] == "2"


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("end", ["commit", "abort", "timeout", "fence"])
def test_restart(own_broker: Broker, restart: Callable[[Broker], Any], end: str) -> None:
    b = own_broker
    s = Setting(b, 4, topic={"visibility_timeout": "1s"})
    held = s.receive(4)
    p = begun(b, transaction_timeout="3s" if end == "timeout" else "60s")
    p.publish("out", "result", sequence=1)
    p.ack(*receipts(held)[:2])
    ok(b.ack(held[2]["receipt_handle"]))
    restart(b)
    assert p.open()[0]["acks"] == 2
    got = s.receive(1)  # the last one only: the others are reserved, or done
    assert [m["value"] for m in got] == ["3"]
    ok(b.ack(got[0]["receipt_handle"]))
    assert s.poll(timeout="1200ms") == []
    if end == "commit":
        assert p.commit()["messages"] == 1
    elif end == "abort":
        p.abort()
    elif end == "fence":
        Producer(b, p.name)
    expected = [] if end == "commit" else ["0", "1"]
    messages = s.receive(len(expected))
    assert sorted(m["value"] for m in messages) == expected
    for message in messages:
        ok(b.ack(message["receipt_handle"]))
    restart(b)
    assert s.poll(timeout="1200ms") == []
    assert s.position() == 4
    assert [m["value"] for m in b.everything("out")] == (["result"] if end == "commit" else [])


# Consume, process, produce, with everything that may go wrong.

INPUTS, WORKERS = 240, 4


class Pipeline:
    """Workers that turn each input into an output in one transaction; every one of them may be replaced
    at any moment, leaving a zombie that goes on."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.stop = threading.Event()
        self.zombies: list[threading.Thread] = []

    def call(self, client: httpx.Client, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """Repeat until there is an answer that is not an error of the server."""
        while True:
            try:
                url = f"http://127.0.0.1:{self.broker.port}{path}"
                method = "GET" if body is None else "POST"
                reply = client.request(method, url, json=body, params=query)
                if reply.status_code < 500:
                    return reply
            except httpx.TransportError:
                pass
            if self.stop.is_set():
                raise StopIteration
            time.sleep(0.02)

    def work(self, name: str, seed: int, life: float) -> None:
        rng = random.Random(seed)
        end = time.monotonic() + life
        try:
            with httpx.Client(timeout=10 * PATIENCE) as client:
                producer = ok(self.call(client, "/producers/init", {"transactional_id": name}))
                who = {"producer_id": producer["producer_id"], "epoch": producer["epoch"], "transactional_id": name}
                member = ok(self.call(client, "/groups/g/join", {
                    "client_id": name, "topics": ["in"], "session_timeout": "1s"}))["member_id"]
                while time.monotonic() < end and not self.stop.is_set():
                    polled = self.call(client, "/groups/g/poll", member_id=member, timeout="200ms", max_messages=5)
                    if polled.status_code == 404:
                        member = ok(self.call(client, "/groups/g/join", {
                            "client_id": name, "topics": ["in"], "session_timeout": "1s"}))["member_id"]
                        continue
                    messages = ok(polled)["messages"]
                    if messages and not self.settle(client, rng, who, messages):
                        return
        except StopIteration:
            pass

    def settle(self, client: httpx.Client, rng: random.Random, who: Any, messages: list[Any]) -> bool:
        """False: another one has taken over."""
        if self.call(client, "/transactions/begin", who).status_code == 409:
            return False
        calls = [("/transactions/publish", {**who, "topic": "out", "value": m["value"], "sequence": i})
                 for i, m in enumerate(messages)]
        calls.insert(rng.randrange(len(calls) + 1), ("/transactions/ack", {**who, "receipt_handles": receipts(messages)}))
        for path, body in calls:
            if rng.random() < 0.02:
                time.sleep(rng.uniform(0, 1.5))  # a deadline may pass
            reply = self.call(client, path, body)
            if reply.status_code != 200:
                aborted = self.call(client, "/transactions/abort", who)
                return aborted.status_code == 200
        end = "abort" if rng.random() < 0.1 else "commit"
        return self.call(client, f"/transactions/{end}", who).status_code == 200


@pytest.mark.slow
def test_consume_process_produce_is_exactly_once(own_broker: Broker) -> None:
    b = own_broker
    b.create("in", 4, visibility_timeout="1s", max_deliveries=1000)
    b.create("out", 2)
    pipeline = Pipeline(b)
    rng = random.Random(5)
    threads = []
    deadline = time.monotonic() + 60 * PATIENCE
    with ThreadPoolExecutor(1) as pool:

        def feed() -> None:
            for i in range(INPUTS):
                body = {"messages": [{"value": str(i)}]}
                headers = {"Idempotency-Key": f"in-{i}"}
                while True:
                    try:
                        url = f"http://127.0.0.1:{b.port}/topics/in/messages"
                        ok(httpx.post(url, json=body, headers=headers, timeout=10 * PATIENCE))
                        break
                    except httpx.TransportError:
                        time.sleep(0.02)
                time.sleep(0.02)

        feeding = pool.submit(feed)
        seed = 0
        try:
            while True:
                for worker in range(WORKERS):  # the one before may still be at it: a zombie
                    seed += 1
                    thread = threading.Thread(target=pipeline.work, args=(f"w{worker}", seed, rng.uniform(2, 6)))
                    thread.start()
                    threads.append(thread)
                time.sleep(rng.uniform(2, 3) * PATIENCE)  # a dead member is evicted meanwhile
                b.crash()
                time.sleep(0.5)
                if feeding.done() and b.positions("g").get("in") is not None:
                    total = sum(b.positions("g")["in"].values())
                    if total == INPUTS and not ok(b.get("/transactions/stats"))["active_transactions"]:
                        break
                assert time.monotonic() < deadline, Counter(m["value"] for m in b.everything("out"))
        finally:
            pipeline.stop.set()
            for thread in threads:
                thread.join(30 * PATIENCE)
        feeding.result()
    outputs = Counter(m["value"] for m in b.everything("out"))
    assert outputs == Counter(map(str, range(INPUTS)))
    assert b.dead_letters("in") == []
    eventually(lambda: sum(b.positions("g")["in"].values()) == INPUTS)
