"""Publish carries an Idempotency-Key unless the broker does not honour it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from goqueue_client import GoQueueClient, PublishResponse
from stub import Answer, StubBroker, failure, reply

STORED = reply({"results": [{"partition": 0, "offset": 0}]})
HONOURS = reply({"version": "0.9.0", "features": ["other", "idempotency-key"]})


async def publish(client: GoQueueClient) -> PublishResponse:
    return await client.messages.publish("t", [{"value": "v"}])


async def publish_twice(client: GoQueueClient) -> None:
    await publish(client)
    await publish(client)


def keys(broker: StubBroker) -> list[Any]:
    return [request.headers.get("Idempotency-Key") for request in broker.requests]


@pytest.mark.parametrize(
    "version",
    [
        reply({"version": "0.1.0", "features": []}),
        reply({"version": "0.1.0"}),
        reply({"features": "idempotency-key"}),
        reply(["idempotency-key"]),
        httpx.Response(200, text="idempotency-key"),
        failure(404, "not_found"),
        failure(401, "unauthenticated"),
    ],
)
def test_no_key_where_it_is_not_honoured(version: httpx.Response) -> None:
    broker = StubBroker(STORED, version=version)
    broker.run(publish_twice)
    assert keys(broker) == [None, None]
    assert len(broker.version_requests) == 1


def test_each_publish_has_its_own_key() -> None:
    broker = StubBroker(STORED, version=HONOURS)
    broker.run(publish_twice)
    first, second = keys(broker)
    assert first
    assert second
    assert first != second
    assert len(broker.version_requests) == 1


def test_repetitions_carry_the_same_key() -> None:
    lost = httpx.ReadError("reset")
    broker = StubBroker(lost, failure(503), STORED, version=HONOURS)
    broker.run(publish)
    assert len(broker.requests) == 3
    (key,) = set(keys(broker))
    assert key


@pytest.mark.parametrize(
    "problem", [failure(503), httpx.ConnectError("refused"), httpx.ReadTimeout("slow")]
)
def test_a_failing_version_does_not_fail_the_publish(problem: Answer, pauses: list[float]) -> None:
    broker = StubBroker(STORED, version=problem)
    assert broker.run(publish)["results"][0]["offset"] == 0
    (key,) = keys(broker)
    assert key  # in case that it is honoured
    assert len(broker.version_requests) == 1  # not repeated
    assert pauses == []


@pytest.mark.parametrize("problem", [failure(503), httpx.ReadTimeout("slow")])
def test_the_question_is_put_again_after_a_passing_failure(problem: Answer) -> None:
    broker = StubBroker(STORED, version=problem)

    async def main(client: GoQueueClient) -> None:
        await publish(client)
        broker.version = reply({"version": "0.1.0", "features": []})
        await publish(client)

    broker.run(main)
    first, second = keys(broker)
    assert first
    assert second is None


def test_publishes_at_the_same_time_ask_once() -> None:
    broker = StubBroker(STORED, version=HONOURS)

    async def main(client: GoQueueClient) -> None:
        await asyncio.gather(*(publish(client) for _ in range(20)))

    broker.run(main)
    assert len(broker.version_requests) == 1
    assert len(set(keys(broker))) == 20


def test_other_calls_do_not_ask() -> None:
    broker = StubBroker(reply({"topics": []}), version=HONOURS)
    broker.run(lambda c: c.topics.list())
    assert broker.version_requests == []
    assert "Idempotency-Key" not in broker.request.headers
