"""Types of ``client.health``."""

from typing import Literal

from ._required import NotRequired, TypedDict

HealthStatus = Literal["ok", "degraded", "fail"]
"""Overall state; "degraded" = it serves, but the disk is nearly full or a replica is down."""

ProbeStatus = Literal["pass", "fail"]
"""Result of a probe. A client sees "fail" only in the body of an error."""


class HealthResponse(TypedDict):
    """Reply of ``health.check``.

    Attributes:
        status: Overall state.
        timestamp: When it was determined.
        uptime: How long the broker has been running, a duration.
        version: Version of the broker.
        error: Why it cannot serve; only with status "fail".
    """

    status: HealthStatus
    timestamp: str
    uptime: NotRequired[str]
    version: NotRequired[str]
    error: NotRequired[str]


class LivenessResponse(TypedDict):
    """Reply of ``health.liveness`` and ``health.startup``.

    Attributes:
        status: "pass"; "fail" in the body of a 503.
        timestamp: When it was determined.
        uptime: How long the broker has been running, a duration.
        message: What is wrong, with status "fail".
        error: The same text as ``message``.
    """

    status: ProbeStatus
    timestamp: str
    uptime: NotRequired[str]
    message: NotRequired[str]
    error: NotRequired[str]


class HealthCheckResult(TypedDict):
    """One check of a verbose ``health.readiness``.

    Attributes:
        status: Its result.
        message: More about it.
        latency: How long it took, a duration.
    """

    status: Literal["pass", "warn", "fail"]
    message: NotRequired[str]
    latency: NotRequired[str]


class BrokerInfo(TypedDict):
    """The broker in a verbose ``health.readiness``.

    Attributes:
        node_id: Name of the node.
        topic_count: Number of topics, dead-letter topics included.
        total_size: Bytes of all logs.
    """

    node_id: str
    topic_count: int
    total_size: int


class ReadinessResponse(LivenessResponse):
    """Reply of ``health.readiness``.

    Attributes:
        checks: Each check by its name, at least "broker" and "storage"; only if asked for.
        broker: A summary; only if asked for.
    """

    checks: NotRequired[dict[str, HealthCheckResult]]
    broker: NotRequired[BrokerInfo]


class VersionResponse(TypedDict):
    """Reply of ``health.version``.

    Attributes:
        version: Semantic version.
        git_commit: The commit it was built from.
        build_time: When it was built.
        go_version: Always empty; kept for clients that expect it.
        compiler: What it was built with.
        features: Optional abilities of this broker. With "idempotency-key" it recognises a repeated
            publish by its ``Idempotency-Key`` header.
    """

    version: str
    git_commit: str
    build_time: str
    go_version: str
    compiler: NotRequired[str]
    features: NotRequired[list[str]]


class TopicStats(TypedDict):
    """One topic in ``health.stats``.

    Attributes:
        name: The topic.
        partitions: Number of partitions.
        total_messages: Number of messages kept.
        total_size_bytes: Bytes of its logs.
    """

    name: str
    partitions: int
    total_messages: int
    total_size_bytes: int


class StatsResponse(TypedDict):
    """Reply of ``health.stats``.

    Attributes:
        node_id: Name of the node.
        uptime: How long the broker has been running, a duration.
        topics: Number of topics.
        total_size_bytes: Bytes of all logs.
        topic_stats: By topic name.
        topic_list: The topic names.
        groups: Number of consumer groups.
    """

    node_id: str
    uptime: str
    topics: int
    total_size_bytes: int
    topic_stats: dict[str, TopicStats]
    topic_list: NotRequired[list[str]]
    groups: NotRequired[int]
