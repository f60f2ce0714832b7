"""What a replay tells, so that a client can go on; and dead letters that clients made up."""

from __future__ import annotations

from typing import Any

from harness import Broker, ok, unique


def replay(broker: Broker, dlq: str, **body: Any) -> dict[str, Any]:
    return ok(broker.post("/messages/dlq/replay", {"dlq_topic": dlq, **body}))


def made_up(broker: Broker, partitions: int = 1) -> tuple[str, str]:
    topic = broker.create(unique(), partitions)
    return topic, broker.create(f"{topic}.dlq", partitions)


def letter(value: str, at: int = 0, **headers: str) -> dict[str, Any]:
    names = {f"x-goqueue-original-{k}": v for k, v in headers.items()}
    return {"value": value, "partition": at, "headers": names}


def test_it_tells_where_to_go_on(broker: Broker) -> None:
    topic, dlq = made_up(broker, 3)
    broker.publish(dlq, *[letter(f"{p}-{i}", p, topic=topic) for p in (0, 2) for i in range(4)])
    got = replay(broker, dlq, max_messages=6)
    assert got == {
        "processed": 6,
        "skipped": 0,
        "errors": 0,
        "last_offset": 1,
        "partitions": {"0": 3, "2": 1},
        "more": True,
    }
    got = replay(broker, dlq, partition=2, from_offset=got["partitions"]["2"] + 1)
    assert got == {
        "processed": 2,
        "skipped": 0,
        "errors": 0,
        "last_offset": 3,
        "partitions": {"2": 3},
        "more": False,
    }
    got = replay(broker, dlq)
    assert (got["processed"], got["skipped"], got["more"]) == (0, 8, False)


def test_what_has_nowhere_to_go_stays(broker: Broker) -> None:
    topic, dlq = made_up(broker)
    broker.publish(
        dlq,
        letter("no origin"),
        letter("no name", topic="a b"),
        letter("no such topic", topic=unique()),
        letter("another dead-letter topic", topic=dlq),
        letter("fine", topic=topic, partition="7000"),
        letter("empty", topic=""),
    )
    got = replay(broker, dlq)
    assert (got["processed"], got["errors"], got["last_offset"], got["more"]) == (1, 5, 5, False)
    assert broker.values(topic) == ["fine"]
    assert len(broker.everything(dlq)) == 5
    again = replay(broker, dlq, max_messages=2)
    assert (again["processed"], again["errors"], again["more"]) == (0, 2, True)
    other = broker.create(unique())
    assert replay(broker, dlq, target_topic=other)["processed"] == 5
    assert broker.everything(dlq) == []
    assert all("headers" not in m for m in broker.everything(other))


def test_each_to_its_own_topic(broker: Broker) -> None:
    _, dlq = made_up(broker)
    topics = [broker.create(unique(), 1) for _ in range(10)]  # more than are remembered
    broker.publish(dlq, *[letter(str(i), topic=topics[i % 10]) for i in range(40)])
    assert replay(broker, dlq)["processed"] == 40
    for i, topic in enumerate(topics):
        assert broker.values(topic) == [str(i + 10 * n) for n in range(4)]


def test_large_letters(broker: Broker) -> None:
    topic, dlq = made_up(broker)
    values = [str(i) * 700_000 for i in range(8)]
    for value in values:
        broker.publish(dlq, letter(value, topic=topic))
    assert replay(broker, dlq)["processed"] == 8
    assert broker.values(topic) == values


def test_what_is_not_due_is_left_alone(broker: Broker) -> None:
    topic, dlq = made_up(broker)
    broker.publish(dlq, {**letter("later", topic=topic), "delay": "1h"}, letter("now", topic=topic))
    got = replay(broker, dlq)
    assert (got["processed"], got["skipped"]) == (1, 1)
    assert broker.values(topic) == ["now"]
    assert len(broker.pending(dlq)) == 1


def test_what_cannot_be_combined(broker: Broker) -> None:
    _, dlq = made_up(broker)
    path = "/messages/dlq/replay"
    for more in (
        {"offset": 0},
        {"partition": 0, "offset": 0, "from_offset": 0},
        {"target_topic": dlq},
        {"target_topic": ""},
        {"max_messages": 10_001},
    ):
        assert broker.post(path, {"dlq_topic": dlq, **more}).status_code == 400
    assert broker.post(path, {"dlq_topic": dlq, "partition": 0, "offset": 0}).status_code == 404
