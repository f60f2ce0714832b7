"""``client.transactions``: producers and transactions."""

from __future__ import annotations

from typing import Optional

from ..transport import path_of
from ..types import (
    AbortTransactionRequest,
    AbortTransactionResponse,
    BeginTransactionRequest,
    BeginTransactionResponse,
    CommitTransactionRequest,
    CommitTransactionResponse,
    InitProducerRequest,
    InitProducerResponse,
    ProducerHeartbeatRequest,
    ProducerHeartbeatResponse,
    TransactionAckRequest,
    TransactionAckResponse,
    TransactionalPublishRequest,
    TransactionalPublishResponse,
    TransactionInfo,
    TransactionListResponse,
    TransactionOffsetsRequest,
    TransactionOffsetsResponse,
    TransactionStats,
)
from ._service import Service


class TransactionsService(Service):
    """Messages to several topics that become visible together or never.

    ``init_producer``, then for each transaction ``begin``, ``publish`` as often as needed, and
    ``commit`` or ``abort``. A producer that starts again under the same ``transactional_id`` gets a
    higher epoch; every call with an older one fails with 409 ``producer_fenced``. A transaction
    that is not finished in time (60 s by default) is aborted.

    :meth:`ack` and :meth:`commit_offsets` make what was consumed part of the transaction: it counts
    as done with the commit or not at all, and until then nobody else gets it.
    """

    async def init_producer(
        self, request: Optional[InitProducerRequest] = None
    ) -> InitProducerResponse:
        """Get a producer id and an epoch (``POST /producers/init``).

        Args:
            request: ``transactional_id``, the lasting name of this producer, and optionally a
                timeout for its transactions. Without a name it cannot begin transactions.

        Returns:
            ``producer_id`` and ``epoch``.

        Raises:
            GoQueueError: 400 for a timeout out of 1 s to 15 min.
        """
        reply: InitProducerResponse = await self._post(path_of("producers", "init"), request or {})
        return reply

    async def producer_heartbeat(
        self, producer_id: int, request: ProducerHeartbeatRequest
    ) -> ProducerHeartbeatResponse:
        """Keep an idle producer id alive (``POST /producers/{producer_id}/heartbeat``).

        Args:
            producer_id: From ``init_producer``.
            request: ``epoch``.

        Returns:
            ``success`` True.

        Raises:
            GoQueueError: 404 ``producer_not_found``; 409 ``producer_fenced``.
        """
        reply: ProducerHeartbeatResponse = await self._post(
            path_of("producers", producer_id, "heartbeat"), request
        )
        return reply

    async def list(self, *, limit: Optional[int] = None) -> TransactionListResponse:
        """Return the open transactions, oldest first (``GET /transactions``).

        Args:
            limit: At most this many.

        Returns:
            ``transactions``, each with ``transaction_id``, ``producer_id``, ``state`` and
            ``started_at``.
        """
        reply: TransactionListResponse = await self._get(path_of("transactions"), {"limit": limit})
        return reply

    async def get(self, transaction_id: str) -> TransactionInfo:
        """Return one transaction (``GET /transactions/{transaction_id}``).

        Args:
            transaction_id: From ``begin``.

        Returns:
            The same as an element of ``list``; for an hour also after it has ended, with
            ``ended_at``.

        Raises:
            GoQueueError: 404 ``transaction_not_found``.
        """
        reply: TransactionInfo = await self._get(path_of("transactions", transaction_id))
        return reply

    async def begin(self, request: BeginTransactionRequest) -> BeginTransactionResponse:
        """Begin a transaction (``POST /transactions/begin``).

        Args:
            request: ``producer_id``, ``epoch`` and ``transactional_id``.

        Returns:
            ``transaction_id``. While the open transaction is still empty it is that one's.

        Raises:
            GoQueueError: 404 ``producer_not_found``; 409 ``producer_fenced`` or
                ``transaction_in_progress``.
        """
        reply: BeginTransactionResponse = await self._post(
            path_of("transactions", "begin"), request
        )
        return reply

    async def publish(self, request: TransactionalPublishRequest) -> TransactionalPublishResponse:
        """Publish one message in the open transaction (``POST /transactions/publish``).

        Args:
            request: ``producer_id``, ``epoch``, ``topic``, ``value``, and optionally ``key``,
                ``partition``, ``sequence`` (any number that differs among the messages of the
                transaction; it lets the broker recognise a repetition, also one that this client
                makes after a lost answer), ``priority``, ``delay``, ``deliverAt`` and ``headers``.

        Returns:
            ``partition`` and ``offset``; ``duplicate`` True if this was a repetition.

        Raises:
            GoQueueError: 404 ``producer_not_found`` or ``topic_not_found``; 409
                ``producer_fenced``, ``no_transaction``, ``transaction_aborted`` (its time is over)
                or ``sequence_conflict``; 413; 422 ``schema_validation_failed``.
        """
        reply: TransactionalPublishResponse = await self._post(
            path_of("transactions", "publish"), request
        )
        return reply

    async def ack(self, request: TransactionAckRequest) -> TransactionAckResponse:
        """Acknowledge received messages in the open transaction (``POST /transactions/ack``).

        They are done for their group when the transaction is committed. If it is aborted they go on
        as before: the handles are good again while the messages are still yours.

        Args:
            request: ``producer_id``, ``epoch`` and ``receipt_handles``, 1 to 1,000 of one group.

        Returns:
            ``status`` "added", also when they had been added before.

        Raises:
            GoQueueError: nothing was added; 400 for handles that are malformed or of several
                groups, 404 ``message_not_found`` or ``producer_not_found``, 409
                ``producer_fenced``, ``no_transaction``, ``transaction_aborted`` or
                ``transaction_in_progress`` (it is in another one), 410 ``receipt_expired``. Where a
                handle is to blame, ``body["receipt_handle_index"]`` says which.
        """
        reply: TransactionAckResponse = await self._post(path_of("transactions", "ack"), request)
        return reply

    async def commit_offsets(
        self, request: TransactionOffsetsRequest
    ) -> TransactionOffsetsResponse:
        """Set a group's positions with the open transaction (``POST /transactions/offsets``).

        They are set when the transaction is committed, and not at all if it is aborted.

        Args:
            request: ``producer_id``, ``epoch``, ``group``, ``member_id``, ``offsets`` and
                optionally ``generation``, as in ``groups.commit_offsets``.

        Returns:
            ``status`` "added".

        Raises:
            GoQueueError: as ``groups.commit_offsets``, and those of a transaction: 404
                ``producer_not_found``; 409 ``producer_fenced``, ``no_transaction`` or
                ``transaction_aborted``.
        """
        reply: TransactionOffsetsResponse = await self._post(
            path_of("transactions", "offsets"), request
        )
        return reply

    async def commit(self, request: CommitTransactionRequest) -> CommitTransactionResponse:
        """Make all messages of the transaction visible (``POST /transactions/commit``).

        Args:
            request: ``producer_id``, ``epoch`` and ``transactional_id``.

        Returns:
            ``status`` "committed", also when it had been committed before.

        Raises:
            GoQueueError: 404 ``producer_not_found``; 409 ``producer_fenced``,
                ``transaction_aborted`` or ``no_transaction``.
        """
        reply: CommitTransactionResponse = await self._post(
            path_of("transactions", "commit"), request
        )
        return reply

    async def abort(self, request: AbortTransactionRequest) -> AbortTransactionResponse:
        """Discard all messages of the transaction (``POST /transactions/abort``).

        Args:
            request: ``producer_id``, ``epoch`` and ``transactional_id``.

        Returns:
            ``status`` "aborted", also when nothing was open or it had been aborted before.

        Raises:
            GoQueueError: 404 ``producer_not_found``; 409 ``producer_fenced`` or
                ``transaction_committed``.
        """
        reply: AbortTransactionResponse = await self._post(
            path_of("transactions", "abort"), request
        )
        return reply

    async def stats(self) -> TransactionStats:
        """Return counts of transactions (``GET /transactions/stats``).

        Returns:
            ``active_transactions``, ``committed_total``, ``aborted_total`` and ``avg_duration`` (a
            duration).
        """
        reply: TransactionStats = await self._get(path_of("transactions", "stats"))
        return reply
