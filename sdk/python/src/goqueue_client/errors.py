"""The one exception this package raises for a failed call."""

from __future__ import annotations

from typing import Any, Optional

#: ``GoQueueError.status`` when no answer arrived at all: connection refused, reset, or cut.
STATUS_NETWORK_ERROR = 0
#: ``GoQueueError.status`` when the client stopped waiting for the answer.
STATUS_CLIENT_TIMEOUT = 408


class GoQueueError(Exception):
    """A call to the broker failed.

    Attributes:
        message: What went wrong, in words.
        status: The HTTP status. 408 when the client's own timeout passed, 0 when no answer came
            (the broker is down or the connection broke).
        body: The decoded JSON body of the error reply, or None if there was none.
        code: The machine-readable cause from the reply, such as ``"topic_not_found"``,
            ``"receipt_expired"`` or ``"rate_limited"``; None if the reply had none.
        retryable: Whether repeating the same call may help: true for 5xx and for network errors.
            The client has already repeated such a call ``max_retries`` times when it raises this.
        retry_after: Seconds the broker asked to wait (``Retry-After``, on 429 and 503), or None.
    """

    def __init__(
        self,
        message: str,
        status: int,
        body: Any = None,
        *,
        retry_after: Optional[float] = None,
    ) -> None:
        # All positional arguments go to the base class, so that a pickled error can be rebuilt.
        super().__init__(message, status, body)
        self.message = message
        self.status = status
        self.body = body
        self.retry_after = retry_after

    @property
    def code(self) -> Optional[str]:
        """The machine-readable cause, or None."""
        code = self.body.get("code") if isinstance(self.body, dict) else None
        return code if isinstance(code, str) else None

    @property
    def retryable(self) -> bool:
        """Whether repeating the call may succeed (5xx, network errors)."""
        return self.status == STATUS_NETWORK_ERROR or self.status >= 500

    def __str__(self) -> str:
        cause = f", {self.code}" if self.code else ""
        return f"{self.message} (status {self.status}{cause})"
