"""What a restart, clean or not, must not change about groups (contract 4.5, 7.4.8).

Elsewhere: messages in flight and nacked, limits of members (test_retries.py), what is done and receipts
(test_acks.py, test_receipts.py), a plain group of two (test_groups.py).
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Callable

import pytest
from harness import PATIENCE, Broker, Raw, eventually, ok, refused
from test_crash import ROUNDS as CRASH_ROUNDS
from test_crash import check_digest
from test_dead_letters import exchange
from test_retries import durable

ROUNDS = max(2, CRASH_ROUNDS // 5)
HOW = pytest.mark.parametrize("how", ["restart", "crash"])


def labels(topic: str, *partitions: int) -> set[str]:
    return {f"{topic}-{p}" for p in partitions}


def stable_part(details: Any) -> Any:
    """Without what is meant to change while nothing happens: the last signs of life."""
    for member in details["members"]:
        member.pop("last_heartbeat", None)
    return details


def view(b: Broker, group: str) -> dict[str, Any]:
    """Everything that clients are told about a group."""
    details = stable_part(ok(b.get(f"/groups/{group}")))
    members = [m["id"] for m in details["members"]]
    return {
        "details": details,
        "cooperative": stable_part(ok(b.get(f"/groups/{group}/cooperative"))),
        "assignment": {m: ok(b.get(f"/groups/{group}/assignment", member_id=m)) for m in members},
        "positions": b.positions(group),
        "statistics": ok(b.get(f"/groups/{group}/rebalance/stats")),
    }


def shares(b: Broker, group: str) -> dict[str, set[str]]:
    return {m["id"]: set(m["assigned_partitions"]) for m in ok(b.get(f"/groups/{group}"))["members"]}


def leave(b: Broker, group: str, member: str) -> Any:
    return b.post(f"/groups/{group}/leave", {"member_id": member})


def heartbeat(b: Broker, member: str) -> Any:
    return ok(b.post("/groups/g/heartbeat/cooperative", {"member_id": member}))


def commit(b: Broker, member: str, offsets: dict[str, dict[str, int]]) -> None:
    ok(b.post("/groups/g/offsets", {"member_id": member, "offsets": offsets}))


def unequal(b: Broker, **more: Any) -> tuple[str, str, str]:
    """Three members that want different topics of three, all with messages."""
    for topic, partitions in {"a": 4, "b": 3, "c": 2}.items():
        b.create(topic, partitions)
        b.publish(topic, *({"value": f"{topic}{p}{n}", "partition": p} for p in range(partitions) for n in range(5)))
    one = b.join("g", "a", "b", client_id="one", session_timeout="20m", **more)["member_id"]
    two = b.join("g", "b", "c", client_id="two", session_timeout="25m")["member_id"]
    three = b.join("g", "c", client_id="three", session_timeout="30m")["member_id"]
    return one, two, three


@HOW
def test_everything_that_is_told(own_broker: Broker, how: str) -> None:
    b = own_broker
    one, two, three = unequal(b, ordering="key")
    for member in (one, two, three):
        for message in b.poll("g", member)[1::3]:  # some done, above a position or not
            ok(b.ack(message["receipt_handle"]))
    commit(b, one, {"a": {"0": 3, "1": 100}})  # beyond the end, too
    commit(b, one, {"a": {"0": 1}})
    guest = b.join("g", "a", "b", "c", client_id="guest")["member_id"]
    ok(leave(b, "g", guest))
    ok(b.post("/groups/g/join/cooperative", {"client_id": "late", "topics": ["a", "b"], "session_timeout": "30m"}))
    b.join("empty", "a")
    ok(leave(b, "empty", *shares(b, "empty")))
    before = view(b, "g"), view(b, "empty")
    assert before[0]["details"]["ordering"] == "key"
    assert before[1]["details"]["state"] == "dead"
    for _ in range(2):
        getattr(b, how)()
        assert (view(b, "g"), view(b, "empty")) == before
    generation = before[0]["details"]["generation"]
    beat = ok(b.post("/groups/g/heartbeat", {"member_id": one, "generation": generation}))
    assert (beat["rebalance_required"], beat["generation"]) == (False, generation)
    beat = ok(b.post("/groups/g/heartbeat", {"member_id": one, "generation": 1}))
    assert beat["rebalance_required"] is True  # since then others came, for partitions it had
    again = b.join("g", "a", "b", client_id="one", session_timeout="20m", member_id=one)
    assert again["generation"] == generation
    late = b.join("empty", "a")
    assert late["generation"] > before[1]["details"]["generation"]


@HOW
def test_what_is_done_above_the_position(own_broker: Broker, how: str) -> None:
    b = own_broker
    members = unequal(b)
    left: set[str] = set()
    for member in members:
        messages = b.poll("g", member, max_messages=1000)
        for i, message in enumerate(messages):
            if i % 3:
                ok(b.ack(message["receipt_handle"]))
            else:
                left.add(message["value"])
    getattr(b, how)()
    getattr(b, how)()
    for member in members:
        ok(leave(b, "g", member))  # then what it had is not in flight any more
    getattr(b, how)()
    member = b.join("g", "a", "b", "c")["member_id"]
    got: list[str] = []
    # After a crash what was in flight is nobody's until its deadline: then only the rest comes now.
    while messages := b.poll("g", member, max_messages=1000):
        got += [m["value"] for m in messages]
    assert len(got) == len(set(got))
    assert set(got) <= left
    for topic in "abc":
        lag = ok(b.get(f"/topics/{topic}/inflight"))["groups"].get("g", 0)
        assert lag == sum(value[0] == topic for value in left), topic


@HOW
def test_departed_members(own_broker: Broker, how: str) -> None:
    """To leave again is harmless, also after a restart; to be unknown is not."""
    b = own_broker
    b.create("a", 2)
    stays = b.join("g", "a", session_timeout="30m")["member_id"]
    left = b.join("g", "a")["member_id"]
    silent = b.join("g", "a", session_timeout="1s")["member_id"]
    ok(leave(b, "g", left))
    eventually(lambda: shares(b, "g").keys() == {stays}, 5)
    for _ in range(2):
        getattr(b, how)()
        for member in (left, silent):
            assert ok(leave(b, "g", member)) == {"left": True, "status": "left"}
            refused(b.get("/groups/g/poll", member_id=member), 404, "member_not_found")
            refused(b.post("/groups/g/heartbeat", {"member_id": member}), 404, "member_not_found")
        refused(leave(b, "g", "nobody"), 404, "member_not_found")
    ok(leave(b, "g", stays))
    getattr(b, how)()
    assert ok(leave(b, "g", stays))["left"] is True
    ok(b.delete("/groups/g"))
    getattr(b, how)()
    refused(leave(b, "g", stays), 404, "group_not_found")
    b.join("g", "a")  # another group of that name
    refused(leave(b, "g", left), 404, "member_not_found")


@HOW
def test_session_timers_start_anew(own_broker: Broker, how: str) -> None:
    """However long the broker was down: a member has its whole session to show up."""
    b = own_broker
    seconds = 2 * PATIENCE
    b.create("a", 2)
    b.publish("a", *({"value": str(p), "partition": p} for p in (0, 1)))
    busy = b.join("g", "a", session_timeout=f"{seconds}s")["member_id"]
    silent = b.join("g", "a", session_timeout=f"{seconds}s")["member_id"]
    b.stop() if how == "restart" else b.kill()
    time.sleep(seconds + 0.3)
    began = time.monotonic()
    b.start()

    def expired() -> bool:
        ok(b.post("/groups/g/heartbeat", {"member_id": busy}))
        return silent not in shares(b, "g")

    assert not expired()
    eventually(expired, 3 * seconds, pause=0.1)
    assert time.monotonic() - began >= seconds
    assert shares(b, "g") == {busy: labels("a", 0, 1)}
    assert sorted(m["value"] for m in b.receive("g", busy, 2)) == ["0", "1"]
    ok(leave(b, "g", silent))


@HOW
def test_a_handover_goes_on(own_broker: Broker, how: str) -> None:
    """What a cooperative owner was asked to let go of, by when, and for whom."""
    b = own_broker
    b.create("a", 4)
    b.publish("a", *({"value": str(p), "partition": p} for p in range(4)))
    body = {"client_id": "c", "topics": ["a"], "session_timeout": "30m"}
    owner = ok(b.post("/groups/g/join/cooperative", body))["member_id"]
    heir = ok(b.post("/groups/g/join/cooperative", body))["member_id"]
    asked = heartbeat(b, owner)
    assert len(asked["partitions_to_revoke"]) == 2
    held = b.poll("g", owner)
    b.create("behind")  # in the journal after what was noted of the poll
    for _ in range(2):
        getattr(b, how)()
        again = heartbeat(b, owner)
        for field in ("partitions_to_revoke", "revocation_deadline", "state", "generation", "assigned_partitions"):
            assert again[field] == asked[field]
        waiting = heartbeat(b, heir)
        assert (waiting["state"], waiting["assigned_partitions"]) == ("pending_assign", [])
        assert b.poll("g", heir) == []
    body = {"member_id": owner, "revoked_partitions": asked["partitions_to_revoke"]}
    assert ok(b.post("/groups/g/revoke", body))["pending_count"] == 0
    getattr(b, how)()
    got = heartbeat(b, heir)
    moved = {f"{p['topic']}-{p['partition']}" for p in asked["partitions_to_revoke"]}
    assert (set(got["assigned_partitions"]), got["generation"]) == (moved, asked["generation"] + 1)
    assert ok(b.get("/groups/g"))["state"] == "stable"
    assert b.poll("g", heir) == []  # still in flight at the old owner, whose receipts are valid
    for message in held:
        assert "already" not in ok(b.ack(message["receipt_handle"]))


@HOW
def test_the_order_of_a_key(own_broker: Broker, how: str) -> None:
    """What is in flight, or waits for its retry, holds back what comes after it, as before."""
    b = own_broker
    b.create("a", 1, visibility_timeout="1h")
    b.publish("a", *({"value": f"{key}{n}", "key": key} for n in range(3) for key in "xyz"), "keyless")
    member = b.join("g", "a", session_timeout="30m", ordering="key")["member_id"]
    held = {m["value"]: m["receipt_handle"] for m in b.receive("g", member, 4)}
    assert held.keys() == {"x0", "y0", "z0", "keyless"}
    ok(b.nack(held["y0"], delay="1h"))
    ok(b.ack(held["z0"]))
    [after_it] = b.receive("g", member, 1)
    assert after_it["value"] == "z1"
    durable(b)
    for _ in range(2):
        getattr(b, how)()
        assert b.poll("g", member, timeout="300ms") == []
    ok(b.ack(held["x0"]))
    ok(b.ack(after_it["receipt_handle"]))
    assert sorted(m["value"] for m in b.receive("g", member, 2)) == ["x1", "z2"]


@HOW
def test_a_deleted_topic_stays_away(own_broker: Broker, how: str) -> None:
    """Out of unequal subscriptions; one of the same name later is another topic."""
    b = own_broker
    one, two, three = unequal(b)
    held = {m: b.poll("g", m, max_messages=1000) for m in (one, two, three)}
    generation = ok(b.get("/groups/g"))["generation"]
    ok(b.delete("/topics/b"))
    before = view(b, "g")
    assert before["details"]["generation"] == generation + 1
    assert before["details"]["topics"] == ["a", "c"]
    assert shares(b, "g")[one] == labels("a", 0, 1, 2, 3)
    assert shares(b, "g")[two] | shares(b, "g")[three] == labels("c", 0, 1)
    getattr(b, how)()
    assert view(b, "g") == before
    for messages in held.values():
        for message in messages:
            if message["topic"] == "b":
                refused(b.ack(message["receipt_handle"]), 404)
            else:
                ok(b.ack(message["receipt_handle"]))
    b.create("b", 2)
    b.publish("b", *({"value": f"new{p}", "partition": p} for p in (0, 1)))
    getattr(b, how)()
    assert view(b, "g")["details"] == before["details"]  # nobody asked for this one
    assert "b" not in b.positions("g")
    again = b.join("g", "a", "b", client_id="one", session_timeout="20m", member_id=one)
    assert set(again["assigned_partitions"]) == labels("a", 0, 1, 2, 3) | labels("b", 0, 1)
    getattr(b, how)()
    got = b.poll("g", one, max_messages=1000)
    assert sorted(m["value"] for m in got if m["topic"] == "b") == ["new0", "new1"]
    for topic in "ac":
        ok(b.delete(f"/topics/{topic}"))
    getattr(b, how)()
    assert shares(b, "g") == {one: labels("b", 0, 1), two: set(), three: set()}
    assert b.poll("g", two) == []


@HOW
def test_added_partitions_are_shared_out_once(own_broker: Broker, how: str) -> None:
    b = own_broker
    b.create("a", 2)
    pair = [b.join("g", "a", session_timeout="30m")["member_id"] for _ in range(2)]
    ok(b.post("/admin/topics/a/partitions", {"count": 5}))
    before = view(b, "g")
    assert sorted(map(len, shares(b, "g").values())) == [2, 3]
    getattr(b, how)()
    assert view(b, "g") == before
    b.publish("a", *({"value": str(p), "partition": p} for p in range(5)))
    got = [m for member in pair for m in b.poll("g", member)]
    assert sorted(m["value"] for m in got) == list("01234")


# kill -9 while a group changes.


class Change:
    """One client that changes a group, one request at a time, and knows the group after each."""

    def __init__(self, b: Broker, raw: Raw, rng: random.Random) -> None:
        self.raw = raw
        self.rng = rng
        self.known = summary(b)
        #: What the request that is under way does to a summary, and whether it was answered.
        self.pending: Callable[[Any, Any], None] | None = None
        self.answered = False

    def run(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        method, path, body, self.pending = self.choose()
        self.answered = False
        status, reply = exchange(self.raw, method, path, body)
        if reply is None:
            return False
        assert status in (200, 201), f"{method} {path} {body}: {status} {reply}"
        self.answered = True
        if path.endswith("/join"):
            assert reply["member_id"] not in self.known["members"] or "member_id" in body
        status, details = exchange(self.raw, "GET", "/groups/g")
        if details is None:
            return False
        status, offsets = exchange(self.raw, "GET", "/groups/g/offsets")
        if offsets is None:
            return False
        now = summary_of(details, offsets["offsets"])
        self.pending(self.known, now)
        self.known, self.pending = now, None
        return True

    def choose(self) -> tuple[str, str, Any, Callable[[Any, Any], None]]:
        members = sorted(self.known["members"])
        kind = self.rng.choice(["join", "join", "leave", "rejoin", "commit", "commit"]) if members else "join"
        if kind == "leave" and len(members) > 1:
            return self.leave(self.rng.choice(members))
        if kind == "rejoin":
            return self.join(self.rng.choice(members))
        if kind == "commit":
            owned = [(m, p) for m in members for p in self.known["members"][m]]
            return self.commit(*self.rng.choice(owned))
        return self.join(None) if len(members) < 8 else self.leave(self.rng.choice(members))

    def join(self, member: str | None) -> tuple[str, str, Any, Callable[[Any, Any], None]]:
        topics = self.rng.sample(["a", "b", "c"], self.rng.randint(1, 3))
        body = {"client_id": "c", "topics": topics, "session_timeout": "30m"}
        if member is not None:
            body["member_id"] = member

        def done(before: Any, after: Any) -> None:
            new = after["members"].keys() - before["members"].keys()
            assert len(new) == (member is None)
            assert before["members"].keys() <= after["members"].keys()
            rose = after["generation"] - before["generation"]
            assert rose == 1 if member is None else rose in (0, 1)
            wanted = after["members"][member or new.pop()]
            assert {label[0] for label in wanted} <= set(topics)

        return "POST", "/groups/g/join", body, done

    def leave(self, member: str) -> tuple[str, str, Any, Callable[[Any, Any], None]]:
        def done(before: Any, after: Any) -> None:
            assert before["members"].keys() - after["members"].keys() == {member}
            assert after["generation"] == before["generation"] + 1

        return "POST", "/groups/g/leave", {"member_id": member}, done

    def commit(self, member: str, label: str) -> tuple[str, str, Any, Callable[[Any, Any], None]]:
        topic, partition = label.split("-")
        offset = self.rng.randrange(1000)

        def done(before: Any, after: Any) -> None:
            assert after["positions"][topic][partition] == offset
            assert after["members"] == before["members"]

        return "POST", "/groups/g/offsets", {"member_id": member, "offsets": {topic: {partition: offset}}}, done

    def judge(self, b: Broker) -> None:
        """After the restart: all that was answered, and of the last request all or nothing."""
        now = summary(b)
        if self.pending is not None and (self.answered or now != self.known):
            self.pending(self.known, now)
        else:
            assert now == self.known


def summary_of(details: Any, positions: Any) -> dict[str, Any]:
    members = {m["id"]: set(m["assigned_partitions"]) for m in details["members"]}
    owned = [label for share in members.values() for label in share]
    assert len(owned) == len(set(owned)), details
    return {"generation": details["generation"], "members": members, "positions": positions}


def summary(b: Broker) -> dict[str, Any]:
    return summary_of(ok(b.get("/groups/g")), b.positions("g"))


@pytest.mark.slow
def test_kill_while_a_group_changes(own_broker: Broker) -> None:
    b = own_broker
    for topic, partitions in {"a": 7, "b": 3, "c": 1}.items():
        b.create(topic, partitions)
    b.join("g", "a", session_timeout="30m")
    for number in range(ROUNDS):
        rng = random.Random(number)
        problems: list[BaseException] = []
        with Raw(b.port, timeout=30) as raw:
            change = Change(b, raw, rng)
            first = change.known["generation"]

            def run(change: Change = change, problems: list[BaseException] = problems) -> None:
                try:
                    change.run()
                except BaseException as problem:  # shown by the test's own thread
                    problems.append(problem)

            thread = threading.Thread(target=run)
            thread.start()
            time.sleep(rng.uniform(0.1, 0.5) * PATIENCE)
            b.kill()
            thread.join()
        if problems:
            raise problems[0]
        assert change.known["generation"] > first, "nothing happened"
        if number % 5 == 0:
            check_digest(b)
        b.start()
        change.judge(b)
