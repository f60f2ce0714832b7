"""Retries, timeouts and errors."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any, Optional

import httpx
import pytest

from goqueue_client import GoQueueClient, GoQueueError
from stub import StubBroker, failure, reply

OK = reply({"topics": []})


def error_of(broker: StubBroker, **settings: Any) -> GoQueueError:
    """Return the error of one call."""
    with pytest.raises(GoQueueError) as caught:
        broker.run(lambda c: c.topics.list(), **settings)
    return caught.value


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_5xx_is_repeated_until_it_succeeds(status: int, pauses: list[float]) -> None:
    broker = StubBroker(failure(status), failure(status), OK)
    assert broker.run(lambda c: c.topics.list()) == {"topics": []}
    assert len(broker.requests) == 3
    assert pauses == [0.1, 0.2]


def test_5xx_is_raised_after_the_last_repetition(pauses: list[float]) -> None:
    broker = StubBroker(failure(503, "not_ready"))
    error = error_of(broker)
    assert (error.status, error.code, error.retryable) == (503, "not_ready", True)
    assert len(broker.requests) == 4
    assert pauses == [0.1, 0.2, 0.4]


def test_pauses_stop_growing_at_max_delay(pauses: list[float]) -> None:
    error_of(StubBroker(failure(500)), max_retries=5, initial_delay=1.0, max_delay=3.0)
    assert pauses == [1.0, 2.0, 3.0, 3.0, 3.0]


def test_very_many_repetitions_do_not_overflow(pauses: list[float]) -> None:
    error_of(StubBroker(failure(500)), max_retries=2000)
    assert pauses[-1] == 5.0


def test_no_repetition_if_none_is_wanted(pauses: list[float]) -> None:
    broker = StubBroker(failure(500))
    error_of(broker, max_retries=0)
    assert len(broker.requests) == 1
    assert pauses == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 429])
def test_4xx_is_raised_at_once(status: int) -> None:
    broker = StubBroker(failure(status, "some_code"))
    error = error_of(broker)
    assert (error.status, error.code, error.retryable) == (status, "some_code", False)
    assert error.message == "error some_code"
    assert error.body == {"error": "error some_code", "status": status, "code": "some_code"}
    assert len(broker.requests) == 1


@pytest.mark.parametrize(
    "problem",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut"),
        httpx.ReadError(""),
    ],
)
def test_network_errors_are_repeated(problem: Exception, pauses: list[float]) -> None:
    broker = StubBroker(problem, problem, OK)
    assert broker.run(lambda c: c.topics.list()) == {"topics": []}
    assert pauses == [0.1, 0.2]

    error = error_of(StubBroker(problem))
    assert (error.status, error.code, error.body, error.retryable) == (0, None, None, True)
    assert error.message == f"network error: {str(problem) or 'ReadError'}"
    assert error.__cause__ is problem


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (httpx.ReadTimeout(""), "no answer within 1.5 s"),
        (httpx.WriteTimeout(""), "no answer within 1.5 s"),
        (httpx.ConnectTimeout(""), "no connection within 1.5 s"),
    ],
)
def test_client_timeouts_are_408_and_not_repeated(problem: Exception, message: str) -> None:
    broker = StubBroker(problem)
    error = error_of(broker, timeout=1.5)
    assert (error.status, error.retryable, error.body) == (408, False, None)
    assert error.message == message
    assert len(broker.requests) == 1


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [
        (503, "2", 2.0),
        (503, "0", 0.1),
        (503, "3600", 5.0),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", 0.1),
        (503, "-1", 0.1),
        (503, "nan", 0.1),
        (500, "2", 0.1),
    ],
)
def test_retry_after_of_503(
    status: int, retry_after: str, expected: float, pauses: list[float]
) -> None:
    broker = StubBroker(failure(status, headers={"Retry-After": retry_after}), OK)
    broker.run(lambda c: c.topics.list())
    assert pauses == [expected]


def test_retry_after_of_429_is_told() -> None:
    error = error_of(StubBroker(failure(429, "rate_limited", {"Retry-After": "7"})))
    assert (error.retry_after, error.retryable) == (7.0, False)
    assert error_of(StubBroker(failure(429))).retry_after is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "topic not found"}, "topic not found"),
        ({"error": {"message": "nested", "code": "x"}}, "nested"),
        ({"error": {}}, "Request failed: 404 Not Found"),
        ({"error": ""}, "Request failed: 404 Not Found"),
        ({"other": 1}, "Request failed: 404 Not Found"),
        ([1, 2], "Request failed: 404 Not Found"),
        (None, "Request failed: 404 Not Found"),
    ],
)
def test_error_text_is_always_a_string(body: Any, message: str) -> None:
    error = error_of(StubBroker(reply(body, 404)))
    assert (error.message, error.body, error.code) == (message, body, None)


def test_error_reply_that_is_not_json() -> None:
    error = error_of(StubBroker(httpx.Response(404, text="<html>gateway</html>")))
    assert (error.message, error.body) == ("Request failed: 404 Not Found", None)


def test_error_reply_with_broken_json() -> None:
    broken = httpx.Response(404, text="{", headers={"Content-Type": "application/json"})
    error = error_of(StubBroker(broken))
    assert (error.message, error.body) == ("Request failed: 404 Not Found", None)


@pytest.mark.parametrize("text", ["", '{"topics": [', "\xff"])
def test_success_with_broken_json_is_an_error_and_not_repeated(text: str) -> None:
    broker = StubBroker(
        httpx.Response(
            200,
            content=text.encode("latin-1"),
            headers={"Content-Type": "application/json; charset=utf-8"},
        )
    )
    error = error_of(broker)
    assert (error.status, error.retryable) == (200, False)
    assert len(broker.requests) == 1


def test_success_that_is_not_json_is_text() -> None:
    result: object = StubBroker(httpx.Response(204)).run(lambda c: c.topics.delete("t"))
    assert result == ""


def test_a_redirect_is_an_error() -> None:
    error = error_of(StubBroker(httpx.Response(302, headers={"Location": "http://elsewhere"})))
    assert error.status == 302


@pytest.mark.parametrize(
    ("client_timeout", "wait", "expected"),
    [
        (30.0, "10s", 30.0),  # enough already
        (30.0, "30s", 40.0),
        (30.0, "1m", 70.0),
        (1.0, "1.5s", 11.5),
        (5.0, "0s", 5.0),
        (5.0, "-5s", 5.0),
        (5.0, "soon", 5.0),  # the broker says what is wrong with it
        (None, "30s", None),
    ],
)
def test_long_polls_stretch_the_read_timeout(
    client_timeout: Optional[float], wait: str, expected: Optional[float]
) -> None:
    broker = StubBroker(reply({"messages": []}))
    broker.run(lambda c: c.groups.poll("g", "m", timeout=wait), timeout=client_timeout)
    assert broker.read_timeout == expected
    assert broker.request.extensions["timeout"]["connect"] == client_timeout

    broker = StubBroker(reply({"messages": []}))
    broker.run(lambda c: c.messages.consume("t", 0, timeout=wait), timeout=client_timeout)
    assert broker.read_timeout == expected


def test_default_timeouts() -> None:
    broker = StubBroker(OK)
    broker.run(lambda c: c.topics.list())
    assert broker.read_timeout == 30.0

    broker = StubBroker(reply({"messages": []}))
    broker.run(lambda c: c.groups.poll("g", "m"))
    assert broker.read_timeout == 40.0


def test_a_cancelled_call_is_not_repeated() -> None:
    requests = 0

    async def hang(request: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        await asyncio.sleep(60)
        raise AssertionError

    async def main() -> None:
        async with GoQueueClient("http://b", transport=httpx.MockTransport(hang)) as client:
            call = asyncio.create_task(client.groups.poll("g", "m"))
            await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())
    assert requests == 1


def test_close_may_be_called_twice_and_before_any_call() -> None:
    async def main() -> None:
        client = StubBroker(OK).client()
        await client.close()
        await client.topics.list()
        await client.close()
        await client.close()
        assert await client.topics.list() == {"topics": []}  # opens again
        await client.close()

    asyncio.run(main())


def test_context_manager_closes_its_transport() -> None:
    closed = []

    class Recording(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(True)

    async def main() -> None:
        transport = Recording(StubBroker(OK).handle)
        async with GoQueueClient("http://broker", transport=transport) as client:
            await client.topics.list()
            assert closed == []

    asyncio.run(main())
    assert closed == [True]


@pytest.mark.parametrize("url", ["localhost:8080", "", "ftp://host", "/topics"])
def test_a_bad_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        GoQueueClient(url)


@pytest.mark.parametrize("setting", ["max_retries", "initial_delay", "max_delay"])
def test_negative_settings_are_refused(setting: str) -> None:
    settings: Any = {setting: -1}
    with pytest.raises(ValueError, match="negative"):
        GoQueueClient("http://host", **settings)


def test_error_as_text_and_pickled() -> None:
    error = GoQueueError("topic not found", 404, {"code": "topic_not_found"})
    assert str(error) == "topic not found (status 404, topic_not_found)"
    assert str(GoQueueError("x", 0)) == "x (status 0)"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.message, copy.status, copy.body) == (error.message, error.status, error.body)
