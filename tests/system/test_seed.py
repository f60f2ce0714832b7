"""The programs and snippets of the client's README, unchanged.

The Quick Start and Consumer Groups are whole programs, on port 8080. They run in a network namespace
of their own where that is allowed, so that port 8080 is always free; else on the machine's own port
8080 if nobody has it. The other snippets run in this process, with a client of the test's broker and
what they leave open: do_work, the two errors, do_long_work.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from goqueue_client import GoQueueClient, parse_duration
from harness import (
    PATIENCE,
    ROOT,
    START_SECONDS,
    Broker,
    Setting,
    eventually,
    leased_us,
    micros,
    now_us,
    ok,
)

SEED = pathlib.Path(__file__).parent / "seed"
README = ROOT.parent / "shared/seed-readme.md"
LOCAL = "127.0.0.1:8080"

#: Publishes `sys.argv[1]` messages, from three connections at a time, with and without keys.
PUBLISHER = """
import asyncio, sys
from goqueue_client import GoQueueClient, GoQueueError

async def publish(client, n, count):
    for i in range(0, count, 5):
        names = [f"message-{n}-{k}-end" for k in range(i, min(i + 5, count))]
        messages = [{"value": name, "key": name} if i % 2 else {"value": name} for name in names]
        result = await client.messages.publish("orders", messages)
        assert not [r for r in result["results"] if "error" in r], result
        await asyncio.sleep(0.01)

async def main():
    async with GoQueueClient("http://localhost:8080") as client:
        await asyncio.gather(*(publish(client, n, int(sys.argv[1])) for n in range(3)))

asyncio.run(main())
"""


def namespaces_work() -> bool:
    try:
        command = ["unshare", "-rn", "sh", "-c", "ip link set lo up"]
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Host:
    """Where programs find a broker on port 8080: a shell in a network namespace, or here."""

    def __init__(self) -> None:
        self.holder: "subprocess.Popen[bytes] | None" = None
        self.prefix: tuple[str, ...] = ()
        if namespaces_work():
            self.holder = subprocess.Popen(
                ["unshare", "-rn", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self.holder.stdout is not None
            assert self.holder.stdout.readline() == b"ready\n"
            pid = str(self.holder.pid)
            self.prefix = ("nsenter", "--preserve-credentials", "-U", "-n", "-t", pid)
            probe = subprocess.run([*self.prefix, "true"], capture_output=True, check=False)
            if probe.returncode != 0:
                self.close()
                self.prefix = ()
        if not self.prefix:
            try:
                socket.create_server(("127.0.0.1", 8080)).close()
            except OSError:
                pytest.skip("port 8080 is taken and there are no network namespaces here")

    def close(self) -> None:
        if self.holder is not None:
            self.holder.communicate(timeout=20)  # the end of its input ends cat
            self.holder = None

    def python(self, program: str, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-u", "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            # A shell's background jobs ignore SIGINT, and their children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    broker = Broker(LISTENERS_HTTP=LOCAL)
    try:
        broker.start(prefix=host.prefix)
        yield host
    finally:
        broker.close()
        host.close()


def program(name: str) -> str:
    return (SEED / name).read_text()


class Output:
    """The lines a program has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line)

    def matching(self, pattern: str) -> list[str]:
        return [line for line in list(self.lines) if re.search(pattern, line)]

    def wait(self, pattern: str, count: int, seconds: float) -> list[str]:
        def there() -> bool:
            assert self.process.poll() is None, "it ended:\n" + "".join(self.lines[-50:])
            return len(self.matching(pattern)) >= count

        eventually(there, seconds)
        return self.matching(pattern)

    def end(self) -> str:
        self.process.wait(30 * PATIENCE)
        self._reader.join()
        return "".join(self.lines)


@pytest.mark.skipif(not README.exists(), reason="the README is not here")
def test_the_programs_are_those_of_the_readme() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    files = sorted(path.name for path in SEED.iterdir())
    assert "quick_start.txt" in files
    assert "consumer_groups.txt" in files
    for name in files:
        assert program(name) in blocks, name


def test_quick_start(host: Host) -> None:
    process = host.python(program("quick_start.txt"))
    output, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 0, output
    assert output == 'Received: {"orderId": "12345", "amount": 99.99}\n'


