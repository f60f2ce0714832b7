"""Contract 4.5, the cooperative routes: partitions are asked for before they are taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import PATIENCE, Broker, eventually, micros, now_us, ok, refused, unique

TIMEOUT_US = 60_000_000  # to let go of a partition
REASONS = ["member_joined", "member_left", "session_timeout", "partitions_added", "topic_deleted"]


class Member:
    """One that joined on the cooperative route, and the generation that it knows."""

    def __init__(self, broker: Broker, group: str, *topics: str, **more: Any) -> None:
        self.broker = broker
        self.group = group
        body = {"client_id": "c", "topics": list(topics), **more}
        self.joined = ok(broker.post(f"/groups/{group}/join/cooperative", body))
        self.id: str = self.joined["member_id"]
        self.generation: int = self.joined["generation"]

    def beat(self, generation: int | None = None) -> dict[str, Any]:
        """A heartbeat; what it tells is known from then on."""
        body = {"member_id": self.id, "generation": generation or self.generation}
        told: dict[str, Any] = ok(self.broker.post(f"/groups/{self.group}/heartbeat/cooperative", body))
        self.generation = told["generation"]
        return told

    def asked_for(self) -> set[str]:
        return labels(self.beat().get("partitions_to_revoke", []))

    def revoke(self, *partitions: str, **more: Any) -> Any:
        body = {"member_id": self.id, "revoked_partitions": places(*partitions), **more}
        return self.broker.post(f"/groups/{self.group}/revoke", body)

    def let_go(self) -> dict[str, Any]:
        """Of all that it is asked for."""
        told: dict[str, Any] = ok(self.revoke(*self.asked_for(), generation=self.generation))
        return told

    def owns(self) -> set[str]:
        return labels(
            ok(self.broker.get(f"/groups/{self.group}/assignment", member_id=self.id))["partitions"]
        )

    def leave(self) -> None:
        left = ok(self.broker.post(f"/groups/{self.group}/leave/cooperative", {"member_id": self.id}))
        assert left == {"left": True, "status": "left"}

    def poll(self, **query: Any) -> list[dict[str, Any]]:
        return self.broker.poll(self.group, self.id, **query)


def labels(partitions: list[dict[str, Any]]) -> set[str]:
    assert all(set(p) == {"topic", "partition"} for p in partitions)
    return {f"{p['topic']}-{p['partition']}" for p in partitions}


def places(*partitions: str) -> list[dict[str, Any]]:
    pairs = (p.rsplit("-", 1) for p in partitions)
    return [{"topic": topic, "partition": int(number)} for topic, number in pairs]


def details(broker: Broker, group: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(broker.get(f"/groups/{group}"))
    return found


def view(broker: Broker, group: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(broker.get(f"/groups/{group}/cooperative"))
    return found


def stats(broker: Broker, group: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(broker.get(f"/groups/{group}/rebalance/stats"))
    return found


def by_reason(**counts: int) -> dict[str, int]:
    return {reason: counts.get(reason, 0) for reason in REASONS}


def publish_to(broker: Broker, label: str, *values: str) -> None:
    [place] = places(label)
    broker.publish(place["topic"], *({"value": v, "partition": place["partition"]} for v in values))


# The flow.


def test_the_whole_flow(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 4)
    every = {f"{topic}-{p}" for p in range(4)}
    owner = Member(broker, group, topic, client_id="owner", session_timeout="20s")
    assert owner.id.startswith("owner-")
    assert (owner.generation, owner.joined["leader_id"]) == (1, owner.id)
    assert (owner.joined["protocol"], owner.joined["rebalance_required"]) == ("cooperative", False)
    assert owner.joined["members"] == [owner.id]
    assert set(owner.joined["assigned_partitions"]) == every
    assert owner.joined["session_timeout"] == "20s"
    quiet = owner.beat()
    assert (quiet["state"], quiet["rebalance_required"]) == ("none", False)
    assert not {"partitions_to_revoke", "partitions_assigned", "revocation_deadline"} & set(quiet)

    before = now_us()
    joiner = Member(broker, group, topic)
    after = now_us()
    assert joiner.joined["assigned_partitions"] == []
    assert joiner.joined["rebalance_required"] is True
    assert joiner.joined["members"] == [owner.id, joiner.id]
    assert details(broker, group)["state"] == "rebalancing"
    told = owner.beat()
    moving = labels(told["partitions_to_revoke"])
    assert len(moving) == 2
    assert (told["state"], told["rebalance_required"]) == ("pending_revoke", True)
    assert (told["generation"], told["protocol"]) == (1, "cooperative")
    assert set(told["assigned_partitions"]) == every
    assert before + TIMEOUT_US <= micros(told["revocation_deadline"]) <= after + TIMEOUT_US
    assert owner.beat() == told  # until it lets go
    waiting = joiner.beat()
    assert (waiting["state"], waiting["rebalance_required"]) == ("pending_assign", True)
    assert "partitions_assigned" not in waiting

    first, second = sorted(moving)
    answer = ok(owner.revoke(first, generation=1))
    assert answer == {"status": "acknowledged", "pending_count": 1, "generation": 1,
                      "rebalance_state": "pending_revoke"}
    waiting = joiner.beat()
    assert labels(waiting["partitions_assigned"]) == {first}
    assert (waiting["state"], waiting["generation"]) == ("pending_assign", 1)
    assert "partitions_assigned" not in joiner.beat()
    answer = ok(owner.revoke(second, generation=1))
    assert (answer["pending_count"], answer["rebalance_state"]) == (0, "complete")
    assert answer["generation"] == 2
    done = joiner.beat()
    assert labels(done["partitions_assigned"]) == {second}
    assert (done["state"], done["generation"], done["rebalance_required"]) == ("complete", 2, True)
    for member in (joiner, owner):
        member.beat()
        quiet = member.beat()
        assert (quiet["state"], quiet["generation"]) == ("none", 2)
        assert quiet["rebalance_required"] is False
        assert "partitions_assigned" not in quiet
    assert joiner.owns() == moving
    assert owner.owns() == every - moving
    assert details(broker, group)["state"] == "stable"


def test_delivery_goes_on_until_the_owner_lets_go(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    owner = Member(broker, group, topic)
    joiner = Member(broker, group, topic)
    [moving] = owner.asked_for()
    publish_to(broker, moving, "a", "b")
    assert joiner.poll(timeout="200ms") == []
    held = owner.poll()
    assert [m["value"] for m in held] == ["a", "b"]
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(owner.poll, timeout="20s")
        time.sleep(0.15)
        publish_to(broker, moving, "c")
        [woken] = parked.result()
    assert woken["value"] == "c"
    assert joiner.poll() == []


def test_what_is_in_flight_stays_with_the_old_owner(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    owner = Member(broker, group, topic)
    joiner = Member(broker, group, topic)
    [moving] = owner.asked_for()
    publish_to(broker, moving, "acked", "nacked", "rest")
    acked, nacked = owner.poll(max_messages=2)
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(joiner.poll, timeout="20s")
        time.sleep(0.15)
        owner.let_go()
        [rest] = parked.result()
    assert rest["value"] == "rest"
    assert joiner.poll() == []
    ok(broker.ack(acked["receipt_handle"]))
    assert list(broker.positions(group)[topic].values()).count(1) == 1
    ok(broker.nack(nacked["receipt_handle"], delay="0s"))
    assert owner.poll() == []
    [again] = joiner.poll(timeout="5s")
    assert (again["value"], again["delivery_count"]) == ("nacked", 2)


def test_joins_in_a_row_are_one_generation(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 6)
    owner = Member(broker, group, topic)
    joiners = [Member(broker, group, topic) for _ in range(2)]
    deadline = owner.beat()["revocation_deadline"]
    assert len(owner.asked_for()) == 4
    assert owner.beat()["revocation_deadline"] == deadline
    assert owner.let_go()["generation"] == 2
    for joiner in joiners:
        told = joiner.beat()
        assert len(told["partitions_assigned"]) == 2
        assert told["generation"] == 2
    assert details(broker, group)["generation"] == 2
    assert (stats(broker, group)["total_rebalances"], owner.beat()["generation"]) == (3, 2)
    assert stats(broker, group)["successful_rebalances"] == 3


def test_the_owner_leaves_in_the_middle(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 4)
    owner = Member(broker, group, topic)
    joiner = Member(broker, group, topic)
    ok(owner.revoke(min(owner.asked_for())))
    assert len(joiner.beat()["partitions_assigned"]) == 1
    owner.leave()
    told = joiner.beat()
    assert len(told["partitions_assigned"]) == 3
    assert (told["state"], told["generation"]) == ("complete", 2)
    assert joiner.owns() == {f"{topic}-{p}" for p in range(4)}
    assert details(broker, group)["state"] == "stable"
    owner.leave()  # a repeat


def test_the_joiner_leaves_in_the_middle(broker: Broker, topic: str, group: str) -> None:
    """Nothing is asked for any more, what it got comes back, and the rebalance is over."""
    broker.create(topic, 4)
    owner = Member(broker, group, topic)
    joiner = Member(broker, group, topic)
    gone = min(owner.asked_for())
    ok(owner.revoke(gone))
    joiner.leave()
    told = owner.beat()
    assert "partitions_to_revoke" not in told
    assert labels(told["partitions_assigned"]) == {gone}
    assert (told["state"], told["generation"]) == ("complete", 2)
    assert len(owner.owns()) == 4
    assert ok(owner.revoke(f"{topic}-0"))["pending_count"] == 0
    assert len(owner.owns()) == 4


def test_the_owner_dies_in_the_middle(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    owner = Member(broker, group, topic, session_timeout="1s")
    joiner = Member(broker, group, topic)
    assert len(owner.asked_for()) == 1

    def has_all() -> bool:
        joiner.beat()
        return len(joiner.owns()) == 2

    eventually(has_all)
    assert details(broker, group)["state"] == "stable"
    got = stats(broker, group)
    assert got["rebalances_by_reason"] == by_reason(member_joined=2, session_timeout=1)
    assert got["failed_rebalances"] == 0


def test_each_call_is_a_sign_of_life(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 1)
    member = Member(broker, group, topic, session_timeout="1s")
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        ok(member.revoke())
        time.sleep(0.3)
    while time.monotonic() < end + 2.5:
        assert member.beat()["assigned_partitions"] == [f"{topic}-0"]
        time.sleep(0.3)


def test_a_topic_or_group_is_deleted_in_the_middle(broker: Broker, topic: str, group: str) -> None:
    other = broker.create(unique("other"), 1)
    broker.create(topic, 2)
    owner = Member(broker, group, topic, other)
    joiner = Member(broker, group, topic)
    assert len(owner.asked_for()) > 0
    ok(broker.delete(f"/topics/{topic}"))
    told = owner.beat()
    assert "partitions_to_revoke" not in told
    assert told["assigned_partitions"] == [f"{other}-0"]
    assert (details(broker, group)["state"], joiner.owns()) == ("stable", set())
    late = Member(broker, group, other, other)
    assert len(late.joined["assigned_partitions"]) == 0
    ok(broker.delete(f"/groups/{group}"))
    refused(owner.revoke(f"{other}-0"), 404, "group_not_found")


# Members of both kinds.


def test_an_eager_member_is_not_asked(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 4)
    eager = broker.join(group, topic)
    joiner = Member(broker, group, topic)
    assert len(joiner.joined["assigned_partitions"]) == 2
    assert (joiner.joined["rebalance_required"], joiner.generation) == (False, 2)
    assert details(broker, group)["state"] == "stable"
    body = {"member_id": eager["member_id"], "generation": eager["generation"]}
    plain = ok(broker.post(f"/groups/{group}/heartbeat", body))
    assert plain["rebalance_required"] is True
    assert len(plain["assigned_partitions"]) == 2
    told = ok(broker.post(f"/groups/{group}/heartbeat/cooperative", body))
    assert (told["protocol"], told["state"]) == ("eager", "complete")


def test_an_eager_member_waits_for_a_cooperative_one(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 4)
    owner = Member(broker, group, topic)
    eager = broker.join(group, topic)
    assert (eager["assigned_partitions"], eager["rebalance_required"]) == ([], False)
    moving = owner.asked_for()
    owner.let_go()
    body = {"member_id": eager["member_id"], "generation": eager["generation"]}
    plain = ok(broker.post(f"/groups/{group}/heartbeat", body))
    assert plain["rebalance_required"] is True
    assert set(plain["assigned_partitions"]) == moving
    publish_to(broker, min(moving), "x")
    assert [m["value"] for m in broker.poll(group, eager["member_id"])] == ["x"]


def test_eager_on_the_cooperative_route(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    first = Member(broker, group, topic, protocol="eager")
    assert first.joined["protocol"] == "eager"
    assert view(broker, group)["protocol"] == "eager"
    second = Member(broker, group, topic, protocol="cooperative")
    assert len(second.joined["assigned_partitions"]) == 1
    assert view(broker, group)["protocol"] == "cooperative"
    second.leave()
    assert view(broker, group)["protocol"] == "eager"


def test_a_rejoin_changes_the_kind(broker: Broker, topic: str, group: str) -> None:
    """A cooperative member that becomes eager lets go at once."""
    broker.create(topic, 4)
    owner = Member(broker, group, topic)
    joiner = Member(broker, group, topic)
    moving = owner.asked_for()
    again = Member(broker, group, topic, member_id=owner.id)
    assert again.id == owner.id
    assert owner.asked_for() == moving  # nothing has changed
    eager = broker.join(group, topic, member_id=owner.id)
    assert len(eager["assigned_partitions"]) == 2
    assert joiner.owns() == moving
    assert details(broker, group)["state"] == "stable"


def test_every_field_of_a_join(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    broker.publish(topic, "old")
    member = Member(
        broker, group, topic, topic, auto_offset_reset="latest", visibility_timeout="7s",
        max_in_flight=2, max_deliveries=9, session_timeout_ms=5000, ordering="key", unknown=1,
    )
    assert member.joined["session_timeout"] == "5s"
    assert member.joined["assigned_partitions"] == [f"{topic}-0"]
    broker.publish(topic, "1", "2", "3")
    before = now_us()
    held = member.poll()
    assert [m["value"] for m in held] == ["1", "2"]
    assert before + 7_000_000 <= micros(held[0]["visibility_deadline"]) <= now_us() + 7_000_000
    assert details(broker, group)["ordering"] == "key"


def test_ordering_is_of_the_whole_group(own_broker: Broker, topic: str, group: str) -> None:
    b = own_broker
    b.create(topic, 2)
    one = b.join(group, topic)["member_id"]
    assert details(b, group)["ordering"] == "none"
    two = b.join(group, topic, ordering="key")["member_id"]
    assert details(b, group)["ordering"] == "key"
    b.join(group, topic, member_id=one)
    Member(b, group, topic)
    assert details(b, group)["ordering"] == "key"
    for restart in (b.restart, b.crash):
        restart()
        assert details(b, group)["ordering"] == "key"
    b.join(group, topic, member_id=two, ordering="none")
    assert details(b, group)["ordering"] == "none"
    for bad in ("", "KEY", "partition", 1, True, ["key"]):
        for route in ("join", "join/cooperative"):
            body = {"client_id": "c", "topics": [topic], "ordering": bad}
            refused(b.post(f"/groups/{group}/{route}", body), 400, "invalid_argument")


# Letting go.


def test_what_is_not_asked_for_is_passed_over(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 4)
    owner = Member(broker, group, topic)
    nothing = {"status": "acknowledged", "pending_count": 0, "generation": 1,
               "rebalance_state": "complete"}
    assert ok(owner.revoke(f"{topic}-0")) == ok(owner.revoke()) == nothing
    joiner = Member(broker, group, topic)
    moving = owner.asked_for()
    stays = {f"{topic}-{p}" for p in range(4)} - moving
    strange = [f"{unique()}-0", f"{topic}-4", f"{topic}-99999999999", "no such name-0", "__x-1"]
    answer = ok(owner.revoke(*stays, *strange))
    assert (answer["pending_count"], answer["rebalance_state"]) == (2, "pending_revoke")
    answer = ok(joiner.revoke(*moving))  # they are not the joiner's yet
    assert (answer["pending_count"], answer["rebalance_state"]) == (0, "pending_revoke")
    assert owner.asked_for() == moving
    twice = ok(owner.revoke(*moving, *moving, *stays, *strange))
    assert (twice["pending_count"], twice["rebalance_state"]) == (0, "complete")
    assert (joiner.owns(), owner.owns()) == (moving, stays)
    assert ok(owner.revoke(*moving))["pending_count"] == 0  # nor are they the owner's any more
    assert joiner.owns() == moving


def test_a_stale_generation(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    owner = Member(broker, group, topic)
    Member(broker, group, topic)
    [moving] = owner.asked_for()
    for generation in (0, 2, 2**62):
        refused(owner.revoke(moving, generation=generation), 409, "stale_generation")
    assert owner.asked_for() == {moving}
    ok(owner.revoke(moving, generation=1))
    refused(owner.revoke(moving, generation=1), 409, "stale_generation")
    ok(owner.revoke(moving, generation=2))


# The deadline and restarts.


@pytest.mark.slow
def test_the_deadline_passes(own_broker: Broker, topic: str, group: str) -> None:
    """Partitions that the owner keeps are taken after 60 seconds, also across kill -9."""
    b = own_broker
    b.create(topic, 4)
    owner = Member(b, group, topic)
    joiner = Member(b, group, topic)
    let_go, kept = sorted(owner.asked_for())
    ok(owner.revoke(let_go))
    deadline = micros(owner.beat()["revocation_deadline"])
    b.crash()
    assert owner.asked_for() == {kept}
    assert micros(owner.beat()["revocation_deadline"]) == deadline

    def taken() -> bool:
        owner.beat()
        joiner.beat()
        return joiner.owns() == {let_go, kept}

    eventually(taken, 70, pause=0.2)
    assert now_us() >= deadline
    assert now_us() <= deadline + 3_000_000 * PATIENCE
    assert owner.beat()["generation"] == 2
    assert owner.beat()["state"] == "none"
    got = stats(b, group)
    assert (got["total_rebalances"], got["successful_rebalances"], got["failed_rebalances"]) == (2, 1, 1)
    assert (got["total_revocation_timeouts"], got["total_partitions_revoked"]) == (1, 2)
    assert got["last_rebalance_duration_ms"] >= 60_000
    assert micros(got["last_rebalance_at"]) >= deadline


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_a_restart_in_the_middle(own_broker: Broker, topic: str, group: str, how: str) -> None:
    b = own_broker
    b.create(topic, 6)
    owner = Member(b, group, topic)
    joiner = Member(b, group, topic)
    first, second, third = sorted(owner.asked_for())
    asked = owner.beat()
    getattr(b, how)()
    assert details(b, group)["state"] == "rebalancing"
    assert owner.beat() == asked
    assert joiner.beat()["state"] == "pending_assign"
    ok(owner.revoke(first, generation=1))
    getattr(b, how)()
    assert owner.asked_for() == {second, third}
    told = joiner.beat()
    assert (told["assigned_partitions"], told["generation"]) == ([first], 1)
    assert labels(told["partitions_assigned"]) == {first}  # told once a run
    assert "partitions_assigned" not in joiner.beat()
    assert owner.let_go()["generation"] == 2
    before = stats(b, group), view(b, group)["member_assignments"]
    getattr(b, how)()
    assert (stats(b, group), view(b, group)["member_assignments"]) == before
    told = joiner.beat(generation=1)
    assert (told["state"], told["generation"]) == ("complete", 2)
    assert {second, third} <= labels(told["partitions_assigned"])
    assert joiner.owns() == {first, second, third}
    assert details(b, group)["state"] == "stable"
    for label in (first, second, third):
        publish_to(b, label, label)
    assert {m["value"] for m in joiner.poll()} == {first, second, third}


# Views and statistics.


def test_the_views(broker: Broker, topic: str, group: str) -> None:
    other = broker.create(unique("other"), 1)
    broker.create(topic, 2)
    owner = Member(broker, group, topic, other, client_id="owner")
    joiner = Member(broker, group, topic, client_id="joiner")
    owned = {f"{topic}-0", f"{topic}-1", f"{other}-0"}
    got = view(broker, group)
    assert (got["id"], got["state"], got["generation"]) == (group, "rebalancing", 1)
    assert (got["protocol"], got["assignment_strategy"]) == ("cooperative", "sticky")
    assert (got["rebalance_state"], got["topics"]) == ("pending_revoke", sorted([topic, other]))
    assert [(m["id"], m["client_id"]) for m in got["members"]] == [
        (owner.id, "owner"), (joiner.id, "joiner")]
    assert [labels(m["assigned_partitions"]) for m in got["members"]] == [owned, set()]
    assert all(micros(m["joined_at"]) <= micros(m["last_heartbeat"]) for m in got["members"])
    assert {m: labels(p) for m, p in got["member_assignments"].items()} == {
        owner.id: owned, joiner.id: set()}
    assert got["rebalance_metrics"] == stats(broker, group)
    listed = {g["id"]: g for g in ok(broker.get("/groups"))["group_details"]}
    assert (listed[group]["state"], listed[group]["generation"]) == ("rebalancing", 1)
    owner.let_go()
    got = view(broker, group)
    assert (got["state"], got["rebalance_state"], got["generation"]) == ("stable", "none", 2)
    path = f"/groups/{group}/assignment"
    assignment = ok(broker.get(path, member_id=joiner.id))
    assert (assignment["member_id"], assignment["generation"]) == (joiner.id, 2)
    assert len(labels(assignment["partitions"])) == 1
    for member in (owner, joiner):
        member.leave()
    got = view(broker, group)
    assert (got["state"], got["members"], got["member_assignments"]) == ("dead", [], {})
    refused(broker.get(path, member_id=owner.id), 404, "member_not_found")
    refused(broker.get(path), 400, "invalid_argument")
    refused(broker.get(path, member_id=""), 400, "invalid_argument")


def test_stats_by_reason(own_broker: Broker) -> None:
    b = own_broker
    empty = ok(b.get("/rebalance/stats"))
    assert empty == {
        "total_rebalances": 0, "successful_rebalances": 0, "failed_rebalances": 0,
        "total_partitions_revoked": 0, "total_partitions_assigned": 0, "total_revocation_timeouts": 0,
        "last_rebalance_duration_ms": 0, "average_rebalance_duration_ms": 0,
        "rebalances_by_reason": by_reason(),
    }
    b.create("t", 2)
    b.create("u", 2)
    owner = Member(b, "g", "t", "u")
    joiner = Member(b, "g", "t", "u")
    pending = stats(b, "g")
    assert (pending["total_rebalances"], pending["successful_rebalances"]) == (2, 1)
    time.sleep(0.02)
    owner.let_go()
    got = stats(b, "g")
    assert (got["total_rebalances"], got["successful_rebalances"]) == (2, 2)
    assert (got["total_partitions_revoked"], got["total_partitions_assigned"]) == (2, 6)
    assert got["last_rebalance_duration_ms"] >= 20
    assert 10 <= got["average_rebalance_duration_ms"] <= got["last_rebalance_duration_ms"]
    assert abs(micros(got["last_rebalance_at"]) - now_us()) < 5_000_000 * PATIENCE
    joiner.leave()
    short = Member(b, "g", "t", session_timeout="1s")
    owner.let_go()
    eventually(lambda: stats(b, "g")["rebalances_by_reason"]["session_timeout"] == 1)
    refused(short.revoke(), 404, "member_not_found")
    ok(b.post("/admin/topics/t/partitions", {"count": 5}))
    ok(b.delete("/topics/u"))
    got = stats(b, "g")
    assert got["rebalances_by_reason"] == by_reason(
        member_joined=3, member_left=1, session_timeout=1, partitions_added=1, topic_deleted=1)
    assert got["total_rebalances"] == got["successful_rebalances"] == 7
    assert owner.beat()["generation"] == view(b, "g")["generation"] == 7
    assert ok(b.get("/rebalance/stats")) == got
    b.join("h", "t")
    both = ok(b.get("/rebalance/stats"))
    assert both["total_rebalances"] == got["total_rebalances"] + 1
    assert both["rebalances_by_reason"]["member_joined"] == 4
    assert both["last_rebalance_at"] == stats(b, "h")["last_rebalance_at"]
    for restart in (b.restart, b.crash):
        restart()
        assert stats(b, "g") == got
        assert ok(b.get("/rebalance/stats")) == both
    tenant = {"X-Tenant-ID": "acme"}
    assert ok(b.request("GET", "/rebalance/stats", headers=tenant)) == empty


# What is refused.

BODIES: list[Any] = [None, [], "x", 7, {}, {"member_id": None}, {"member_id": ""}, {"member_id": 5},
                     {"member_id": "m" * 321}, {"member_id": "a\0b"}]


@pytest.mark.parametrize("route", ["heartbeat/cooperative", "revoke", "leave/cooperative"])
def test_garbage_from_members(broker: Broker, topic: str, group: str, route: str) -> None:
    path = f"/groups/{group}/{route}"
    broker.create(topic)
    member = Member(broker, group, topic)
    for body in BODIES:
        full = {"revoked_partitions": [], **body} if isinstance(body, dict) else body
        refused(broker.post(path, full), 400)
    for raw in (b"", b"{", b"\xff", b'{"member_id":"m"} x', b"null"):
        refused(broker.request("POST", path, content=raw), 400, "invalid_json")
    good = {"member_id": member.id, "revoked_partitions": []}
    refused(broker.post("/groups/a b/" + route, good), 400)
    refused(broker.post(f"/groups/{unique()}/{route}", good), 404, "group_not_found")
    refused(broker.post(path, {**good, "member_id": "nobody"}), 404, "member_not_found")
    assert broker.get(path).status_code == 405
    if route == "leave/cooperative":
        return
    bad: list[Any] = ["1", -1, 1.5, True, []]
    for generation in bad:
        refused(broker.post(path, {**good, "generation": generation}), 400, "invalid_argument")


@pytest.mark.parametrize(
    "revoked",
    [None, {}, "t-0", [None], ["t-0"], [["t", 0]], [{}], [{"topic": "t"}], [{"partition": 0}],
     [{"topic": 5, "partition": 0}], [{"topic": "t", "partition": "0"}],
     [{"topic": "t", "partition": -1}], [{"topic": "t", "partition": 0.0}],
     [{"topic": "t", "partition": None}], [{"topic": "t", "partition": 0}, 5]],
)  # fmt: skip
def test_bad_revocations(broker: Broker, group: str, revoked: Any) -> None:
    body = {"member_id": "m", "revoked_partitions": revoked}
    error = refused(broker.post(f"/groups/{group}/revoke", body), 400, "invalid_argument")
    assert error["error"].startswith("revoked_partitions")


@pytest.mark.parametrize(
    "change",
    [{"client_id": None}, {"client_id": ""}, {"client_id": 7}, {"topics": None}, {"topics": []},
     {"topics": "t"}, {"topics": [5]}, {"protocol": ""}, {"protocol": "sticky"}, {"protocol": 1},
     {"protocol": ["eager"]}, {"session_timeout": "999ms"}, {"session_timeout": 30},
     {"auto_offset_reset": "middle"}, {"visibility_timeout": "0s"}, {"max_in_flight": 0},
     {"max_deliveries": 0}, {"member_id": ""}],
)  # fmt: skip
def test_bad_joins(broker: Broker, topic: str, group: str, change: dict[str, Any]) -> None:
    broker.create(topic)
    body = {"client_id": "c", "topics": [topic], **change}
    path = f"/groups/{group}/join/cooperative"
    error = refused(broker.post(path, body), 400, "invalid_argument")
    assert error["error"].startswith(next(iter(change)))
    refused(broker.get(f"/groups/{group}"), 404, "group_not_found")


def test_joins_to_what_is_not_there(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    path = f"/groups/{group}/join/cooperative"
    for name in (unique(), "no such name", "__x"):
        body = {"client_id": "c", "topics": [topic, name]}
        refused(broker.post(path, body), 404, "topic_not_found")
    stranger = {"client_id": "c", "topics": [topic], "member_id": "stranger"}
    refused(broker.post(path, stranger), 404, "member_not_found")


@pytest.mark.parametrize("route", ["assignment?member_id=m", "cooperative", "rebalance/stats"])
def test_views_of_unknown_groups(broker: Broker, route: str) -> None:
    refused(broker.get(f"/groups/{unique()}/{route}"), 404, "group_not_found")
    refused(broker.get(f"/groups/a b/{route}"), 400)


def test_tenants_do_not_see_each_other(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic)
    member = Member(broker, group, topic)
    tenant = {"X-Tenant-ID": "acme"}

    def ask(method: str, route: str, body: Any = None) -> Any:
        return broker.request(method, f"/groups/{group}/{route}", body, headers=tenant)

    body = {"member_id": member.id, "revoked_partitions": []}
    calls: list[Callable[[], Any]] = [
        lambda: ask("POST", "heartbeat/cooperative", body), lambda: ask("POST", "revoke", body),
        lambda: ask("POST", "leave/cooperative", body), lambda: ask("GET", "cooperative"),
        lambda: ask("GET", f"assignment?member_id={member.id}"), lambda: ask("GET", "rebalance/stats"),
    ]
    for call in calls:
        refused(call(), 404, "group_not_found")
