"""Schemas, transactions, traces and administration."""

from __future__ import annotations

from .call import COORDINATES, TS, Call

SCHEMA = '{"type": "object"}'
SCHEMA_CONFIG = {
    "compatibilityLevel": "BACKWARD",
    "compatibility": "BACKWARD",
    "validation_enabled": True,
}
TRANSACTION = {"producer_id": 1, "epoch": 0, "transactional_id": "t"}
TRACE = {
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    **COORDINATES,
    "status": "completed",
    "events": [{"timestamp": TS, "event_type": "acked", "details": {"consumer_group": "g"}}],
    "start_time": TS,
    "end_time": TS,
    "duration_ms": 12,
    "span_count": 1,
}
QUOTAS = {"max_topics": 5, "max_messages_per_second": 100, "publish_rate_limit": 100}
TENANT = {
    "id": "acme",
    "name": "acme",
    "display_name": "Acme",
    "status": "active",
    "created_at": TS,
    "quotas": QUOTAS,
    "updated_at": TS,
    "description": "d",
    "metadata": {"a": "b"},
}

SCHEMAS = [
    Call(
        "schemas.list_subjects",
        lambda c: c.schemas.list_subjects(),
        "GET",
        "/schemas/subjects",
        ["a-value", "orders-value"],
    ),
    Call(
        "schemas.list_versions",
        lambda c: c.schemas.list_versions("orders-value"),
        "GET",
        "/schemas/subjects/orders-value/versions",
        [1, 3],
    ),
    Call(
        "schemas.register",
        lambda c: c.schemas.register("orders-value", {"schema": SCHEMA, "schemaType": "JSON"}),
        "POST",
        "/schemas/subjects/orders-value/versions",
        {"id": 1, "version": 1, "subject": "orders-value"},
        body={"schema": SCHEMA, "schemaType": "JSON"},
    ),
    Call(
        "schemas.get_version",
        lambda c: c.schemas.get_version("orders-value", "latest"),
        "GET",
        "/schemas/subjects/orders-value/versions/latest",
        {
            "subject": "orders-value",
            "version": 3,
            "id": 9,
            "schema": SCHEMA,
            "schemaType": "JSON",
        },
    ),
    Call(
        "schemas.get_version",
        lambda c: c.schemas.get_version("orders-value", 3),
        "GET",
        "/schemas/subjects/orders-value/versions/3",
        {"subject": "orders-value", "version": 3, "id": 9, "schema": SCHEMA},
    ),
    Call(
        "schemas.delete_version",
        lambda c: c.schemas.delete_version("orders-value", 3),
        "DELETE",
        "/schemas/subjects/orders-value/versions/3",
        3,
    ),
    Call(
        "schemas.get_by_id",
        lambda c: c.schemas.get_by_id(9),
        "GET",
        "/schemas/ids/9",
        {
            "schema": SCHEMA,
            "schemaType": "JSON",
            "subject": "orders-value",
            "version": 3,
            "id": 9,
        },
    ),
    Call(
        "schemas.get_config",
        lambda c: c.schemas.get_config(),
        "GET",
        "/schemas/config",
        SCHEMA_CONFIG,
    ),
    Call(
        "schemas.set_config",
        lambda c: c.schemas.set_config({"compatibilityLevel": "FULL_TRANSITIVE"}),
        "PUT",
        "/schemas/config",
        SCHEMA_CONFIG,
        body={"compatibilityLevel": "FULL_TRANSITIVE"},
    ),
    Call(
        "schemas.stats",
        lambda c: c.schemas.stats(),
        "GET",
        "/schemas/stats",
        {
            "subjects": 1,
            "schemas": 2,
            "versions": 3,
            "subjectCount": 1,
            "totalSchemas": 2,
            "globalCompatibility": "BACKWARD",
            "validationEnabled": True,
            "cachedValidators": 1,
            "subject_stats": [
                {
                    "subject": "orders-value",
                    "versionCount": 3,
                    "latestVersion": 3,
                    "latestSchemaId": 2,
                    "compatibility": "BACKWARD",
                    "validationEnabled": True,
                }
            ],
        },
    ),
]

