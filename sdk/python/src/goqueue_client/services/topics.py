"""``client.topics``: topics and their settings."""

from __future__ import annotations

from ..transport import path_of
from ..types import (
    CreateTopicRequest,
    CreateTopicResponse,
    DeleteTopicResponse,
    TopicDetails,
    TopicListResponse,
)
from ._service import Service


class TopicsService(Service):
    """Topic management."""

    async def list(self) -> TopicListResponse:
        """Return the names of all topics, sorted (``GET /topics``).

        Returns:
            ``topics``: the names. Internal topics are left out.
        """
        reply: TopicListResponse = await self._get(path_of("topics"))
        return reply

    async def create(self, request: CreateTopicRequest) -> CreateTopicResponse:
        """Create a topic (``POST /topics``). It is durable when the call returns.

        Args:
            request: ``name`` (letters, digits, ``_`` and ``-``; 1 to 255 of them) and optionally
                ``num_partitions`` (3), ``retention_hours`` (168; -1 = unlimited) and the further
                settings of :class:`CreateTopicRequest`.

        Returns:
            ``name``, ``partitions`` (how many) and ``created`` True.

        Raises:
            GoQueueError: 409 ``topic_exists``, whatever its settings; 400 for a bad name or value;
                403 ``quota_exceeded``.
        """
        reply: CreateTopicResponse = await self._post(path_of("topics"), request)
        return reply

    async def get(self, name: str) -> TopicDetails:
        """Return the details of a topic (``GET /topics/{name}``).

        Args:
            name: The topic.

        Returns:
            ``partitions`` (how many), ``total_messages``, ``total_size_bytes`` and, by partition
            number as a string, ``partition_offsets`` with ``earliest`` and ``latest``; ``latest``
            is -1 for a partition that never had a message.

        Raises:
            GoQueueError: 404 ``topic_not_found``.
        """
        reply: TopicDetails = await self._get(path_of("topics", name))
        return reply

    async def delete(self, name: str) -> DeleteTopicResponse:
        """Delete a topic with all its messages and offsets (``DELETE /topics/{name}``).

        There is no way back. Receipts of its messages become unknown; its dead-letter topic and
        its schemas stay.

        Args:
            name: The topic.

        Returns:
            ``deleted`` True and ``name``.

        Raises:
            GoQueueError: 404 ``topic_not_found``, also when the answer to a first attempt was lost
                and the automatic repetition finds the topic gone.
        """
        reply: DeleteTopicResponse = await self._delete(path_of("topics", name))
        return reply