def test_consumer_groups(host: Host) -> None:
    """Three workers share six partitions: every message once, and nobody quits."""
    count = 400
    process = host.python(program("consumer_groups.txt"))
    output = Output(process)
    try:
        shares = {}
        for line in output.wait(" joined with partitions: ", 3, 20):
            match = re.fullmatch(r"Worker (\S+) joined with partitions: (\[.*\])\n", line)
            assert match, line
            shares[match[1]] = re.findall(r"'orders-(\d)'", match[2])
        assert sorted(shares) == ["worker-1", "worker-2", "worker-3"]
        assert [len(s) for s in shares.values()] == [2, 2, 2]
        assert sorted(sum(shares.values(), [])) == list("012345")
        publisher = host.python(PUBLISHER, str(count))
        output.wait(" processing: .*-end", 3 * count, 60)
        said, _ = publisher.communicate(timeout=60 * PATIENCE)
        assert publisher.returncode == 0, said
        time.sleep(0.5)  # anything delivered twice would come now
        assert process.poll() is None, "the program quit"
        process.send_signal(signal.SIGINT)
        text = output.end()
    finally:
        process.kill()
        process.wait()
    values = re.findall(r"processing: message-(\d)-(\d+)-end", text)
    assert sorted(values) == sorted((str(n), str(k)) for n in range(3) for k in range(count))
    assert {w for w in re.findall(r"Worker (\S+) processing", text)} == set(shares)
    assert "needs to rejoin" not in text


# The snippets.


def run_snippet(
    broker: Broker,
    name: str,
    then: "Callable[[dict[str, Any], GoQueueClient], Awaitable[None]] | None" = None,
    **names: Any,
) -> None:
    """Run it as in a session whose `client` is connected, then go on with what it defined."""

    async def main() -> None:
        async with GoQueueClient(broker.url) as client:
            scope: dict[str, Any] = {"client": client, "GoQueueClient": GoQueueClient,
                                     "asyncio": asyncio, "json": json, **names}
            code = compile(program(name), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, scope)
            if inspect.isawaitable(result):
                await result
            if then is not None:
                await then(scope, client)

    asyncio.run(main())


def test_keys(own_broker: Broker) -> None:
    run_snippet(own_broker, "keys.txt")
    stored = own_broker.everything("orders")
    assert [json.loads(m["value"])["event"] for m in stored] == ["order_created", "payment_received"]
    assert {m["key"] for m in stored} == {"user-123"}
    assert len({m["partition"] for m in stored}) == 1


def test_priority_messages(own_broker: Broker) -> None:
    """The critical one comes first, although it was published last and lies in another partition."""
    run_snippet(own_broker, "priority.txt")
    places = {m["value"]: m["partition"] for m in own_broker.everything("alerts")}
    assert len(set(places.values())) == 2
    member = own_broker.join("on-call", "alerts")["member_id"]
    messages = own_broker.poll("on-call", member)
    assert [m["value"] for m in messages] == ["Critical alert!", "Normal alert"]
    assert [m["priority"] for m in messages] == ["critical", "normal"]


def test_delayed_messages(own_broker: Broker) -> None:
    b = own_broker
    before = now_us()
    run_snippet(b, "delayed.txt")
    after = now_us()
    member = b.join("reminding", "reminders")["member_id"]
    for restart in (None, b.restart, b.crash):
        if restart is not None:
            restart()
        assert b.poll("reminding", member, timeout="300ms") == []
        assert b.everything("reminders") == []
        listed = ok(b.get("/topics/reminders/delayed"))
        assert [m["value"] for m in listed["messages"]] == ["Follow up in 1 hour", "Daily report"]
        assert (listed["count"], listed["total"]) == (2, 2)
        for m, hours in zip(listed["messages"], (1, 24)):
            delay = hours * 3600 * 1_000_000
            assert before + delay <= micros(m["deliver_at"]) <= after + delay
            remaining = parse_duration(m["time_remaining"])
            assert hours * 3600 - 60 * PATIENCE < remaining <= hours * 3600


class TemporaryError(Exception):
    pass


class PermanentError(Exception):
    pass


async def do_work(value: str) -> None:
    if value == "temporary":
        raise TemporaryError
    if value.startswith("permanent"):
        raise PermanentError(value[len("permanent") :])


def test_ack_nack_reject(own_broker: Broker) -> None:
    """done is done; temporary is back in 30 seconds, not before; permanent is a dead letter."""
    b = own_broker
    values = ["done", "temporary", "permanent: no such account", "permanent"]
    s = Setting(b, values)
    held = s.poll()
    assert [m["value"] for m in held] == values
    times = []

    async def process(scope: dict[str, Any], client: GoQueueClient) -> None:
        times.append(now_us())
        for message in held:
            await scope["process_message"](client, message)
        times.append(now_us())

    names = {"do_work": do_work, "TemporaryError": TemporaryError, "PermanentError": PermanentError}
    run_snippet(b, "ack_nack_reject.txt", process, **names)
    for restart in (None, b.restart, b.crash):
        if restart is not None:
            restart()
        assert s.poll(timeout="300ms") == []
        assert s.position() == 1
        dead = {m["value"]: m["headers"] for m in b.dead_letters(s.topic)}
        assert set(dead) == {"permanent: no such account", "permanent"}
        assert all(h["x-goqueue-dlq-reason"] == "REJECTED" for h in dead.values())
        assert dead["permanent: no such account"]["x-goqueue-dlq-error"] == ": no such account"
        assert dead["permanent"].get("x-goqueue-dlq-error", "") == ""
        again = ok(b.nack(held[1]["receipt_handle"], delay="0s"))  # a repeat tells when it is back
        assert again["already"] is True
        delay = 30 * 1_000_000
        assert times[0] + delay <= micros(again["next_visible_at"]) <= times[1] + delay
    assert ok(b.ack(held[0]["receipt_handle"]))["already"] is True


