"""Worker processes over the Python SDK (worker.py), killed with -9 at random and replaced, under load.

Every message is done once; it is delivered again only after its visibility timeout, or when its worker
left or was evicted; none is lost, none is with two workers at a time (worker_judge.py says so).

GOQUEUE_TEST_WORKERS_SECONDS sets for how long workers die (6), GQ_SEED which of them when.
"""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from goqueue_client import parse_duration
from harness import PATIENCE, Broker, eventually, ok
from worker_judge import Judge, clock_difference_us

SECONDS = float(os.environ.get("GOQUEUE_TEST_WORKERS_SECONDS", "6"))
SEED = int(os.environ.get("GQ_SEED", "1"))
WORKER = pathlib.Path(__file__).with_name("worker.py")
TOPIC, GROUP, PARTITIONS = "jobs", "workers", 64
VISIBILITY = f"{2 * PATIENCE:g}s"
#: Some die of silence before their messages' deadlines, some after.
SESSIONS = [f"{seconds * PATIENCE:g}s" for seconds in (1.5, 3)]
BATCH, PAUSE_SECONDS = 5, 0.05 * PATIENCE
BUSY = 0.5  # of a worker's time: most are killed at work, some while they wait for it


class Workers:
    """The processes that are alive, and when the dead ones died."""

    def __init__(self, broker: Broker, rng: random.Random) -> None:
        self.broker = broker
        self.rng = rng
        self.work_seconds = 0.0  # for a message
        self.alive: list[tuple[subprocess.Popen[bytes], pathlib.Path]] = []
        self.dead: dict[pathlib.Path, int] = {}  # log, monotonic nanoseconds
        self.kills = self.leaves = self.started = 0

    def start(self) -> None:
        self.started += 1
        log = self.broker.directory / f"worker-{self.started}.log"
        session = SESSIONS[self.started % len(SESSIONS)]
        arguments = [self.broker.url, GROUP, TOPIC, str(log), f"w{self.started}", session, VISIBILITY]
        command = [sys.executable, str(WORKER), *arguments, str(self.work_seconds)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.alive.append((process, log))

    def end_one(self) -> None:
        """Most are killed; some end as they should."""
        process, log = self.alive.pop(self.rng.randrange(len(self.alive)))
        orderly = self.rng.random() < 0.2
        assert process.poll() is None, f"{log.name} ended by itself: {process.returncode}"
        process.send_signal(signal.SIGTERM if orderly else signal.SIGKILL)
        code = process.wait(20 * PATIENCE)
        self.dead[log] = time.monotonic_ns()
        # SIGTERM before it has got to its handler: as good as a kill.
        assert code in ((0, -signal.SIGTERM) if orderly else (-signal.SIGKILL,)), f"{log.name}: {code}"
        if orderly:
            self.leaves += 1
        else:
            self.kills += 1

    def stop(self) -> None:
        for process, log in self.alive:
            process.kill()
            process.wait()
            self.dead[log] = time.monotonic_ns()
        self.alive.clear()


class Publisher:
    """A steady stream, on a thread of its own, until told to stop."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.published: dict[str, tuple[int, int]] = {}
        self.problem: BaseException | None = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        try:
            while not self.stopped.wait(PAUSE_SECONDS):
                first = len(self.published)
                values = [str(n) for n in range(first, first + BATCH)]
                for value, result in zip(values, self.broker.publish(TOPIC, *values)):
                    self.published[value] = result["partition"], result["offset"]
        except BaseException as problem:  # shown by the test's own thread
            self.problem = problem

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def workers(own_broker: Broker) -> Iterator[Workers]:
    workers = Workers(own_broker, random.Random(SEED))
    try:
        yield workers
    finally:
        workers.stop()


def all_done(broker: Broker) -> bool:
    ends = ok(broker.get(f"/topics/{TOPIC}"))["partition_offsets"]
    expected = {p: offsets["next"] for p, offsets in ends.items() if offsets["next"] > 0}
    return broker.positions(GROUP).get(TOPIC) == expected


def run_for(workers: Workers, seconds: float, pause: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(workers.rng.uniform(0.2, 1.8) * pause)
        workers.end_one()
        workers.start()


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 30])
def test_workers_are_killed(workers: Workers, count: int) -> None:
    broker = workers.broker
    broker.create(TOPIC, PARTITIONS, max_deliveries=1000)
    difference_us = clock_difference_us()
    workers.work_seconds = BUSY * count * PAUSE_SECONDS / BATCH
    for _ in range(count):
        workers.start()
    publisher = Publisher(broker)
    try:
        eventually(lambda: broker.positions(GROUP), 30)
        run_for(workers, SECONDS * PATIENCE, pause=max(0.4, 3 / count) * PATIENCE)
    finally:
        publisher.stop()
    eventually(lambda: all_done(broker), 30)
    for process, log in workers.alive:
        assert process.poll() is None, f"{log.name} ended by itself: {process.returncode}"
    workers.stop()
    judge = Judge(round(parse_duration(VISIBILITY) * 1e6), difference_us)
    for log, ended in workers.dead.items():
        if log.exists():  # else it was killed before it got that far
            judge.read(log, judge.us(ended))
    judge.judge(publisher.published)
    assert abs(clock_difference_us() - difference_us) < 1000, "the clock was set meanwhile"
    in_flight = ok(broker.get(f"/topics/{TOPIC}/inflight"))["partitions"]
    assert not any(p["in_flight_count"] for p in in_flight.values()), in_flight
    assert broker.dead_letters(TOPIC) == []
    assert workers.kills > 0
    assert judge.tally["redeliveries"] > 0, "nothing happened"
    names = [
        "deliveries", "redeliveries", "after its deadline", "after its owner was evicted",
        "after its owner left", "deliveries unseen", "acked unseen", "ack!", "ack already", "beat!", "poll!",
    ]
    print(f"{count} workers, {SECONDS:g} s: {len(publisher.published)} messages, {workers.kills} kills,"
          f" {workers.leaves} orderly ends; {judge.report(names)}")
