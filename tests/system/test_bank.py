"""A bank: tellers move money between accounts in transactions, with random aborts; the broker is killed
with -9 every few seconds, tellers are killed, or stopped, replaced and let go on as zombies.

Whoever looks, at any moment, sees all the money: a group's member after each poll; a reader by offset when
it has caught up. Each transfer that was committed is there once, each that was aborted never, and a zombie
never gets anything in.

GQ_BANK_SECONDS (15) says for how long.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import Any, Optional

import httpx
import pytest
from bank_client import ACCOUNTS
from harness import PATIENCE, Broker, ok
from producing import Producer

SECONDS = float(os.environ.get("GQ_BANK_SECONDS", "15"))
SEED = int(os.environ.get("GQ_SEED", "0") or "0") or random.randrange(1 << 30)
TELLERS = 8
OPENING = 1000  # on each account
TOTAL = OPENING * len(ACCOUNTS)
TOPICS = {"debits": 3, "credits": 5}  # partitions
VISIBILITY = 1.0 * PATIENCE
CLIENT = pathlib.Path(__file__).with_name("bank_client.py")
Place = tuple[str, int, int]


class Reader(threading.Thread):
    """Gathers entries by place; `problem` is what it found wrong."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self.broker = broker
        self.entries: dict[Place, dict[str, Any]] = {}
        self.total = 0
        self.stop = threading.Event()
        self.problem: Optional[BaseException] = None
        self.looks = 0  # how often all the money was seen
        self.client = httpx.Client(timeout=10 * PATIENCE)

    def request(self, method: str, path: str, **options: Any) -> "httpx.Response | None":
        """None: the broker died, or is about to."""
        try:
            reply = self.client.request(method, f"http://127.0.0.1:{self.broker.port}{path}", **options)
        except httpx.TransportError:
            time.sleep(0.02)
            return None
        return None if reply.status_code >= 500 else reply

    def take(self, message: dict[str, Any]) -> bool:
        """False: it was seen before; then it is the same."""
        place = (message["topic"], message["partition"], message["offset"])
        entry = json.loads(message["value"])
        if place in self.entries:
            assert self.entries[place] == entry, place
            return False
        self.entries[place] = entry
        self.total += entry["amount"]
        return True

    def look(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.look()
        except BaseException as problem:
            self.problem = problem
        finally:
            self.client.close()

    def finish(self) -> None:
        self.stop.set()
        self.join(60 * PATIENCE)
        assert not self.is_alive()
        if self.problem is not None:
            raise self.problem


class Member(Reader):
    """Of a group. A commit is seen whole or not at all, so after each poll the money is all there. Only
    when an answer got lost with the broker, its messages come again one by one, for a while."""

    def __init__(self, broker: Broker, group: str) -> None:
        super().__init__(broker)
        self.group = group
        self.member = broker.join(group, *TOPICS, visibility_timeout=f"{VISIBILITY}s", session_timeout="5m",
                                  max_deliveries=1000)["member_id"]
        self.acked: set[Place] = set()
        self.unsure_until = 0.0

    def lost(self) -> None:
        self.unsure_until = time.monotonic() + 3 * VISIBILITY

    def look(self) -> None:
        query = {"member_id": self.member, "timeout": "100ms", "max_messages": "1000"}
        reply = self.request("GET", f"/groups/{self.group}/poll", params=query)
        if reply is None:
            self.lost()
            return
        messages = ok(reply)["messages"]
        fresh = [self.take(m) for m in messages]
        for m in messages:
            assert (m["topic"], m["partition"], m["offset"]) not in self.acked, f"again after its ack: {m}"
        if time.monotonic() > self.unsure_until:
            assert len(messages) < 1000, "not all that was there: the check is void"
            assert self.total == TOTAL, (self.total, messages, fresh)
            self.looks += 1
        if messages:
            self.acknowledge(messages)

    def acknowledge(self, messages: list[dict[str, Any]]) -> None:
        body = {"receipt_handles": [m["receipt_handle"] for m in messages]}
        reply = self.request("POST", "/messages/ack/batch", json=body)
        if reply is None:
            self.lost()
            return
        for m, result in zip(messages, ok(reply)["results"]):
            if result["acknowledged"]:
                self.acked.add((m["topic"], m["partition"], m["offset"]))


class Plain(Reader):
    """By offset. It stops before the first open message of a partition, so that half a transfer may be
    out of its sight; but not for longer than a transaction may be open."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.at: Counter[tuple[str, int]] = Counter()
        self.halves: dict[str, float] = {}  # transfers seen in part, since when
        self.downtime_until = 0.0

    def take(self, message: dict[str, Any]) -> bool:
        assert super().take(message), "an offset twice"
        transfer = json.loads(message["value"])["transfer"]
        if transfer == "opening":
            return True
        if self.halves.pop(transfer, None) is None:
            self.halves[transfer] = time.monotonic()
        return True

    def look(self) -> None:
        for topic, partitions in TOPICS.items():
            for partition in range(partitions):
                query = {"offset": str(self.at[topic, partition]), "limit": "1000"}
                path = f"/topics/{topic}/partitions/{partition}/messages"
                reply = self.request("GET", path, params=query)
                if reply is None:
                    self.downtime_until = time.monotonic() + 5 * PATIENCE
                    return
                page = ok(reply)
                for message in page["messages"]:
                    self.take(message)
                self.at[topic, partition] = page["next_offset"]
        if not self.halves:
            assert self.total == TOTAL
            self.looks += 1
        elif time.monotonic() > self.downtime_until:
            oldest = min(self.halves.values())
            assert time.monotonic() - oldest < 12 * PATIENCE, self.describe()
        time.sleep(0.01)


    def describe(self) -> str:
        transfer = min(self.halves, key=lambda t: self.halves[t])
        half = next((p, e) for p, e in self.entries.items() if e["transfer"] == transfer)
        pages = {at: ok(self.client.get(
            f"http://127.0.0.1:{self.broker.port}/topics/{at[0]}/partitions/{at[1]}/messages",
            params={"offset": str(self.at[at]), "limit": "2"})) for at in self.at}
        return f"{len(self.halves)} halves, such as {half}; read up to {dict(self.at)}; there: {pages}"


class Tellers:
    """The processes: who is at work, who was stopped."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.port_file = directory / "port"
        self.rng = random.Random(SEED)
        self.started = 0
        self.at_work: list[subprocess.Popen[bytes]] = []
        self.zombies: list[subprocess.Popen[bytes]] = []
        self.tally: Counter[str] = Counter()
        self.log_of: dict[int, pathlib.Path] = {}

    def tell_port(self, port: int) -> None:
        new = self.directory / "port.new"
        new.write_text(str(port))
        new.rename(self.port_file)

    def start(self, number: int) -> "subprocess.Popen[bytes]":
        self.started += 1
        log = self.directory / f"{number}-{self.started:04}.log"
        log.touch()
        self.log_of[number] = log
        arguments = [str(self.port_file), str(log), f"teller-{number}", str(SEED + self.started)]
        return subprocess.Popen([sys.executable, str(CLIENT), *arguments], stdin=subprocess.DEVNULL)

    def start_all(self) -> None:
        self.at_work = [self.start(i) for i in range(TELLERS)]

    def replace_one(self) -> None:
        number = self.rng.randrange(TELLERS)
        old = self.at_work[number]
        assert old.poll() is None, f"teller {number} ended by itself: {old.returncode}"
        if '"init!"' not in self.log_of[number].read_text():
            return  # it might take the name from its successor
        if self.rng.random() < 0.5:
            old.kill()
            old.wait()
            self.tally["killed"] += 1
        else:  # it goes on when it has a successor, or besides
            if self.rng.random() < 0.7:
                old.send_signal(signal.SIGSTOP)
            self.zombies.append(old)
            self.tally["zombies"] += 1
        self.at_work[number] = self.start(number)

    def wake_zombies(self) -> None:
        for zombie in self.zombies:
            zombie.send_signal(signal.SIGCONT)

    def end(self, broker: Broker) -> None:
        for process in self.at_work:
            process.kill()
            process.wait()
        for number in range(TELLERS):
            Producer(broker, f"teller-{number}")  # the last successor
        self.wake_zombies()
        for process in self.zombies:
            try:
                process.wait(30 * PATIENCE)
            finally:
                process.kill()
        for process in self.zombies:
            assert process.returncode == 0, "a zombie has to see that it is fenced"

    def logs(self) -> dict[int, list[list[dict[str, Any]]]]:
        """Of each teller, in the order of its processes."""
        found: dict[int, list[list[dict[str, Any]]]] = defaultdict(list)
        for path in sorted(self.directory.glob("*.log")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[int(path.name.split("-")[0])].append(lines)
        return found


def judge_zombies(logs: dict[int, list[list[dict[str, Any]]]]) -> None:
    """Nothing that was sent after a successor's init was answered was accepted."""
    for processes in logs.values():
        inits = [(line["epoch"], line["at"]) for lines in processes for line in lines if line["what"] == "init!"]
        for lines in processes:
            for line in lines:
                if line["what"] == "accepted":
                    later = [at for epoch, at in inits if epoch > line["epoch"]]
                    assert not later or line["sent"] < min(later), f"a zombie got in: {line}"


def judge_transfers(logs: dict[int, list[list[dict[str, Any]]]], entries: list[dict[str, Any]]) -> Counter[str]:
    by_transfer: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        by_transfer[entry["transfer"]].append(entry)
    assert len(by_transfer.pop("opening")) == len(ACCOUNTS)
    tally: Counter[str] = Counter()
    known = set()
    for processes in logs.values():
        for lines in processes:
            fate: dict[str, str] = {}
            for line in lines:
                if "transfer" in line:
                    fate[line["transfer"]] = line["what"]
            for transfer, what in fate.items():
                there = by_transfer.get(transfer, [])
                known.add(transfer)
                tally[what] += 1
                if what == "commit!":
                    assert len(there) == 2, (transfer, there)
                elif what == "commit?":  # nobody knows; but not a half
                    assert len(there) in (0, 2), (transfer, there)
                    tally["unsure, there"] += len(there) == 2
                else:
                    assert there == [], (transfer, what, there)
                if there:
                    assert sum(e["amount"] for e in there) == 0
    assert set(by_transfer) <= known
    return tally


def open_accounts(broker: Broker) -> None:
    for topic, partitions in TOPICS.items():
        broker.create(topic, partitions)
    p = Producer(broker, "bank")
    p.begin()
    for account in ACCOUNTS:
        value = json.dumps({"transfer": "opening", "account": account, "amount": OPENING})
        p.publish("credits", value, key=account)
    p.commit()


def test_the_money_is_always_all_there(tmp_path: pathlib.Path) -> None:
    print(f"GQ_SEED={SEED}")
    rng = random.Random(SEED)
    b = Broker()
    tellers = Tellers(tmp_path)
    readers: list[Reader] = []
    crashes = 0
    try:
        b.start()
        open_accounts(b)
        tellers.tell_port(b.port)
        readers = [Member(b, "auditor-1"), Member(b, "auditor-2"), Plain(b), Plain(b)]
        for reader in readers:
            reader.start()
        tellers.start_all()
        end = time.monotonic() + SECONDS * PATIENCE
        next_crash = time.monotonic() + rng.uniform(2, 4)
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.1, 0.7))
            assert not [r.problem for r in readers if r.problem is not None]
            if rng.random() < 0.5:
                tellers.replace_one()
            if rng.random() < 0.3:
                tellers.wake_zombies()
            if time.monotonic() >= next_crash:
                b.kill()
                time.sleep(rng.choice([0, 0, 0.3]))
                b.start()
                tellers.tell_port(b.port)
                crashes += 1
                next_crash = time.monotonic() + rng.uniform(2, 4) * PATIENCE
        tellers.end(b)
        settle(b, readers)
        logs = tellers.logs()
        judge_zombies(logs)
        entries = [json.loads(m["value"]) for topic in TOPICS for m in b.everything(topic)]
        assert sum(e["amount"] for e in entries) == TOTAL
        tally = judge_transfers(logs, entries)
        for reader in readers:
            assert sorted(map(str, reader.entries.values())) == sorted(map(str, entries))
        print(dict(tally), dict(tellers.tally), f"crashes={crashes}", "looks", [r.looks for r in readers])
        assert tally["commit!"] > 20
        assert tally["abort!"] > 0
        assert crashes >= 1
        assert all(r.looks > 5 for r in readers)
    finally:
        for process in tellers.at_work + tellers.zombies:
            process.kill()
            process.wait()
        for reader in readers:
            reader.stop.set()
        b.close()


def settle(broker: Broker, readers: list[Reader]) -> None:
    """What dead tellers left open ends by its timeout; then the readers have seen all that there is."""
    end = time.monotonic() + 40 * PATIENCE
    while ok(broker.get("/transactions"))["count"] > 0:
        assert time.monotonic() < end
        time.sleep(0.1)
    count = sum(ok(broker.get(f"/topics/{topic}"))["total_messages"] for topic in TOPICS)
    while not all(len(r.entries) == count or r.problem for r in readers):
        assert time.monotonic() < end, (count, [len(r.entries) for r in readers])
        time.sleep(0.05)
    looks = [r.looks for r in readers]
    while not all(r.looks > before or r.problem for r, before in zip(readers, looks)):
        assert time.monotonic() < end
        time.sleep(0.05)
    for reader in readers:
        reader.finish()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
