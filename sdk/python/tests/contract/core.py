"""Health, topics, messages and delayed messages."""

from __future__ import annotations

from .call import COORDINATES, MESSAGE, TS, Call

PROBE = {"status": "pass", "timestamp": TS, "uptime": "1h2m3s"}
SETTINGS = {
    "retention_hours": -1,
    "retention_bytes": 1000,
    "cleanup_policy": "compact",
    "visibility_timeout": "1m",
    "max_deliveries": 5,
    "max_in_flight": 1,
    "max_delayed": 100,
    "priority_mode": "weighted",
}
TOPIC_STATS = {"name": "orders", "partitions": 3, "total_messages": 7, "total_size_bytes": 900}
DELAYED = {
    **COORDINATES,
    "deliver_at": TS,
    "priority": "low",
    "time_remaining": "59m0s",
    "state": "pending",
    "key": "k",
    "value": "v",
}

HEALTH = [
    Call(
        "health.check",
        lambda c: c.health.check(),
        "GET",
        "/health",
        {"status": "ok", "timestamp": TS, "uptime": "3.2s", "version": "0.1.0"},
    ),
    Call("health.liveness", lambda c: c.health.liveness(), "GET", "/healthz", PROBE),
    Call(
        "health.readiness",
        lambda c: c.health.readiness(),
        "GET",
        "/readyz",
        PROBE,
        {"verbose": "false"},
    ),
    Call(
        "health.readiness",
        lambda c: c.health.readiness(verbose=True),
        "GET",
        "/readyz",
        {
            **PROBE,
            "checks": {
                "broker": {"status": "pass"},
                "storage": {"status": "warn", "message": "nearly full", "latency": "1.5ms"},
            },
            "broker": {"node_id": "n1", "topic_count": 2, "total_size": 900},
        },
        {"verbose": "true"},
    ),
    Call("health.startup", lambda c: c.health.startup(), "GET", "/livez", PROBE),
    Call(
        "health.version",
        lambda c: c.health.version(),
        "GET",
        "/version",
        {
            "version": "0.1.0",
            "git_commit": "abc",
            "build_time": TS,
            "go_version": "",
            "compiler": "gcc",
            "features": [],
        },
    ),
    Call(
        "health.stats",
        lambda c: c.health.stats(),
        "GET",
        "/stats",
        {
            "node_id": "n1",
            "uptime": "26h0m5s",
            "topics": 1,
            "total_size_bytes": 900,
            "topic_stats": {"orders": TOPIC_STATS},
            "topic_list": ["orders"],
            "groups": 1,
        },
    ),
]

TOPICS = [
    Call(
        "topics.list",
        lambda c: c.topics.list(),
        "GET",
        "/topics",
        {"topics": ["a", "orders"], "count": 2},
    ),
    Call(
        "topics.create",
        lambda c: c.topics.create(
            {
                "name": "orders",
                "num_partitions": 6,
                "retention_hours": -1,
                "retention_bytes": 1000,
                "cleanup_policy": "compact",
                "visibility_timeout": "1m",
                "max_deliveries": 5,
                "max_in_flight": 1,
                "max_delayed": 100,
                "priority_mode": "weighted",
            }
        ),
        "POST",
        "/topics",
        {"name": "orders", "partitions": 6, "created": True, "retention_hours": -1},
        body={"name": "orders", "num_partitions": 6, **SETTINGS},
        status=201,
    ),
    Call(
        "topics.get",
        lambda c: c.topics.get("orders"),
        "GET",
        "/topics/orders",
        {
            **TOPIC_STATS,
            "partition_offsets": {"0": {"earliest": 0, "latest": -1, "next": 0}},
            "created_at": TS,
            "dlq_topic": None,
            **SETTINGS,
        },
    ),
    Call(
        "topics.delete",
        lambda c: c.topics.delete("orders"),
        "DELETE",
        "/topics/orders",
        {"deleted": True, "name": "orders"},
    ),
]

