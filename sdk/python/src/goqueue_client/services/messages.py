"""``client.messages``: publishing, reading by offset, and settling received messages."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Optional

from ..errors import STATUS_CLIENT_TIMEOUT, GoQueueError
from ..transport import Transport, path_of
from ..types import (
    AckRequest,
    AckResponse,
    ConsumeOrder,
    ConsumeResponse,
    ExtendVisibilityRequest,
    ExtendVisibilityResponse,
    NackRequest,
    NackResponse,
    PublishMessage,
    PublishResponse,
    RejectRequest,
    RejectResponse,
    ReliabilityStats,
)
from ._service import Service

_IDEMPOTENCY_FEATURE = "idempotency-key"


class MessagesService(Service):
    """Publish messages, read them by offset, and settle those received by ``groups.poll``.

    A receipt handle stands for one delivery of one message to one group. It can be settled once
    the message was received, by anyone who has the handle:

    * :meth:`ack`: done; it is not delivered to the group again.
    * :meth:`nack`: failed for now; it is delivered again later. The last allowed delivery (the
      third, by default) goes to the dead-letter topic instead.
    * :meth:`reject`: can never work; it goes to the dead-letter topic.
    * :meth:`extend_visibility`: still at work.

    A handle fails with 400 if it is not one at all, with 404 if what it stands for is unknown or
    settled otherwise, and with 410 ``receipt_expired`` if the message has meanwhile been given to
    someone else or released. Settling twice the same way succeeds, with ``already`` set.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._honours_key: Optional[bool] = None  # None = the broker has not told yet
        self._asking: Optional[asyncio.Lock] = None

    async def publish(self, topic: str, messages: Sequence[PublishMessage]) -> PublishResponse:
        """Publish 1 to 10,000 messages (``POST /topics/{topic}/messages``).

        Messages that go to the same partition keep their order. They are durable when the call
        returns. A topic that does not exist is created, unless the broker is told not to.

        An answer that got lost makes the client repeat the request. A broker that lists the feature
        ``idempotency-key`` in ``health.version()`` recognises the repetition and answers as the
        first time; with any other the messages may then be stored twice.

        Args:
            topic: The topic.
            messages: Each with a ``value`` and optionally ``key``, ``partition``, ``priority``,
                ``delay``, ``deliverAt`` and ``headers``; see :class:`PublishMessage`.

        Returns:
            ``results``, one per message in the same order: ``partition``, ``offset``, ``priority``
            and ``delayed``. What is wrong with one message only is its ``error``, with partition
            and offset -1; the others are stored all the same.

        Raises:
            GoQueueError: 400 for a list that is empty, too long or ill-typed, 404
                ``topic_not_found`` where topics are not created automatically, 413, 429; nothing
                was stored then.
        """
        headers = None
        if await self._idempotency_key_may_be_honoured():
            headers = {"Idempotency-Key": uuid.uuid4().hex}
        reply: PublishResponse = await self._post(
            path_of("topics", topic, "messages"), {"messages": list(messages)}, headers=headers
        )
        return reply

    async def consume(
        self,
        topic: str,
        partition: int,
        *,
        offset: int = 0,
        limit: int = 100,
        timeout: Optional[str] = None,
        order: Optional[ConsumeOrder] = None,
    ) -> ConsumeResponse:
        """Read a partition by offset (``GET /topics/{topic}/partitions/{partition}/messages``).

        It touches no group: every caller sees every message. For work that is to be shared out and
        acknowledged use ``groups.poll``.

        Args:
            topic: The topic.
            partition: From 0.
            offset: Where to start; an offset before the oldest kept message means that message.
            limit: At most this many messages, 1 to 1000; the broker lowers a greater number.
            timeout: How long to wait for a first message, for example "10s", at most "60s". Absent
                = answer at once. The client's own timeout is extended where needed.
            order: "priority" sorts the page returned; the page itself is the same.

        Returns:
            ``messages`` in offset order, and ``next_offset``, the ``offset`` of the next call.
            Offsets may have gaps.

        Raises:
            GoQueueError: 404 ``topic_not_found`` or ``partition_not_found``; 400 for a bad offset,
                limit or timeout.
        """
        reply: ConsumeResponse = await self._get(
            path_of("topics", topic, "partitions", partition, "messages"),
            {"offset": offset, "limit": limit, "timeout": timeout, "order": order},
            wait=timeout,
        )
        return reply

    async def ack(self, receipt_handle: str, *, consumer_id: Optional[str] = None) -> AckResponse:
        """Report a message as done (``POST /messages/ack``).

        Args:
            receipt_handle: From the message.
            consumer_id: Who did it; only recorded.

        Returns:
            ``acknowledged`` True.

        Raises:
            GoQueueError: 400 ``invalid_receipt``; 404 ``message_not_found``; 410
                ``receipt_expired``.
        """
        body: AckRequest = {"receipt_handle": receipt_handle}
        if consumer_id is not None:
            body["consumer_id"] = consumer_id
        reply: AckResponse = await self._post(path_of("messages", "ack"), body)
        return reply

    async def nack(
        self, receipt_handle: str, *, delay: Optional[str] = None, reason: Optional[str] = None
    ) -> NackResponse:
        """Give a message back, to be delivered again (``POST /messages/nack``).

        Args:
            receipt_handle: From the message.
            delay: How long to hold it back, for example "30s"; "0s" = at once, at most "12h".
                Absent = the visibility timeout.
            reason: Kept with the message if this was its last delivery.

        Returns:
            ``requeued``: True; or False if this was the last allowed delivery, in which case
            ``dlq_topic`` names the dead-letter topic the message went to.

        Raises:
            GoQueueError: 400 ``invalid_receipt`` or a bad delay; 404 ``message_not_found``; 410
                ``receipt_expired``.
        """
        body: NackRequest = {"receipt_handle": receipt_handle}
        if delay is not None:
            body["delay"] = delay
        if reason is not None:
            body["reason"] = reason
        reply: NackResponse = await self._post(path_of("messages", "nack"), body)
        return reply

    async def reject(self, receipt_handle: str, *, reason: Optional[str] = None) -> RejectResponse:
        """Send a message to the dead-letter topic (``POST /messages/reject``).

        Args:
            receipt_handle: From the message.
            reason: Why, any text; kept in a header of the dead letter.

        Returns:
            ``rejected`` True and ``dlq_topic``, which is None for a message that already came from
            a dead-letter topic: that one is dropped.

        Raises:
            GoQueueError: 400 ``invalid_receipt``; 404 ``message_not_found``; 410
                ``receipt_expired``.
        """
        body: RejectRequest = {"receipt_handle": receipt_handle}
        if reason is not None:
            body["reason"] = reason
        reply: RejectResponse = await self._post(path_of("messages", "reject"), body)
        return reply

    async def extend_visibility(
        self, receipt_handle: str, timeout: str
    ) -> ExtendVisibilityResponse:
        """Keep a message for longer (``POST /messages/visibility``).

        Args:
            receipt_handle: From the message.
            timeout: From now on, for example "60s"; more than 0, at most "12h".

        Returns:
            ``extended`` True and ``new_deadline``, a timestamp.

        Raises:
            GoQueueError: 400 ``invalid_receipt`` or a bad timeout; 404 ``message_not_found`` (it
                was settled); 410 ``receipt_expired`` (its time is over).
        """
        body: ExtendVisibilityRequest = {"receipt_handle": receipt_handle, "timeout": timeout}
        reply: ExtendVisibilityResponse = await self._post(path_of("messages", "visibility"), body)
        return reply

    async def reliability_stats(self) -> ReliabilityStats:
        """Return how messages were settled so far (``GET /reliability/stats``).

        Returns:
            ``acks_total``, ``nacks_total``, ``rejects_total``, ``visibility_extensions``, and
            ``dlq_messages``, the number of messages now in dead-letter topics.
        """
        reply: ReliabilityStats = await self._get(path_of("reliability", "stats"))
        return reply

    async def _idempotency_key_may_be_honoured(self) -> bool:
        """Ask the broker once per client; only an answer that settles the question is kept.

        While there is none, for the broker cannot be reached, the answer is yes: its publish might
        be stored and its reply be lost, too.
        """
        if self._honours_key is None:
            if self._asking is None:
                self._asking = asyncio.Lock()
            async with self._asking:
                if self._honours_key is None:
                    self._honours_key = await self._ask_for_idempotency()
        return self._honours_key is not False

    async def _ask_for_idempotency(self) -> Optional[bool]:
        """Return what ``/version`` says, or None if it could not be asked now."""
        try:
            version = await self._transport.request("GET", path_of("version"), retry=False)
        except GoQueueError as error:
            passing = error.retryable or error.status == STATUS_CLIENT_TIMEOUT
            return None if passing else False
        features = version.get("features") if isinstance(version, dict) else None
        return isinstance(features, list) and _IDEMPOTENCY_FEATURE in features
