"""Contract 4.3: what ack, nack, reject and visibility answer, for every state of a delivery.

The state table is TABLE; each state is made four times, one delivery for each operation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Optional

import httpx
import pytest
from harness import (
    Broker,
    Setting,
    after,
    eventually,
    leased_us,
    micros,
    now_us,
    ok,
    refused,
    unique,
)

OPERATIONS = ("ack", "nack", "reject", "visibility")
ALREADY = "200 already"


class Delivery(NamedTuple):
    handle: str
    tenant: Optional[str] = None  # who presents it


def operate(b: Broker, operation: str, handle: str, tenant: Optional[str] = None) -> httpx.Response:
    body: dict[str, Any] = {"receipt_handle": handle}
    if operation == "nack":
        body["delay"] = "1h"
    if operation == "visibility":
        body["timeout"] = "1m"
    headers = {"X-Tenant-ID": tenant} if tenant else {}
    return b.request("POST", f"/messages/{operation}", body, headers=headers)


def answer(reply: httpx.Response) -> Any:
    """The status; a 200 that says it was so before is ALREADY."""
    if reply.status_code != 200:
        refused(reply, reply.status_code)
        return reply.status_code
    return ALREADY if ok(reply).get("already") is True else 200


# The states. Each function gives one delivery for each operation.


def polled(b: Broker, **settings: Any) -> tuple[Setting, list[dict[str, Any]]]:
    s = Setting(b, len(OPERATIONS), **settings)
    messages = s.poll()
    assert len(messages) == len(OPERATIONS)
    return s, messages


def handles(messages: list[dict[str, Any]], **more: Any) -> list[Delivery]:
    return [Delivery(m["receipt_handle"], **more) for m in messages]


def in_flight(b: Broker) -> list[Delivery]:
    return handles(polled(b, visibility_timeout="10m")[1])


def late(b: Broker) -> list[Delivery]:
    _, messages = polled(b, visibility_timeout="50ms")
    after(messages[-1]["visibility_deadline"])
    return handles(messages)


def redelivered(b: Broker) -> list[Delivery]:
    s, messages = polled(b, visibility_timeout="50ms", topic={"max_deliveries": 100})
    s.receive(len(messages))
    return handles(messages)


def released_by_leave(b: Broker) -> list[Delivery]:
    s, messages = polled(b)
    ok(b.post(f"/groups/{s.group}/leave", {"member_id": s.member}))
    return handles(messages)


def released_by_eviction(b: Broker) -> list[Delivery]:
    s, messages = polled(b, session_timeout="1s")
    eventually(lambda: not ok(b.get(f"/groups/{s.group}"))["members"])
    return handles(messages)


def nacked(b: Broker) -> list[Delivery]:
    _, messages = polled(b)
    for message in messages:
        assert answer(operate(b, "nack", message["receipt_handle"])) == 200
    return handles(messages)


def nacked_and_redelivered(b: Broker) -> list[Delivery]:
    s, messages = polled(b)
    for message in messages:
        ok(b.nack(message["receipt_handle"], delay="0s"))
    s.receive(len(messages))
    return handles(messages)


def acked(b: Broker) -> list[Delivery]:
    _, messages = polled(b)
    for message in messages:
        assert answer(operate(b, "ack", message["receipt_handle"])) == 200
    return handles(messages)


def rejected(b: Broker) -> list[Delivery]:
    _, messages = polled(b)
    for message in messages:
        assert answer(operate(b, "reject", message["receipt_handle"])) == 200
    return handles(messages)


def dead_by_nack(b: Broker) -> list[Delivery]:
    _, messages = polled(b, topic={"max_deliveries": 1})
    for message in messages:
        assert answer(operate(b, "nack", message["receipt_handle"])) == 200
    return handles(messages)


def dead_by_deadline(b: Broker) -> list[Delivery]:
    s, messages = polled(b, topic={"max_deliveries": 1}, visibility_timeout="50ms")
    eventually(lambda: s.position() == len(messages))
    return handles(messages)


def committed_past(b: Broker) -> list[Delivery]:
    s, messages = polled(b)
    ok(s.commit(len(messages)))
    return handles(messages)


def done_by_another_delivery(b: Broker) -> list[Delivery]:
    s, messages = polled(b, visibility_timeout="50ms", topic={"max_deliveries": 100})
    for message in s.receive(len(messages)):
        ok(b.ack(message["receipt_handle"]))
    return handles(messages)


def topic_gone(b: Broker) -> list[Delivery]:
    s, messages = polled(b)
    ok(b.delete(f"/topics/{s.topic}"))
    return handles(messages)


def topic_made_anew(b: Broker) -> list[Delivery]:
    s, messages = polled(b)
    ok(b.delete(f"/topics/{s.topic}"))
    b.create(s.topic)
    b.publish(s.topic, *map(str, range(len(messages))))
    return handles(messages)


def group_gone(b: Broker) -> list[Delivery]:
    s, messages = polled(b)
    ok(b.delete(f"/groups/{s.group}"))
    return handles(messages)


def of_another_tenant(b: Broker) -> list[Delivery]:
    return handles(polled(b, visibility_timeout="10m")[1], tenant="somebody-else")


def forged(b: Broker) -> list[Delivery]:
    """Well-formed, but never given out."""
    deliveries = in_flight(b)
    middle = len(deliveries[0].handle) // 2
    return [
        Delivery(h[:middle] + ("A" if h[middle] != "A" else "B") + h[middle + 1 :])
        for h, _ in deliveries
    ]


def broken(b: Broker) -> list[Delivery]:
    wrong = [lambda h: h[:-2], lambda h: h + "AA", lambda h: "!" + h[1:], lambda h: h[:10] + "é" + h[11:]]
    return [Delivery(change(h)) for change, (h, _) in zip(wrong, in_flight(b))]


TABLE: dict[Callable[[Broker], list[Delivery]], tuple[Any, ...]] = {
    # state:               ack      nack     reject   visibility
    in_flight:             (200,     200,     200,     200),
    late:                  (200,     200,     200,     410),
    redelivered:           (410,     410,     410,     410),
    released_by_leave:     (410,     410,     410,     410),
    released_by_eviction:  (410,     410,     410,     410),
    # Resolved by the same operation with the same handle, or otherwise.
    nacked:                (410,     ALREADY, 410,     410),
    nacked_and_redelivered: (410,    ALREADY, 410,     410),
    acked:                 (ALREADY, 404,     404,     404),
    rejected:              (ALREADY, 404,     ALREADY, 404),
    dead_by_nack:          (ALREADY, ALREADY, 404,     404),
    dead_by_deadline:      (ALREADY, 404,     404,     404),
    committed_past:        (ALREADY, 404,     404,     404),
    topic_gone:            (404,     404,     404,     404),
    topic_made_anew:       (404,     404,     404,     404),
    group_gone:            (404,     404,     404,     404),
    of_another_tenant:     (404,     404,     404,     404),
    forged:                (404,     404,     404,     404),
    broken:                (400,     400,     400,     400),
}  # fmt: skip
STATES = list(TABLE)


def answers(b: Broker, deliveries: list[Delivery]) -> dict[str, Any]:
    pairs = zip(OPERATIONS, deliveries)
    return {operation: answer(operate(b, operation, *d)) for operation, d in pairs}


def expected(state: Callable[[Broker], list[Delivery]]) -> dict[str, Any]:
    return dict(zip(OPERATIONS, TABLE[state]))


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_the_state_table(broker: Broker, state: Callable[[Broker], list[Delivery]]) -> None:
    assert answers(broker, state(broker)) == expected(state)


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_the_state_table_after(own_broker: Broker, how: str) -> None:
    """Handles outlive the process that gave them, and so does what became of them."""
    b = own_broker
    with ThreadPoolExecutor(6) as pool:  # each waits for the join window of its group
        made = dict(zip(STATES, pool.map(lambda state: state(b), STATES)))
    b.publish("last", "everything before it is durable")
    getattr(b, how)()
    wrong = {}
    for state, deliveries in made.items():
        got = answers(b, deliveries)
        if got != expected(state):
            wrong[state.__name__] = {"got": got, "expected": expected(state)}
    assert not wrong


def test_killed_right_after_the_poll(own_broker: Broker) -> None:
    """Whether or not the disk knows of the delivery: its handle is good until somebody else has it."""
    b = own_broker
    s = Setting(b, 5, visibility_timeout="10m")
    *deliveries, last = handles(s.poll())
    b.crash()
    assert answers(b, deliveries) == dict.fromkeys(OPERATIONS, 200)
    again = {m["value"]: m for m in s.poll()}
    assert set(again) <= {"4"}  # the others are done, nacked for an hour, or in flight
    assert answer(operate(b, "ack", *last)) == (410 if again else 200)


def test_a_message_done_by_another_delivery(broker: Broker) -> None:
    """The old handle: the message is done, and nothing can be done to it any more."""
    deliveries = done_by_another_delivery(broker)
    assert answer(operate(broker, "ack", *deliveries[0])) in (ALREADY, 410)
    for operation, delivery in zip(OPERATIONS[1:], deliveries[1:]):
        assert answer(operate(broker, operation, *delivery)) in (404, 410)


def test_the_table_again_with_everything_done_twice(broker: Broker) -> None:
    """Whatever the first answer was, the second time it is that of the state made by the first."""
    for first, second in (("ack", acked), ("nack", nacked), ("reject", rejected)):
        for delivery, last, wanted in zip(in_flight(broker), OPERATIONS, TABLE[second]):
            assert answer(operate(broker, first, *delivery)) == 200
            assert answer(operate(broker, last, *delivery)) == wanted, f"{last} after {first}"
    [delivery, *_] = in_flight(broker)
    for _ in range(3):
        assert answer(operate(broker, "visibility", *delivery)) == 200
    assert answer(operate(broker, "ack", *delivery)) == 200


# What the operations answer.


def test_nack_reply(broker: Broker) -> None:
    s = Setting(broker, 1, topic={"max_deliveries": 2})
    [message] = s.poll()
    before = now_us()
    got = ok(broker.nack(message["receipt_handle"], delay="1s", reason="busy"))
    assert (got["requeued"], got["success"], got["action"]) == (True, True, "requeued")
    assert (got["topic"], got["partition"], got["offset"]) == (s.topic, 0, 0)
    assert got["delivery_count"] == 1
    assert "already" not in got
    assert before + 1_000_000 <= micros(got["next_visible_at"]) <= now_us() + 1_000_000
    [message] = s.receive(1)
    got = ok(broker.nack(message["receipt_handle"], delay="1s"))
    assert (got["requeued"], got["success"], got["action"]) == (False, True, "dlq")
    assert got["dlq_topic"] == f"{s.topic}.dlq"
    assert (got["topic"], got["partition"], got["offset"]) == (s.topic, 0, 0)
    assert got.get("delivery_count", 2) == 2
    assert s.poll(timeout="300ms") == []


def test_reject_reply(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    got = ok(broker.reject(message["receipt_handle"], reason="no such account"))
    assert (got["rejected"], got["success"], got["action"]) == (True, True, "rejected")
    assert got["dlq_topic"] == f"{s.topic}.dlq"
    assert (got["topic"], got["partition"], got["offset"]) == (s.topic, 0, 0)
    assert got["reason"] == "no such account"
    assert "already" not in got


def test_visibility_reply(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    for field, value, seconds in (("timeout", "90s", 90), ("timeout", "1h30m", 5400),
                                  ("extension_seconds", 20, 20), ("timeout", "1.5s", 1.5)):
        before = now_us()
        body = {"receipt_handle": message["receipt_handle"], field: value}
        got = ok(broker.post("/messages/visibility", body))
        assert (got["extended"], got["success"]) == (True, True)
        assert got["extended_by"] == seconds
        assert before + seconds * 1e6 <= micros(got["new_deadline"]) <= now_us() + seconds * 1e6
    ok(broker.ack(message["receipt_handle"]))


@pytest.mark.parametrize("how", ["nothing", "restart", "crash"])
def test_a_repeat_gets_the_same_body(own_broker: Broker, how: str) -> None:
    b = own_broker
    s = Setting(b, 4, topic={"max_deliveries": 2}, visibility_timeout="10m")
    first, second, third, fourth = s.poll()
    ok(b.nack(fourth["receipt_handle"], delay="0s"))
    [fourth] = s.receive(1)
    requests = [
        ("ack", first, {}),
        ("nack", second, {"delay": "1h", "reason": "busy"}),
        ("reject", third, {"reason": "bad \"ü\""}),
        ("nack", fourth, {"delay": "1s"}),
    ]
    bodies = [{"receipt_handle": m["receipt_handle"], **more} for _, m, more in requests]
    before = [ok(b.post(f"/messages/{r[0]}", body)) for r, body in zip(requests, bodies)]
    assert before[3]["action"] == "dlq"
    if how != "nothing":
        getattr(b, how)()
    for _ in range(2):
        for (operation, _, _), body, old in zip(requests, bodies, before):
            new = ok(b.post(f"/messages/{operation}", body))
            assert new.pop("already") is True
            if operation == "ack":  # the position and the count are those of now
                old, new = ({k: v[k] for k in ("acknowledged", "success", "topic", "partition", "offset")}
                            for v in (old, new))
            assert new == old
    assert len(b.dead_letters(s.topic)) == 2
    assert s.poll(timeout="300ms") == []


def test_a_repeat_may_ask_for_something_else(broker: Broker) -> None:
    """Nothing happens any more: the first nack stands."""
    s = Setting(broker, 1)
    [message] = s.poll()
    first = ok(broker.nack(message["receipt_handle"], delay="1h"))
    again = ok(broker.nack(message["receipt_handle"], delay="0s"))
    assert again["already"] is True
    assert again["next_visible_at"] == first["next_visible_at"]
    assert s.poll(timeout="300ms") == []


def test_late_settling_counts(broker: Broker) -> None:
    """After the deadline and before the redelivery, each has its full effect."""
    s = Setting(broker, 3, visibility_timeout="50ms")
    one, two, three = s.poll()
    after(three["visibility_deadline"])
    assert "already" not in ok(broker.ack(one["receipt_handle"]))
    next_visible = micros(ok(broker.nack(two["receipt_handle"], delay="1s"))["next_visible_at"])
    assert "already" not in ok(broker.reject(three["receipt_handle"]))
    [again] = s.receive(1)
    assert (again["value"], again["delivery_count"]) == ("1", 2)
    assert leased_us(again, "50ms") >= next_visible
    assert [m["value"] for m in broker.dead_letters(s.topic)] == ["2"]


# What they are given.


@pytest.mark.parametrize("operation", OPERATIONS)
def test_handles_that_are_none(broker: Broker, operation: str) -> None:
    more = {"timeout": "5s"} if operation == "visibility" else {}
    for handle in (None, "", "x", "topic:0:0:1:0123456789abcdef", "é" * 40, "A" * 65, "A" * 67,
                   "A" * 100_000, "\0" * 66, "=" * 66, "A" * 65 + "="):
        body = {"receipt_handle": handle, **more}
        refused(broker.post(f"/messages/{operation}", body), 400)
    for wrong in (5, True, [], ["x"], {}):
        body = {"receipt_handle": wrong, **more}
        refused(broker.post(f"/messages/{operation}", body), 400)
    refused(broker.post(f"/messages/{operation}", more), 400)
    refused(broker.request("POST", f"/messages/{operation}", content=b""), 400)
    refused(broker.request("GET", f"/messages/{operation}"), 405, "method_not_allowed")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_handles_cut_anywhere(broker: Broker, operation: str) -> None:
    """Truncated or changed anywhere, it opens nothing, and the delivery is untouched."""
    handle = in_flight(broker)[0].handle
    assert handle.isascii()
    assert len(handle) <= 512
    for size in range(len(handle)):
        assert answer(operate(broker, operation, handle[:size])) == 400, size
    for i in range(len(handle)):
        other = "A" if handle[i] != "A" else "B"
        changed = answer(operate(broker, operation, handle[:i] + other + handle[i + 1 :]))
        assert changed in (400, 404), i
    assert answer(operate(broker, operation, handle)) == 200


def test_bad_nack_delays(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    for delay in ("12h0.000001s", "13h", "-1s", "-1ns", "", "30", "1d", "5 s", "x", 5, 0, 1.5, True, [], {}):
        refused(broker.nack(message["receipt_handle"], delay=delay), 400)
    assert "already" not in ok(broker.ack(message["receipt_handle"]))  # it was in flight still


def test_good_nack_delays(broker: Broker) -> None:
    """null is absent, and absent is the visibility timeout."""
    delays = {"12h": 43200, "0": 0, "0s": 0, "1h30m": 5400, "100us": 0.0001, None: 30}
    s = Setting(broker, len(delays))
    for message, (delay, seconds) in zip(s.poll(), delays.items()):
        before = now_us()
        got = ok(broker.nack(message["receipt_handle"], delay=delay, reason=None))
        assert before + seconds * 1e6 <= micros(got["next_visible_at"]) <= now_us() + seconds * 1e6


def test_bad_extensions(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    bodies: list[dict[str, Any]] = [{}, {"timeout": None}, {"timeout": None, "extension_seconds": None}]
    bodies += [{"timeout": t} for t in ("0", "0s", "-1s", "", "5", "12h0.001s", "13h", "x", 5, True, [])]
    bodies += [{"extension_seconds": n} for n in (0, -1, 43201, 2**40, "5", "", 1.5, True, [], "5s")]
    for body in bodies:
        body = {"receipt_handle": message["receipt_handle"], **body}
        refused(broker.post("/messages/visibility", body), 400)
    assert "already" not in ok(broker.ack(message["receipt_handle"]))


def test_good_extensions(broker: Broker) -> None:
    bodies: list[dict[str, Any]] = [
        {"timeout": "12h"},
        {"timeout": "1ms"},
        {"timeout": "5s", "extension_seconds": None},
        {"timeout": None, "extension_seconds": 1},
        {"extension_seconds": 43200},
    ]
    s = Setting(broker, len(bodies))
    for message, body in zip(s.poll(), bodies):
        body = {"receipt_handle": message["receipt_handle"], **body}
        assert ok(broker.post("/messages/visibility", body))["extended"] is True


REASONS = [None, "", "plain", 'quotes " and \\ and /', "Größe 漢字 😀", "\0\x01\n\t\x7f", "x" * 1000]


def test_reasons(broker: Broker) -> None:
    s = Setting(broker, 2 * len(REASONS), topic={"max_deliveries": 1})
    messages = iter(s.poll())
    for reason in REASONS:
        ok(broker.nack(next(messages)["receipt_handle"], reason=reason))
        got = ok(broker.reject(next(messages)["receipt_handle"], reason=reason))
        assert got.get("reason") in ({reason} if reason else {None, ""})
    found = [m["headers"].get("x-goqueue-dlq-error", "") for m in broker.dead_letters(s.topic)]
    assert found == [reason or "" for reason in REASONS for _ in range(2)]


def test_bad_reasons(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    for reason in (5, 1.5, True, [], ["x"], {}):
        refused(broker.nack(message["receipt_handle"], reason=reason), 400)
        refused(broker.reject(message["receipt_handle"], reason=reason), 400)
    assert "already" not in ok(broker.ack(message["receipt_handle"]))


def test_a_long_reason_is_cut(broker: Broker) -> None:
    """Between characters; the operation succeeds."""
    text = "aé漢😀" * 10_000
    s = Setting(broker, 2, topic={"max_deliveries": 1})
    nacked_one, rejected_one = s.poll()
    ok(broker.nack(nacked_one["receipt_handle"], reason=text))
    ok(broker.reject(rejected_one["receipt_handle"], reason=text))
    for message in broker.dead_letters(s.topic):
        found = message["headers"]["x-goqueue-dlq-error"]
        assert text.startswith(found)
        assert 250 < len(found.encode()) <= 65535


def test_settling_is_a_sign_of_life(broker: Broker) -> None:
    s = Setting(broker, 6, session_timeout="1s")
    messages = s.poll()
    steps: list[Callable[[], httpx.Response]] = [
        lambda: broker.extend(messages[0]["receipt_handle"]),
        lambda: broker.nack(messages[1]["receipt_handle"], delay="1h"),
        lambda: broker.reject(messages[2]["receipt_handle"]),
        lambda: broker.ack(messages[3]["receipt_handle"]),
        lambda: broker.extend(messages[0]["receipt_handle"]),
    ]
    for step in steps:
        time.sleep(0.6)
        ok(step())
    assert len(ok(broker.get(f"/groups/{s.group}"))["members"]) == 1


STATE_AFTER = {"ack": acked, "nack": nacked, "reject": rejected}


def settle_from_many_sides(s: Setting, operations: list[str]) -> list[tuple[str, list[Any]]]:
    """Which operation came first, for each message, and what the others heard."""
    outcomes = []
    with ThreadPoolExecutor(len(operations)) as pool:
        for message in s.poll():
            jobs = [
                (o, pool.submit(operate, s.broker, o, message["receipt_handle"])) for o in operations
            ]
            got = [(o, answer(job.result())) for o, job in jobs]
            [first] = [o for o, status in got if status == 200]
            got.remove((first, 200))
            outcomes.append((first, got))
    stats = ok(s.broker.get(f"/topics/{s.topic}/inflight"))
    assert stats["partitions"]["0"]["in_flight_count"] == 0
    dead = [m["value"] for m in s.broker.dead_letters(s.topic)]
    assert len(set(dead)) == len(dead) == sum(first == "reject" for first, _ in outcomes)
    return outcomes


@pytest.mark.parametrize("operation", ["ack", "nack", "reject"])
def test_one_operation_from_many_sides(broker: Broker, operation: str) -> None:
    """Requests that overtake their repeats: one does it, all others hear that it was done."""
    s = Setting(broker, 30, visibility_timeout="10m")
    for first, got in settle_from_many_sides(s, [operation] * 8):
        assert first == operation
        assert got == [(operation, ALREADY)] * 7


def test_one_delivery_settled_from_many_sides(broker: Broker) -> None:
    """Exactly one of them does it; the others hear what the table says of what it did."""
    s = Setting(broker, 30, visibility_timeout="10m")
    outcomes = settle_from_many_sides(s, ["ack", "nack", "reject"] * 3)
    for first, got in outcomes:
        wanted = expected(STATE_AFTER[first])
        # Where an ack came between two rejects, the second may hear that the message is done.
        wrong = [
            (o, status)
            for o, status in got
            if status != wanted[o] and (first, o, status) != ("reject", "reject", 404)
        ]
        assert not wrong, f"{first} came first, but {wrong}"
    print(f"first came: {[first for first, _ in outcomes]}")


def test_other_tenants_are_not_told(broker: Broker) -> None:
    """A handle of one tenant is unknown in every other, and works at home all the same."""
    mine = {"X-Tenant-ID": "tenant-one"}
    topic, group = unique(), unique()
    ok(broker.request("POST", "/topics", {"name": topic, "num_partitions": 1}, headers=mine), 201)
    body = {"messages": [{"value": "x"}]}
    ok(broker.request("POST", f"/topics/{topic}/messages", body, headers=mine))
    join = {"client_id": "c", "topics": [topic]}
    member = ok(broker.request("POST", f"/groups/{group}/join", join, headers=mine))["member_id"]
    path = f"/groups/{group}/poll?member_id={member}&timeout=0s"
    [message] = ok(broker.request("GET", path, headers=mine))["messages"]
    for operation in OPERATIONS:
        for tenant in (None, "tenant-two"):
            assert answer(operate(broker, operation, message["receipt_handle"], tenant)) == 404
    got = ok(operate(broker, "reject", message["receipt_handle"], "tenant-one"))
    assert (got["topic"], got["dlq_topic"]) == (topic, f"{topic}.dlq")
    refused(broker.get(f"/topics/{topic}.dlq"), 404, "topic_not_found")
    assert ok(broker.request("GET", f"/topics/{topic}.dlq", headers=mine))["total_messages"] == 1
