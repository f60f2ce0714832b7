"""Types of ``client.tracing``."""

from typing import Any, Literal

from ._required import NotRequired, TypedDict

TraceStatus = Literal["completed", "error", "pending"]
"""Fate of a message: acknowledged or cancelled; rejected or dead; neither yet."""


class TraceEvent(TypedDict):
    """One event of a trace.

    Attributes:
        timestamp: When it happened.
        event_type: "published", "delayed", "due", "cancelled", "committed", "aborted", "consumed",
            "acked", "nacked", "rejected", "visibility_extended", "visibility_expired" or
            "dead_lettered".
        details: More about it; for "consumed" the group, the consumer and the delivery count.
    """

    timestamp: str
    event_type: str
    details: dict[str, Any]


class TraceSpan(TypedDict):
    """An event in the form of a span.

    Attributes:
        span_id: 16 hexadecimal digits.
        event_type: A dotted name such as "consume.acked".
        timestamp: When it happened.
        topic: Topic of the message.
        partition: Its partition.
        offset: Its offset.
        consumer_group: The group it happened in.
        consumer_id: The consumer it happened to.
        error: What went wrong.
        attributes: More about it.
    """

    span_id: str
    event_type: str
    timestamp: str
    topic: str
    partition: int
    offset: int
    consumer_group: NotRequired[str]
    consumer_id: NotRequired[str]
    error: NotRequired[str]
    attributes: NotRequired[dict[str, Any]]


class Trace(TypedDict):
    """What happened to one message; reply of ``tracing.get``.

    Attributes:
        trace_id: 32 hexadecimal digits.
        topic: Topic of the message.
        partition: Its partition.
        offset: Its offset.
        status: Its fate.
        events: In order of time.
        start_time: First event, a timestamp.
        end_time: Last event, a timestamp.
        duration_ms: Milliseconds between them.
        span_count: Number of spans.
        spans: Only from ``tracing.get``.
    """

    trace_id: str
    topic: str
    partition: int
    offset: int
    status: TraceStatus
    events: list[TraceEvent]
    start_time: NotRequired[str]
    end_time: NotRequired[str]
    duration_ms: NotRequired[int]
    span_count: NotRequired[int]
    spans: NotRequired[list[TraceSpan]]


class TraceSearchParams(TypedDict, total=False):
    """Argument of ``tracing.search``; every given condition must hold.

    Attributes:
        topic: Topic of the message.
        partition: Its partition; -1 = any.
        consumer_group: Some event happened in this group.
        start: Published at this time or later, a timestamp.
        end: Published at this time or earlier, a timestamp.
        status: Its fate.
        limit: At most this many, 1 to 1000. Default 100.
    """

    topic: str
    partition: int
    consumer_group: str
    start: str
    end: str
    status: TraceStatus
    limit: int


class TraceListResponse(TypedDict):
    """Reply of ``tracing.list`` and ``tracing.search``.

    Attributes:
        traces: Newest first.
        total: How many were returned.
        query: The conditions of a search.
    """

    traces: list[Trace]
    total: NotRequired[int]
    query: NotRequired[dict[str, Any]]


class TracerStats(TypedDict):
    """Reply of ``tracing.stats``.

    Attributes:
        traces_total: Traces recorded.
        traces_completed: Those of acknowledged or cancelled messages.
        traces_error: Those of rejected or dead messages.
        avg_latency: Mean time from publish to the first acknowledgement, a duration.
        enabled: Whether messages are traced.
        spans_in_buffer: Spans kept.
        buffer_capacity: How many can be kept.
        traces_indexed: Traces that can be searched.
        sampling_rate: The share of messages traced, 0 to 1.
        exporters_enabled: Whether traces are sent elsewhere.
    """

    traces_total: int
    traces_completed: int
    traces_error: int
    avg_latency: str
    enabled: NotRequired[bool]
    spans_in_buffer: NotRequired[int]
    buffer_capacity: NotRequired[int]
    traces_indexed: NotRequired[int]
    sampling_rate: NotRequired[float]
    exporters_enabled: NotRequired[bool]
