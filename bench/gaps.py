#!/usr/bin/env python3
"""How long a partition's deliveries pause while members join, leave and die.

    bench/gaps.py URL [CHANGES [--json]]

A publisher sends one message to every partition of two topics each 20 ms. Four members stay; others join, take their
share, and leave or fall silent until their session expires: CHANGES (100) joins and ends in all, once with plain joins,
once with the cooperative routes. Before that the same load runs without changes: what is seen then is the noise of this
machine and of Python. Each member is a process of its own, acknowledges what it gets at once, and notes when it came.

For the partitions that stayed with their member all the time, and for those that moved, the longest time between two
deliveries (20 ms at least), and the longest from publishing to delivery. Moves whose owner fell silent count apart: its
partitions wait until its session of 1 s expires, and may go to another silent one then. Prints a table, or JSON; times
in milliseconds."""

import http.client
import json
import multiprocessing
import random
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TOPICS = {"gaps-a": 12, "gaps-b": 4}
INTERVAL_S, CHANGE_S, QUIET_S, SESSION_S = 0.02, 0.15, 3.0, 1.0
STAYING, GUESTS_MOST = 4, 3
SEED = 1
Place = tuple[str, int]
fork = multiprocessing.get_context("fork")


class Broker:
    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def call(self, method: str, path: str, body: object = None) -> Any:
        self.connection.request(method, path, json.dumps(body) if body is not None else None)
        response = self.connection.getresponse()
        reply = json.loads(response.read())
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {reply}")
        return reply


class Arrival(NamedTuple):
    place: Place
    offset: int
    published_ns: int
    received_ns: int
    member: str


class Member:
    """One process that receives until told to end, and then sends what arrived."""

    def __init__(self, url: str, group: str, joined: Any, cooperative: bool) -> None:
        self.url, self.group, self.cooperative = url, group, cooperative
        self.id, self.generation = joined["member_id"], joined["generation"]
        self.end = fork.Event()
        self.result, there = fork.Pipe(duplex=False)
        self.process = fork.Process(target=self.run, args=(there,), daemon=True)
        self.process.start()
        there.close()

    def run(self, out: Connection) -> None:
        broker, arrivals = Broker(self.url), []
        while not self.end.is_set():
            poll = f"/groups/{self.group}/poll?member_id={self.id}&max_messages=1000&timeout=100ms"
            messages = broker.call("GET", poll)["messages"]
            now = time.monotonic_ns()
            for m in messages:
                place = m["topic"], m["partition"]
                arrivals.append((place, m["offset"], int(m["value"]), now, self.id))
            if messages:
                handles = [m["receipt_handle"] for m in messages]
                done = broker.call("POST", "/messages/ack/batch", {"receipt_handles": handles})
                if done["success_count"] != len(handles):
                    raise SystemExit(f"not acknowledged: {done}")
            if self.cooperative:
                self.let_go(broker)
        out.send(arrivals)

    def let_go(self, broker: Broker) -> None:
        identity = {"member_id": self.id, "generation": self.generation}
        beat = broker.call("POST", f"/groups/{self.group}/heartbeat/cooperative", identity)
        self.generation = beat["generation"]
        revoked = beat.get("partitions_to_revoke")
        if revoked:  # without the generation: it may have risen since
            body = {"member_id": self.id, "revoked_partitions": revoked}
            broker.call("POST", f"/groups/{self.group}/revoke", body)

    def stop(self) -> list[Arrival]:
        self.end.set()
        arrivals = [Arrival(*a) for a in self.result.recv()]
        self.process.join()
        return arrivals


def publish(url: str, end: Event, out: Connection) -> None:
    """Every partition once per interval. Sends how many times, and the longest time between two."""
    broker, count, longest_ns, last_ns = Broker(url), 0, 0, 0
    next_s = time.monotonic()
    while not end.is_set():
        for topic, partitions in TOPICS.items():
            now = time.monotonic_ns()
            messages = [{"value": str(now), "partition": p} for p in range(partitions)]
            reply = broker.call("POST", f"/topics/{topic}/messages", {"messages": messages})
            if any("error" in r for r in reply["results"]):
                raise SystemExit(f"not published: {reply}")
        longest_ns, last_ns = max(longest_ns, now - last_ns if last_ns else 0), now
        count += 1
        next_s = max(next_s + INTERVAL_S, time.monotonic())
        time.sleep(max(0.0, next_s - time.monotonic()))
    out.send((count, longest_ns))


