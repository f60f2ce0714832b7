"""SIGTERM while the broker is at work."""

from __future__ import annotations

import json
import signal
import threading
import time

from harness import PATIENCE, Broker, Raw, ok


def test_parked_requests_are_answered(own_broker: Broker) -> None:
    b = own_broker
    b.create("t")
    member = b.join("g", "t")["member_id"]
    targets = [f"/groups/g/poll?member_id={member}&timeout=60s"] * 20
    targets += ["/topics/t/partitions/0/messages?timeout=60s"] * 5
    parked = [b.raw(f"GET {t} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), timeout=20) for t in targets]
    time.sleep(0.3)
    start = time.monotonic()
    b.stop()
    assert time.monotonic() - start < 5 * PATIENCE
    for raw in parked:
        with raw:
            reply = raw.reply()
            assert reply is not None, "closed without an answer"
            status, headers, body = reply
            assert status in (200, 503)
            assert headers["connection"].lower() == "close"
            if status == 200:
                assert json.loads(body)["messages"] == []
            else:
                assert "retry-after" in headers
            assert raw.closed()


def test_nothing_published_is_lost(own_broker: Broker) -> None:
    """Publishers hammer while it stops: what was answered 200 is there, 5xx and silence is not."""
    b = own_broker
    b.create("t", 3)
    confirmed: list[str] = []
    unsure: list[str] = []
    refusals: list[str] = []
    lock = threading.Lock()

    def publish(n: int) -> None:
        raw = Raw(b.port, timeout=20)
        with raw:
            for i in range(100_000):
                value = f"{n}-{i}"
                body = json.dumps({"messages": [{"value": value}]}).encode()
                head = b"POST /topics/t/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                try:
                    raw.send(head % len(body) + body)
                    reply = raw.reply()
                except OSError:
                    reply = None
                with lock:
                    if reply is None:
                        unsure.append(value)
                        return
                    (confirmed if reply[0] == 200 else refusals).append(value)
                if reply[0] != 200:
                    assert reply[0] == 503, reply
                    assert reply[1]["connection"].lower() == "close"
                if reply[1].get("connection", "").lower() == "close":
                    return

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    b.stop()
    for thread in threads:
        thread.join()
    assert len(confirmed) > 100
    assert not unsure, "a connection was closed without an answer"
    b.start()
    stored: list[str] = []
    for partition in range(3):
        at = 0
        while page := b.consume("t", partition, offset=at, limit=1000)["messages"]:
            stored += [m["value"] for m in page]
            at = page[-1]["offset"] + 1
    assert len(set(stored)) == len(stored)
    assert set(stored) == set(confirmed)


def test_acks_and_positions_are_kept(own_broker: Broker) -> None:
    b = own_broker
    b.create("t")
    b.publish("t", *map(str, range(10)))
    member = b.join("g", "t")["member_id"]
    for message in b.poll("g", member, max_messages=4):
        ok(b.ack(message["receipt_handle"]))
    b.restart()
    assert b.positions("g") == {"t": {"0": 4}}
    assert [m["value"] for m in b.poll("g", member)] == [str(i) for i in range(4, 10)]


def test_sigint_and_repeated_signals(own_broker: Broker) -> None:
    own_broker.publish("t", "x")
    assert own_broker.process is not None
    own_broker.process.send_signal(signal.SIGINT)
    own_broker.process.wait(20 * PATIENCE)
    own_broker.stop()  # reaps, and checks the exit code
    own_broker.start()
    assert own_broker.process is not None
    own_broker.process.send_signal(signal.SIGTERM)
    own_broker.stop()
    own_broker.start()
    assert own_broker.values("t") == ["x"]


def test_an_unfinished_request_does_not_hold_it_up(own_broker: Broker) -> None:
    with own_broker.raw(b"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
        time.sleep(0.1)
        start = time.monotonic()
        own_broker.stop()
        assert time.monotonic() - start < 15 * PATIENCE


def test_many_restarts(own_broker: Broker) -> None:
    for i in range(10):
        own_broker.publish("t", {"value": str(i), "partition": 0})
        own_broker.restart()
        assert own_broker.values("t") == [str(n) for n in range(i + 1)]
