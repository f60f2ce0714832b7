"""Types that several services share."""

from typing import Literal

from ._required import NotRequired, TypedDict

MessagePriority = Literal["critical", "high", "normal", "low", "background"]
"""Priority of a message, the most urgent first. The default is "normal"."""


class ErrorResponse(TypedDict):
    """Body of every error reply; ``GoQueueError.body`` holds it.

    Attributes:
        error: What went wrong, in words; never empty.
        status: The HTTP status.
        code: The machine-readable cause, for example "topic_not_found".
    """

    error: str
    status: NotRequired[int]
    code: NotRequired[str]
