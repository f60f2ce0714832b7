"""Judges what workers logged (worker.py): was every message done once, and with one worker at a time?

The broker says when it handed a delivery out (its deadline less the visibility timeout), so deliveries of
one message are compared by the broker's own clock; what workers did is put on it by the difference of
the clocks. A request took effect between `sent` and `at` of its answer: each rule takes the end that
cannot accuse the broker wrongly.
"""

from __future__ import annotations

import json
import pathlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness import micros

SLACK_US = 2000  # of comparing the two clocks


def clock_difference_us() -> int:
    """The wall clock less CLOCK_MONOTONIC."""
    before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
    return (wall - (before + after) // 2) // 1000


@dataclass
class Delivery:
    value: str
    member: str
    place: tuple[int, int]
    count: int
    leased_us: int
    deadline_us: int


@dataclass
class Member:
    session_us: int
    alive: list[tuple[int, int]] = field(default_factory=list)  # answered 200: sent, answered
    left_us: int | None = None  # asked for; answered or not

    def gone_from(self, now_us: int) -> int:
        """Not before this can the broker have taken it for gone, as far as is known at `now_us`."""
        seen = [sent for sent, _ in self.alive if sent <= now_us]
        evicted = max(seen, default=0) + self.session_us
        return evicted if self.left_us is None else min(evicted, self.left_us)


class Judge:
    def __init__(self, visibility_us: int, difference_us: int) -> None:
        self.visibility_us = visibility_us
        self.difference_us = difference_us
        self.members: dict[str, Member] = {}
        self.deliveries: dict[str, list[Delivery]] = defaultdict(list)
        self.acks: dict[str, list[tuple[int, int, int]]] = defaultdict(list)  # sent, answered, count
        self.unanswered_acks: set[str] = set()
        self.blind: list[tuple[int, int]] = []  # polls of killed workers: what they got nobody knows
        self.tally: Counter[str] = Counter()
        self.overlap_most = 0

    def us(self, monotonic_ns: int) -> int:
        return monotonic_ns // 1000 + self.difference_us

    # Reading.

    def read(self, path: pathlib.Path, ended_us: int) -> None:
        """The log of one worker, which ended then."""
        asked: dict[str, Any] = {}  # what was not answered
        for line in path.read_text().splitlines():
            event = json.loads(line)
            what = event["what"]
            self.tally[what] += not what.endswith("?")
            name = what.rstrip("?!")
            key = f"ack {event['value']} {event['count']}" if name == "ack" else name
            if what.endswith("?"):
                asked[key] = event
                if name == "leave":
                    self.members[event["member"]].left_us = self.us(event["at"])
                continue
            asked.pop(key)
            if not what.endswith("!"):
                self.answered(name, event)
        for key, event in asked.items():
            if key == "poll":
                self.blind.append((self.us(event["at"]), ended_us))
            if key.startswith("ack "):
                self.unanswered_acks.add(event["value"])

    def answered(self, name: str, event: Any) -> None:
        sent, at = self.us(event["sent"]), self.us(event["at"])
        if name == "join":
            self.members[event["member"]] = Member(int(event["session"] * 1e6))
        if name == "poll":
            for message in event["messages"]:
                self.delivered(event["member"], *message)
        elif name == "ack":
            if event["already"]:
                self.tally["ack already"] += 1
                return
            self.acks[event["value"]].append((sent, at, event["count"]))
        self.members[event["member"]].alive.append((sent, at))

    def delivered(
        self, member: str, value: str, partition: int, offset: int, count: int, deadline: str
    ) -> None:
        until = micros(deadline)
        delivery = Delivery(value, member, (partition, offset), count, until - self.visibility_us, until)
        self.deliveries[value].append(delivery)
        self.tally["deliveries"] += 1
        leased = delivery.leased_us
        self.members[member].alive.append((leased, leased))  # a poll that ends is a sign of life

    # Judging.

    def judge(self, published: dict[str, tuple[int, int]]) -> None:
        unknown = self.deliveries.keys() - published.keys()
        assert not unknown, f"never published: {sorted(unknown)[:5]}"
        for value, place in published.items():
            deliveries = sorted(self.deliveries[value], key=lambda d: d.count)
            self.judge_done(value, deliveries)
            for delivery in deliveries:
                assert delivery.place == place, delivery
            self.judge_counts(deliveries)
            self.judge_leases(deliveries)
            self.measure_overlap(deliveries)

    def judge_done(self, value: str, deliveries: list[Delivery]) -> None:
        acks = self.acks[value]
        assert len(acks) <= 1, f"done twice: {value} {acks} {deliveries}"
        if not acks:  # then the answer met a dead worker
            seen = value in self.unanswered_acks
            assert seen, f"lost: {value} {deliveries}"
            self.tally["acked unseen"] += 1
            return
        [(_, answered, count)] = acks
        assert count in [d.count for d in deliveries], f"{value}: {acks} {deliveries}"
        for delivery in deliveries:
            late = delivery.leased_us > answered + SLACK_US
            assert not late, f"delivered after its ack: {delivery} {acks}"

    def judge_counts(self, deliveries: list[Delivery]) -> None:
        """1, 2, 3, but for those that went to a poll of a worker that was killed in it."""
        expected, since_us = 1, 0
        for delivery in deliveries:
            missing = delivery.count - expected
            assert missing >= 0, f"one count twice: {deliveries}"
            unseen = [b for b in self.blind if b[1] >= since_us and b[0] <= delivery.leased_us]
            assert missing <= len(unseen), f"counts missing: {deliveries} {unseen}"
            self.tally["deliveries unseen"] += missing
            expected, since_us = delivery.count + 1, delivery.leased_us

    def judge_leases(self, deliveries: list[Delivery]) -> None:
        """Each only after the one before it ended."""
        for before, after in zip(deliveries, deliveries[1:]):
            self.tally["redeliveries"] += 1
            owner = self.members[before.member]
            if after.leased_us >= before.deadline_us:
                self.tally["after its deadline"] += 1
                continue
            gone = owner.gone_from(after.leased_us)
            assert after.leased_us >= gone - SLACK_US, f"leased twice at a time: {before} {after} gone {gone}"
            alive = [a for a in owner.alive if a[0] > after.leased_us + SLACK_US]
            assert not alive, f"its owner is still a member: {before} {after} {alive}"
            self.tally["after its owner left" if owner.left_us else "after its owner was evicted"] += 1

    def measure_overlap(self, deliveries: list[Delivery]) -> None:
        changes: list[tuple[int, int]] = []
        for delivery in deliveries:
            gone = self.members[delivery.member].gone_from(delivery.deadline_us) - SLACK_US
            changes += [(delivery.leased_us, 1), (max(delivery.leased_us, min(delivery.deadline_us, gone)), -1)]
        now = 0
        for _, change in sorted(changes):
            now += change
            self.overlap_most = max(self.overlap_most, now)

    def report(self, names: Iterable[str]) -> str:
        counts = ", ".join(f"{self.tally[name]} {name}" for name in names)
        return f"{counts}; at most {self.overlap_most} at a time"