class Owners:
    """Notes who has which partition, often enough to see everybody who had one for a while."""

    def __init__(self, url: str, group: str) -> None:
        self.broker, self.group = Broker(url), group
        self.seen: dict[Place, list[tuple[int, str]]] = {}  # from when on, oldest first

    def watch(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            group = self.broker.call("GET", f"/groups/{self.group}")
            now = time.monotonic_ns()
            for member in group["members"]:
                for label in member["assigned_partitions"]:
                    topic, _, partition = label.rpartition("-")
                    spans = self.seen.setdefault((topic, int(partition)), [])
                    if not spans or spans[-1][1] != member["member_id"]:
                        spans.append((now, member["member_id"]))
            time.sleep(0.01)

    def between(self, place: Place, from_ns: int, to_ns: int) -> set[str]:
        spans = self.seen.get(place, [])
        ends = [start for start, _ in spans[1:]] + [to_ns]
        return {owner for (start, owner), end in zip(spans, ends) if start <= to_ns and end >= from_ns}


class Run:
    """One group under load, with or without changes."""

    def __init__(self, url: str, group: str, cooperative: bool) -> None:
        self.url, self.group, self.cooperative = url, group, cooperative
        self.broker = Broker(url)
        self.rng = random.Random(SEED)
        self.arrivals: list[Arrival] = []
        self.silent: set[str] = set()  # members that fell silent
        for topic, partitions in TOPICS.items():
            self.broker.call("POST", "/topics", {"name": topic, "num_partitions": partitions})
        self.staying = [self.join() for _ in range(STAYING)]
        time.sleep(1)  # until they have shared the partitions out
        self.owners = Owners(url, group)
        self.published, there = fork.Pipe(duplex=False)
        self.publishing = fork.Event()
        self.publisher = fork.Process(target=publish, args=(url, self.publishing, there), daemon=True)
        self.publisher.start()

    def join(self, session: str = "30s") -> Member:
        how = "join/cooperative" if self.cooperative else "join"
        body = {"client_id": "c", "topics": list(TOPICS), "session_timeout": session}
        joined = self.broker.call("POST", f"/groups/{self.group}/{how}", body)
        return Member(self.url, self.group, joined, self.cooperative)

    def change(self, changes: int) -> None:
        """Guests come, and the oldest one leaves or falls silent."""
        guests: list[tuple[Member, bool]] = []
        joins = ends = 0
        while joins + ends < changes:
            if joins < changes // 2 and len(guests) < self.rng.randint(1, GUESTS_MOST):
                silent = joins % 2 == 1
                guests.append((self.join(f"{SESSION_S}s" if silent else "30s"), silent))
                joins += 1
            else:
                self.end(*guests.pop(0))
                ends += 1
            self.owners.watch(self.rng.uniform(0.5, 1.5) * CHANGE_S)
        for guest, silent in guests:
            self.end(guest, silent)
        self.owners.watch(SESSION_S + 0.5)

    def end(self, guest: Member, silent: bool) -> None:
        self.arrivals += guest.stop()
        if silent:
            self.silent.add(guest.id)
        else:
            self.broker.call("POST", f"/groups/{self.group}/leave", {"member_id": guest.id})

    def finish(self) -> dict[str, Any]:
        self.publishing.set()
        rounds, interval_ns = self.published.recv()
        self.publisher.join()
        time.sleep(0.5)
        for member in self.staying:
            self.arrivals += member.stop()
        for topic in TOPICS:
            self.broker.call("DELETE", f"/topics/{topic}")
        self.broker.call("DELETE", f"/groups/{self.group}")
        return self.report(rounds, interval_ns)

    def report(self, rounds: int, interval_ns: int) -> dict[str, Any]:
        by_place: dict[Place, list[Arrival]] = {}
        for arrival in self.arrivals:
            by_place.setdefault(arrival.place, []).append(arrival)
        places = [(topic, p) for topic, count in TOPICS.items() for p in range(count)]
        gaps: dict[str, list[int]] = {"kept": [], "moved": [], "silent": []}
        latencies: dict[str, list[int]] = {name: [] for name in gaps}
        per_partition = {}
        for place in places:
            arrivals = sorted(by_place.get(place, []), key=lambda a: (a.received_ns, a.offset))
            longest, kept = self.measure(place, arrivals, gaps, latencies)
            per_partition[f"{place[0]}-{place[1]}"] = {"kept": kept, "longest_gap_ms": ms(longest)}
        distinct = {(a.place, a.offset) for a in self.arrivals}
        return {
            "rounds": rounds,
            "longest_publish_interval_ms": ms(interval_ns),
            "lost": rounds * len(places) - len(distinct),
            "delivered_twice": len(self.arrivals) - len(distinct),
            "kept_partitions": sum(p["kept"] for p in per_partition.values()),
            "classes": {
                name: {
                    "gaps": len(gaps[name]),
                    "longest_gap_ms": ms(max(gaps[name], default=0)),
                    "longest_latency_ms": ms(max(latencies[name], default=0)),
                    "p50_latency_ms": ms(quantile(latencies[name], 0.5)),
                    "p999_latency_ms": ms(quantile(latencies[name], 0.999)),
                }
                for name in gaps
            },
            "partitions": per_partition,
        }

    def measure(
        self, place: Place, arrivals: list[Arrival], gaps: dict[str, list[int]], latencies: dict[str, list[int]]
    ) -> tuple[int, bool]:
        """Adds each time between two deliveries to its class. Gives the longest, and whether it never moved."""
        longest = 0
        if not arrivals:
            return 0, False
        owners = self.owners.between(place, arrivals[0].received_ns, arrivals[-1].received_ns)
        kept = len(owners | {a.member for a in arrivals}) == 1
        for before, after in zip(arrivals, arrivals[1:]):
            gap = after.received_ns - before.received_ns
            gaps[self.class_of(kept, place, before.received_ns, after)].append(gap)
            latency = after.received_ns - after.published_ns
            latencies[self.class_of(kept, place, after.published_ns, after)].append(latency)
            longest = max(longest, gap)
        return longest, kept

    def class_of(self, kept: bool, place: Place, since_ns: int, arrival: Arrival) -> str:
        """By who had the partition from then until the arrival."""
        if kept:
            return "kept"
        return "silent" if self.owners.between(place, since_ns, arrival.received_ns) & self.silent else "moved"


def ms(ns: float) -> float:
    return round(ns / 1e6, 1)


def quantile(values: list[int], q: float) -> int:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0


def measure(url: str, name: str, cooperative: bool, changes: int) -> dict[str, Any]:
    run = Run(url, f"gaps-{name}", cooperative)
    run.owners.watch(0.5)
    if changes:
        run.change(changes)
    else:
        run.owners.watch(QUIET_S)
    return run.finish()


def print_table(results: dict[str, Any]) -> None:
    names = {"kept": "stayed", "moved": "moved (join, leave)", "silent": "moved (owner silent for 1 s)"}
    print("| | partitions | longest gap | longest latency | 99.9 % | median |\n|---|---|---|---|---|---|")
    for run, result in results.items():
        for name, label in names.items():
            c = result["classes"][name]
            if c["gaps"]:
                kept = result["kept_partitions"]
                count = kept if name == "kept" else sum(TOPICS.values()) - kept
                print(f"| {run}, {label} | {count} | {c['longest_gap_ms']} ms | {c['longest_latency_ms']} ms |"
                      f" {c['p999_latency_ms']} ms | {c['p50_latency_ms']} ms |")
    for run, result in results.items():
        print(f"{run}: longest publish interval {result['longest_publish_interval_ms']} ms,"
              f" lost {result['lost']}, delivered twice {result['delivered_twice']}")


def main() -> None:
    arguments: list[str] = [a for a in sys.argv[1:] if a != "--json"]
    url, changes = arguments[0], int(arguments[1]) if len(arguments) > 1 else 100
    results = {
        "no changes": measure(url, "quiet", False, 0),
        "plain": measure(url, "plain", False, changes),
        "cooperative": measure(url, "cooperative", True, changes),
    }
    if "--json" in sys.argv:
        print(json.dumps(results))
    else:
        print_table(results)


if __name__ == "__main__":
    main()
