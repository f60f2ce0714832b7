"""Types of ``client.messages``."""

from typing import Literal, Optional

from ._required import NotRequired, TypedDict
from .common import MessagePriority

ConsumeOrder = Literal["offset", "priority"]
"""Order of the messages in one reply of ``messages.consume``."""


class PublishMessage(TypedDict):
    """A message for ``messages.publish``.

    Attributes:
        value: The content, any text up to 16 MiB; it may be empty.
        key: Messages with the same key go to the same partition, in order.
        partition: The partition; it wins over the key.
        delay: Deliver it this much later, a duration such as "30s"; it wins over ``deliverAt``.
        deliverAt: Deliver it then, a timestamp such as "2030-01-31T08:00:00Z"; a past one = now.
        priority: Urgent messages are delivered first. Default "normal".
        headers: Names and values that are handed to the consumers.
    """

    value: str
    key: NotRequired[str]
    partition: NotRequired[int]
    delay: NotRequired[str]
    deliverAt: NotRequired[str]
    priority: NotRequired[MessagePriority]
    headers: NotRequired[dict[str, str]]


class PublishResult(TypedDict):
    """What became of one message of ``messages.publish``.

    Attributes:
        partition: Where it was stored; -1 if it was not.
        offset: Its offset there; -1 if it was not stored.
        priority: Its priority.
        delayed: Whether it is not due yet.
        deliverAt: When it is due; only if delayed.
        trace_id: For ``tracing.get``; only if the message is traced.
        error: Why it was not stored; absent if it was.
    """

    partition: int
    offset: int
    priority: NotRequired[MessagePriority]
    delayed: NotRequired[bool]
    deliverAt: NotRequired[str]
    trace_id: NotRequired[str]
    error: NotRequired[str]


class PublishResponse(TypedDict):
    """Reply of ``messages.publish``.

    Attributes:
        results: One per message, in the order of the request.
    """

    results: list[PublishResult]


class Message(TypedDict):
    """What every received message has.

    Attributes:
        topic: Where it came from.
        partition: Its partition.
        offset: Its offset there.
        timestamp: When it was published.
        value: The content.
        key: Only if it was published with one.
        priority: Its priority.
        headers: Only if it was published with some.
    """

    topic: str
    partition: int
    offset: int
    timestamp: str
    value: str
    key: NotRequired[str]
    priority: NotRequired[MessagePriority]
    headers: NotRequired[dict[str, str]]


class ConsumeMessage(Message):
    """A message read by ``messages.consume``."""


class ConsumeResponse(TypedDict):
    """Reply of ``messages.consume``.

    Attributes:
        messages: The messages found.
        next_offset: The ``offset`` for the next call.
        earliest: Offset of the oldest message kept.
        latest: Offset of the last message; -1 if there never was one.
    """

    messages: list[ConsumeMessage]
    next_offset: int
    earliest: NotRequired[int]
    latest: NotRequired[int]


class AckRequest(TypedDict):
    """Body of ``messages.ack``; its arguments."""

    receipt_handle: str
    consumer_id: NotRequired[str]


class AckResponse(TypedDict):
    """Reply of ``messages.ack``.

    Attributes:
        acknowledged: True.
        already: True if the message had been acknowledged before.
        success: True.
        topic: Topic of the message.
        partition: Its partition.
        offset: Its offset.
        committed_offset: Position of the group in that partition now: the next offset to be done.
        offset_advanced: Whether this acknowledgement moved that position.
        in_flight_count: How many messages the group still works on there.
    """

    acknowledged: bool
    already: NotRequired[bool]
    success: NotRequired[bool]
    topic: NotRequired[str]
    partition: NotRequired[int]
    offset: NotRequired[int]
    committed_offset: NotRequired[int]
    offset_advanced: NotRequired[bool]
    in_flight_count: NotRequired[int]


class NackRequest(TypedDict):
    """Body of ``messages.nack``; its arguments."""

    receipt_handle: str
    delay: NotRequired[str]
    reason: NotRequired[str]


