"""Malformed and hostile requests, generated from tables; at least 500 in all.

Each gets the contract's error as JSON, or, when it is garbage that never becomes a request, a 4xx
or a closed connection. After each group the broker serves as before, and its memory is bounded.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

import pytest
from harness import PATIENCE, Broker, check_error, ok

RSS_GROWTH_MAX = 96 * 1024 * 1024
COUNT_MIN = 500

HTTP = "http"  # garbage of the framing: a 4xx, or the connection is closed


class Case(NamedTuple):
    label: str
    data: bytes
    expected: Any  # statuses, or HTTP
    end: bool = False  # the client sends no more: half-close, and an answer is not required


def request(method: str, path: "str | bytes", body: bytes = b"", *headers: str) -> bytes:
    target = path if isinstance(path, bytes) else path.encode()
    lines = b"".join(h.encode("latin-1") + b"\r\n" for h in headers)
    size = b"Content-Length: %d\r\n" % len(body) if body or method == "POST" else b""
    return b"%s %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n%s" % (method.encode(), target, lines, size, body)


RECEIPT = base64.urlsafe_b64encode(b"\1" + bytes(48)).decode().rstrip("=")  # opens nothing: 404
BODIES: dict[str, dict[str, Any]] = {  # a good body of every endpoint that takes one
    "/topics": {
        "name": "never-made", "num_partitions": 1, "retention_hours": 1, "retention_bytes": 1, "cleanup_policy": "delete", "visibility_timeout": "1s",
        "max_deliveries": 1, "max_in_flight": 1, "max_delayed": 1, "priority_mode": "weighted",
    },
    "/topics/victim/messages": {"messages": [{"value": "x"}]},
    "/messages/ack": {"receipt_handle": "x", "consumer_id": "c"},
    "/messages/ack/batch": {"receipt_handles": ["x"]},
    "/messages/nack": {"receipt_handle": RECEIPT, "delay": "1s", "reason": "r"},
    "/messages/reject": {"receipt_handle": RECEIPT, "reason": "r"},
    "/messages/visibility": {"receipt_handle": RECEIPT, "timeout": "1s"},
    "/messages/dlq/replay": {
        "dlq_topic": "nothing.dlq", "target_topic": "nothing", "partition": 0, "from_offset": 0,
        "max_messages": 1,
    },
    "/groups/g/join": {
        "client_id": "c", "topics": ["nothing"], "session_timeout": "30s", "member_id": "m",
        "auto_offset_reset": "latest", "visibility_timeout": "1s",
        "max_in_flight": 5, "max_deliveries": 5,
    },
    "/groups/g/heartbeat": {"member_id": "m", "generation": 1},
    "/groups/g/leave": {"member_id": "m"},
    "/groups/g/offsets": {"member_id": "m", "offsets": {"victim": {"0": 1}}, "generation": 1},
}
MESSAGE: dict[str, Any] = {
    "value": "x", "key": "k", "partition": 0, "delay": "1s", "priority": "low",
    "deliverAt": "2030-01-01T00:00:00Z", "headers": {"a": "b"},
}
WRONG: dict[type, list[Any]] = {  # values of another type than the good one
    str: [5, -1.5, True, False, [], ["x"], {}, {"x": "y"}],
    int: ["5", "", 1.5, 1.0, True, [], {}, 2**63, -(2**63) - 1],
    list: ["x", 5, True, {}, {"0": "x"}],
    dict: ["x", 5, True, [5], ["x"]],
}

MALFORMED = [
    b"", b" ", b"{", b"}", b"[", b"]", b'"', b"{]", b"[}", b"nul", b"null", b"nullx", b"tru", b"TRUE",
    b"true", b"5", b'"text"', b"[]", b"{}}", b"{} {}", b"{}x", b"{},", b'{"a"}', b'{"a":}',
    b'{"a":1,}', b'{,"a":1}', b'{"a":1 "b":2}', b"{'a':1}", b"{a:1}", b'{"a":01}', b'{"a":+1}',
    b'{"a":.5}', b'{"a":1.}', b'{"a":1e}', b'{"a":0x1}', b'{"a":NaN}', b'{"a":Infinity}',
    b'{"a":-}', b'{"a":--1}', b'{"a":"\\x41"}', b'{"a":"\\u12"}', b'{"a":"\\u12g4"}', b'{"a":"\n"}',
    b'{"a":"\t"}', b'{"a":"\x00"}', b'{"a":"\x1f"}', b'{"a":"\\"}', b'{"a":"\\ud800"}',
    b'{"a":"\\udc00"}', b'{"a":"\\ud800\\u0041"}', b'{"a":"\\udc00\\ud800"}', b'{"\\ud800":1}',
    b'{"a":"\xff"}', b'{"a":"\xc0\x80"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xf4\x90\x80\x80"}',
    b'{"a":"\xe2\x82"}', b'{"\xff":1}', b'{"a":\xff}', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}",
    b"/* c */{}", b"{}// c", b'{"a":1}\x00', b"\x00", b'{"a":[1,]}', b'{"a":[,1]}', b'{"a":[1 2]}',
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65,
    b'{"a":"' + b"x" * 100_000, b"-" * 100_000, b'{"a":' + b"[" * 500_000 + b"}",
]


def malformed_json() -> Iterator[Case]:
    for path in BODIES:
        for bad in MALFORMED:
            yield Case(f"{path} {bad[:20]!r}", request("POST", path, bad), (400,))


def broken_inside() -> Iterator[Case]:
    """A good body with one piece of broken JSON in a member that nobody reads."""
    for path, good in BODIES.items():
        text = json.dumps(good).encode()
        for bad in (b"01", b'"\\ud800"', b'"\xff"', b"[" * 70 + b"]" * 70, b"{1:2}", b"tru"):
            for body in (text[:-1] + b',"extra":' + bad + b"}", b'{"extra":' + bad + b"," + text[1:]):
                yield Case(f"{path} {bad[:20]!r}", request("POST", path, body), (400,))
        yield Case(f"{path} trailing", request("POST", path, text + b"}"), (400,))
        yield Case(f"{path} twice", request("POST", path, text + text), (400,))
        for cut in range(1, len(text), 7):
            yield Case(f"{path} cut at {cut}", request("POST", path, text[:cut]), (400,))


def wrong_types() -> Iterator[Case]:
    for path, good in BODIES.items():
        for field, value in good.items():
            for wrong in WRONG[type(value)]:
                if path.endswith("/offsets") and field == "offsets" and isinstance(wrong, list):
                    wrong = [5]
                data = json.dumps({**good, field: wrong}).encode()
                yield Case(f"{path} {field}={wrong!r}", request("POST", path, data), (400,))
    publish = "/topics/victim/messages"
    for field, value in MESSAGE.items():
        for wrong in WRONG[type(value)]:
            body = {"messages": [{"value": "before"}, {**MESSAGE, field: wrong}]}
            data = json.dumps(body).encode()
            yield Case(f"message {field}={wrong!r}", request("POST", publish, data), (400,))
    for path, known, alias in (("/topics", "num_partitions", "partitions"),
                               ("/groups/g/join", "session_timeout", "session_timeout_ms"),
                               ("/messages/visibility", "timeout", "extension_seconds"),
                               ("/messages/dlq/replay", "from_offset", "offset")):
        for wrong in WRONG[int]:
            body = {k: v for k, v in BODIES[path].items() if k != known}
            data = json.dumps({**body, alias: wrong}).encode()
            yield Case(f"{path} {alias}={wrong!r}", request("POST", path, data), (400,))
    for wrong in (5, "x", None, [], True):
        data = json.dumps({"messages": [{"value": "x"}, wrong]}).encode()
        yield Case(f"message={wrong!r}", request("POST", publish, data), (400,))
    for wrong in (1, None, True, [], {}):
        data = json.dumps({"messages": [{"value": "x", "headers": {"a": "b", "c": wrong}}]}).encode()
        if wrong is not None:
            yield Case(f"header={wrong!r}", request("POST", publish, data), (400,))


def out_of_range() -> Iterator[Case]:
    long = "x" * 300
    table: list[tuple[str, str, Any]] = [
        ("/topics", "name", v)
        for v in ("", ".", "..", "a/b", "a\\b", "a b", "a\0", "\u202e", "é", long, "__a", "a.dlq.dlq",
                  "%2e%2e", "../../etc/passwd", "a\n", " a", ".dlq", "-" * 256)
    ]
    table += [("/topics", "num_partitions", v) for v in (0, -1, 1025, 2**31, 2**32, 2**63 - 1)]
    table += [("/topics", "retention_hours", v) for v in (0, -2, 2**62, -(2**63))]
    durations = ("", "30", "1d", "5 s", "1h-5m", "-1s", "s", "1", "1e3s", "9999999999999h", "∞s", "1s\0")
    table += [("/topics", "visibility_timeout", v) for v in durations]
    table += [("/topics", "cleanup_policy", v) for v in ("", "DELETE ", "drop", "compact\0")]
    table += [("/groups/g/join", "session_timeout", v) for v in (*durations, "0s", "31m")]
    table += [("/groups/g/join", "client_id", v) for v in ("", long)]
    table += [("/groups/g/join", "topics", v) for v in ([], [5], [None], [["x"]], [{}])]
    table += [("/groups/g/join", "max_in_flight", v) for v in (0, -1, 2**40)]
    table += [("/messages/ack", "receipt_handle", v) for v in ("", "x", long, "é", "\0", "=" * 64)]
    table += [("/topics", "max_deliveries", v) for v in (0, -1, 2**31, 2**32, 2**63 - 1)]
    table += [("/topics", "max_in_flight", v) for v in (-1, 2**40, 2**63 - 1)]
    table += [("/topics", "max_delayed", v) for v in (-1, 2**40, 2**63 - 1)]
    table += [("/topics", "priority_mode", v) for v in ("", "Strict", "fair", "weighted\0", long)]
    table += [("/groups/g/join", "max_deliveries", v) for v in (0, -1, 2**31, 2**32, 2**63 - 1)]
    broken = ("", "x", long, "é", "\0", "=" * 64, RECEIPT[:-1], RECEIPT + "A", " " + RECEIPT,
              "!" + RECEIPT[1:], "B" + RECEIPT[1:], RECEIPT + "=", RECEIPT * 9, RECEIPT[:-1] + "B")
    for operation in ("nack", "reject", "visibility"):
        table += [(f"/messages/{operation}", "receipt_handle", v) for v in broken]
    table += [("/messages/nack", "delay", v) for v in (*durations, "12h1ms", "13h", "-0.1s")]
    table += [("/messages/visibility", "timeout", v) for v in (*durations, "0", "0s", "12h1ms", "13h")]
    replay = "/messages/dlq/replay"
    table += [(replay, "partition", v) for v in (-1, -(2**63))]
    table += [(replay, "from_offset", v) for v in (-1, -(2**63))]
    table += [(replay, "max_messages", v) for v in (0, -1, -(2**63))]
    table += [("/messages/ack/batch", "receipt_handles", v) for v in ([], [5], [None], ["x"] * 1001)]
    offsets: list[Any] = [{}, {"victim": {}}, {"victim": {"0": -1}}, {"victim": {"-1": 0}},
                          {"victim": {"0": None}}, {"victim": {"x": 0}}, {"victim": {" 0": 0}},
                          {"victim": {"0": 2**64}}, {"victim": {"9" * 30: 0}}, {"victim": 5}]
    table += [("/groups/g/offsets", "offsets", v) for v in offsets]
    table += [("/groups/g/heartbeat", "member_id", v) for v in ("",)]
    for path, field, value in table:
        data = json.dumps({**BODIES[path], field: value}).encode()
        yield Case(f"{path} {field}={value!r}"[:80], request("POST", path, data), (400,))
    for number in (b"1e400", b"-1e400", b"1" * 5000, b"1e5", b"0.1", b"-0.0", b"9223372036854775808"):
        data = b'{"name":"never-made","num_partitions":' + number + b"}"
        yield Case(f"number {number[:20]!r}", request("POST", "/topics", data), (400,))


def paths() -> Iterator[Case]:
    pieces = [
        "%2e", "%2e%2e", "%2E%2e%2f%2e%2e", "..%2f..%2fetc%2fpasswd", "..", ".", "...", "..;",
        "..%3b", "%00", "a%00b", "%0a", "%0d%0aX-Evil:1", "%20", "%7f", "%c0%ae%c0%ae", "%c0%80",
        "%e0%80%ae", "%ff", "%ed%a0%80", "%f4%90%80%80", "%", "%2", "%zz", "%u002e", "%25252e", "a%2fb",
        "a%5cb", "*", "~", "$(id)", "'", "%22", "{t}", "a;b=c", "a,b", "@", ":80", "é", "x" * 256,
        "x" * 4000, "__internal", "%5f%5finternal", "a.b", ".dlq", "victim.dlq.dlq", "&", "=",
    ]
    for piece in pieces:
        for pattern, statuses in (
            ("/topics/{}", (404,)), ("/topics/{}/partitions", (404,)),
            ("/topics/{}/partitions/0/messages", (404,)), ("/groups/{}", (400, 404)),
            ("/groups/{}/offsets", (400, 404, 200)), ("/topics/victim/partitions/{}/messages", (400, 404)),
            ("/topics/{}/inflight", (404,)), ("/topics/{}/delayed", (404,)), ("/topics/{}/delayed/0", (404,)),
            ("/topics/victim/delayed/{}", (400, 404)),
        ):
            target = pattern.format(piece)
            raw = request("GET", target.encode("utf-8" if piece != "é" else "latin-1"))
            # A group may be called "..." or "a.b"; asking for its offsets is then no error.
            lenient = "offsets" in pattern and piece in ("...", "a.b", ".dlq", "__internal", "victim.dlq.dlq",
                                                         "%5f%5finternal")
            yield Case(target, raw, statuses if lenient else tuple(s for s in statuses if s != 200))
        for pattern in ("/topics/{}/delayed/0/0", "/topics/victim/delayed/{}/0", "/topics/victim/delayed/0/{}"):
            target = pattern.format(piece)
            raw = request("DELETE", target.encode("utf-8" if piece != "é" else "latin-1"))
            yield Case(f"DELETE {target}", raw, (400, 404))
    for target in ("//", "///", "/topics//", "//topics", "/./topics", "/../topics", "/topics/../topics",
                   "/v1/../topics", "/topics/victim/../../groups", "/%2ftopics", "/topics%2fvictim",
                   "/topics%00", "/v1//topics", "/v1/v1/v1/topics", "/a/b/c/d/e/f/g/h/i/j/k/l"):
        yield Case(target, request("GET", target), (404,))
    for target in ("topics", "*", "?", "%", "..", "\\topics", "http://", ""):
        yield Case(f"target {target!r}", request("GET", target), HTTP)


def queries() -> Iterator[Case]:
    base = "/topics/victim/partitions/0/messages?"
    numbers = ("-1", "x", "1.5", "1e3", "0x10", "%00", "1%00", "9" * 19, "9" * 400, "+", "--1", "1,2",
               "%ff", "%", "%zz", "٣", "1 ", "%201")
    for value in numbers:
        target = (base + "offset=" + value).encode()
        yield Case(target.decode(), request("GET", target.replace(b" ", b"%20")), (400,))
        target = (base + "limit=" + value).encode()
        wanted = (400, 200) if value == "9" * 19 else (400,)
        yield Case(target.decode(), request("GET", target.replace(b" ", b"%20")), wanted)
    for name, value in ((n, v) for n in ("limit", "skip") for v in numbers):
        target = f"/topics/victim/delayed?{name}={value}"
        wanted = (400, 200) if value == "9" * 19 else (400,)
        raw = request("GET", target.replace(" ", "%20").encode())
        yield Case(target[:60], raw, wanted)
    for value in numbers:
        target = f"/topics/victim/delayed/0?partition={value}".replace(" ", "%20")
        yield Case(target[:60], request("GET", target.encode()), (400, 404))
    for value in ("5", "1d", "-1s", "%ff", "9999999999999h", "1s%00", "now"):
        yield Case(f"timeout={value}", request("GET", base + "timeout=" + value), (400,))
        yield Case(
            f"poll timeout={value}",
            request("GET", f"/groups/g/poll?member_id=m&timeout={value}"), (400,),
        )
    for query in ("", "member_id=", "member_id=%ff", "member_id=m&max_messages=0", "Member_id=m",
                  "member_id=m&max_messages=-5", "member_id=m&generation=x"):
        yield Case(query, request("GET", "/groups/g/poll?" + query), (400,))
    for query in ("member_id=m", "member_id=" + "m" * 3000, "member_id=%00", "member_id=m&&&&=&=x",
                  "?member_id=m&member_id=m"):
        yield Case(query[:40], request("GET", "/groups/none/poll?" + query), (400, 404))
    yield Case("many arguments", request("GET", base + "a=1&" * 40), (200, 400))
    yield Case("very many arguments", request("GET", base + "a=1&" * 5000), HTTP)
    yield Case("verbose", request("GET", "/readyz?verbose=2"), (400,))


def heads() -> Iterator[Case]:
    lines = [
        b"\r\n\r\n\r\n", b"\x00" * 100, b"\xff" * 100, b"GET\r\n\r\n", b"GET /health\r\n\r\n",
        b"GET  /health  HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1x\r\nHost: x\r\n\r\n", b"GET /health HTTP/\r\nHost: x\r\n\r\n",
        b"GET /health FTP/1.1\r\nHost: x\r\n\r\n", b"GET /he\x00alth HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\x00T /health HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /health HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"EHLO x\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health?" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A" * 300_000,
        b"GET /health HTTP/1.1\r\nHost: x\r\nBig: " + b"x" * 300_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"x" * 100_000 + b": b\r\n\r\n",
    ]
    for data in lines:
        yield Case(f"head {data[:40]!r}", data, HTTP, end=True)


def lengths() -> Iterator[Case]:
    good = b'{"messages":[{"value":"smuggled"}]}'
    inner = b"POST /topics/victim/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
        len(good), good,
    )
    head = b"POST /topics/victim/messages HTTP/1.1\r\nHost: x\r\n"
    for value in (b"-1", b"x", b"1x", b"0x10", b"1.5", b"9" * 30, b"1,2", b"1 2", b"\x00", b"1e3", b"--1",
                  b"18446744073709551616", b"18446744073709551615", b"9223372036854775808"):
        yield Case(f"length {value!r}", head + b"Content-Length: " + value + b"\r\n\r\n", HTTP, end=True)
    yield Case("two lengths", head + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + inner, HTTP)
    yield Case("two lengths, swapped",
               head + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n" + inner, HTTP)
    for coding in (b"xchunked", b"chunked, identity", b"gzip", b"identity", b"chunked\x0b", b"chunked,chunked",
                   b"gzip, chunked", b""):
        yield Case(f"coding {coding!r}", head + b"Transfer-Encoding: " + coding + b"\r\nContent-Length: 3"
                   b"\r\n\r\n0\r\n\r\n", HTTP, end=True)
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    for chunk in (b"x\r\n", b"-1\r\n", b"\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n",
                  b"ffffffffffffffffff\r\n", b"5 5\r\nhello\r\n", b"5\nhello\n0\n\n ", b"\xff\r\n",
                  b"7fffffffffffffff\r\nx", b"ffffffffffffffff\r\nx", b"5\r\nhel", b"1" * 5000 + b"\r\n"):
        yield Case(f"chunk {chunk[:20]!r}", chunked + chunk, HTTP, end=True)


def truncated() -> Iterator[Case]:
    """Cut anywhere and closed: nothing is stored."""
    body = b'{"messages":[{"value":"truncated"}]}'
    whole = request("POST", "/topics/victim/messages", body, "Content-Type: application/json")
    for size in range(1, len(whole), 4):
        yield Case(f"cut at {size}", whole[:size], HTTP, end=True)


GROUPS = [malformed_json, broken_inside, wrong_types, out_of_range, paths, queries, heads, lengths,
          truncated]


@pytest.fixture(scope="module")
def victim() -> Iterator[Broker]:
    broker = Broker(LIMITS_IDLETIMEOUT="1s")
    try:
        broker.start()
        broker.create("victim")
        broker.publish("victim", "first")
        yield broker
    finally:
        broker.close()


def answer(broker: Broker, case: Case) -> Optional[str]:
    """What is wrong with the reply to it; None: nothing."""
    with broker.raw(timeout=15) as raw:
        try:
            raw.send(case.data)
            if case.end:
                raw.socket.shutdown(1)
        except OSError:
            pass  # the broker has had enough already; its answer may still be there
        try:
            reply = raw.reply()
        except TimeoutError:
            return "no answer"
    if reply is None:
        return None if case.expected is HTTP else "closed without an answer"
    status, headers, body = reply
    if case.expected is HTTP:
        fine = 400 <= status < 500 or status == 505  # HTTP version not supported
        return None if fine else f"status {status}"
    if status not in case.expected:
        return f"status {status}, not {case.expected}: {body[:200]!r}"
    if status >= 400:
        try:
            check_error(status, headers.get("content-type", ""), body)
        except Exception as problem:
            return f"not the contract's error: {problem!r} {body[:200]!r}"
    return None


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_hostile(victim: Broker, group: Any) -> None:
    before = len(victim.values("victim"))
    wrong = []
    for case in group():
        problem = answer(victim, case)
        if problem is not None:
            wrong.append(f"{case.label}: {problem}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:100])
    assert len(victim.values("victim")) == before, "something was published"
    victim.publish("victim", "still serving")
    assert victim.values("victim", offset=before) == ["still serving"]
    assert "never-made" not in ok(victim.get("/topics"))["topics"]


def test_there_are_enough() -> None:
    count = sum(1 for group in GROUPS for _ in group())
    print(f"{count} malformed or hostile requests")
    assert count >= COUNT_MIN


def test_pipelined_garbage(victim: Broker) -> None:
    """A good request before the garbage is answered; what follows is refused."""
    good = request("GET", "/healthz")
    for garbage in (b"\x00\xff\x00\xff\r\n\r\n", b"BROKEN\r\n\r\n", b"GET /x HTTP/7\r\n\r\n", b"}" * 5000 + b"\r\n\r\n"):
        with victim.raw(good * 3 + garbage, timeout=15) as raw:
            for _ in range(3):
                reply = raw.reply()
                assert reply is not None
                assert reply[0] == 200
            last = raw.reply()
            assert last is None or 400 <= last[0] < 500


def test_smuggling(victim: Broker) -> None:
    """With both a length and chunks, the second request inside is never run."""
    before = len(victim.values("victim"))
    body = b'{"messages":[{"value":"smuggled"}]}'
    inner = request("POST", "/topics/victim/messages", body)
    head = b"POST /topics HTTP/1.1\r\nHost: x\r\n"
    for data in (
        head + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(inner) + 5) + inner,
        head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
        head + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner,
    ):
        with victim.raw(data, timeout=15) as raw:
            reply = raw.reply()
            assert reply is None or 400 <= reply[0] < 500
            assert reply is None or raw.reply() is None, "the connection went on"
    assert len(victim.values("victim")) == before


def test_slow_requests_do_not_block_others(victim: Broker) -> None:
    slow = [victim.raw(b"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{") for _ in range(50)]
    slow += [victim.raw(b"GET /hea") for _ in range(50)]
    try:
        for i in range(20):
            victim.publish("victim", str(i))
        for raw in slow:  # each is cut off, with a 4xx or without a word
            reply = raw.reply()
            assert reply is None or 400 <= reply[0] < 500
    finally:
        for raw in slow:
            raw.socket.close()


def test_memory_is_bounded(victim: Broker) -> None:
    def flood() -> None:
        for case in (*heads(), *malformed_json()):
            if len(case.data) > 50_000:
                answer(victim, case)

    flood()
    before = victim.rss_bytes()
    for _ in range(5):
        flood()
    growth = victim.rss_bytes() - before
    assert growth < RSS_GROWTH_MAX * PATIENCE, f"{growth} bytes more after the same requests again"
