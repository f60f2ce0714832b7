"""Contract 4.2: create, list, get, delete, partitions."""

from __future__ import annotations

import pytest
from harness import Broker, ok, refused, unique


def test_create_and_get(broker: Broker, topic: str) -> None:
    body = ok(broker.post("/topics", {"name": topic, "num_partitions": 6}), 201)
    assert body == {"name": topic, "partitions": 6, "created": True, "retention_hours": 168}
    got = ok(broker.get(f"/topics/{topic}"))
    assert got["name"] == topic
    assert got["partitions"] == 6
    assert got["total_messages"] == 0
    assert got["partition_offsets"] == {
        str(p): {"earliest": 0, "latest": -1, "next": 0} for p in range(6)
    }
    assert got["retention_hours"] == 168
    assert got["cleanup_policy"] == "delete"
    assert got["dlq_topic"] is None
    assert (got["visibility_timeout"], got["max_deliveries"], got["priority_mode"]) == ("30s", 3, "strict")
    assert got["created_at"].endswith("Z")


def test_defaults_and_nulls(broker: Broker) -> None:
    assert ok(broker.post("/topics", {"name": unique()}), 201)["partitions"] == 3
    nulls = {"name": unique(), "num_partitions": None, "retention_hours": None, "other": {"x": []}}
    assert ok(broker.post("/topics", nulls), 201)["partitions"] == 3
    assert ok(broker.post("/topics", {"name": unique(), "partitions": 2}), 201)["partitions"] == 2
    both = {"name": unique(), "partitions": 2, "num_partitions": 5}
    assert ok(broker.post("/topics", both), 201)["partitions"] == 5
    unlimited = {"name": unique(), "retention_hours": -1}
    assert ok(broker.post("/topics", unlimited), 201)["retention_hours"] == -1


