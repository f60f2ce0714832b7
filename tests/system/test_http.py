"""Contract 2.1 to 2.3 and 2.7: what holds for every request."""

from __future__ import annotations

import json
import os
import re
import socket
import time

import pytest
from harness import PATIENCE, Broker, check_error, ok, refused, unique

MIB = 1024 * 1024


def published(topic: str, value: str = "x") -> tuple[str, bytes]:
    return f"/topics/{topic}/messages", json.dumps({"messages": [{"value": value}]}).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/topics/x/y", "/v1", "/v1/nothing", "/v1/v1/topics", "/topics//x", "//topics",
     "/messages", "/messages/nacks", "/messages/nack/batch", "/messages/dlq", "/delay", "/priority",
     "/schemas/subjects", "/transactions/a/b", "/producers", "/producers/1", "/traces", "/reliability", "/admin/tenants",
     "/topics/x/delayed/0/1/2", "/groups/g/offsets/set", "/Topics", "/topics/x/partitions/0"],
)
def test_unknown_paths(broker: Broker, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT"):
        with broker.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()) as raw:
            reply = raw.reply()
        assert reply is not None
        status, headers, body = reply
        assert status == 404
        assert check_error(status, headers["content-type"], body)["code"] == "not_found"


def test_the_root(broker: Broker) -> None:
    assert broker.get("/").status_code in (200, 404)


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/topics", "DELETE", {"GET", "POST"}),
        ("/topics", "PUT", {"GET", "POST"}),
        ("/topics", "BREW", {"GET", "POST"}),
        ("/topics/t", "POST", {"GET", "DELETE"}),
        ("/topics/t", "PATCH", {"GET", "DELETE"}),
        ("/topics/t/messages", "GET", {"POST"}),
        ("/v1/messages/ack", "GET", {"POST"}),
        ("/messages/ack", "HEAD", {"POST"}),
        ("/messages/nack", "GET", {"POST"}),
        ("/topics/t/delayed", "POST", {"GET"}),
        ("/topics/t/delayed/0", "DELETE", {"GET"}),
        ("/topics/t/delayed/0/0", "GET", {"DELETE"}),
        ("/health", "POST", {"GET"}),
        ("/metrics", "DELETE", {"GET"}),
        ("/groups/g/offsets", "DELETE", {"GET", "POST"}),
        ("/groups/g/join", "GET", {"POST"}),
    ],
)
def test_wrong_methods(broker: Broker, path: str, method: str, allowed: set[str]) -> None:
    reply = broker.request(method, path)
    assert reply.status_code == 405
    methods = {m.strip() for m in reply.headers["allow"].split(",")}
    assert methods - {"HEAD", "OPTIONS"} == allowed
    if method != "HEAD":
        refused(reply, 405, "method_not_allowed")


