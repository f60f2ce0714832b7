"""Types of ``client.topics``."""

from typing import Literal, Optional

from ._required import NotRequired, TypedDict

CleanupPolicy = Literal["delete", "compact"]
"""What happens to old messages: removed by age and size, or all but the last of each key."""


PriorityMode = Literal["strict", "weighted"]
"""What comes first: always the most urgent, or all priorities by turns, urgent ones more often."""


class CreateTopicRequest(TypedDict):
    """Argument of ``topics.create``.

    Attributes:
        name: Letters, digits, ``_`` and ``-``, 1 to 255 of them, not beginning with ``__``.
        num_partitions: 1 to 1024. Default 3.
        retention_hours: How long messages are kept; -1 = without limit. Default 168.
        retention_bytes: How many bytes are kept.
        cleanup_policy: Default "delete".
        visibility_timeout: How long a consumer may work on a message, a duration.
        max_deliveries: After how many failed deliveries a message is dead, 1 to 1000.
        max_in_flight: How many messages of one partition may be worked on at once, for one group;
            0 = without limit. Default 0.
        max_delayed: How many messages may wait for their time. Default 1,000,000.
        priority_mode: Default "strict".
    """

    name: str
    num_partitions: NotRequired[int]
    retention_hours: NotRequired[int]
    retention_bytes: NotRequired[int]
    cleanup_policy: NotRequired[CleanupPolicy]
    visibility_timeout: NotRequired[str]
    max_deliveries: NotRequired[int]
    max_in_flight: NotRequired[int]
    max_delayed: NotRequired[int]
    priority_mode: NotRequired[PriorityMode]


class CreateTopicResponse(TypedDict):
    """Reply of ``topics.create``; also in the body of its 409, with ``created`` False.

    Attributes:
        name: The topic.
        partitions: Number of partitions.
        created: True.
        retention_hours: How long messages are kept; -1 = without limit.
    """

    name: str
    partitions: int
    created: bool
    retention_hours: NotRequired[int]


class TopicListResponse(TypedDict):
    """Reply of ``topics.list``.

    Attributes:
        topics: The names, sorted.
        count: How many.
    """

    topics: list[str]
    count: NotRequired[int]


class PartitionOffsets(TypedDict):
    """Range of a partition in :class:`TopicDetails`.

    Attributes:
        earliest: Offset of the oldest message kept.
        latest: Offset of the last message; -1 if there never was one.
        next: Offset the next message will get.
    """

    earliest: int
    latest: int
    next: NotRequired[int]


class TopicDetails(TypedDict):
    """Reply of ``topics.get``.

    Attributes:
        name: The topic.
        partitions: Number of partitions.
        total_messages: Number of messages kept, those not due yet included.
        total_size_bytes: Bytes of its logs.
        partition_offsets: By partition number as a string: "0", "1", ...
        retention_hours: How long messages are kept; -1 = without limit.
        created_at: When it was created, a timestamp.
        dlq_topic: Its dead-letter topic; None if there is none yet.
        cleanup_policy: What happens to old messages.
        retention_bytes: How many bytes are kept; -1 = without limit.
        visibility_timeout: How long a consumer may work on a message, a duration.
        max_deliveries: After how many failed deliveries a message is dead.
        max_in_flight: How many messages of one partition may be worked on at once, for one group;
            0 = without limit.
        max_delayed: How many messages may wait for their time.
        priority_mode: What comes first.
    """

    name: str
    partitions: int
    total_messages: int
    total_size_bytes: int
    partition_offsets: dict[str, PartitionOffsets]
    retention_hours: NotRequired[int]
    created_at: NotRequired[str]
    dlq_topic: NotRequired[Optional[str]]
    cleanup_policy: NotRequired[CleanupPolicy]
    retention_bytes: NotRequired[int]
    visibility_timeout: NotRequired[str]
    max_deliveries: NotRequired[int]
    max_in_flight: NotRequired[int]
    max_delayed: NotRequired[int]
    priority_mode: NotRequired[PriorityMode]


class DeleteTopicResponse(TypedDict):
    """Reply of ``topics.delete``.

    Attributes:
        deleted: True.
        name: The topic.
    """

    deleted: bool
    name: str


class PartitionInfo(TypedDict):
    """One partition of a topic, as ``GET /topics/{topic}/partitions`` lists it.

    Attributes:
        partition: Its number, from 0.
        leader: The node that serves it.
        replicas: The nodes that hold it.
        isr: Those of them that are up to date.
        version: Rises with each change of the nodes; 0 on a single node.
        earliest: Offset of the oldest message kept.
        latest: Offset of the last message; -1 if there never was one.
        next: Offset the next message will get.
        messages: Number of messages kept.
        size_bytes: Bytes of its log.
    """

    partition: int
    leader: str
    replicas: list[str]
    isr: list[str]
    version: int
    earliest: NotRequired[int]
    latest: NotRequired[int]
    next: NotRequired[int]
    messages: NotRequired[int]
    size_bytes: NotRequired[int]
