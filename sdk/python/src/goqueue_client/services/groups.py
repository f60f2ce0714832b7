"""``client.groups``: consumer groups."""

from __future__ import annotations

from typing import Optional

from ..transport import path_of
from ..types import (
    CommitOffsetsRequest,
    CommitOffsetsResponse,
    DeleteGroupResponse,
    GroupDetails,
    GroupListResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    OffsetsResponse,
    PollResponse,
)
from ._service import Service


class GroupsService(Service):
    """Consumer groups share the messages of their topics out among their members.

    A member joins, polls and settles what it received, and leaves. It is taken for dead after its
    session timeout without a sign of life; a poll (also while it waits), a heartbeat, and settling
    or committing all count as one.
    """

    async def list(self) -> GroupListResponse:
        """Return the ids of all groups, sorted (``GET /groups``).

        Returns:
            ``groups``: the ids.
        """
        reply: GroupListResponse = await self._get(path_of("groups"))
        return reply

    async def get(self, group_id: str) -> GroupDetails:
        """Return the state of a group (``GET /groups/{group_id}``).

        Args:
            group_id: The group.

        Returns:
            ``group_id``, ``state`` ("stable", "rebalancing", or "dead" = without members),
            ``generation``, ``protocol``, and ``members`` with their ``assigned_partitions``
            ("orders-0" and so on).

        Raises:
            GoQueueError: 404 ``group_not_found``.
        """
        reply: GroupDetails = await self._get(path_of("groups", group_id))
        return reply

    async def delete(self, group_id: str) -> DeleteGroupResponse:
        """Delete a group with its offsets, members or not (``DELETE /groups/{group_id}``).

        Args:
            group_id: The group.

        Returns:
            ``deleted`` True.

        Raises:
            GoQueueError: 404 ``group_not_found``.
        """
        reply: DeleteGroupResponse = await self._delete(path_of("groups", group_id))
        return reply

    async def join(self, group_id: str, request: JoinGroupRequest) -> JoinGroupResponse:
        """Become a member; the first join creates the group (``POST /groups/{group_id}/join``).

        Joins to a group without members are collected for a moment, so that members that start
        together get their final share at once.

        Args:
            group_id: The group.
            request: ``client_id`` (any name, need not be unique), ``topics`` (they must exist) and
                optionally ``session_timeout`` ("30s") and the further settings of
                :class:`JoinGroupRequest`.

        Returns:
            ``member_id`` and ``generation`` for the calls below, ``assigned_partitions``
            ("orders-0" and so on; empty if there are more members than partitions), ``leader``,
            and ``rebalance_required`` False.

        Raises:
            GoQueueError: 404 ``topic_not_found``; 404 ``member_not_found`` for an unknown
                ``member_id``; 400 for bad values.
        """
        reply: JoinGroupResponse = await self._post(path_of("groups", group_id, "join"), request)
        return reply

    async def heartbeat(self, group_id: str, request: HeartbeatRequest) -> HeartbeatResponse:
        """Give a sign of life and ask for news (``POST /groups/{group_id}/heartbeat``).

        Args:
            group_id: The group.
            request: ``member_id``, and ``generation`` as the member knows it.

        Returns:
            ``rebalance_required``: whether the assignment of this member differs from what it was
            in that generation. ``poll`` serves the current one in any case. ``state`` of the group;
            ``generation`` and ``assigned_partitions`` as they are now.

        Raises:
            GoQueueError: 404 ``group_not_found`` or ``member_not_found`` (it left or its session
                expired: join again).
        """
        reply: HeartbeatResponse = await self._post(
            path_of("groups", group_id, "heartbeat"), request
        )
        return reply

    async def leave(self, group_id: str, request: LeaveGroupRequest) -> LeaveGroupResponse:
        """Leave; unsettled messages go to the others at once (``POST /groups/{group_id}/leave``).

        Args:
            group_id: The group.
            request: ``member_id``.

        Returns:
            ``left`` True, also for a member that left or expired a few minutes ago.

        Raises:
            GoQueueError: 404 ``group_not_found`` or ``member_not_found``.
        """
        reply: LeaveGroupResponse = await self._post(path_of("groups", group_id, "leave"), request)
        return reply

    async def poll(
        self,
        group_id: str,
        member_id: str,
        *,
        max_messages: int = 100,
        timeout: str = "30s",
        generation: Optional[int] = None,
    ) -> PollResponse:
        """Receive messages from the member's partitions (``GET /groups/{group_id}/poll``).

        It waits for the first available message and returns what is available then, by priority
        and then by offset. Each message has to be settled through ``messages.ack``, ``nack`` or
        ``reject`` within its visibility timeout (30 s by default), else it is delivered again.

        Args:
            group_id: The group.
            member_id: From ``join``.
            max_messages: At most this many, 1 to 1000; the broker lowers a greater number.
            timeout: How long to wait, for example "10s"; "0s" = do not wait, at most "60s". The
                client's own timeout is extended where needed.
            generation: If given and out of date, the call fails with 409 ``stale_generation``.

        Returns:
            ``messages``, each with ``topic``, ``partition``, ``offset``, ``value``, ``timestamp``,
            ``receipt_handle``, and ``key`` if it has one; an empty list if none came.

        Raises:
            GoQueueError: 404 ``group_not_found`` or ``member_not_found`` (it left or its session
                expired: join again); 400 for bad values.
        """
        reply: PollResponse = await self._get(
            path_of("groups", group_id, "poll"),
            {
                "member_id": member_id,
                "max_messages": max_messages,
                "timeout": timeout,
                "generation": generation,
            },
            wait=timeout,
        )
        return reply

    async def get_offsets(self, group_id: str, *, topic: Optional[str] = None) -> OffsetsResponse:
        """Return the positions of a group (``GET /groups/{group_id}/offsets``).

        Args:
            group_id: The group; an unknown one has no positions.
            topic: Only those in this topic.

        Returns:
            ``offsets`` as ``{topic: {"0": offset}}``: everything below that offset is done.
        """
        reply: OffsetsResponse = await self._get(
            path_of("groups", group_id, "offsets"), {"topic": topic}
        )
        return reply

    async def commit_offsets(
        self, group_id: str, request: CommitOffsetsRequest
    ) -> CommitOffsetsResponse:
        """Set positions of a group (``POST /groups/{group_id}/offsets``).

        A position of N means: all below N is done. A position below the current one delivers the
        messages from there on again. Acknowledging moves positions too; most programs need only
        that.

        Args:
            group_id: The group.
            request: ``member_id`` and ``offsets`` as ``{topic: {"0": offset}}``.

        Returns:
            ``committed`` True.

        Raises:
            GoQueueError: 403 ``not_assigned`` if a partition is not this member's (nothing is
                committed); 404 for an unknown group, member, topic or partition; 400 for a bad
                partition or offset; 409 ``stale_generation`` if ``generation`` is out of date.
        """
        reply: CommitOffsetsResponse = await self._post(
            path_of("groups", group_id, "offsets"), request
        )
        return reply
