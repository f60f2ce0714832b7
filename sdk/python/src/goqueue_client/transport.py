"""One HTTP request to the broker: encoding, timeouts, retries, and turning failures into errors.

Every service call ends in :meth:`Transport.request`. The rules, once for all of them:

* A reply 5xx and any network error is tried again, ``max_retries`` times at most, after
  ``initial_delay``, twice that, four times that, ... but never more than ``max_delay`` seconds. A
  ``Retry-After`` of a 503 lengthens the pause within the same bound. The broker answers 5xx only
  if nothing was changed.
* Any other reply that is not a success is raised at once, 429 included.
* A timeout on this side is raised at once as status 408: the broker may still be at work.
* Members of a body and query parameters that are None are not sent.
* A name becomes exactly one path segment, whatever characters it has.
"""

from __future__ import annotations

import json
from asyncio import sleep
from collections.abc import Mapping
from typing import Any, Optional, Union
from urllib.parse import quote, urlencode

import httpx

from ._version import __version__
from .errors import STATUS_CLIENT_TIMEOUT, STATUS_NETWORK_ERROR, GoQueueError

#: A long poll gets this much longer than its own ``timeout`` before the client gives up.
WAIT_MARGIN_SECONDS = 10.0

# The broker keeps idle connections for at least 60 s: drop ours first, so that a request never
# meets a connection that is being closed. Parked polls each hold a connection, hence no maximum.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=128, keepalive_expiry=30.0)


def path_of(*segments: Union[str, int]) -> str:
    """Return the path made of these segments, each percent-encoded as a whole, ``/`` included.

    Raises:
        ValueError: A segment is empty; it would silently address the collection above it.
    """
    encoded = []
    for segment in segments:
        text = quote(str(segment), safe="")
        if not text:
            raise ValueError("a name in a request must not be empty")
        # A bare "." or ".." would be resolved away before the request is sent.
        encoded.append(text.replace(".", "%2E") if text in (".", "..") else text)
    return "/" + "/".join(encoded)


class Transport:
    """The HTTP side of one client. Opens its connection pool at the first request."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout: Optional[float],
        headers: Optional[Mapping[str, str]],
        max_retries: int,
        initial_delay: float,
        max_delay: float,
        http_transport: Optional[httpx.AsyncBaseTransport],
    ) -> None:
        if not base_url.lower().startswith(("http://", "https://")):
            raise ValueError(f"base_url must start with http:// or https://: {base_url!r}")
        if max_retries < 0 or initial_delay < 0 or max_delay < 0:
            raise ValueError("max_retries, initial_delay and max_delay must not be negative")
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._headers = httpx.Headers(
            {
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": f"goqueue-client-python/{__version__}",
            }
        )
        self._headers.update(dict(headers or {}))
        self._max_retries = max_retries
        self._initial_delay = initial_delay
        self._max_delay = max_delay
        self._http_transport = http_transport
        self._http: Optional[httpx.AsyncClient] = None

    async def close(self) -> None:
        """Close all connections. A later request opens new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Optional[Mapping[str, Any]] = None,
        body: Optional[Mapping[str, Any]] = None,
        headers: Optional[Mapping[str, str]] = None,
        wait_seconds: float = 0.0,
        retry: bool = True,
    ) -> Any:
        """Send one request, repeat it as the module's rules say, and return the decoded reply.

        Args:
            method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
            path: From :func:`path_of`.
            query: Query parameters; those that are None are left out.
            body: Members of the JSON body; those that are None are left out. None = no body.
            headers: Additional headers, the same on every attempt.
            wait_seconds: How long the broker may hold the request back; the read timeout is at
                least this plus a margin.
            retry: False to make one attempt only.

        Returns:
            The decoded JSON value (object, array or number), or the text of a reply that is not
            JSON.

        Raises:
            GoQueueError: See the module's rules.
            ValueError: The body cannot be JSON (NaN, an infinity, an unpaired surrogate).
            TypeError: The body holds an object JSON does not know.
        """
        content = None if body is None else _encode(body)
        url = path + _query_text(query or {})
        attempts = self._max_retries + 1 if retry else 1
        attempt = 1
        while True:
            try:
                return await self._attempt(method, url, content, headers, wait_seconds)
            except GoQueueError as error:
                if not error.retryable or attempt >= attempts:
                    raise
                pause = self._pause(attempt, error)
            await sleep(pause)
            attempt += 1

    def _pause(self, attempt: int, error: GoQueueError) -> float:
        """Return the seconds to wait after attempt number ``attempt`` (from 1) failed."""
        pause = self._initial_delay * 2.0 ** min(attempt - 1, 63)
        if error.status == 503 and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        return min(pause, self._max_delay)

    async def _attempt(
        self,
        method: str,
        url: str,
        content: Optional[bytes],
        headers: Optional[Mapping[str, str]],
        wait_seconds: float,
    ) -> Any:
        read_timeout = self._timeout
        if read_timeout is not None and wait_seconds > 0:
            read_timeout = max(read_timeout, wait_seconds + WAIT_MARGIN_SECONDS)
        try:
            response = await self._client().request(
                method,
                url,
                content=content,
                headers=None if headers is None else dict(headers),
                timeout=httpx.Timeout(self._timeout, read=read_timeout),
            )
        except httpx.ConnectTimeout as error:
            message = f"no connection within {self._timeout} s"
            raise GoQueueError(message, STATUS_CLIENT_TIMEOUT) from error
        except httpx.TimeoutException as error:
            message = f"no answer within {read_timeout} s"
            raise GoQueueError(message, STATUS_CLIENT_TIMEOUT) from error
        except httpx.RequestError as error:
            message = f"network error: {str(error) or type(error).__name__}"
            raise GoQueueError(message, STATUS_NETWORK_ERROR) from error
        return _decode(response)

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                limits=_LIMITS,
                transport=self._http_transport,
            )
        return self._http


def _query_text(query: Mapping[str, Any]) -> str:
    """Return ``?name=value&...``, or nothing; a space is ``%20``, which has one reading only."""
    present = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    return "?" + urlencode(present, quote_via=quote, safe="") if present else ""


def _encode(body: Mapping[str, Any]) -> bytes:
    present = {name: value for name, value in body.items() if value is not None}
    text = json.dumps(present, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def _decode(response: httpx.Response) -> Any:
    """Return the value of a successful reply; raise GoQueueError for any other."""
    is_json = "application/json" in response.headers.get("Content-Type", "")
    if not is_json and response.is_success:
        return response.text
    body: Any = None
    if is_json:
        try:
            body = json.loads(response.content)
        except ValueError as error:
            if response.is_success:
                # Not repeated: the broker has done what was asked.
                message = "the reply is not valid JSON"
                raise GoQueueError(message, response.status_code) from error
    if response.is_success:
        return body
    raise GoQueueError(
        _error_text(body) or f"Request failed: {response.status_code} {response.reason_phrase}",
        response.status_code,
        body,
        retry_after=_retry_after(response),
    )


def _error_text(body: Any) -> str:
    """Return the text of an error body; empty if it has none."""
    text = body.get("error") if isinstance(body, dict) else None
    if isinstance(text, dict):
        text = text.get("message")
    return text if isinstance(text, str) else ""


def _retry_after(response: httpx.Response) -> Optional[float]:
    """Return the seconds of Retry-After; the header's date form is not used by the broker."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
