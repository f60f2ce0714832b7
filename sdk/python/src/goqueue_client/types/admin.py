"""Types of ``client.admin``."""

from typing import Literal

from ._required import NotRequired, TypedDict


class AddPartitionsRequest(TypedDict):
    """Argument of ``admin.add_partitions``.

    Attributes:
        count: The new total, above the current one, up to 1024.
        replica_assignments: Nodes by number of a new partition as a string; for clusters.
    """

    count: int
    replica_assignments: NotRequired[dict[str, list[str]]]


class AddPartitionsResponse(TypedDict):
    """Reply of ``admin.add_partitions``.

    Attributes:
        success: True; False in the body of a 400.
        topic_name: The topic.
        old_partition_count: Number of partitions before.
        new_partition_count: Number of partitions now.
        partitions_added: Numbers of the new ones.
        error: What went wrong; only with ``success`` False.
    """

    success: bool
    topic_name: str
    old_partition_count: int
    new_partition_count: int
    partitions_added: list[int]
    error: NotRequired[str]


class TenantQuotas(TypedDict, total=False):
    """Limits of a tenant. 0 or absent = unlimited.

    Attributes:
        max_topics: Topics.
        max_partitions_per_topic: Partitions of one topic.
        max_message_size_bytes: Bytes of one message.
        max_messages_per_second: Messages published each second.
        max_bytes_per_second: Bytes published each second.
        max_retention_hours: Hours messages are kept.
        publish_rate_limit: The same as ``max_messages_per_second``.
        publish_bytes_rate_limit: The same as ``max_bytes_per_second``.
        consume_rate_limit: Messages received each second.
        consume_bytes_rate_limit: Bytes received each second.
        max_storage_bytes: Bytes of all logs.
        max_total_partitions: Partitions of all topics.
        max_connections: Connections.
        max_consumer_groups: Consumer groups.
        max_consumers_per_group: Members of one group.
        max_delay_hours: Hours a message may be delayed.
    """

    max_topics: int
    max_partitions_per_topic: int
    max_message_size_bytes: int
    max_messages_per_second: int
    max_bytes_per_second: int
    max_retention_hours: int
    publish_rate_limit: int
    publish_bytes_rate_limit: int
    consume_rate_limit: int
    consume_bytes_rate_limit: int
    max_storage_bytes: int
    max_total_partitions: int
    max_connections: int
    max_consumer_groups: int
    max_consumers_per_group: int
    max_delay_hours: int


TenantStatus = Literal["active", "suspended", "disabled"]
"""State of a tenant. One that is not active can do nothing."""


class CreateTenantRequest(TypedDict):
    """Argument of ``admin.create_tenant``.

    Attributes:
        name: 1 to 255 bytes.
        display_name: For people. Default: the name.
        quotas: Its limits. Default: none.
        id: Value of the ``X-Tenant-ID`` header: a lower-case letter, then lower-case letters,
            digits and ``-``, 3 to 64 in all. Default: made from the name.
        description: Any text.
        metadata: Any names and values.
    """

    name: str
    display_name: NotRequired[str]
    quotas: NotRequired[TenantQuotas]
    id: NotRequired[str]
    description: NotRequired[str]
    metadata: NotRequired[dict[str, str]]


class Tenant(TypedDict):
    """A tenant; reply of ``admin.create_tenant``.

    Attributes:
        id: Value of the ``X-Tenant-ID`` header.
        name: Its name.
        display_name: Its name for people.
        status: Its state.
        created_at: When it was created, a timestamp.
        quotas: Its limits.
        updated_at: When it was last changed, a timestamp.
        suspended_at: Since when it is suspended, a timestamp.
        suspend_reason: Why.
        description: Any text.
        metadata: Any names and values.
    """

    id: str
    name: str
    display_name: str
    status: TenantStatus
    created_at: str
    quotas: TenantQuotas
    updated_at: NotRequired[str]
    suspended_at: NotRequired[str]
    suspend_reason: NotRequired[str]
    description: NotRequired[str]
    metadata: NotRequired[dict[str, str]]


class TenantListResponse(TypedDict):
    """Reply of ``admin.list_tenants``.

    Attributes:
        tenants: By id, without the default one.
        count: How many.
    """

    tenants: list[Tenant]
    count: NotRequired[int]
