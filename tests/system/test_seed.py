"""The Quick Start and Consumer Groups programs of the client's README, unchanged, on port 8080.

They run in a network namespace of their own where that is allowed, so that port 8080 is always
free; else on the machine's own port 8080 if nobody has it.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from harness import PATIENCE, ROOT, START_SECONDS, Broker, eventually

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
    assert program("quick_start.txt") in blocks
    assert program("consumer_groups.txt") in blocks


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
