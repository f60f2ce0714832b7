"""100 joins and leaves under load: what stays where it is, stays undisturbed (contract 7.2, 7.4).

How long deliveries pause meanwhile is measured by bench/gaps.py; here is what must hold however slow the
machine is.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import PATIENCE, Broker, eventually, ok, unique

STAYING, CHANGES = 4, 100
TOPICS = {"gaps-a": 12, "gaps-b": 5}
PLACES = {f"{topic}-{p}" for topic, count in TOPICS.items() for p in range(count)}
SILENT_SESSION = f"{2 * PATIENCE:g}s"

Assignment = dict[str, set[str]]  # of each member


def assignment(broker: Broker, group: str) -> Assignment:
    return {m["id"]: set(m["assigned_partitions"]) for m in ok(broker.get(f"/groups/{group}"))["members"]}


def owners(shares: Assignment) -> dict[str, str]:
    got = {place: member for member, places in shares.items() for place in places}
    assert sum(map(len, shares.values())) == len(got), f"two owners: {shares}"
    return got


def check_change(before: Assignment, after: Assignment) -> None:
    """All members want all topics: who owns what, and nothing moved without need."""
    was, now = owners(before), owners(after)
    assert now.keys() == PLACES
    sizes = [len(places) for places in after.values()]
    assert max(sizes) - min(sizes) <= 1, after
    joined, gone = after.keys() - before.keys(), before.keys() - after.keys()
    moved = {place for place in PLACES if was[place] != now[place]}
    if joined:
        assert not gone
        assert {now[place] for place in moved} <= joined, f"between members that stay: {before} {after}"
    else:
        assert moved == set().union(*(before[m] for m in gone)), f"between members that stay: {before} {after}"


class Load:
    """What was published, what is with whom, what is done."""

    def __init__(self, broker: Broker, group: str, cooperative: bool) -> None:
        self.broker = broker
        self.group = group
        self.cooperative = cooperative
        self.lock = threading.Lock()
        self.published: set[str] = set()
        self.delivered: dict[str, int] = {}  # the count
        self.done: set[str] = set()
        self.abandoned: set[str] = set()  # in flight at a member that left or fell silent
        self.stopped = threading.Event()
        self.problems: list[BaseException] = []
        self.threads: list[threading.Thread] = []

    def thread(self, target: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                target(*arguments)
            except BaseException as problem:  # shown by the test's own thread
                self.problems.append(problem)
                self.stopped.set()

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.threads.clear()
        if self.problems:
            raise self.problems[0]

    def join(self, **more: Any) -> str:
        how = "join/cooperative" if self.cooperative else "join"
        body = {"client_id": "c", "topics": list(TOPICS), "visibility_timeout": "1h", **more}
        return str(ok(self.broker.post(f"/groups/{self.group}/{how}", body))["member_id"])

    def publish(self) -> None:
        number = 0
        while not self.stopped.wait(0.03 * PATIENCE):
            for topic, count in TOPICS.items():
                values = {str(n): n - number for n in range(number, number + count)}
                number += count
                with self.lock:
                    self.published.update(values)
                self.broker.publish(topic, *({"value": v, "partition": p} for v, p in values.items()))

    def receive(self, member: str, timeout: str = "100ms") -> list[dict[str, Any]]:
        messages = self.broker.poll(self.group, member, timeout=timeout, max_messages=1000)
        with self.lock:
            for m in messages:
                value, count = m["value"], m["delivery_count"]
                assert count == self.delivered.get(value, 0) + 1, m
                assert count == 1 or value in self.abandoned, f"again without cause: {m}"
                assert value not in self.done, f"after its ack: {m}"
                self.abandoned.discard(value)
                self.delivered[value] = count
        return messages

    def settle(self, messages: list[dict[str, Any]]) -> None:
        """Every receipt of a member that is alive is valid, wherever its partition went."""
        if not messages:
            return
        handles = [m["receipt_handle"] for m in messages]
        reply = ok(self.broker.post("/messages/ack/batch", {"receipt_handles": handles}))
        assert reply["success_count"] == len(handles), reply
        assert not [r for r in reply["results"] if r.get("already")], reply
        with self.lock:
            self.done.update(m["value"] for m in messages)

    def stay(self, member: str, seed: int) -> None:
        """Holds messages for a while, so that much is in flight whenever something moves."""
        rng = random.Random(seed)
        held: list[dict[str, Any]] = []
        while not self.stopped.is_set():
            held += self.receive(member)
            rng.shuffle(held)
            kept = rng.randrange(len(held) + 1)
            self.settle(held[kept:])
            del held[kept:]
            if self.cooperative:
                self.let_go(member)
        self.settle(held)

    def let_go(self, member: str) -> None:
        """Of what the group asks for, with messages in flight or not."""
        body = {"member_id": member}
        beat = ok(self.broker.post(f"/groups/{self.group}/heartbeat/cooperative", body))
        if revoked := beat.get("partitions_to_revoke"):
            ok(self.broker.post(f"/groups/{self.group}/revoke", {**body, "revoked_partitions": revoked}))

    def settled(self) -> bool:
        """Whether everybody has what the last change gave."""
        if self.problems:
            raise self.problems[0]
        return bool(ok(self.broker.get(f"/groups/{self.group}"))["state"] == "stable")

    def drained(self, member: str) -> bool:
        self.settle(self.receive(member, "0s"))
        return self.done == self.published


class Guests:
    """Members that come and go; a part of what they get they leave behind."""

    def __init__(self, load: Load, rng: random.Random) -> None:
        self.load = load
        self.rng = rng
        self.here: list[str] = []
        self.silent: list[str] = []

    def come(self, silent: bool) -> None:
        member = self.load.join(session_timeout=SILENT_SESSION if silent else "30m")
        (self.silent if silent else self.here).append(member)

    def work(self, member: str) -> None:
        messages = self.load.receive(member, "0s")
        some = self.rng.randrange(len(messages) + 1)
        with self.load.lock:  # before it goes: then others may get them
            self.load.abandoned.update(m["value"] for m in messages[some:])
        self.load.settle(messages[:some])

    def go(self) -> None:
        member = self.here.pop(self.rng.randrange(len(self.here)))
        self.work(member)
        body = {"member_id": member}
        ok(self.load.broker.post(f"/groups/{self.load.group}/leave", body))

    def settled(self) -> bool:
        for member in self.here + self.silent if self.load.cooperative else []:
            self.load.let_go(member)
        return self.load.settled()

    def gone(self) -> bool:
        return not assignment(self.load.broker, self.load.group).keys() & set(self.silent)


@pytest.fixture(params=[False, True], ids=["plain", "cooperative"])
def load(own_broker: Broker, request: pytest.FixtureRequest) -> Iterator[Load]:
    load = Load(own_broker, "g", request.param)
    try:
        yield load
    finally:
        load.stopped.set()
        for thread in load.threads:
            thread.join()


def changes(load: Load, guests: Guests) -> Iterator[None]:
    """After each: the group has changed, once."""
    count = 0
    while count < CHANGES:
        if guests.rng.random() < 0.05:
            for _ in range(3):  # silent only when all are there
                guests.come(silent=True)
                yield
            for member in guests.silent:
                guests.work(member)
            eventually(guests.gone, 10, pause=0.1)
            guests.silent.clear()
            count += 6
        elif len(guests.here) < guests.rng.randint(0, 4):
            guests.come(silent=False)
            count += 1
        elif guests.here:
            guests.go()
            count += 1
        yield


@pytest.mark.slow
def test_members_that_stay_are_not_disturbed(load: Load) -> None:
    for topic, count in TOPICS.items():
        load.broker.create(topic, count, max_deliveries=1000)
    staying = [load.join(session_timeout="30m") for _ in range(STAYING)]
    for i, member in enumerate(staying):
        load.thread(load.stay, member, i)
    eventually(load.settled)
    load.thread(load.publish)
    guests = Guests(load, random.Random(1))
    before = assignment(load.broker, load.group)
    kept = {member: set(places) for member, places in before.items()}
    for _ in changes(load, guests):
        eventually(guests.settled)
        after = assignment(load.broker, load.group)
        check_change(before, after)
        assert set(staying) <= after.keys()
        for member in staying:
            kept[member] &= after[member]
        before = after
    assert any(kept.values()), "everything moved"
    load.stop()
    eventually(lambda: any([load.drained(member) for member in staying + guests.here]))


def test_the_same_joins_and_leaves_give_the_same_assignment(own_broker: Broker, broker: Broker) -> None:
    """On two brokers, with unequal subscriptions; each member is known by its client_id."""
    topics = {unique("gaps"): partitions for partitions in (7, 4, 1, 12)}
    group = unique("gaps")
    for topic, partitions in topics.items():
        for b in (own_broker, broker):
            b.create(topic, partitions)
    rng = random.Random(7)
    members: list[tuple[str, list[str]]] = []  # client_id, its id on either broker
    for number in range(CHANGES):
        if not members or rng.random() < 0.55:
            wanted = rng.sample(sorted(topics), rng.randint(1, len(topics)))
            ids = [b.join(group, *wanted, client_id=f"c{number}")["member_id"] for b in (own_broker, broker)]
            members.append((f"c{number}", ids))
        else:
            _, ids = members.pop(rng.randrange(len(members)))
            for b, member in zip((own_broker, broker), ids):
                ok(b.post(f"/groups/{group}/leave", {"member_id": member}))
        views = []
        for b in (own_broker, broker):
            got = ok(b.get(f"/groups/{group}"))
            views.append([(m["client_id"], m["assigned_partitions"]) for m in got["members"]])
        assert views[0] == views[1], f"after change {number}"
