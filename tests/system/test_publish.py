"""Contract 4.3, publish: fields, limits, placement, order, identity of what comes back."""

from __future__ import annotations

import json
import random
import threading
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from harness import Broker, ok, refused, unique

HASHES = [  # contract 7.10: key, partition of 3, of 6, of 12
    ("user-123", 1, 1, 7),
    ("user-1", 2, 5, 11),
    ("user-2", 2, 5, 11),
    ("order-123", 1, 1, 1),
    ("ключ", 2, 2, 2),
]


def murmur3(data: bytes) -> int:
    """MurmurHash3 x86 32, seed 0."""
    mask = 0xFFFFFFFF

    def mix(k: int) -> int:
        k = k * 0xCC9E2D51 & mask
        return ((k << 15 | k >> 17) & mask) * 0x1B873593 & mask

    h = 0
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        h ^= mix(int.from_bytes(data[i : i + 4], "little"))
        h = ((h << 13 | h >> 19) & mask) * 5 + 0xE6546B64 & mask
    if data[whole:]:
        h ^= mix(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    return h ^ h >> 16


def send(broker: Broker, topic: str, body: object) -> httpx.Response:
    return broker.post(f"/topics/{topic}/messages", body)


def test_one_message(broker: Broker, topic: str) -> None:
    broker.create(topic)
    body = ok(send(broker, topic, {"messages": [{"value": "hello"}]}))
    [result] = body["results"]
    assert (result["partition"], result["offset"]) == (0, 0)
    assert (result["priority"], result["delayed"]) == ("normal", False)
    assert "deliverAt" not in result
    [message] = broker.consume(topic)["messages"]
    assert message["value"] == "hello"
    assert "key" not in message
    assert "headers" not in message
    assert (message["topic"], message["partition"], message["offset"]) == (topic, 0, 0)
    assert message["priority"] == "normal"
    stamp = datetime.fromisoformat(message["timestamp"].replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - stamp) < timedelta(seconds=60)


def test_all_fields(broker: Broker, topic: str) -> None:
    broker.create(topic, 4)
    message = {
        "value": "v",
        "key": "k",
        "partition": 2,
        "priority": "HIGH",
        "headers": {"a": "1", "b": "ü", "": "", "gone": None},
        "ignored": [1, {"deep": True}],
    }
    [result] = broker.publish(topic, message)
    assert (result["partition"], result["offset"], result["priority"]) == (2, 0, "high")
    [got] = broker.consume(topic, 2)["messages"]
    assert (got["key"], got["value"], got["priority"]) == ("k", "v", "high")
    assert got["headers"] == {"a": "1", "b": "ü", "": ""}


@pytest.mark.parametrize("priority", ["critical", "high", "normal", "low", "background"])
def test_priorities(broker: Broker, topic: str, priority: str) -> None:
    spellings = [priority, priority.upper(), priority.title()]
    results = broker.publish(topic, *({"value": "", "priority": p} for p in spellings))
    assert [r["priority"] for r in results] == [priority] * 3


def test_nulls_count_as_absent(broker: Broker, topic: str) -> None:
    names = ["key", "partition", "delay", "deliverAt", "priority", "headers"]
    [result] = broker.publish(topic, {"value": "v", **dict.fromkeys(names)})
    assert (result["partition"], result["priority"], result["delayed"]) == (0, "normal", False)


def test_the_last_of_duplicate_members_wins(broker: Broker, topic: str) -> None:
    raw = '{"messages":[{"value":"x"}],"messages":[{"value":"a","value":"b","key":"k","key":null}]}'
    body = ok(broker.client.post(f"/topics/{topic}/messages", content=raw))
    assert len(body["results"]) == 1
    [message] = broker.consume(topic)["messages"]
    assert message["value"] == "b"
    assert "key" not in message


def test_the_batch_alias(broker: Broker, topic: str) -> None:
    reply = broker.post(f"/topics/{topic}/messages/batch", {"messages": [{"value": "x"}]})
    assert ok(reply)["results"][0]["offset"] == 0


def test_delays_are_accepted_and_reported(broker: Broker, topic: str) -> None:
    broker.create(topic)
    soon = datetime.now(timezone.utc) + timedelta(hours=2)
    past = datetime.now(timezone.utc) - timedelta(hours=2)
    results = broker.publish(
        topic,
        {"value": "a", "delay": "1h30m"},
        {"value": "b", "deliverAt": soon.isoformat()},
        {"value": "c", "deliver_at": soon.isoformat()},
        {"value": "d", "delay": "1h", "deliverAt": soon.isoformat()},
        {"value": "e", "delay": "0s"},
        {"value": "f", "deliverAt": past.isoformat()},
    )
    assert [r["delayed"] for r in results] == [True, True, True, True, False, False]
    due = [datetime.fromisoformat(r["deliverAt"].replace("Z", "+00:00")) for r in results[:4]]
    assert due[1] == due[2] == soon
    assert abs(due[0] - datetime.now(timezone.utc) - timedelta(minutes=90)) < timedelta(minutes=1)
    assert abs(due[3] - datetime.now(timezone.utc) - timedelta(minutes=60)) < timedelta(minutes=1)
    assert all("deliverAt" not in r for r in results[4:])


@pytest.mark.parametrize(
    "message",
    [
        {"value": "x", "partition": 3},
        {"value": "x", "partition": -1},
        {"value": "x", "partition": 2**62},
        {"value": "x", "delay": "30"},
        {"value": "x", "delay": ""},
        {"value": "x", "delay": "-1s"},
        {"value": "x", "delay": "8761h"},
        {"value": "x", "deliverAt": "tomorrow"},
        {"value": "x", "deliverAt": "2999-01-01T00:00:00Z"},
        {"value": "x", "deliverAt": "2030-01-01T00:00:00"},
        {"value": "x", "priority": "urgent"},
        {"value": "x", "priority": ""},
        {"value": "x", "key": "k" * 65536},
        {"value": "x", "headers": {"h": "v" * 65535}},
        {"key": "no value"},
        {"value": None},
    ],
)
def test_errors_of_one_message(broker: Broker, topic: str, message: dict[str, object]) -> None:
    broker.create(topic, 3)
    body = ok(send(broker, topic, {"messages": [{"value": "a"}, message, {"value": "b"}]}))
    first, bad, last = body["results"]
    assert (bad["partition"], bad["offset"]) == (-1, -1)
    assert isinstance(bad["error"], str)
    assert bad["error"]
    assert "error" not in first
    assert "error" not in last
    assert (first["partition"], last["partition"]) == (0, 1)  # the bad one took no turn


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "x",
        5,
        None,
        {"messages": None},
        {"messages": []},
        {"messages": {}},
        {"messages": "x"},
        {"Messages": [{"value": "x"}]},
        {"messages": [{"value": "a"}, "b"]},
        {"messages": [{"value": "a"}, None]},
        {"messages": [{"value": "a"}, {"value": 5}]},
        {"messages": [{"value": {"x": 1}}]},
        {"messages": [{"value": "a", "key": 5}]},
        {"messages": [{"value": "a", "partition": "1"}]},
        {"messages": [{"value": "a", "partition": 1.0}]},
        {"messages": [{"value": "a", "partition": 1e2}]},
        {"messages": [{"value": "a", "partition": 2**63}]},
        {"messages": [{"value": "a", "delay": 5}]},
        {"messages": [{"value": "a", "deliverAt": 5}]},
        {"messages": [{"value": "a", "priority": 1}]},
        {"messages": [{"value": "a", "headers": []}]},
        {"messages": [{"value": "a", "headers": {"x": 1}}]},
    ],
)
def test_errors_of_the_whole_request(broker: Broker, topic: str, body: object) -> None:
    raw = json.dumps(body)
    refused(broker.client.post(f"/topics/{topic}/messages", content=raw), 400)
    refused(broker.get(f"/topics/{topic}"), 404)  # not even created


