"""A broker made of a function: it records the requests and answers from a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, Callable, Optional, TypeVar, Union

import httpx

from goqueue_client import GoQueueClient

T = TypeVar("T")
Answer = Union[httpx.Response, Exception]

BASE_URL = "http://broker.test:8080"


def reply(
    value: Any, status: int = 200, headers: Optional[dict[str, str]] = None
) -> httpx.Response:
    """Return a JSON reply with this value."""
    return httpx.Response(
        status,
        content=json.dumps(value).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )


def failure(
    status: int, code: str = "internal", headers: Optional[dict[str, str]] = None
) -> httpx.Response:
    """Return an error reply as the contract shapes it."""
    return reply({"error": f"error {code}", "status": status, "code": code}, status, headers)


class StubBroker:
    """Answers each request with the next of ``answers``; the last one serves all further ones.

    ``GET /version`` is answered from ``version`` instead and recorded in ``version_requests``,
    unless ``version`` is None.
    """

    def __init__(self, *answers: Answer, version: Optional[Answer] = None) -> None:
        self.answers = list(answers)
        self.version = version
        self.requests: list[httpx.Request] = []
        self.version_requests: list[httpx.Request] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.version is not None and request.url.path == "/version":
            self.version_requests.append(request)
            return _give(self.version, request)
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return _give(answer, request)

    def client(self, base_url: str = BASE_URL, **settings: Any) -> GoQueueClient:
        """Return a client that talks to this broker."""
        return GoQueueClient(base_url, transport=httpx.MockTransport(self.handle), **settings)

    def run(self, call: Callable[[GoQueueClient], Awaitable[T]], **settings: Any) -> T:
        """Run one coroutine with a client of this broker and return what it returns."""

        async def main() -> T:
            async with self.client(**settings) as client:
                return await call(client)

        return asyncio.run(main())

    @property
    def request(self) -> httpx.Request:
        """The only request."""
        (request,) = self.requests
        return request

    @property
    def read_timeout(self) -> Optional[float]:
        """The read timeout of the only request, in seconds."""
        timeout: Optional[float] = self.request.extensions["timeout"]["read"]
        return timeout


def _give(answer: Answer, request: httpx.Request) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    # A copy: httpx ties a response to the request it answers.
    return httpx.Response(
        answer.status_code, headers=answer.headers, content=answer.content, request=request
    )
