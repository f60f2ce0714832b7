"""Contract 4.3 and 7.1: reading a partition by offset."""

from __future__ import annotations

import threading
import time

import pytest
from harness import PATIENCE, Broker, ok, refused, unique


@pytest.fixture(scope="module")
def filled(broker: Broker) -> str:
    """A topic of one partition with the values 0..1499."""
    topic = broker.create(unique())
    broker.publish(topic, *map(str, range(1500)))
    return topic


def path(topic: str, partition: object = 0) -> str:
    return f"/topics/{topic}/partitions/{partition}/messages"


def test_defaults(broker: Broker, filled: str) -> None:
    page = broker.consume(filled)
    assert [m["offset"] for m in page["messages"]] == list(range(100))
    assert [m["value"] for m in page["messages"]] == [str(i) for i in range(100)]
    assert (page["next_offset"], page["earliest"], page["latest"]) == (100, 0, 1499)


@pytest.mark.parametrize(
    ("offset", "limit", "first", "count"),
    [(0, 1, 0, 1), (7, 3, 7, 3), (1498, 10, 1498, 2), (0, 1000, 0, 1000), (5, 1000000, 5, 1000)],
)
def test_pages(broker: Broker, filled: str, offset: int, limit: int, first: int, count: int) -> None:
    page = broker.consume(filled, offset=offset, limit=limit)
    assert [m["offset"] for m in page["messages"]] == list(range(first, first + count))
    assert page["next_offset"] == first + count


def test_reading_on_gives_everything_once(broker: Broker, filled: str) -> None:
    got: list[str] = []
    at = 0
    while page := broker.consume(filled, offset=at, limit=237)["messages"]:
        got += [m["value"] for m in page]
        at = broker.consume(filled, offset=at, limit=237)["next_offset"]
    assert got == [str(i) for i in range(1500)]


@pytest.mark.parametrize("offset", [1500, 1501, 10**12, 2**63 - 1])
def test_beyond_the_end(broker: Broker, filled: str, offset: int) -> None:
    page = broker.consume(filled, offset=offset)
    assert (page["messages"], page["next_offset"]) == ([], offset)
    assert (page["earliest"], page["latest"]) == (0, 1499)


def test_empty(broker: Broker, topic: str) -> None:
    broker.create(topic)
    page = broker.consume(topic)
    assert page == {"messages": [], "next_offset": 0, "earliest": 0, "latest": -1}


@pytest.mark.parametrize(
    "query",
    ["offset=-1", "offset=x", "offset=1.5", "offset=9223372036854775808", "limit=0", "limit=-5",
     "limit=ten", "timeout=5", "timeout=-1s", "timeout=x", "order=random", "offset=%zz"],
)
def test_bad_queries(broker: Broker, filled: str, query: str) -> None:
    refused(broker.get(f"{path(filled)}?{query}"), 400, "invalid_argument")


def test_bad_places(broker: Broker, filled: str) -> None:
    refused(broker.get(path(filled, "x")), 400)
    refused(broker.get(path(filled, -1)), 400)
    refused(broker.get(path(filled, "0x0")), 400)
    refused(broker.get(path(filled, 1)), 404, "partition_not_found")
    refused(broker.get(path(filled, 10**15)), 404, "partition_not_found")
    refused(broker.get(path(unique())), 404, "topic_not_found")
    refused(broker.get(path("a b")), 404, "topic_not_found")


def test_query_rules(broker: Broker, filled: str) -> None:
    first = broker.get(f"{path(filled)}?limit=2&limit=50&unknown=1&offset=&&=x")
    assert len(ok(first)["messages"]) == 2


def test_waits_for_the_first_message(broker: Broker, topic: str) -> None:
    broker.create(topic)
    broker.publish(topic, "old")
    pages: list[dict[str, object]] = []

    def wait() -> None:
        pages.append(broker.consume(topic, offset=1, timeout="20s"))

    thread = threading.Thread(target=wait)
    start = time.monotonic()
    thread.start()
    time.sleep(0.1)
    assert not pages
    broker.publish(topic, "new", "newer")
    thread.join()
    assert time.monotonic() - start < 10 * PATIENCE
    messages = pages[0]["messages"]
    assert isinstance(messages, list)
    assert messages[0]["value"] == "new"


def test_the_wait_ends(broker: Broker, topic: str) -> None:
    broker.create(topic)
    start = time.monotonic()
    page = broker.consume(topic, timeout="200ms")
    took = time.monotonic() - start
    assert page["messages"] == []
    assert 0.15 < took < 2 * PATIENCE
    start = time.monotonic()
    broker.consume(topic, timeout="0s")
    assert time.monotonic() - start < 1 * PATIENCE


def test_no_wait_when_there_is_something(broker: Broker, filled: str) -> None:
    start = time.monotonic()
    assert len(broker.consume(filled, timeout="30s")["messages"]) == 100
    assert time.monotonic() - start < 5 * PATIENCE


def test_order_by_priority_sorts_the_page_only(broker: Broker, topic: str) -> None:
    broker.create(topic)
    order = ["low", "critical", "normal", "background", "high", "critical"]
    broker.publish(topic, *({"value": str(i), "priority": p} for i, p in enumerate(order)))
    assert broker.values(topic) == ["0", "1", "2", "3", "4", "5"]
    assert broker.values(topic, order="priority") == ["1", "5", "4", "2", "0", "3"]
    page = broker.consume(topic, order="priority", limit=3)
    assert [m["value"] for m in page["messages"]] == ["1", "2", "0"]
    assert page["next_offset"] == 3


def test_leaves_groups_alone(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, "a", "b")
    member = broker.join(group, topic)["member_id"]
    assert broker.values(topic) == ["a", "b"]
    messages = broker.poll(group, member)
    assert [m["value"] for m in messages] == ["a", "b"]
    ok(broker.ack(messages[0]["receipt_handle"]))
    assert broker.values(topic) == ["a", "b"]


def test_a_deleted_topic_ends_the_wait(broker: Broker, topic: str) -> None:
    broker.create(topic)
    statuses: list[int] = []

    def wait() -> None:
        statuses.append(broker.get(path(topic), timeout="20s").status_code)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    ok(broker.delete(f"/topics/{topic}"))
    thread.join()
    assert statuses == [404]