def test_twice_is_a_conflict(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    body = refused(broker.post("/topics", {"name": topic, "num_partitions": 6}), 409, "topic_exists")
    assert (body["name"], body["partitions"], body["created"]) == (topic, 3, False)


@pytest.mark.parametrize("name", ["a", "A-b_9", "-", "_", "a" * 255, "v1", "orders.dlq"])
def test_good_names(broker: Broker, name: str) -> None:
    broker.create(name)
    assert ok(broker.get(f"/topics/{name}"))["name"] == name
    ok(broker.delete(f"/topics/{name}"))


@pytest.mark.parametrize(
    "name", ["", "__x", "__", "a b", "a.b", "a/b", "é", "a" * 256, ".", "..", "a\0b", ".dlq", None]
)
def test_bad_names(broker: Broker, name: str) -> None:
    refused(broker.post("/topics", {"name": name}), 400, "invalid_argument")


@pytest.mark.parametrize(
    "fields",
    [
        {"num_partitions": 0},
        {"num_partitions": -1},
        {"num_partitions": 1025},
        {"num_partitions": "3"},
        {"num_partitions": 1.5},
        {"num_partitions": True},
        {"num_partitions": 2**63},
        {"retention_hours": 0},
        {"retention_hours": -2},
        {"retention_hours": "1"},
        {"cleanup_policy": "shred"},
        {"visibility_timeout": "30"},
        {"visibility_timeout": "-1s"},
        {"max_deliveries": 0},
        {"name": 5},
    ],
)
def test_bad_settings(broker: Broker, topic: str, fields: dict[str, object]) -> None:
    refused(broker.post("/topics", {"name": topic, **fields}), 400)
    refused(broker.get(f"/topics/{topic}"), 404, "topic_not_found")


def test_list_is_sorted_and_complete(broker: Broker) -> None:
    names = sorted(broker.create(unique("list")) for _ in range(5))
    body = ok(broker.get("/topics"))
    assert body["topics"] == sorted(body["topics"])
    assert body["count"] == len(body["topics"])
    assert [n for n in body["topics"] if n in names] == names


def test_delete(broker: Broker, topic: str) -> None:
    broker.create(topic, 2)
    broker.publish(topic, "a", "b", "c")
    assert ok(broker.delete(f"/topics/{topic}")) == {"deleted": True, "name": topic}
    refused(broker.delete(f"/topics/{topic}"), 404, "topic_not_found")
    refused(broker.get(f"/topics/{topic}"), 404, "topic_not_found")
    refused(broker.get(f"/topics/{topic}/partitions/0/messages"), 404, "topic_not_found")
    broker.create(topic, 1)  # the same name again is a new topic
    assert broker.consume(topic)["messages"] == []
    assert broker.publish(topic, "new")[0]["offset"] == 0


def test_delete_takes_positions_and_receipts(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, "a", "b")
    member = broker.join(group, topic)["member_id"]
    first, second = broker.poll(group, member)
    ok(broker.ack(first["receipt_handle"]))
    ok(broker.delete(f"/topics/{topic}"))
    refused(broker.ack(second["receipt_handle"]), 404)
    assert topic not in broker.positions(group)
    assert broker.poll(group, member) == []


def test_partitions(broker: Broker, topic: str) -> None:
    broker.create(topic, 3)
    broker.publish(topic, *({"value": "x", "partition": 1} for _ in range(4)))
    body = ok(broker.get(f"/topics/{topic}/partitions"))
    assert body["topic"] == topic
    assert [p["partition"] for p in body["partitions"]] == [0, 1, 2]
    one = body["partitions"][1]
    assert (one["earliest"], one["latest"], one["next"], one["messages"]) == (0, 3, 4, 4)
    assert one["size_bytes"] > 0
    node = ok(broker.get("/stats"))["node_id"]
    assert (one["leader"], one["replicas"], one["isr"], one["version"]) == (node, [node], [node], 0)
    refused(broker.get(f"/topics/{unique()}/partitions"), 404, "topic_not_found")


def test_totals(broker: Broker, topic: str) -> None:
    broker.create(topic, 2)
    broker.publish(topic, *["x" * 100] * 10)
    got = ok(broker.get(f"/topics/{topic}"))
    assert got["total_messages"] == 10
    assert got["total_size_bytes"] >= 1000
    assert got["partition_offsets"]["0"] == {"earliest": 0, "latest": 4, "next": 5}


def test_most_partitions(broker: Broker, topic: str) -> None:
    broker.create(topic, 1024)
    assert broker.publish(topic, {"value": "last", "partition": 1023})[0]["partition"] == 1023
    assert broker.values(topic, 1023) == ["last"]
    ok(broker.delete(f"/topics/{topic}"))


def test_survive_a_restart(own_broker: Broker, topic: str) -> None:
    gone = unique()
    settings = {
        "retention_hours": 5, "cleanup_policy": "compact", "max_deliveries": 7, "max_in_flight": 9,
        "max_delayed": 11, "priority_mode": "weighted",
    }
    own_broker.create(topic, 4, visibility_timeout="1m30s", **settings)
    own_broker.create(gone)
    ok(own_broker.delete(f"/topics/{gone}"))
    before = ok(own_broker.get(f"/topics/{topic}"))
    for restart in (own_broker.restart, own_broker.crash):
        restart()
        assert ok(own_broker.get("/topics"))["topics"] == [topic]
        assert ok(own_broker.get(f"/topics/{topic}")) == before
    assert before["visibility_timeout"] == "1m30s"
    assert {k: before[k] for k in settings} == settings


def test_files_of_deleted_topics_go(own_broker: Broker) -> None:
    """With the next snapshot; after a crash also those of topics that no snapshot knows."""

    def directories() -> list[str]:
        logs = own_broker.data / "shard-0" / "logs"
        return sorted(path.name for path in logs.iterdir()) if logs.exists() else []

    own_broker.create("gone", 2)
    own_broker.publish("gone", "a", "b")
    assert len(directories()) == 1
    ok(own_broker.delete("/topics/gone"))
    own_broker.restart()
    assert directories() == []
    own_broker.create("kept", 2)
    own_broker.publish("kept", "a", "b")
    own_broker.crash()
    assert own_broker.values("kept") == ["a"]
    assert len(directories()) == 1
