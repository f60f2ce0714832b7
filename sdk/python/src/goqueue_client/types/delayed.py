"""Types of ``client.delayed``."""

from typing import Literal

from ._required import NotRequired, TypedDict
from .common import MessagePriority


class DelayedMessage(TypedDict):
    """A message that is not due yet; reply of ``delayed.get``.

    Attributes:
        topic: Its topic.
        partition: Its partition.
        offset: Its offset there.
        deliver_at: When it is due, a timestamp.
        priority: Its priority.
        time_remaining: Until then, a duration.
        state: "pending".
        key: Only if it was published with one.
        value: The content.
        matches: ``delayed.get`` without a partition: in how many partitions the offset is pending,
            if in several.
    """

    topic: str
    partition: int
    offset: int
    deliver_at: str
    priority: MessagePriority
    time_remaining: NotRequired[str]
    state: NotRequired[Literal["pending"]]
    key: NotRequired[str]
    value: NotRequired[str]
    matches: NotRequired[int]


class DelayedMessagesResponse(TypedDict):
    """Reply of ``delayed.list``.

    Attributes:
        messages: The next due first.
        count: How many were returned.
        total: How many are pending.
        topic: The topic.
        limit: The limit in force.
        skip: How many were left out.
    """

    messages: list[DelayedMessage]
    count: int
    total: NotRequired[int]
    topic: NotRequired[str]
    limit: NotRequired[int]
    skip: NotRequired[int]


class CancelDelayedResponse(TypedDict):
    """Reply of ``delayed.cancel``.

    Attributes:
        cancelled: True.
        canceled: True; the same in another spelling.
        already_cancelled: True if it had been cancelled before.
        topic: Topic of the message.
        partition: Its partition.
        offset: Its offset.
    """

    cancelled: bool
    canceled: NotRequired[bool]
    already_cancelled: NotRequired[bool]
    topic: NotRequired[str]
    partition: NotRequired[int]
    offset: NotRequired[int]


class DelayStats(TypedDict):
    """Reply of ``delayed.stats``.

    Attributes:
        pending_count: Messages not due yet.
        delivered_count: Messages that became due.
        cancelled_count: Messages cancelled.
        avg_delay: Mean requested delay, a duration.
        canceled_count: The same as ``cancelled_count``.
        total_scheduled: Messages ever delayed.
        total_delivered: The same as ``delivered_count``.
        total_canceled: The same as ``cancelled_count``.
        total_pending: The same as ``pending_count``.
        by_topic: Pending messages by topic.
    """

    pending_count: int
    delivered_count: int
    cancelled_count: int
    avg_delay: str
    canceled_count: NotRequired[int]
    total_scheduled: NotRequired[int]
    total_delivered: NotRequired[int]
    total_canceled: NotRequired[int]
    total_pending: NotRequired[int]
    by_topic: NotRequired[dict[str, int]]
