"""Consumer groups and priorities."""

from __future__ import annotations

from .call import MESSAGE, TS, Call

OFFSETS = {"orders": {"0": 5, "1": 0}}

GROUPS = [
    Call(
        "groups.list",
        lambda c: c.groups.list(),
        "GET",
        "/groups",
        {
            "groups": ["g"],
            "group_details": [
                {
                    "id": "g",
                    "state": "stable",
                    "members": 1,
                    "generation": 2,
                    "topics": ["orders"],
                }
            ],
        },
    ),
    Call(
        "groups.get",
        lambda c: c.groups.get("g"),
        "GET",
        "/groups/g",
        {
            "group_id": "g",
            "state": "stable",
            "generation": 2,
            "protocol": "cooperative-sticky",
            "ordering": "none",
            "members": [
                {
                    "member_id": "w-1",
                    "client_id": "w",
                    "assigned_partitions": ["orders-0"],
                    "id": "w-1",
                    "partitions": ["orders-0"],
                    "last_heartbeat": TS,
                    "joined_at": TS,
                }
            ],
            "id": "g",
            "topics": ["orders"],
            "created_at": TS,
            "leader_id": "w-1",
        },
    ),
    Call(
        "groups.delete",
        lambda c: c.groups.delete("g"),
        "DELETE",
        "/groups/g",
        {"deleted": True, "group": "g", "group_id": "g"},
    ),
    Call(
        "groups.join",
        lambda c: c.groups.join(
            "g",
            {
                "client_id": "w",
                "topics": ["orders"],
                "session_timeout": "30s",
                "member_id": "w-1",
                "auto_offset_reset": "latest",
                "visibility_timeout": "10s",
                "max_in_flight": 5,
                "max_deliveries": 7,
                "ordering": "key",
            },
        ),
        "POST",
        "/groups/g/join",
        {
            "member_id": "w-1",
            "generation": 1,
            "leader": True,
            "assigned_partitions": ["orders-0", "orders-1"],
            "rebalance_required": False,
            "leader_id": "w-1",
            "members": ["w-1"],
            "partitions": [0, 1],
            "assignments": [{"topic": "orders", "partition": 0}],
            "session_timeout": "30s",
        },
        body={
            "client_id": "w",
            "topics": ["orders"],
            "session_timeout": "30s",
            "member_id": "w-1",
            "auto_offset_reset": "latest",
            "visibility_timeout": "10s",
            "max_in_flight": 5,
            "max_deliveries": 7,
            "ordering": "key",
        },
    ),
    Call(
        "groups.heartbeat",
        lambda c: c.groups.heartbeat("g", {"member_id": "w-1", "generation": 1}),
        "POST",
        "/groups/g/heartbeat",
        {
            "rebalance_required": False,
            "state": "stable",
            "generation": 1,
            "assigned_partitions": ["orders-0"],
            "status": "ok",
        },
        body={"member_id": "w-1", "generation": 1},
    ),
    Call(
        "groups.leave",
        lambda c: c.groups.leave("g", {"member_id": "w-1"}),
        "POST",
        "/groups/g/leave",
        {"left": True, "status": "left"},
        body={"member_id": "w-1"},
    ),
    Call(
        "groups.poll",
        lambda c: c.groups.poll("g", "w-1"),
        "GET",
        "/groups/g/poll",
        {
            "messages": [
                {**MESSAGE, "receipt_handle": "r", "delivery_count": 1, "visibility_deadline": TS}
            ],
            "generation": 1,
        },
        {"member_id": "w-1", "max_messages": "100", "timeout": "30s"},
    ),
    Call(
        "groups.poll",
        lambda c: c.groups.poll("g", "w-1", max_messages=10, timeout="0s", generation=3),
        "GET",
        "/groups/g/poll",
        {"messages": [], "generation": 3, "rebalance_required": False},
        {"member_id": "w-1", "max_messages": "10", "timeout": "0s", "generation": "3"},
    ),
    Call(
        "groups.get_offsets",
        lambda c: c.groups.get_offsets("g"),
        "GET",
        "/groups/g/offsets",
        {
            "offsets": OFFSETS,
            "topics": OFFSETS,
            "group_id": "g",
            "generation": 1,
            "updated_at": TS,
        },
        {},
    ),
    Call(
        "groups.get_offsets",
        lambda c: c.groups.get_offsets("g", topic="orders"),
        "GET",
        "/groups/g/offsets",
        {"offsets": {}},
        {"topic": "orders"},
    ),
    Call(
        "groups.commit_offsets",
        lambda c: c.groups.commit_offsets(
            "g", {"member_id": "w-1", "offsets": {"orders": {"0": 5}}, "generation": 1}
        ),
        "POST",
        "/groups/g/offsets",
        {"committed": True, "status": "committed", "group": "g", "offsets": OFFSETS},
        body={"member_id": "w-1", "offsets": {"orders": {"0": 5}}, "generation": 1},
    ),
]

PRIORITY = [
    Call(
        "priority.stats",
        lambda c: c.priority.stats(),
        "GET",
        "/priority/stats",
        {
            "messages_by_priority": {
                "critical": 1,
                "high": 0,
                "normal": 2,
                "low": 0,
                "background": 0,
            },
            "avg_wait_time_by_priority": {"critical": "1.5ms", "high": "0s"},
            "total_by_priority": [1, 0, 2, 0, 0],
            "topics": {
                "orders": {
                    "total_by_priority": [1, 0, 2, 0, 0],
                    "partitions": {
                        "0": {
                            "pending": [0, 0, 1, 0, 0],
                            "consumed": [1, 0, 1, 0, 0],
                            "total": [1, 0, 2, 0, 0],
                            "oldest_pending": ["", "", TS, "", ""],
                        }
                    },
                }
            },
        },
    )
]