def test_limits(broker: Broker, topic: str) -> None:
    broker.create(topic)
    results = broker.publish(topic, *["x"] * 10_000)
    assert [r["offset"] for r in results] == list(range(10_000))
    refused(send(broker, topic, {"messages": [{"value": "x"}] * 10_001}), 400)
    key, header = "k" * 65535, {"h": "v" * 65534}
    value = "v" * (16 * 1024 * 1024)
    broker.publish(topic, {"value": "", "key": key}, {"value": "", "headers": header}, value)
    got = broker.consume(topic, offset=10_000)["messages"]
    while len(got) < 3:
        got += broker.consume(topic, offset=10_000 + len(got))["messages"]
    assert got[0]["key"] == key
    assert got[1]["headers"] == header
    assert got[2]["value"] == value
    [too_long] = ok(send(broker, topic, {"messages": [{"value": value + "v"}]}))["results"]
    assert too_long["error"]


def test_a_topic_is_made_by_publishing(broker: Broker, topic: str) -> None:
    broker.publish(topic, "x")
    assert ok(broker.get(f"/topics/{topic}"))["partitions"] == 3
    for name in ("a.b", "__internal", "x" * 256, "%20"):
        refused(send(broker, name, {"messages": [{"value": "x"}]}), 400)
    refused(send(broker, f"{topic}.dlq", {"messages": [{"value": "x"}]}), 404, "topic_not_found")


def test_topics_are_not_made_when_switched_off(idle_broker: Broker, topic: str) -> None:
    idle_broker.start(TOPICS_AUTOCREATE="false")
    body = {"messages": [{"value": "x"}]}
    refused(send(idle_broker, topic, body), 404, "topic_not_found")
    idle_broker.create(topic)
    ok(send(idle_broker, topic, body))


