"""Idempotency-Key on publish: the first reply again, byte for byte, and nothing stored again."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

import httpx
import pytest
from goqueue_client import GoQueueClient
from harness import PATIENCE, Broker, ok, refused, unique

RESTARTS = [pytest.param(Broker.restart, id="SIGTERM"), pytest.param(Broker.crash, id="kill -9")]


def send(broker: Broker, topic: str, key: Optional[str], *messages: Any, **headers: str) -> httpx.Response:
    if key is not None:
        headers["Idempotency-Key"] = key
    body = {"messages": [m if isinstance(m, dict) else {"value": m} for m in messages]}
    return broker.request("POST", f"/topics/{topic}/messages", body, headers=headers)


def count(broker: Broker, topic: str) -> int:
    total: int = ok(broker.get(f"/topics/{topic}"))["total_messages"]
    return total


def same(first: httpx.Response, again: httpx.Response) -> None:
    ok(first)
    assert again.status_code == 200, again.text
    assert again.content == first.content


def test_the_feature_is_listed(broker: Broker) -> None:
    assert "idempotency-key" in ok(broker.get("/version"))["features"]


def test_a_repeat(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    key = unique()
    first = send(broker, topic, key, "a", {"value": "b", "key": "k"}, "c", {"value": "d", "partition": 1})
    for _ in range(3):
        same(first, send(broker, topic, key, "a", {"value": "b", "key": "k"}, "c", {"value": "d", "partition": 1}))
    assert sorted(m["value"] for m in broker.everything(topic)) == list("abcd")
    assert ok(send(broker, topic, None, "a"))["results"][0]["offset"] >= 0
    assert ok(send(broker, topic, unique(), "a"))
    assert count(broker, topic) == 6


def test_another_body_gets_the_first_reply(broker: Broker, topic: str) -> None:
    key = unique()
    first = send(broker, topic, key, "a", "b")
    for other in (["c"], list("abcdefgh"), [{"value": "x", "delay": "1h", "priority": "high", "key": "k"}]):
        same(first, send(broker, topic, key, *other))
    assert sorted(m["value"] for m in broker.everything(topic)) == ["a", "b"]


def test_a_key_counts_for_its_topic_and_tenant(broker: Broker, topic: str) -> None:
    key = unique()
    other = unique("topic")
    tenant = {"X-Tenant-ID": "acme"}
    first = send(broker, topic, key, "a", "b")
    in_other = send(broker, other, key, "c")
    of_tenant = send(broker, topic, key, "d", **tenant)
    for _ in range(2):
        same(first, send(broker, topic, key, "x"))
        same(in_other, send(broker, other, key, "x"))
        same(of_tenant, send(broker, topic, key, "x", **tenant))
    assert (count(broker, topic), count(broker, other)) == (2, 1)
    # Nothing runs into anything: tenant, topic and key are apart.
    for path, k in ((topic + "a", "bc"), (topic + "ab", "c"), (topic, "abc")):
        assert len(ok(send(broker, path, k, "1", "2", "3"))["results"]) == 3
        assert count(broker, path) >= 3


def test_other_ways_to_the_same_topic(broker: Broker, topic: str) -> None:
    key = unique()
    first = send(broker, topic, key, "a")
    for path in (f"/topics/{topic}/messages/batch", f"/v1/topics/{topic}/messages", f"/topics/{topic}/messages/"):
        body = {"messages": [{"value": "x"}]}
        same(first, broker.request("POST", path, body, headers={"idempotency-key": key}))
    assert count(broker, topic) == 1


def test_errors_of_single_messages_are_repeated(broker: Broker, topic: str) -> None:
    broker.create(topic, 2)
    messages = [
        "good",
        {"value": "far", "partition": 7},
        {"value": "urgent", "priority": "urgent"},
        {"value": "high", "priority": "HIGH"},
        {"value": "slow", "delay": "soon"},
        {"value": "good too", "partition": 1},
        {"key": "no value"},
        {"value": 'quote"', "delay": "1h"},
    ]
    key = unique()
    first = send(broker, topic, key, *messages)
    assert ["error" in r for r in ok(first)["results"]] == [False, True, True, False, True, False, True, False]
    ok(broker.post(f"/admin/topics/{topic}/partitions", {"count": 9}))  # by now it would have a place
    same(first, send(broker, topic, key, *messages))
    same(first, send(broker, topic, key, "x"))
    assert count(broker, topic) == 4


def test_delayed_messages(broker: Broker, topic: str) -> None:
    """deliverAt is the first request's, also when it is past by now."""
    key = unique()
    messages = [{"value": "a", "delay": "1h"}, {"value": "b", "delay": "200ms"}, {"value": "c", "delay": "0s"}]
    first = send(broker, topic, key, *messages)
    assert [r["delayed"] for r in ok(first)["results"]] == [True, True, False]
    time.sleep(0.3)
    same(first, send(broker, topic, key, *messages))
    assert count(broker, topic) == 3
    assert len(broker.pending(topic)) == 1


