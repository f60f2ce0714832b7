"""Anything, from many sides, in any order: no answer is a 5xx, no request hangs, nothing aborts.

What each answer must be is for the other files; here everything happens at the same moment: topics,
dead-letter topics and groups go while their messages are delivered, settled, cancelled, replayed.

GQ_CHAOS_SECONDS sets how long (6), GQ_SEED which choices.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from typing import Any

import httpx
from harness import Broker, eventually, ok
from test_crash import crashing as crashing
from test_crash import digest_of

SECONDS = float(os.environ.get("GQ_CHAOS_SECONDS", "6"))
SEED = int(os.environ.get("GQ_SEED", "1"))
ROUNDS, THREADS = 4, 6
TOPICS = ["a", "b", "c"]
GROUPS = ["g", "h"]
LANES = ["critical", "high", "normal", "low", "background"]


class Chaos:
    """One client that does anything."""

    def __init__(self, broker: Broker, seed: int, counts: "Counter[str]") -> None:
        self.broker = broker
        self.rng = random.Random(seed)
        self.counts = counts
        self.members: list[tuple[str, str]] = []
        self.handles: list[str] = []
        self.delayed: list[tuple[str, int, int]] = []

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a 200; None for any other answer."""
        reply: httpx.Response = self.broker.request(method, path, body)
        name = path.split("?")[0].strip("/").split("/")
        self.counts[f"{method} {name[0]} {name[-1] if name[0] != 'topics' else ''} {reply.status_code}"] += 1
        assert reply.status_code < 500, f"{method} {path} {body}: {reply.status_code} {reply.text}"
        got = json.loads(reply.text)
        return got if reply.status_code in (200, 201) else None

    def topic(self) -> str:
        return self.rng.choice(TOPICS) + self.rng.choice(("", "", "", ".dlq"))

    def create(self) -> None:
        self.request("POST", "/topics", {
            "name": self.rng.choice(TOPICS), "num_partitions": self.rng.randint(1, 3),
            "max_deliveries": self.rng.randint(1, 3), "max_delayed": self.rng.choice((5, 1000)),
            "max_in_flight": self.rng.choice((0, 3)), "visibility_timeout": self.rng.choice(("20ms", "200ms", "1h")),
            "priority_mode": self.rng.choice(("strict", "weighted")),
        })

    def delete(self) -> None:
        if self.rng.random() < 0.05:
            self.request("DELETE", f"/topics/{self.topic()}")

    def publish(self) -> None:
        topic = self.topic()
        messages = [
            {
                "value": "x" * self.rng.choice((1, 100, 5000)), "priority": self.rng.choice(LANES),
                "key": self.rng.choice((None, None, "k1", "k2")),
                "delay": self.rng.choice((None, None, "1ms", "30ms", "300ms", "1h")),
            }
            for _ in range(self.rng.choice((1, 5, 30)))
        ]
        got = self.request("POST", f"/topics/{topic}/messages", {"messages": messages})
        for r in got["results"] if got else []:
            if r.get("delayed"):
                self.delayed.append((topic, r["partition"], r["offset"]))

    def join(self) -> None:
        group = self.rng.choice(GROUPS)
        topics = sorted({self.topic() for _ in range(self.rng.randint(1, 3))})
        body = {
            "client_id": "c", "topics": topics, "session_timeout": self.rng.choice(("1s", "30s")),
            "max_in_flight": self.rng.choice((1, 10, 1000)), "max_deliveries": self.rng.choice((None, 1, 5)),
            "visibility_timeout": self.rng.choice((None, "10ms", "100ms", "1h")),
            "ordering": self.rng.choice((None, None, "none", "key")),
        }
        if self.members and self.rng.random() < 0.5:
            group, body["member_id"] = self.rng.choice(self.members)
        got = self.request("POST", f"/groups/{group}/join", body)
        if got and (group, got["member_id"]) not in self.members:
            self.members.append((group, got["member_id"]))

    def leave(self) -> None:
        if self.members and self.rng.random() < 0.3:
            group, member = self.members.pop(self.rng.randrange(len(self.members)))
            self.request("POST", f"/groups/{group}/leave", {"member_id": member})

    def drop_group(self) -> None:
        if self.rng.random() < 0.05:
            self.request("DELETE", f"/groups/{self.rng.choice(GROUPS)}")

    def poll(self) -> None:
        if self.members:
            group, member = self.rng.choice(self.members[-5:])
            query = f"max_messages={self.rng.choice((1, 5, 100))}&timeout={self.rng.choice(('0s', '0s', '30ms'))}"
            got = self.request("GET", f"/groups/{group}/poll?member_id={member}&{query}")
            if got is None:
                self.members.remove((group, member))
            else:
                self.handles += [m["receipt_handle"] for m in got["messages"]]
                del self.handles[:-300]

    def settle(self) -> None:
        for _ in range(min(len(self.handles), 5)):
            handle = self.rng.choice(self.handles)
            what = self.rng.choice(("ack", "ack", "nack", "reject", "visibility"))
            body: dict[str, Any] = {"receipt_handle": handle}
            if what == "nack":
                body.update(delay=self.rng.choice((None, "0s", "20ms", "1h")), reason=self.rng.choice((None, "r")))
            if what == "visibility":
                body["timeout"] = self.rng.choice(("1ms", "50ms", "1h"))
            self.request("POST", f"/messages/{what}", body)

    def settle_many(self) -> None:
        if self.handles:
            handles = self.rng.sample(self.handles, min(len(self.handles), 20))
            self.request("POST", "/messages/ack/batch", {"receipt_handles": handles})

    def commit(self) -> None:
        if self.members:
            group, member = self.rng.choice(self.members)
            offsets = {self.topic(): {str(self.rng.randrange(2)): self.rng.choice((0, 0, 3, 50, 10**6))}}
            self.request("POST", f"/groups/{group}/offsets", {"member_id": member, "offsets": offsets})

    def cancel(self) -> None:
        for topic, partition, offset in self.rng.sample(self.delayed, min(3, len(self.delayed))):
            self.request("DELETE", f"/topics/{topic}/delayed/{partition}/{offset}")
        del self.delayed[:-100]

    def replay(self) -> None:
        body: dict[str, Any] = {"dlq_topic": self.rng.choice(TOPICS) + ".dlq", "max_messages": self.rng.choice((1, 50))}
        if self.rng.random() < 0.3:
            body["target_topic"] = self.rng.choice(TOPICS)
        if self.rng.random() < 0.3:
            body["partition"] = self.rng.randrange(3)
        self.request("POST", "/messages/dlq/replay", body)

    def look(self) -> None:
        topic = self.topic()
        path = self.rng.choice((
            f"/topics/{topic}", f"/topics/{topic}/inflight", f"/topics/{topic}/delayed?limit=5&skip=1",
            f"/topics/{topic}/delayed/1", f"/topics/{topic}/partitions/0/messages?limit=3&order=priority",
            f"/topics/{topic}/partitions/0/messages?offset={self.rng.randrange(100)}&timeout=20ms",
            "/priority/stats", "/delay/stats", "/reliability/stats", "/groups", "/stats",
        ))
        self.request("GET", path)

    def run(self, end: float) -> None:
        steps = [self.create, self.delete, self.join, self.leave, self.drop_group, self.commit, self.cancel,
                 self.replay, self.look, self.settle_many]
        steps += [self.publish, self.poll, self.poll, self.settle, self.settle] * 4
        while time.monotonic() < end:
            self.rng.choice(steps)()


