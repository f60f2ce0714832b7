"""Types of ``client.groups``."""

from typing import Literal

from ._required import NotRequired, TypedDict
from .messages import Message

GroupState = Literal["stable", "rebalancing", "dead"]
"""State of a group; "dead" = it has no members."""

GroupOrdering = Literal["none", "key"]
"""How a group gets messages with keys; "key" = one message of a key at a time, until it is done."""

GroupOffsets = dict[str, dict[str, int]]
"""``{topic: {partition number as a string: next offset to be done}}``."""


class GroupSummary(TypedDict):
    """One group in :class:`GroupListResponse`.

    Attributes:
        id: The group.
        state: Its state.
        members: Number of members.
        generation: Its generation.
        topics: The topics its members subscribe to.
    """

    id: str
    state: GroupState
    members: int
    generation: int
    topics: list[str]


class GroupListResponse(TypedDict):
    """Reply of ``groups.list``.

    Attributes:
        groups: The ids, sorted.
        group_details: More about each.
    """

    groups: list[str]
    group_details: NotRequired[list[GroupSummary]]


class GroupMember(TypedDict):
    """One member in :class:`GroupDetails`.

    Attributes:
        member_id: Its id.
        client_id: The name it joined with.
        assigned_partitions: Its partitions, as "<topic>-<number>".
        id: The same as ``member_id``.
        partitions: The same as ``assigned_partitions``.
        last_heartbeat: Its last sign of life, a timestamp.
        joined_at: When it joined, a timestamp.
    """

    member_id: str
    client_id: str
    assigned_partitions: list[str]
    id: NotRequired[str]
    partitions: NotRequired[list[str]]
    last_heartbeat: NotRequired[str]
    joined_at: NotRequired[str]


class GroupDetails(TypedDict):
    """Reply of ``groups.get``.

    Attributes:
        group_id: The group.
        state: Its state.
        generation: Rises with every change of members, subscriptions or partitions.
        protocol: How partitions are assigned.
        members: Its members.
        ordering: How the group gets messages with keys.
        id: The same as ``group_id``.
        topics: The topics its members subscribe to.
        created_at: When it was created, a timestamp.
        leader_id: The longest-serving member; empty without members.
    """

    group_id: str
    state: GroupState
    generation: int
    protocol: str
    members: list[GroupMember]
    ordering: NotRequired[GroupOrdering]
    id: NotRequired[str]
    topics: NotRequired[list[str]]
    created_at: NotRequired[str]
    leader_id: NotRequired[str]


class DeleteGroupResponse(TypedDict):
    """Reply of ``groups.delete``.

    Attributes:
        deleted: True.
        group: The group.
        group_id: The group.
    """

    deleted: bool
    group: NotRequired[str]
    group_id: NotRequired[str]


class JoinGroupRequest(TypedDict):
    """Argument of ``groups.join``.

    Attributes:
        client_id: A name for logs; need not be unique.
        topics: What to receive; the topics must exist.
        session_timeout: After this time without a sign of life the member is taken for dead, a
            duration from "1s" to "30m". Default "30s".
        member_id: To join again as a member that has not left yet.
        auto_offset_reset: Where to begin in partitions the group has never read. Default
            "earliest".
        visibility_timeout: How long the member may work on a message, a duration.
        max_in_flight: How many messages the member may work on at once.
        max_deliveries: After how many failed deliveries a message is dead, 1 to 1000. Default: the
            topic's.
        ordering: Of the whole group from now on: "key" holds later messages of a key back until the
            earlier one is done. Default: the group stays as it is, and begins as "none".
    """

    client_id: str
    topics: list[str]
    session_timeout: NotRequired[str]
    member_id: NotRequired[str]
    auto_offset_reset: NotRequired[Literal["earliest", "latest"]]
    visibility_timeout: NotRequired[str]
    max_in_flight: NotRequired[int]
    max_deliveries: NotRequired[int]
    ordering: NotRequired[GroupOrdering]


class TopicPartition(TypedDict):
    """A partition of a topic."""

    topic: str
    partition: int