def test_head(broker: Broker, topic: str) -> None:
    broker.create(topic)
    for path in ("/health", "/topics", f"/topics/{topic}", "/metrics", "/v1/version"):
        reply = broker.request("HEAD", path)
        assert reply.status_code == 200
        assert reply.content == b""
        assert reply.headers["content-type"] == broker.get(path).headers["content-type"]
    assert broker.request("HEAD", f"/topics/{unique()}").status_code == 404
    with broker.raw(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as raw:
        first, second = raw.reply(has_body=False), raw.reply()
    assert first is not None
    assert second is not None
    assert second[0] == 200
    assert json.loads(second[2])["status"] == "pass"


def test_cors(broker: Broker) -> None:
    reply = broker.request(
        "OPTIONS",
        "/topics",
        headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"},
    )
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == "*"
    methods = set(re.split(r",\s*", reply.headers["access-control-allow-methods"]))
    assert methods >= {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    allowed = set(re.split(r",\s*", reply.headers["access-control-allow-headers"].lower()))
    assert allowed >= {"accept", "authorization", "content-type", "x-api-key", "x-request-id",
                       "x-tenant-id", "traceparent", "idempotency-key"}
    assert reply.headers["access-control-max-age"] == "300"
    for plain in (broker.get("/health"), broker.get("/nothing"), broker.delete("/topics")):
        assert plain.headers["access-control-allow-origin"] == "*"
        exposed = plain.headers["access-control-expose-headers"].lower()
        assert "x-request-id" in exposed
        assert "retry-after" in exposed


def test_v1_and_trailing_slash(broker: Broker, topic: str) -> None:
    path, body = published(topic)
    for at in (f"/v1{path}", f"{path}/", f"/v1{path}/"):
        ok(broker.client.post(at, content=body))
    assert ok(broker.get(f"/v1/topics/{topic}/"))["total_messages"] == 3
    refused(broker.get(f"/topics/{topic}//"), 404, "not_found")


def test_percent_encoded_paths(broker: Broker, topic: str) -> None:
    broker.create(topic)
    with broker.raw(f"GET /%74opics/{topic.replace('-', '%2d')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as raw:
        reply = raw.reply()
    assert reply is not None
    assert json.loads(reply[2])["name"] == topic


def test_request_ids(broker: Broker) -> None:
    reply = broker.request("GET", "/health", headers={"X-Request-ID": "my-id_1.2"})
    assert reply.headers["x-request-id"] == "my-id_1.2"
    drawn = {broker.get(path).headers["x-request-id"] for path in ("/health", "/nothing", "/health")}
    assert len(drawn) == 3
    assert all(drawn)
    for strange in ("x" * 5000, "a\tb", "é"):
        reply = broker.request("GET", "/health", headers={"X-Request-ID": strange.encode()})
        assert reply.status_code == 200
        assert reply.headers["x-request-id"]


def test_default_server_ignores_credentials(broker: Broker) -> None:
    headers = {"Authorization": "Bearer token", "X-API-Key": "k"}
    assert broker.request("GET", "/topics?api_key=x", headers=headers).status_code == 200


def test_the_content_type_is_not_checked(broker: Broker, topic: str) -> None:
    path, body = published(topic)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        ok(broker.client.post(path, content=body, headers={"Content-Type": kind}))
    reply = broker.request("GET", "/topics", headers={"Content-Type": "application/json"})
    assert reply.status_code == 200
    assert broker.request("DELETE", f"/topics/{topic}", {"unused": 1}).status_code == 200


@pytest.mark.parametrize("path", ["/topics", "/messages/ack", "/groups/g/join", "/topics/t/messages"])
def test_an_empty_body_where_one_is_needed(broker: Broker, path: str) -> None:
    refused(broker.post(path), 400, "invalid_json")


def test_body_limits_with_drain(idle_broker: Broker) -> None:
    """A body over the limit is read and dropped, and the connection serves on."""
    broker = idle_broker.start(LIMITS_PUBLISHBODY="2MiB", LIMITS_BODY="64KiB")
    broker.create("t")
    fits = json.dumps({"messages": [{"value": "x"}]}).encode().ljust(2 * MIB)
    with broker.raw(timeout=30) as raw:
        raw.send(post("/topics/t/messages", fits))
        reply = raw.reply()
        assert reply is not None
        assert reply[0] == 200
        for size in (2 * MIB + 1, 4 * MIB, 7 * MIB):
            raw.send(post("/topics/t/messages", b" " * size))
            reply = raw.reply()
            assert reply is not None
            assert check_error(413, reply[1]["content-type"], reply[2])["code"] == "payload_too_large"
            raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = raw.reply()
            assert reply is not None
            assert reply[0] == 200
        for path in ("/topics", "/messages/ack", "/groups/g/join"):
            raw.send(post(path, b" " * (64 * 1024 + 1)))
            reply = raw.reply()
            assert reply is not None
            assert check_error(413, reply[1]["content-type"], reply[2])
    assert broker.values("t") == ["x"]


def test_a_body_far_over_the_limit_is_answered_and_cut(idle_broker: Broker) -> None:
    broker = idle_broker.start(LIMITS_BODY="64KiB")
    with broker.raw(timeout=20) as raw:
        raw.send(b"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        try:
            for _ in range(64):
                raw.send(b" " * 65536)
        except OSError:
            pass
        reply = raw.reply()
        if reply is not None:
            assert reply[0] == 413
        assert reply is None or raw.closed()
    assert broker.get("/health").status_code == 200


def test_a_large_body_of_a_request_that_needs_none(broker: Broker) -> None:
    with broker.raw(timeout=20) as raw:
        body = b"x" * 500_000
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        reply = raw.reply()
        assert reply is not None
        assert reply[0] == 200
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = raw.reply()
        assert reply is not None
        assert reply[0] == 200


def test_chunked_bodies(broker: Broker, topic: str) -> None:
    path, body = published(topic, "x" * 1000)
    for size in (1, 7, 500, 100_000):
        parts = [body[i : i + size] for i in range(0, len(body), size)]
        chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in parts)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with broker.raw(head + chunks + b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n") as raw:
            for expected in (200, 200):
                reply = raw.reply()
                assert reply is not None
                assert reply[0] == expected, reply
    assert ok(broker.get(f"/topics/{topic}"))["total_messages"] == 4


def test_expect_100_continue(broker: Broker, topic: str) -> None:
    path, body = published(topic)
    head = post(path, b"", "Expect: 100-continue").replace(
        b"Content-Length: 0", b"Content-Length: %d" % len(body)
    )
    with broker.raw(head) as raw:
        got = raw.head()
        assert got is not None
        assert got[0] == 100
        raw.send(body)
        reply = raw.reply()
    assert reply is not None
    assert reply[0] == 200


def test_slow_clients(broker: Broker, topic: str) -> None:
    """Head and body may come byte by byte."""
    path, body = published(topic)
    with broker.raw() as raw:
        for byte in post(path, body):
            raw.send(bytes([byte]))
            time.sleep(0.0005)
        reply = raw.reply()
    assert reply is not None
    assert reply[0] == 200


def test_pipelining(broker: Broker, topic: str) -> None:
    """Requests sent without waiting are answered in order."""
    broker.create(topic)
    requests = b""
    for i in range(50):
        requests += post(*published(topic, str(i)))
        requests += f"GET /topics/{topic}/partitions/0/messages?offset={i} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with broker.raw(requests, timeout=20) as raw:
        for i in range(50):
            stored, read = raw.reply(), raw.reply()
            assert stored is not None
            assert read is not None
            assert json.loads(stored[2])["results"][0]["offset"] == i
            assert [m["value"] for m in json.loads(read[2])["messages"]] == [str(i)]


def test_connections_are_kept_and_closed_as_asked(broker: Broker) -> None:
    with broker.raw() as raw:
        for _ in range(100):
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = raw.reply()
            assert reply is not None
            assert reply[0] == 200
            assert reply[1].get("connection", "").lower() != "close"
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        reply = raw.reply()
        assert reply is not None
        assert reply[1]["connection"].lower() == "close"
        assert raw.closed()
    with broker.raw(b"GET /healthz HTTP/1.0\r\n\r\n") as raw:
        assert raw.reply() is not None
        assert raw.closed()


def test_error_replies_keep_the_connection(broker: Broker) -> None:
    with broker.raw() as raw:
        for body in (b"{", b"", b"[]", b'{"name":5}', b'{"name":"a b"}') * 20:
            raw.send(post("/topics", body))
            reply = raw.reply()
            assert reply is not None
            assert check_error(400, reply[1]["content-type"], reply[2])


def test_many_connections(broker: Broker, topic: str) -> None:
    broker.create(topic)
    connections = [broker.raw() for _ in range(200)]
    try:
        for raw in connections:
            raw.send(post(*published(topic)))
        for raw in connections:
            reply = raw.reply()
            assert reply is not None
            assert reply[0] == 200
    finally:
        for raw in connections:
            raw.socket.close()
    assert ok(broker.get(f"/topics/{topic}"))["total_messages"] == 200


def test_idle_connections_are_closed(idle_broker: Broker) -> None:
    broker = idle_broker.start(LIMITS_IDLETIMEOUT="1s")
    member = None
    broker.create("t")
    member = broker.join("g", "t")["member_id"]
    with broker.raw() as idle, broker.raw(b"GET /hea") as slow:
        start = time.monotonic()
        assert idle.closed()
        assert 0.5 < time.monotonic() - start < 6 * PATIENCE
        got = slow.reply()
        assert got is None or got[0] == 408
    with broker.raw(timeout=20) as parked:  # waiting at the broker is not idling
        parked.send(f"GET /groups/g/poll?member_id={member}&timeout=3s HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reply = parked.reply()
        assert reply is not None
        assert reply[0] == 200


def test_half_sent_requests_of_clients_that_left_are_let_go(broker: Broker) -> None:
    """Their sockets must not wait for a timeout: 40 of them, and the broker's descriptors come back."""
    assert broker.process is not None
    descriptors = f"/proc/{broker.process.pid}/fd"
    before = len(os.listdir(descriptors))
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", broker.port)) as client:
            client.sendall(b"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    deadline = time.monotonic() + 10
    while len(os.listdir(descriptors)) > before + 2:
        assert time.monotonic() < deadline, os.listdir(descriptors)
        time.sleep(0.05)