TRANSACTIONS = [
    Call(
        "transactions.init_producer",
        lambda c: c.transactions.init_producer(),
        "POST",
        "/producers/init",
        {"producer_id": 1, "epoch": 0},
        body={},
    ),
    Call(
        "transactions.init_producer",
        lambda c: c.transactions.init_producer(
            {
                "transactional_id": "t",
                "transaction_timeout": "1m",
                "transaction_timeout_ms": 60000,
            }
        ),
        "POST",
        "/producers/init",
        {"producer_id": 1, "epoch": 1, "transactional_id": "t"},
        body={
            "transactional_id": "t",
            "transaction_timeout": "1m",
            "transaction_timeout_ms": 60000,
        },
    ),
    Call(
        "transactions.producer_heartbeat",
        lambda c: c.transactions.producer_heartbeat(1, {"epoch": 0, "transactional_id": "t"}),
        "POST",
        "/producers/1/heartbeat",
        {"success": True, "status": "ok"},
        body={"epoch": 0, "transactional_id": "t"},
    ),
    Call(
        "transactions.list",
        lambda c: c.transactions.list(),
        "GET",
        "/transactions",
        {
            "transactions": [
                {
                    "transaction_id": "x1",
                    "producer_id": 1,
                    "state": "ongoing",
                    "started_at": TS,
                    "transactional_id": "t",
                    "epoch": 0,
                    "start_time": TS,
                    "partitions": [{"topic": "orders", "partition": 0}],
                }
            ],
            "count": 1,
        },
        {},
    ),
    Call(
        "transactions.list",
        lambda c: c.transactions.list(limit=5),
        "GET",
        "/transactions",
        {"transactions": []},
        {"limit": "5"},
    ),
    Call(
        "transactions.begin",
        lambda c: c.transactions.begin({"producer_id": 1, "epoch": 0, "transactional_id": "t"}),
        "POST",
        "/transactions/begin",
        {"transaction_id": "x1"},
        body=TRANSACTION,
    ),
    Call(
        "transactions.publish",
        lambda c: c.transactions.publish(
            {
                "producer_id": 1,
                "epoch": 0,
                "topic": "orders",
                "value": "v",
                "key": "k",
                "sequence": 1,
                "partition": -1,
                "headers": {"h": "x"},
                "priority": "high",
                "delay": "1s",
                "deliverAt": TS,
            }
        ),
        "POST",
        "/transactions/publish",
        {"partition": 0, "offset": 4, "duplicate": False, "trace_id": TRACE["trace_id"]},
        body={
            "producer_id": 1,
            "epoch": 0,
            "topic": "orders",
            "value": "v",
            "key": "k",
            "sequence": 1,
            "partition": -1,
            "headers": {"h": "x"},
            "priority": "high",
            "delay": "1s",
            "deliverAt": TS,
        },
    ),
    Call(
        "transactions.get",
        lambda c: c.transactions.get("txn-1"),
        "GET",
        "/transactions/txn-1",
        {
            "transaction_id": "txn-1",
            "producer_id": 1,
            "state": "completed_abort",
            "started_at": TS,
            "ended_at": TS,
            "messages": 2,
            "acks": 1,
            "timed_out": True,
        },
    ),
    Call(
        "transactions.ack",
        lambda c: c.transactions.ack(
            {"producer_id": 1, "epoch": 0, "transactional_id": "t", "receipt_handles": ["r1", "r2"]}
        ),
        "POST",
        "/transactions/ack",
        {"status": "added", "count": 2},
        body={**TRANSACTION, "receipt_handles": ["r1", "r2"]},
    ),
    Call(
        "transactions.commit_offsets",
        lambda c: c.transactions.commit_offsets(
            {
                "producer_id": 1,
                "epoch": 0,
                "transactional_id": "t",
                "group": "g",
                "member_id": "m",
                "generation": 3,
                "offsets": {"orders": {"0": 5}},
            }
        ),
        "POST",
        "/transactions/offsets",
        {"status": "added"},
        body={
            **TRANSACTION,
            "group": "g",
            "member_id": "m",
            "generation": 3,
            "offsets": {"orders": {"0": 5}},
        },
    ),
    Call(
        "transactions.commit",
        lambda c: c.transactions.commit({"producer_id": 1, "epoch": 0, "transactional_id": "t"}),
        "POST",
        "/transactions/commit",
        {"status": "committed", "transaction_id": "x1", "partitions_committed": 1, "messages": 2},
        body=TRANSACTION,
    ),
    Call(
        "transactions.abort",
        lambda c: c.transactions.abort({"producer_id": 1, "epoch": 0, "transactional_id": "t"}),
        "POST",
        "/transactions/abort",
        {"status": "aborted", "transaction_id": "x1", "partitions_aborted": 1, "messages": 2},
        body=TRANSACTION,
    ),
    Call(
        "transactions.stats",
        lambda c: c.transactions.stats(),
        "GET",
        "/transactions/stats",
        {
            "active_transactions": 1,
            "committed_total": 2,
            "aborted_total": 3,
            "avg_duration": "1.5ms",
            "timed_out_total": 1,
            "producers": 1,
        },
    ),
]