def test_no_room_for_delayed_ones(broker: Broker, topic: str) -> None:
    broker.create(topic, 1, max_delayed=2)
    key = unique()
    first = send(broker, topic, key, *({"value": str(i), "delay": "1h"} for i in range(4)), "now")
    failed = ["error" in r for r in ok(first)["results"]]
    if not any(failed):
        pytest.skip("the limit cannot be set on this broker")
    same(first, send(broker, topic, key, "x"))
    assert count(broker, topic) == 3


def test_ten_thousand(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    messages = [{"value": f"v{i}", **({"key": f"k{i}"} if i % 3 == 0 else {}),
                 **({"priority": "low"} if i % 7 == 0 else {}),
                 **({"partition": 99} if i % 11 == 0 else {})} for i in range(10_000)]
    key = unique()
    first = send(broker, topic, key, *messages)
    same(first, send(broker, topic, key, *messages))
    same(first, send(broker, topic, key, "x"))
    stored = [r for r in ok(first)["results"] if "error" not in r]
    assert count(broker, topic) == len(stored) == sum(1 for i in range(10_000) if i % 11)
    places = {(m["partition"], m["offset"]): m["value"] for m in broker.everything(topic)}
    for m, r in zip(messages, ok(first)["results"]):
        assert "error" in r or places[r["partition"], r["offset"]] == m["value"]


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture(broker: Broker, topic: str, seed: int) -> None:
    rng = random.Random(seed)
    broker.create(topic, rng.choice([1, 2, 7]))
    for _ in range(10):
        messages = [
            {"value": "v" * rng.choice([0, 1, 100, 70_000]),
             "key": rng.choice([None, "a", "b", "c"]),
             "partition": rng.choice([None, None, 0, 1, 5, 99]),
             "priority": rng.choice([None, "low", "critical", "?"]),
             "delay": rng.choice([None, None, "1h", "?", "0s"])}
            for _ in range(rng.choice([1, 2, 30]))
        ]
        key = unique()
        first = send(broker, topic, key, *messages)
        same(first, send(broker, topic, key, *messages)) if any(
            "error" not in r for r in ok(first)["results"]
        ) else None


@pytest.mark.parametrize("key", ["k", "K" * 255, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", unique()], ids=len)
def test_good_keys(broker: Broker, key: str) -> None:
    topic = unique("topic")
    same(send(broker, topic, key, "a"), send(broker, topic, key, "b"))
    assert count(broker, topic) == 1


@pytest.mark.parametrize("key", ["", "a b", "a\tb", "x" * 256, "\x7f", "ü"], ids=repr)
def test_bad_keys(broker: Broker, topic: str, key: str) -> None:
    body = json.dumps({"messages": [{"value": "a"}]}).encode()
    head = f"POST /topics/{topic}/messages HTTP/1.1\r\nHost: h\r\nIdempotency-Key: {key}\r\n"
    with broker.raw(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body) as raw:
        got = raw.reply()
    assert got is not None
    assert got[0] == 400
    assert broker.get(f"/topics/{topic}").status_code == 404  # nothing was made


def test_other_routes_ignore_it(broker: Broker, topic: str) -> None:
    headers = {"Idempotency-Key": "a b"}
    ok(broker.request("GET", "/topics", headers=headers))
    ok(broker.request("POST", "/topics", {"name": topic}, headers=headers), 201)
    refused(broker.request("POST", "/topics", {"name": topic}, headers=headers), 409)


def test_a_refused_request_does_not_use_up_the_key(broker: Broker, topic: str) -> None:
    key = unique()
    refused(send(broker, topic, key), 400)
    refused(broker.client.post(f"/topics/{topic}/messages", content="{", headers={"Idempotency-Key": key}), 400)
    first = send(broker, topic, key, "a")
    same(first, send(broker, topic, key, "a"))
    assert count(broker, topic) == 1


def test_the_same_key_at_the_same_time(broker: Broker, topic: str) -> None:
    broker.create(topic, 4)
    with ThreadPoolExecutor(16) as pool:
        for turn in range(10):
            key = unique()
            replies = list(pool.map(lambda i: send(broker, topic, key, f"{turn}", f"{turn}"), range(16)))
            assert len({r.content for r in replies}) == 1
            ok(replies[0])
    assert Counter(m["value"] for m in broker.everything(topic)) == {str(t): 2 for t in range(10)}


def test_a_deleted_topic(broker: Broker, topic: str) -> None:
    """The key outlives the topic: still the first reply."""
    key = unique()
    first = send(broker, topic, key, "a")
    ok(broker.delete(f"/topics/{topic}"))
    same(first, send(broker, topic, key, "a"))


@pytest.mark.parametrize("restart", RESTARTS)
def test_restarts(own_broker: Broker, restart: Callable[[Broker], Any]) -> None:
    b = own_broker
    b.create("t", 3)
    bodies = [[f"{i}", {"value": "d", "delay": "1h"}, {"value": "e", "partition": i}, {"value": "l" * i * 999}]
              for i in range(50)]
    firsts = [send(b, "t", f"key-{i}", *body) for i, body in enumerate(bodies)]
    before = count(b, "t")
    for _ in range(2):
        restart(b)
        for i, (first, body) in enumerate(zip(firsts, bodies)):
            same(first, send(b, "t", f"key-{i}", *body))
        assert count(b, "t") == before
    assert before == 50 * 3 + 3


class Proxy:
    """Hands requests on and, by `drop`, loses the reply, or half of it; the request was done."""

    def __init__(self, broker: Broker, drop: Callable[[bytes], "int | None"]) -> None:
        self.broker, self.drop = broker, drop  # how many bytes of the reply go through; None: all
        self.dropped = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.broker.port)) as broker:
            while request := self._message(client):
                broker.sendall(request)
                reply = self._message(broker)
                through = self.drop(request)
                if through is not None:
                    self.dropped += 1
                    client.sendall(reply[:through])
                    return
                client.sendall(reply)

    @staticmethod
    def _message(source: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            part = source.recv(65536)
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        size = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        while len(body) < size:
            part = source.recv(65536)
            if not part:
                return b""
            body += part
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)


@pytest.fixture
def losing(broker: Broker) -> Iterator[Proxy]:
    """Loses every other reply to a publish or transaction call, at any point."""
    rng = random.Random(1)

    def drop(request: bytes) -> "int | None":
        return rng.choice([0, 1, 40]) if request.startswith(b"POST") and rng.random() < 0.5 else None

    proxy = Proxy(broker, drop)
    yield proxy
    proxy.close()


def test_sdk_retries_never_duplicate(broker: Broker, losing: Proxy, topic: str) -> None:
    """Whatever the proxy loses: each message once, and each answer is where it is."""
    broker.create(topic, 3)

    async def publish(client: GoQueueClient, worker: int) -> list[tuple[str, int, int]]:
        got = []
        for i in range(25):
            values = [f"{worker}-{i}-{k}" for k in range(3)]
            reply = await client.messages.publish(topic, [{"value": v} for v in values])
            got += [(v, r["partition"], r["offset"]) for v, r in zip(values, reply["results"])]
        return got

    async def main() -> list[tuple[str, int, int]]:
        url = f"http://127.0.0.1:{losing.port}"
        async with GoQueueClient(url, max_retries=30, initial_delay=0.005, max_delay=0.05) as client:
            return sum(await asyncio.gather(*(publish(client, w) for w in range(4))), [])

    answered = asyncio.run(main())
    assert losing.dropped > 30
    stored = [(m["value"], m["partition"], m["offset"]) for m in broker.everything(topic)]
    assert sorted(stored) == sorted(answered)
    assert len(answered) == 300


def test_sdk_retries_in_transactions(broker: Broker, losing: Proxy, topic: str) -> None:
    """With sequence numbers, a transaction through a losing proxy is whole and once."""

    async def main() -> None:
        url = f"http://127.0.0.1:{losing.port}"
        async with GoQueueClient(url, max_retries=30, initial_delay=0.005, max_delay=0.05) as client:
            for turn in range(10):
                name = unique()
                producer = await client.transactions.init_producer({"transactional_id": name})
                pid, epoch = producer["producer_id"], producer["epoch"]
                await client.transactions.begin({"producer_id": pid, "epoch": epoch, "transactional_id": name})
                for i in range(4):
                    await client.transactions.publish(
                        {"producer_id": pid, "epoch": epoch, "topic": topic, "value": f"{turn}-{i}", "sequence": i}
                    )
                end = client.transactions.commit if turn % 2 else client.transactions.abort
                await end({"producer_id": pid, "epoch": epoch, "transactional_id": name})

    asyncio.run(main())
    assert losing.dropped > 20
    expected = sorted(f"{turn}-{i}" for turn in range(1, 10, 2) for i in range(4))
    assert sorted(m["value"] for m in broker.everything(topic)) == expected


def test_kill_under_load(own_broker: Broker) -> None:
    """kill -9 while clients publish; each repeats its request until it is answered: every message once."""
    b = own_broker
    b.create("t", 3)
    stop = threading.Event()
    sent: list[list[str]] = [[] for _ in range(4)]

    def publish(worker: int) -> None:
        n = 0
        while not stop.is_set():
            values = [f"{worker}-{n}-{k}" for k in range(2)]
            body, key = {"messages": [{"value": v} for v in values]}, unique()
            end = time.monotonic() + 60 * PATIENCE
            while True:
                try:
                    reply = httpx.post(f"http://127.0.0.1:{b.port}/topics/t/messages", json=body,
                                       headers={"Idempotency-Key": key}, timeout=10 * PATIENCE)
                    ok(reply)
                    break
                except httpx.TransportError:
                    assert time.monotonic() < end
                    time.sleep(0.02)
            sent[worker] += values
            n += 1

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(publish, w) for w in range(4)]
        try:
            for _ in range(4):
                time.sleep(0.4)
                b.crash()
            time.sleep(0.2)
        finally:
            stop.set()
        for worker in workers:
            worker.result()
    assert sum(map(len, sent)) > 50
    assert sorted(m["value"] for m in b.everything("t")) == sorted(sum(sent, []))