class JoinGroupResponse(TypedDict):
    """Reply of ``groups.join``.

    Attributes:
        member_id: Id of this member, for the further calls.
        generation: Generation of the group, for ``heartbeat``.
        leader: Whether this is the longest-serving member; it has no duties.
        assigned_partitions: Its partitions, as "<topic>-<number>".
        rebalance_required: False.
        leader_id: The longest-serving member.
        members: All member ids.
        partitions: Numbers of its partitions, if it subscribes to one topic only.
        assignments: Its partitions as objects.
        session_timeout: The one in force, a duration.
    """

    member_id: str
    generation: int
    leader: bool
    assigned_partitions: list[str]
    rebalance_required: bool
    leader_id: NotRequired[str]
    members: NotRequired[list[str]]
    partitions: NotRequired[list[int]]
    assignments: NotRequired[list[TopicPartition]]
    session_timeout: NotRequired[str]


class HeartbeatRequest(TypedDict):
    """Argument of ``groups.heartbeat``.

    Attributes:
        member_id: The member.
        generation: As the member knows it; absent = do not compare.
    """

    member_id: str
    generation: NotRequired[int]


class HeartbeatResponse(TypedDict):
    """Reply of ``groups.heartbeat``.

    Attributes:
        rebalance_required: Whether the member's partitions changed since the given generation.
        state: State of the group.
        generation: The current generation.
        assigned_partitions: The member's partitions now, as "<topic>-<number>".
        status: "ok".
    """

    rebalance_required: bool
    state: GroupState
    generation: NotRequired[int]
    assigned_partitions: NotRequired[list[str]]
    status: NotRequired[str]


class LeaveGroupRequest(TypedDict):
    """Argument of ``groups.leave``.

    Attributes:
        member_id: The member.
    """

    member_id: str


class LeaveGroupResponse(TypedDict):
    """Reply of ``groups.leave``.

    Attributes:
        left: True.
        status: "left".
    """

    left: bool
    status: NotRequired[str]


class PollMessage(Message):
    """A message received by ``groups.poll``.

    Attributes:
        receipt_handle: For ``messages.ack``, ``nack``, ``reject`` and ``extend_visibility``.
        delivery_count: Which delivery to this group it is, from 1.
        visibility_deadline: Until when it has to be settled, a timestamp.
    """

    receipt_handle: str
    delivery_count: NotRequired[int]
    visibility_deadline: NotRequired[str]


class PollResponse(TypedDict):
    """Reply of ``groups.poll``.

    Attributes:
        messages: The messages; empty if none came in time.
        generation: The current generation.
        rebalance_required: Whether the member's partitions changed; only if ``generation`` was
            sent.
    """

    messages: list[PollMessage]
    generation: NotRequired[int]
    rebalance_required: NotRequired[bool]


class OffsetsResponse(TypedDict):
    """Reply of ``groups.get_offsets``.

    Attributes:
        offsets: ``{topic: {"0": next offset to be done}}``; only partitions with a position.
        topics: The same as ``offsets``.
        group_id: The group.
        generation: Its generation.
        updated_at: When a position last changed, a timestamp.
    """

    offsets: GroupOffsets
    topics: NotRequired[GroupOffsets]
    group_id: NotRequired[str]
    generation: NotRequired[int]
    updated_at: NotRequired[str]


class OffsetCommit(TypedDict):
    """The position of a group in one partition.

    Attributes:
        topic: The topic.
        partition: The partition.
        offset: Next offset to be done.
    """

    topic: str
    partition: int
    offset: int


class CommitOffsetsRequest(TypedDict):
    """Argument of ``groups.commit_offsets``.

    Attributes:
        member_id: The member; it must own the partitions.
        offsets: ``{topic: {"0": next offset to be done}}``, not empty.
        generation: If given and out of date, the call fails with 409.
    """

    member_id: str
    offsets: GroupOffsets
    generation: NotRequired[int]


class CommitOffsetsResponse(TypedDict):
    """Reply of ``groups.commit_offsets``.

    Attributes:
        committed: True.
        status: "committed".
        group: The group.
        offsets: As they were sent.
    """

    committed: bool
    status: NotRequired[str]
    group: NotRequired[str]
    offsets: NotRequired[GroupOffsets]
