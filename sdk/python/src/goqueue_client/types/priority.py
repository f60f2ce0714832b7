"""Types of ``client.priority``."""

from ._required import NotRequired, TypedDict


class PriorityPartitionStats(TypedDict, total=False):
    """One partition in :class:`PriorityTopicStats`; lists have one entry per priority.

    Attributes:
        pending: Messages that no group is done with.
        consumed: Messages that the group that is furthest is done with.
        total: Messages kept.
        oldest_pending: When the oldest pending one was published; empty if there is none, or where
            the broker does not tell.
    """

    pending: list[int]
    consumed: list[int]
    total: list[int]
    oldest_pending: list[str]


class PriorityTopicStats(TypedDict, total=False):
    """One topic in :class:`PriorityStats`.

    Attributes:
        total_by_priority: Messages kept, critical first.
        partitions: By partition number as a string.
    """

    total_by_priority: list[int]
    partitions: dict[str, PriorityPartitionStats]


class PriorityStats(TypedDict):
    """Reply of ``priority.stats``.

    Attributes:
        messages_by_priority: Messages kept, for each of the five priorities.
        avg_wait_time_by_priority: Mean time until the first delivery, a duration each.
        total_by_priority: Messages kept, as a list, critical first.
        topics: The same by topic.
    """

    messages_by_priority: dict[str, int]
    avg_wait_time_by_priority: dict[str, str]
    total_by_priority: NotRequired[list[int]]
    topics: NotRequired[dict[str, PriorityTopicStats]]
