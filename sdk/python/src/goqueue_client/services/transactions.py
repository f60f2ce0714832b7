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
    TransactionalPublishRequest,
    TransactionalPublishResponse,
    TransactionListResponse,
    TransactionStats,
)
from ._service import Service


class TransactionsService(Service):
    """Messages to several topics that become visible together or never.

    ``init_producer``, then for each transaction ``begin``, ``publish`` as often as needed, and
    ``commit`` or ``abort``. A producer that starts again under the same ``transactional_id`` gets a
    higher epoch; every call with an older one fails with 409 ``producer_fenced``. A transaction
    that is not finished in time (60 s by default) is aborted.
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
                transaction; it lets the broker recognise a repetition), ``priority``, ``delay``,
                ``deliverAt`` and ``headers``.

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
