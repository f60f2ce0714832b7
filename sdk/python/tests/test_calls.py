"""Every call sends what the contract says and returns the reply as it came."""

from __future__ import annotations

import inspect
import json
from typing import Any

import httpx
import pytest

from contract import JSON_CALLS, Call
from goqueue_client import GoQueueClient
from shape import check_shape, get_type_hints
from stub import StubBroker, reply

CALL_COUNT = 59
NO_FEATURES = reply({"version": "0.1.0", "features": []})


def public_calls() -> dict[str, Any]:
    """Return every public method of every service, as "service.method"."""
    client = GoQueueClient("http://unused")
    return {
        f"{service_name}.{name}": method
        for service_name, service in vars(client).items()
        if not service_name.startswith("_")
        for name, method in inspect.getmembers(service, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }


def make(call: Call) -> tuple[Any, httpx.Request]:
    """Make a call of a stub broker; return what it returned and the request it sent."""
    version = NO_FEATURES if call.name == "messages.publish" else None
    broker = StubBroker(reply(call.reply, call.status), version=version)
    return broker.run(call.invoke), broker.request


def test_table_covers_all_calls() -> None:
    calls = public_calls()
    assert len(calls) == CALL_COUNT
    assert {call.name for call in JSON_CALLS} | {"health.metrics"} == calls.keys()


@pytest.mark.parametrize("call", JSON_CALLS, ids=lambda call: str(call.name))
def test_call(call: Call) -> None:
    result, request = make(call)

    assert request.method == call.method
    assert request.url.path == call.path
    assert dict(request.url.params) == (call.query or {})
    if call.body is None:
        assert request.content == b""
    else:
        assert json.loads(request.content) == call.body
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept"] == "application/json"
    assert result == call.reply


@pytest.mark.parametrize("call", JSON_CALLS, ids=lambda call: str(call.name))
def test_reply_has_the_declared_type(call: Call) -> None:
    declared = get_type_hints(public_calls()[call.name])["return"]
    check_shape(call.reply, declared, call.name)


@pytest.mark.parametrize("call", JSON_CALLS, ids=lambda call: str(call.name))
def test_request_has_the_declared_type(call: Call) -> None:
    hints = get_type_hints(public_calls()[call.name])
    if "request" in hints or "config" in hints:
        declared = hints.get("request", hints.get("config"))
        check_shape(call.body, declared, call.name)


def test_metrics_are_text() -> None:
    text = "# TYPE goqueue_broker_topic_count gauge\ngoqueue_broker_topic_count 1\n"
    broker = StubBroker(
        httpx.Response(200, text=text, headers={"Content-Type": "text/plain; version=0.0.4"})
    )
    assert broker.run(lambda c: c.health.metrics()) == text
    assert (broker.request.method, broker.request.url.path) == ("GET", "/metrics")


@pytest.mark.parametrize("name", sorted(public_calls()))
def test_call_is_documented(name: str) -> None:
    method = public_calls()[name]
    text = inspect.getdoc(method) or ""
    assert "Returns:" in text
    parameters = list(inspect.signature(method).parameters)
    if parameters:
        arguments = text.split("Args:")[1].split("Returns:")[0]
        for parameter in parameters:
            assert f"{parameter}:" in arguments, parameter


def test_unknown_members_of_a_reply_are_kept() -> None:
    broker = StubBroker(reply({"topics": [], "new_in_2031": {"a": 1}}))
    assert broker.run(lambda c: c.topics.list()) == {"topics": [], "new_in_2031": {"a": 1}}


def test_a_name_is_one_path_segment() -> None:
    broker = StubBroker(reply({}))
    broker.run(lambda c: c.topics.get("a/b ?#%é+"))
    assert broker.request.url.raw_path == b"/topics/a%2Fb%20%3F%23%25%C3%A9%2B"


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_of_dots_is_not_resolved_away(name: str) -> None:
    broker = StubBroker(reply({}))
    broker.run(lambda c: c.topics.get(name))
    assert broker.request.url.raw_path == b"/topics/" + name.replace(".", "%2E").encode()


def test_an_empty_name_is_refused_unsent() -> None:
    broker = StubBroker(reply({}))
    with pytest.raises(ValueError, match="empty"):
        broker.run(lambda c: c.topics.get(""))
    assert broker.requests == []


def test_query_values_are_fully_encoded() -> None:
    broker = StubBroker(reply({"messages": []}))
    broker.run(lambda c: c.groups.poll("g", "my worker+&=é-1"))
    assert b"member_id=my%20worker%2B%26%3D%C3%A9-1&" in broker.request.url.raw_path


def test_none_in_a_body_is_not_sent() -> None:
    request: Any = {"transactional_id": None}
    broker = StubBroker(reply({}))
    broker.run(lambda c: c.transactions.init_producer(request))
    assert json.loads(broker.request.content) == {}


def test_text_is_sent_as_utf8_and_comes_back_identical() -> None:
    text = 'é€😀\x00\u2028"\\\n'
    broker = StubBroker(reply({"messages": [{"value": text}]}), version=NO_FEATURES)
    broker.run(lambda c: c.messages.publish("t", [{"value": text}]))
    assert json.loads(broker.request.content.decode("utf-8"))["messages"][0]["value"] == text
    result = broker.run(lambda c: c.messages.consume("t", 0))
    assert result["messages"][0]["value"] == text


@pytest.mark.parametrize("value", ["\ud800", float("nan")])
def test_what_json_cannot_carry_is_refused_unsent(value: Any) -> None:
    broker = StubBroker(reply({}), version=NO_FEATURES)
    with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's own
        broker.run(lambda c: c.messages.publish("t", [{"value": value}]))
    assert broker.requests == []


def test_base_url_may_have_a_path() -> None:
    broker = StubBroker(reply({"messages": []}))
    broker.run(lambda c: c.groups.poll("g", "m"), base_url="https://host/prefix/v1/")
    url = str(broker.request.url)
    assert url.startswith("https://host/prefix/v1/groups/g/poll?member_id=m&")


def test_own_headers_are_sent_and_win() -> None:
    broker = StubBroker(reply({}))
    headers = {"X-Tenant-ID": "acme", "accept": "application/json;q=1"}
    broker.run(lambda c: c.topics.list(), headers=headers)
    assert broker.request.headers["X-Tenant-ID"] == "acme"
    assert broker.request.headers.get_list("Accept") == ["application/json;q=1"]
    assert broker.request.headers["User-Agent"].startswith("goqueue-client-python/")