MESSAGES = [
    Call(
        "messages.publish",
        lambda c: c.messages.publish(
            "orders",
            [
                {"value": "v"},
                {
                    "value": "",
                    "key": "k",
                    "partition": 1,
                    "delay": "1h",
                    "deliverAt": TS,
                    "priority": "critical",
                    "headers": {"h": "x"},
                },
            ],
        ),
        "POST",
        "/topics/orders/messages",
        {
            "results": [
                {"partition": 0, "offset": 4, "priority": "normal", "delayed": False},
                {
                    "partition": 1,
                    "offset": 0,
                    "priority": "critical",
                    "delayed": True,
                    "deliverAt": TS,
                    "trace_id": "0af7651916cd43dd8448eb211c80319c",
                },
                {"partition": -1, "offset": -1, "error": "partition not found"},
            ]
        },
        body={
            "messages": [
                {"value": "v"},
                {
                    "value": "",
                    "key": "k",
                    "partition": 1,
                    "delay": "1h",
                    "deliverAt": TS,
                    "priority": "critical",
                    "headers": {"h": "x"},
                },
            ]
        },
    ),
    Call(
        "messages.consume",
        lambda c: c.messages.consume("orders", partition=0),
        "GET",
        "/topics/orders/partitions/0/messages",
        {"messages": [MESSAGE], "next_offset": 5, "earliest": 0, "latest": 4},
        {"offset": "0", "limit": "100"},
    ),
    Call(
        "messages.consume",
        lambda c: c.messages.consume(
            "orders", 2, offset=7, limit=10, timeout="5s", order="priority"
        ),
        "GET",
        "/topics/orders/partitions/2/messages",
        {"messages": [], "next_offset": 7},
        {"offset": "7", "limit": "10", "timeout": "5s", "order": "priority"},
    ),
    Call(
        "messages.ack",
        lambda c: c.messages.ack("r"),
        "POST",
        "/messages/ack",
        {
            "acknowledged": True,
            "already": True,
            "success": True,
            **COORDINATES,
            "committed_offset": 5,
            "offset_advanced": True,
            "in_flight_count": 0,
        },
        body={"receipt_handle": "r"},
    ),
    Call(
        "messages.ack",
        lambda c: c.messages.ack("r", consumer_id="c1"),
        "POST",
        "/messages/ack",
        {"acknowledged": True},
        body={"receipt_handle": "r", "consumer_id": "c1"},
    ),
    Call(
        "messages.nack",
        lambda c: c.messages.nack("r"),
        "POST",
        "/messages/nack",
        {
            "requeued": False,
            "success": True,
            "action": "dlq",
            "dlq_topic": "orders.dlq",
            **COORDINATES,
        },
        body={"receipt_handle": "r"},
    ),
    Call(
        "messages.nack",
        lambda c: c.messages.nack("r", delay="30s", reason="busy"),
        "POST",
        "/messages/nack",
        {
            "requeued": True,
            "success": True,
            "action": "requeued",
            "delivery_count": 1,
            "next_visible_at": TS,
            **COORDINATES,
        },
        body={"receipt_handle": "r", "delay": "30s", "reason": "busy"},
    ),
    Call(
        "messages.nack",
        lambda c: c.messages.nack("r", reason="once more"),
        "POST",
        "/messages/nack",
        {"requeued": False, "already": True, "success": True, "action": "dlq", "dlq_topic": None},
        body={"receipt_handle": "r", "reason": "once more"},
    ),
    Call(
        "messages.reject",
        lambda c: c.messages.reject("r"),
        "POST",
        "/messages/reject",
        {"rejected": True, "dlq_topic": None},
        body={"receipt_handle": "r"},
    ),
    Call(
        "messages.reject",
        lambda c: c.messages.reject("r", reason=""),
        "POST",
        "/messages/reject",
        {
            "rejected": True,
            "dlq_topic": "orders.dlq",
            "success": True,
            "action": "rejected",
            "reason": "",
            **COORDINATES,
        },
        body={"receipt_handle": "r", "reason": ""},
    ),
    Call(
        "messages.extend_visibility",
        lambda c: c.messages.extend_visibility("r", timeout="60s"),
        "POST",
        "/messages/visibility",
        {"extended": True, "new_deadline": TS, "success": True, "extended_by": 60},
        body={"receipt_handle": "r", "timeout": "60s"},
    ),
    Call(
        "messages.reliability_stats",
        lambda c: c.messages.reliability_stats(),
        "GET",
        "/reliability/stats",
        {
            "acks_total": 1,
            "nacks_total": 2,
            "rejects_total": 3,
            "dlq_messages": 4,
            "visibility_extensions": 5,
            "ack_manager": {
                "total_acks": 1,
                "total_nacks": 2,
                "total_rejects": 3,
                "total_expired": 1,
                "total_retries": 2,
                "total_dlq": 4,
                "current_queued": 0,
            },
            "visibility_tracker": {
                "total_tracked": 1,
                "current_in_flight": 0,
                "total_expired": 1,
                "total_acked": 1,
                "total_extended": 5,
            },
            "dlq": {
                "total_routed": 4,
                "routes_by_reason": {"REJECTED": 3, "MAX_RETRIES_EXCEEDED": 1},
                "routes_by_topic": {"orders": 4},
                "total_dropped": 0,
                "create_errors": 0,
                "publish_errors": 0,
            },
        },
    ),
]

DELAYED_CALLS = [
    Call(
        "delayed.list",
        lambda c: c.delayed.list("orders"),
        "GET",
        "/topics/orders/delayed",
        {
            "messages": [DELAYED],
            "count": 1,
            "total": 1,
            "topic": "orders",
            "limit": 100,
            "skip": 0,
        },
        {"limit": "100"},
    ),
    Call(
        "delayed.list",
        lambda c: c.delayed.list("orders", limit=5, skip=10),
        "GET",
        "/topics/orders/delayed",
        {"messages": [], "count": 0},
        {"limit": "5", "skip": "10"},
    ),
    Call(
        "delayed.get",
        lambda c: c.delayed.get("orders", 4),
        "GET",
        "/topics/orders/delayed/4",
        {**DELAYED, "matches": 2},
        {},
    ),
    Call(
        "delayed.get",
        lambda c: c.delayed.get("orders", 4, partition=0),
        "GET",
        "/topics/orders/delayed/4",
        DELAYED,
        {"partition": "0"},
    ),
    Call(
        "delayed.cancel",
        lambda c: c.delayed.cancel("orders", 1, 4),
        "DELETE",
        "/topics/orders/delayed/1/4",
        {"cancelled": True, "canceled": True, "already_cancelled": True, **COORDINATES},
    ),
    Call(
        "delayed.stats",
        lambda c: c.delayed.stats(),
        "GET",
        "/delay/stats",
        {
            "pending_count": 1,
            "delivered_count": 2,
            "cancelled_count": 3,
            "avg_delay": "1h0m0s",
            "canceled_count": 3,
            "total_scheduled": 6,
            "total_delivered": 2,
            "total_canceled": 3,
            "total_pending": 1,
            "by_topic": {"orders": 1},
        },
    ),
]