def one_round(broker: Broker, number: int, counts: "Counter[str]") -> None:
    problems: list[BaseException] = []
    end = time.monotonic() + SECONDS / ROUNDS

    def work(seed: int) -> None:
        try:
            Chaos(broker, seed, counts).run(end)
        except BaseException as problem:
            problems.append(problem)

    seeds = [SEED * 1000 + number * 100 + i for i in range(THREADS)]
    threads = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def test_chaos(crashing: Broker) -> None:
    broker = crashing
    counts: Counter[str] = Counter()
    for number in range(ROUNDS):
        one_round(broker, number, counts)
        assert broker.process is not None
        assert broker.process.poll() is None
        if number % 2 == 0:
            broker.kill()
        else:
            broker.stop()
        assert digest_of(broker.data) == digest_of(broker.data)
        broker.start()
    ok(broker.get("/health"))
    consistent(broker)
    print(dict(sorted(counts.items())))


def consistent(broker: Broker) -> None:
    """Counts that are kept in several places agree, once nothing moves any more."""

    def agree() -> bool:
        pending = ok(broker.get("/delay/stats"))
        lanes = ok(broker.get("/priority/stats"))
        topics = ok(broker.get("/topics"))["topics"]
        totals = {t: ok(broker.get(f"/topics/{t}"))["total_messages"] for t in topics}
        return bool(
            pending["pending_count"] == sum(pending["by_topic"].values()) == sum(len(broker.pending(t)) for t in topics)
            and {t: sum(lanes["topics"][t]["total_by_priority"]) for t in topics} == totals
            and {t: len(broker.everything(t)) + len(broker.pending(t)) for t in topics} == totals
            and ok(broker.get("/reliability/stats"))["dlq_messages"]
            == sum(n for t, n in totals.items() if t.endswith(".dlq"))
        )

    eventually(agree, 20, pause=0.2)