def extend(broker: Broker, visibility: str, seconds: float, asyncio_of_the_snippet: Any) -> None:
    """Longer work than the visibility timeout: nobody else gets the message meanwhile."""
    s = Setting(broker, ["work"], visibility_timeout=visibility)
    [held] = s.poll()
    got: list[Any] = []

    async def do_long_work(value: str) -> None:
        assert value == "work"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got.extend(await asyncio.to_thread(s.poll, timeout="200ms"))

    async def process(scope: dict[str, Any], client: GoQueueClient) -> None:
        await scope["long_process"](client, held)

    names = {"do_long_work": do_long_work, "asyncio": asyncio_of_the_snippet}
    run_snippet(broker, "extending_visibility.txt", process, **names)
    assert not got
    assert s.position() == 1
    assert ok(broker.ack(held["receipt_handle"]))["already"] is True
    assert now_us() > micros(held["visibility_deadline"])
    assert ok(broker.get("/reliability/stats"))["visibility_extensions"] >= 1


def test_extending_visibility(own_broker: Broker) -> None:
    """With its 20 seconds shortened, and nothing else."""

    async def sleep(delay: float) -> None:
        assert delay == 20
        await asyncio.sleep(0.4 * PATIENCE)

    hurried = types.SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    extend(own_broker, f"{PATIENCE:g}s", 2.5 * PATIENCE, hurried)


def test_transactions(own_broker: Broker) -> None:
    """Both messages or neither: what is committed is there once, what fails half-way never."""
    b = own_broker
    topics = ["account-debits", "account-credits"]

    def amounts() -> list[tuple[str, float]]:
        values = [json.loads(m["value"]) for t in topics for m in b.everything(t)]
        return sorted((v["account"], v["amount"]) for v in values)

    async def transfers(scope: dict[str, Any], client: GoQueueClient) -> None:
        for _ in range(2):  # the second time under a higher epoch
            await scope["transfer_funds"](client, "alice", "bob", 100.0)
        publish = client.transactions.publish

        async def fail_on_credit(request: Any) -> Any:
            if request["topic"] == "account-credits":
                raise TemporaryError
            return await publish(request)

        client.transactions.publish = fail_on_credit  # type: ignore[method-assign]
        with pytest.raises(TemporaryError):
            await scope["transfer_funds"](client, "bob", "carol", 50.0)
        client.transactions.publish = publish  # type: ignore[method-assign]
        await scope["transfer_funds"](client, "bob", "carol", 25.0)

    run_snippet(b, "transactions.txt", transfers)
    expected = sorted([("alice", -100.0), ("bob", 100.0)] * 2 + [("bob", -25.0), ("carol", 25.0)])
    for restart in (None, b.restart, b.crash):
        if restart is not None:
            restart()
        assert amounts() == expected
        stats = ok(b.get("/transactions/stats"))
        assert (stats["active_transactions"], stats["committed_total"], stats["aborted_total"]) == (0, 3, 1)
    member = b.join("ledger", *topics)["member_id"]
    received = [json.loads(m["value"]) for m in b.receive("ledger", member, len(expected))]
    assert sorted((v["account"], v["amount"]) for v in received) == expected


@pytest.mark.slow
def test_in_real_time(own_broker: Broker) -> None:
    """The nacked message is back after its 30 seconds; meanwhile 25 seconds of work on another."""
    s = Setting(own_broker, ["temporary"])
    [held] = s.poll()

    async def process(scope: dict[str, Any], client: GoQueueClient) -> None:
        await scope["process_message"](client, held)

    names = {"do_work": do_work, "TemporaryError": TemporaryError, "PermanentError": PermanentError}
    before = now_us()
    run_snippet(own_broker, "ack_nack_reject.txt", process, **names)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(extend, own_broker, "22s", 25, asyncio)
        [message] = s.receive(1, seconds=45)
        working.result()
    assert message["delivery_count"] == 2
    assert leased_us(message) >= before + 30 * 1_000_000