TRACING = [
    Call(
        "tracing.list",
        lambda c: c.tracing.list(),
        "GET",
        "/traces",
        {"traces": [TRACE], "total": 1},
        {"limit": "100"},
    ),
    Call(
        "tracing.search",
        lambda c: c.tracing.search(),
        "GET",
        "/traces/search",
        {"traces": [], "total": 0, "query": {}},
        {},
    ),
    Call(
        "tracing.search",
        lambda c: c.tracing.search(
            {
                "topic": "orders",
                "partition": -1,
                "consumer_group": "g",
                "start": "2030-01-31T08:00:00+02:00",
                "end": TS,
                "status": "error",
                "limit": 5,
            }
        ),
        "GET",
        "/traces/search",
        {"traces": [TRACE]},
        {
            "topic": "orders",
            "partition": "-1",
            "consumer_group": "g",
            "start": "2030-01-31T08:00:00+02:00",
            "end": TS,
            "status": "error",
            "limit": "5",
        },
    ),
    Call(
        "tracing.get",
        lambda c: c.tracing.get("trace-123"),
        "GET",
        "/traces/trace-123",
        {
            **TRACE,
            "spans": [
                {
                    "span_id": "b7ad6b7169203331",
                    "event_type": "consume.rejected",
                    "timestamp": TS,
                    **COORDINATES,
                    "consumer_group": "g",
                    "consumer_id": "w",
                    "error": "bad",
                    "attributes": {"a": 1},
                }
            ],
        },
    ),
    Call(
        "tracing.stats",
        lambda c: c.tracing.stats(),
        "GET",
        "/traces/stats",
        {
            "traces_total": 3,
            "traces_completed": 1,
            "traces_error": 1,
            "avg_latency": "2ms",
            "enabled": True,
            "spans_in_buffer": 3,
            "buffer_capacity": 100000,
            "traces_indexed": 3,
            "sampling_rate": 1.0,
            "exporters_enabled": False,
        },
    ),
]

ADMIN = [
    Call(
        "admin.add_partitions",
        lambda c: c.admin.add_partitions(
            "orders", {"count": 12, "replica_assignments": {"11": ["n1"]}}
        ),
        "POST",
        "/admin/topics/orders/partitions",
        {
            "success": True,
            "topic_name": "orders",
            "old_partition_count": 10,
            "new_partition_count": 12,
            "partitions_added": [10, 11],
        },
        body={"count": 12, "replica_assignments": {"11": ["n1"]}},
    ),
    Call(
        "admin.list_tenants",
        lambda c: c.admin.list_tenants(),
        "GET",
        "/admin/tenants",
        {"tenants": [TENANT], "count": 1},
        {},
    ),
    Call(
        "admin.list_tenants",
        lambda c: c.admin.list_tenants(status="suspended"),
        "GET",
        "/admin/tenants",
        {
            "tenants": [
                {
                    **TENANT,
                    "status": "suspended",
                    "suspended_at": TS,
                    "suspend_reason": "unpaid",
                }
            ]
        },
        {"status": "suspended"},
    ),
    Call(
        "admin.create_tenant",
        lambda c: c.admin.create_tenant(
            {
                "name": "acme",
                "display_name": "Acme",
                "quotas": {"max_topics": 5},
                "id": "acme",
                "description": "d",
                "metadata": {"a": "b"},
            }
        ),
        "POST",
        "/admin/tenants",
        TENANT,
        body={
            "name": "acme",
            "display_name": "Acme",
            "quotas": {"max_topics": 5},
            "id": "acme",
            "description": "d",
            "metadata": {"a": "b"},
        },
        status=201,
    ),
]