def test_round_robin_starts_at_partition_0(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    placed = [r["partition"] for r in broker.publish(topic, *["x"] * 4)]
    placed += [broker.publish(topic, "x")[0]["partition"] for _ in range(3)]
    placed += [r["partition"] for r in broker.publish(topic, {"value": "", "key": ""}, "y")]
    assert placed == [0, 1, 2, 0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(("partitions", "column"), [(3, 1), (6, 2), (12, 3)])
def test_keys_go_where_the_contract_says(broker: Broker, partitions: int, column: int) -> None:
    topic = broker.create(unique(), partitions)
    results = broker.publish(topic, *({"key": row[0], "value": "x"} for row in HASHES))
    assert [r["partition"] for r in results] == [row[column] for row in HASHES]


def test_any_key_is_hashed_with_murmur3(broker: Broker, topic: str) -> None:
    assert (murmur3(b"test"), murmur3(b"hello")) == (0xBA6BD213, 0x248BFA47)
    broker.create(topic, 7)
    rng = random.Random(7)
    alphabet = 'az09\0\n"\\é漢😀'
    keys = ["".join(rng.choices(alphabet, k=rng.randint(1, 20))) for _ in range(300)]
    results = broker.publish(topic, *({"key": key, "value": "x"} for key in keys))
    assert [r["partition"] for r in results] == [murmur3(key.encode()) % 7 for key in keys]


def test_order_in_each_partition(broker: Broker, topic: str) -> None:
    """Keyed, keyless and directed messages of one request keep their order where they meet."""
    broker.create(topic, 3)
    rng = random.Random(3)
    sent: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for batch in range(5):
        messages = []
        for i in range(200):
            message: dict[str, object] = {"value": f"{batch}-{i}"}
            kind = rng.randrange(3)
            if kind == 0:
                message["key"] = f"key-{rng.randrange(20)}"
            elif kind == 1:
                message["partition"] = rng.randrange(3)
            messages.append(message)
        for message, result in zip(messages, broker.publish(topic, *messages)):
            assert result["offset"] == len(sent[result["partition"]])
            sent[result["partition"]].append(str(message["value"]))
    for partition, values in sent.items():
        assert broker.values(topic, partition) == values


STRINGS = [
    "",
    "\0",
    "a\0b",
    '"\\/\b\f\n\r\t',
    "".join(map(chr, range(32))),
    "\x7f\x80\xa0\u2028\u2029\ufeff\ufffe\uffff",
    "ключ 漢字 😀 \U0010ffff",
    "e\u0301 \u202e rtl",
    '{"json": "inside", "n": [1, 2]}',
    "x" * 100_000,
    "\\u0000 \\n literally",
]


@pytest.mark.parametrize("escape", [True, False])
def test_strings_come_back_identical(broker: Broker, topic: str, escape: bool) -> None:
    messages = [
        {"value": s, "key": s[:60], "headers": {s[:60]: s[:1000]}, "partition": 0} for s in STRINGS
    ]
    raw = json.dumps({"messages": messages}, ensure_ascii=escape).encode()
    ok(broker.client.post(f"/topics/{topic}/messages", content=raw))
    got = broker.consume(topic)["messages"]
    assert [m["value"] for m in got] == STRINGS
    assert [m.get("key", "") for m in got] == [s[:60] for s in STRINGS]
    assert [m["headers"] for m in got] == [{s[:60]: s[:1000]} for s in STRINGS]


def test_every_character(broker: Broker, topic: str) -> None:
    """All Unicode scalar values but the surrogates, raw and escaped, in one topic."""
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    chunks = ["".join(map(chr, points[i : i + 4096])) for i in range(0, len(points), 4096)]
    messages = [{"value": c, "partition": 0} for c in chunks]
    for escape in (True, False):
        raw = json.dumps({"messages": messages}, ensure_ascii=escape).encode()
        ok(broker.client.post(f"/topics/{topic}/messages", content=raw))
    assert broker.all_values(topic) == chunks * 2


def test_two_publishers_to_a_new_topic(broker: Broker, topic: str) -> None:
    """Concurrent auto-creation makes one topic; nothing is lost."""
    results: list[dict[str, object]] = []

    def publish(n: int) -> None:
        results.extend(broker.publish(topic, *(f"{n}-{i}" for i in range(30))))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(r["partition"], r["offset"]) for r in results}) == 240
    stored = [v for p in range(3) for v in broker.values(topic, p)]
    assert sorted(stored) == sorted(f"{n}-{i}" for n in range(8) for i in range(30))


def test_publish_after_the_topic_was_made_anew(broker: Broker, topic: str) -> None:
    """What the broker remembers of a topic does not outlive it."""
    for partitions in (5, 2, 7):
        broker.create(topic, partitions)
        placed = [r["partition"] for r in broker.publish(topic, *["x"] * 8)]
        assert placed == [i % partitions for i in range(8)]
        ok(broker.delete(f"/topics/{topic}"))


def test_published_survives(own_broker: Broker, topic: str) -> None:
    own_broker.create(topic, 2)
    own_broker.publish(topic, *({"value": s, "partition": 0} for s in STRINGS))
    before = own_broker.consume(topic)
    own_broker.restart()
    assert own_broker.consume(topic) == before
    own_broker.crash()
    assert own_broker.consume(topic) == before
    assert own_broker.publish(topic, {"value": "x", "partition": 0})[0]["offset"] == len(STRINGS)
    assert own_broker.publish(topic, "round robin goes on")[0]["partition"] == 0