class NackResponse(TypedDict):
    """Reply of ``messages.nack``.

    Attributes:
        requeued: True; False if that was the last allowed delivery.
        already: True if the same had been done before.
        success: True.
        action: "requeued" or "dlq".
        topic: Topic of the message.
        partition: Its partition.
        offset: Its offset.
        delivery_count: How often it has been delivered.
        next_visible_at: When it is delivered again, a timestamp.
        dlq_topic: Where it went instead; None if it was dropped.
    """

    requeued: bool
    already: NotRequired[bool]
    success: NotRequired[bool]
    action: NotRequired[Literal["requeued", "dlq"]]
    topic: NotRequired[str]
    partition: NotRequired[int]
    offset: NotRequired[int]
    delivery_count: NotRequired[int]
    next_visible_at: NotRequired[str]
    dlq_topic: NotRequired[Optional[str]]


class RejectRequest(TypedDict):
    """Body of ``messages.reject``; its arguments."""

    receipt_handle: str
    reason: NotRequired[str]


class RejectResponse(TypedDict):
    """Reply of ``messages.reject``.

    Attributes:
        rejected: True.
        dlq_topic: Where it went; None for a message of a dead-letter topic, which is dropped.
        already: True if the same had been done before.
        success: True.
        action: "rejected".
        topic: Topic of the message.
        partition: Its partition.
        offset: Its offset.
        reason: The reason given.
    """

    rejected: bool
    dlq_topic: Optional[str]
    already: NotRequired[bool]
    success: NotRequired[bool]
    action: NotRequired[Literal["rejected"]]
    topic: NotRequired[str]
    partition: NotRequired[int]
    offset: NotRequired[int]
    reason: NotRequired[Optional[str]]


class ExtendVisibilityRequest(TypedDict):
    """Body of ``messages.extend_visibility``; its arguments."""

    receipt_handle: str
    timeout: str


class ExtendVisibilityResponse(TypedDict):
    """Reply of ``messages.extend_visibility``.

    Attributes:
        extended: True.
        new_deadline: Until when the message is held, a timestamp.
        success: True.
        extended_by: Seconds from now.
    """

    extended: bool
    new_deadline: str
    success: NotRequired[bool]
    extended_by: NotRequired[float]


class AckManagerStats(TypedDict, total=False):
    """The acknowledgement part of :class:`ReliabilityStats`; all counts."""

    total_acks: int
    total_nacks: int
    total_rejects: int
    total_expired: int
    total_retries: int
    total_dlq: int
    current_queued: int


class VisibilityTrackerStats(TypedDict, total=False):
    """The visibility part of :class:`ReliabilityStats`; all counts."""

    total_tracked: int
    current_in_flight: int
    total_expired: int
    total_acked: int
    total_extended: int


class DeadLetterStats(TypedDict, total=False):
    """The dead-letter part of :class:`ReliabilityStats`; all counts.

    Attributes:
        total_routed: Messages that became dead letters.
        routes_by_reason: The same by reason: "REJECTED", "MAX_RETRIES_EXCEEDED".
        routes_by_topic: The same by the topic they came from.
        total_dropped: Messages of dead-letter topics that failed again.
        create_errors: Failures for want of a dead-letter topic.
        publish_errors: Other failures.
    """

    total_routed: int
    routes_by_reason: dict[str, int]
    routes_by_topic: dict[str, int]
    total_dropped: int
    create_errors: int
    publish_errors: int


class ReliabilityStats(TypedDict):
    """Reply of ``messages.reliability_stats``.

    Attributes:
        acks_total: Messages acknowledged.
        nacks_total: Messages given back.
        rejects_total: Messages rejected.
        dlq_messages: Messages now in all dead-letter topics.
        visibility_extensions: Extensions granted.
        ack_manager: The same and more, in another form.
        visibility_tracker: Messages being worked on.
        dlq: Messages sent to dead-letter topics.
    """

    acks_total: int
    nacks_total: int
    rejects_total: int
    dlq_messages: int
    visibility_extensions: int
    ack_manager: NotRequired[AckManagerStats]
    visibility_tracker: NotRequired[VisibilityTrackerStats]
    dlq: NotRequired[DeadLetterStats]
