"""Types of ``client.transactions``."""

from typing import Literal

from ._required import NotRequired, TypedDict
from .common import MessagePriority
from .groups import GroupOffsets, TopicPartition

TransactionState = Literal[
    "ongoing", "preparing_commit", "preparing_abort", "completed_commit", "completed_abort"
]
"""State of a transaction."""


class InitProducerRequest(TypedDict, total=False):
    """Argument of ``transactions.init_producer``.

    Attributes:
        transactional_id: Lasting name of the producer; needed for transactions.
        transaction_timeout: After this time an unfinished transaction is aborted, a duration from
            "1s" to "15m". Default "60s".
        transaction_timeout_ms: The same in milliseconds.
    """

    transactional_id: str
    transaction_timeout: str
    transaction_timeout_ms: int


class InitProducerResponse(TypedDict):
    """Reply of ``transactions.init_producer``.

    Attributes:
        producer_id: The producer, from 1.
        epoch: Rises each time the same ``transactional_id`` starts again, from 0.
        transactional_id: The name given.
    """

    producer_id: int
    epoch: int
    transactional_id: NotRequired[str]


class ProducerHeartbeatRequest(TypedDict):
    """Argument of ``transactions.producer_heartbeat``.

    Attributes:
        epoch: The producer's epoch.
        transactional_id: The producer's name.
    """

    epoch: int
    transactional_id: NotRequired[str]


class ProducerHeartbeatResponse(TypedDict):
    """Reply of ``transactions.producer_heartbeat``.

    Attributes:
        success: True.
        status: "ok".
    """

    success: bool
    status: NotRequired[str]


class TransactionRequest(TypedDict):
    """Which transaction is meant: the open one of this producer.

    Attributes:
        producer_id: The producer.
        epoch: Its epoch.
        transactional_id: Its name.
    """

    producer_id: int
    epoch: int
    transactional_id: str


class BeginTransactionRequest(TransactionRequest):
    """Argument of ``transactions.begin``."""


class BeginTransactionResponse(TypedDict):
    """Reply of ``transactions.begin``.

    Attributes:
        transaction_id: Name of the transaction.
    """

    transaction_id: str


class TransactionalPublishRequest(TypedDict):
    """Argument of ``transactions.publish``.

    Attributes:
        producer_id: The producer.
        epoch: Its epoch.
        topic: Where to publish; created if missing.
        value: The content, any text up to 16 MiB.
        key: Messages with the same key go to the same partition, in order.
        sequence: 0 to 2^31 - 1; a repetition with the same number is recognised.
        partition: The partition; it wins over the key. -1 = not given.
        headers: Names and values that are handed to the consumers.
        priority: Urgent messages are delivered first. Default "normal".
        delay: Deliver it this much later, a duration.
        deliverAt: Deliver it then, a timestamp.
    """

    producer_id: int
    epoch: int
    topic: str
    value: str
    key: NotRequired[str]
    sequence: NotRequired[int]
    partition: NotRequired[int]
    headers: NotRequired[dict[str, str]]
    priority: NotRequired[MessagePriority]
    delay: NotRequired[str]
    deliverAt: NotRequired[str]


class TransactionalPublishResponse(TypedDict):
    """Reply of ``transactions.publish``.

    Attributes:
        partition: Where it was stored.
        offset: Its offset there.
        duplicate: Whether it was a repetition; then these are the first one's.
        trace_id: For ``tracing.get``; only if the message is traced.
    """

    partition: int
    offset: int
    duplicate: NotRequired[bool]
    trace_id: NotRequired[str]


class TransactionAckRequest(TypedDict):
    """Argument of ``transactions.ack``.

    Attributes:
        producer_id: The producer.
        epoch: Its epoch.
        receipt_handles: 1 to 1,000 of them, from messages of one group.
        transactional_id: The producer's name.
    """

    producer_id: int
    epoch: int
    receipt_handles: list[str]
    transactional_id: NotRequired[str]


class TransactionAckResponse(TypedDict):
    """Reply of ``transactions.ack``.

    Attributes:
        status: "added".
        count: How many receipt handles there were.
    """

    status: str
    count: NotRequired[int]


class TransactionOffsetsRequest(TypedDict):
    """Argument of ``transactions.commit_offsets``.

    Attributes:
        producer_id: The producer.
        epoch: Its epoch.
        group: The consumer group.
        member_id: Its member; it must own the partitions.
        offsets: ``{topic: {"0": next offset to be done}}``, not empty.
        generation: If given and out of date, the call fails with 409.
        transactional_id: The producer's name.
    """

    producer_id: int
    epoch: int
    group: str
    member_id: str
    offsets: GroupOffsets
    generation: NotRequired[int]
    transactional_id: NotRequired[str]


class TransactionOffsetsResponse(TypedDict):
    """Reply of ``transactions.commit_offsets``.

    Attributes:
        status: "added".
    """

    status: str


class CommitTransactionRequest(TransactionRequest):
    """Argument of ``transactions.commit``."""


class CommitTransactionResponse(TypedDict):
    """Reply of ``transactions.commit``.

    Attributes:
        status: "committed".
        transaction_id: Name of the transaction.
        partitions_committed: How many partitions it wrote to.
        messages: How many messages it wrote.
        already: Whether it had been committed before.
    """

    status: str
    transaction_id: NotRequired[str]
    partitions_committed: NotRequired[int]
    messages: NotRequired[int]
    already: NotRequired[bool]


class AbortTransactionRequest(TransactionRequest):
    """Argument of ``transactions.abort``."""


class AbortTransactionResponse(TypedDict):
    """Reply of ``transactions.abort``.

    Attributes:
        status: "aborted".
        transaction_id: Name of the transaction.
        partitions_aborted: How many partitions it had written to.
        messages: How many messages it had written.
        already: Whether it had been aborted before, or nothing was open.
    """

    status: str
    transaction_id: NotRequired[str]
    partitions_aborted: NotRequired[int]
    messages: NotRequired[int]
    already: NotRequired[bool]


class TransactionInfo(TypedDict):
    """One transaction in :class:`TransactionListResponse`.

    Attributes:
        transaction_id: Its name.
        producer_id: Its producer.
        state: Its state.
        started_at: When it began, a timestamp.
        transactional_id: Name of its producer.
        epoch: Epoch of its producer.
        start_time: The same as ``started_at``.
        partitions: Where it has written; only while it is open.
        ended_at: When it ended, a timestamp.
        messages: How many messages it has written.
        acks: How many messages it has acknowledged.
        timed_out: Whether it was aborted because its time was over.
    """

    transaction_id: str
    producer_id: int
    state: TransactionState
    started_at: str
    transactional_id: NotRequired[str]
    epoch: NotRequired[int]
    start_time: NotRequired[str]
    partitions: NotRequired[list[TopicPartition]]
    ended_at: NotRequired[str]
    messages: NotRequired[int]
    acks: NotRequired[int]
    timed_out: NotRequired[bool]


class TransactionListResponse(TypedDict):
    """Reply of ``transactions.list``.

    Attributes:
        transactions: The open ones, oldest first.
        count: How many.
    """

    transactions: list[TransactionInfo]
    count: NotRequired[int]


class TransactionStats(TypedDict):
    """Reply of ``transactions.stats``.

    Attributes:
        active_transactions: Open ones.
        committed_total: Committed ones.
        aborted_total: Aborted ones.
        avg_duration: Mean time from begin to end, a duration.
        timed_out_total: Those aborted because their time was over.
        producers: Number of producers known.
    """

    active_transactions: int
    committed_total: int
    aborted_total: int
    avg_duration: str
    timed_out_total: NotRequired[int]
    producers: NotRequired[int]
