"""The real broker as a child process, and small helpers to talk to it."""

from __future__ import annotations

import calendar
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from typing import Any, Callable, Iterator, Optional

import httpx
from goqueue_client import parse_duration

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("GOQUEUE_BIN") or os.environ.get("GQ_BIN") or str(ROOT / "build/goqueue")
#: What only a sanitizer prints.
REPORTS = re.compile(
    r"ERROR: (Address|Leak|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error:|CHECK failed"
)
#: Sanitized binaries are several times slower: every deadline is this much longer for them.
PATIENCE = 4.0 if re.search(r"[at]san", BINARY) else 1.0
START_SECONDS = 20 * PATIENCE
STOP_SECONDS = 20 * PATIENCE


class Broker:
    """One data directory and the process that serves it now. Always closed by its fixture."""

    alive: "set[Broker]" = set()  # for the report of a failed test

    def __init__(self, **settings: str) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="goqueue-test-"))
        self.data = self.directory / "data"
        self.settings = settings  # environment variables without the prefix GOQUEUE_
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.port = 0
        self.lines: list[str] = []  # stderr of every run
        self._reader: Optional[threading.Thread] = None
        self._started = threading.Event()
        self._lock = threading.Lock()
        self._client: Optional[httpx.Client] = None
        Broker.alive.add(self)

    # Running it.

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment of a broker on this directory and a free port."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GOQUEUE_")}
        values = {"LISTENERS_HTTP": "127.0.0.1:0", "BROKER_DATADIR": str(self.data)}
        values.update(self.settings, **settings)
        return inherited | {f"GOQUEUE_{name}": value for name, value in values.items()}

    def start(self, *flags: str, prefix: tuple[str, ...] = (), **settings: str) -> "Broker":
        """Start it and wait until it serves."""
        assert self.process is None, "already running"
        self._started.clear()
        self.process = subprocess.Popen(
            [*prefix, BINARY, "serve", *flags],
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read_stderr, args=(self.process,), daemon=True)
        self._reader.start()
        if not self._started.wait(START_SECONDS) or self.port == 0:
            self.kill()
            raise AssertionError("the broker did not start:\n" + self.stderr())
        return self

    def _read_stderr(self, process: "subprocess.Popen[bytes]") -> None:
        self.port = 0
        assert process.stderr is not None
        for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            self.lines.append(line)
            match = re.search(r" started .*?http=\S*:(\d+)", line)
            if match:
                self.port = int(match[1])
                self._started.set()
        self._started.set()  # ended: start() sees that there is no port

    def run_to_end(self, *flags: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run `goqueue serve` where it is expected to refuse to start."""
        return subprocess.run(
            [BINARY, "serve", *flags],
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def stop(self) -> None:
        """SIGTERM; the broker must end by itself, cleanly."""
        process = self._ended(signal.SIGTERM)
        if process is not None:
            assert process.returncode == 0, f"exit code {process.returncode}\n{self.stderr()}"
        self.check_reports()

    def kill(self) -> None:
        """kill -9, reaped."""
        self._ended(signal.SIGKILL)
        self.check_reports()

    def _ended(self, signal_number: int) -> "Optional[subprocess.Popen[bytes]]":
        process, self.process = self.process, None
        if self._client is not None:
            self._client.close()
            self._client = None
        if process is None:
            return None
        process.send_signal(signal_number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the broker did not stop\n" + self.stderr()) from None
        finally:
            assert self._reader is not None and process.stderr is not None
            self._reader.join()
            process.stderr.close()
        return process

    def restart(self) -> "Broker":
        self.stop()
        return self.start()

    def crash(self) -> "Broker":
        self.kill()
        return self.start()

    def close(self) -> None:
        """Stop it if it runs, and remove the directory."""
        try:
            self.stop()
        finally:
            Broker.alive.discard(self)
            shutil.rmtree(self.directory, ignore_errors=True)

    def stderr(self) -> str:
        return "\n".join(self.lines[-200:])

    def check_reports(self) -> None:
        """Fail on what a sanitizer or a CHECK wrote."""
        text = "\n".join(self.lines)
        assert not REPORTS.search(text), text[-20000:]

    def rss_bytes(self) -> int:
        assert self.process is not None
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert match is not None
        return int(match[1]) * 1024

    # Talking to it.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> httpx.Client:
        """One pooled client; threads may share it."""
        with self._lock:
            if self._client is None:
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
                self._client = httpx.Client(base_url=self.url, timeout=30 * PATIENCE, limits=limits)
            return self._client

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["content"] = json.dumps(body)
        return self.client.request(method, path, **options)

    def get(self, path: str, **query: Any) -> httpx.Response:
        options = {"params": {k: str(v) for k, v in query.items()}} if query else {}
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.request("POST", path, body)

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)

    def raw(self, data: bytes = b"", timeout: float = 10.0) -> "Raw":
        return Raw(self.port, data, timeout * PATIENCE)

    # What most tests need.

    def create(self, topic: str, partitions: int = 1, **settings: Any) -> str:
        reply = self.post("/topics", {"name": topic, "num_partitions": partitions, **settings})
        assert reply.status_code == 201, reply.text
        return topic

    def publish(self, topic: str, *messages: Any) -> list[dict[str, Any]]:
        """Publish strings or messages; every one must be stored."""
        bodies = [m if isinstance(m, dict) else {"value": m} for m in messages]
        results = ok(self.post(f"/topics/{topic}/messages", {"messages": bodies}))["results"]
        assert len(results) == len(bodies)
        assert not [r for r in results if "error" in r], results
        return results

    def consume(self, topic: str, partition: int = 0, **query: Any) -> dict[str, Any]:
        return ok(self.get(f"/topics/{topic}/partitions/{partition}/messages", **query))

    def values(self, topic: str, partition: int = 0, **query: Any) -> list[str]:
        query.setdefault("limit", 1000)
        return [m["value"] for m in self.consume(topic, partition, **query)["messages"]]

    def all_values(self, topic: str, partition: int = 0) -> list[str]:
        """Every value of the partition, page by page."""
        values: list[str] = []
        at = 0
        while (page := self.consume(topic, partition, offset=at, limit=1000))["messages"]:
            values += [m["value"] for m in page["messages"]]
            at = page["next_offset"]
        return values

    def join(self, group: str, *topics: str, client_id: str = "c", **more: Any) -> dict[str, Any]:
        body = {"client_id": client_id, "topics": list(topics), **more}
        return ok(self.post(f"/groups/{group}/join", body))

    def poll(self, group: str, member: str, **query: Any) -> list[dict[str, Any]]:
        query.setdefault("timeout", "0s")
        return ok(self.get(f"/groups/{group}/poll", member_id=member, **query))["messages"]

    def receive(self, group: str, member: str, count: int, seconds: float = 15, **query: Any) -> Any:
        """Poll until there are that many messages; more is a failure."""
        messages: list[dict[str, Any]] = []
        end = time.monotonic() + seconds * PATIENCE
        while len(messages) < count:
            assert time.monotonic() < end, f"only {len(messages)} of {count}: {messages[-5:]}"
            messages += self.poll(group, member, timeout="500ms", **query)
        assert len(messages) == count, messages
        return messages

    def ack(self, receipt: str) -> httpx.Response:
        return self.post("/messages/ack", {"receipt_handle": receipt})

    def nack(self, receipt: str, **body: Any) -> httpx.Response:
        return self.post("/messages/nack", {"receipt_handle": receipt, **body})

    def reject(self, receipt: str, **body: Any) -> httpx.Response:
        return self.post("/messages/reject", {"receipt_handle": receipt, **body})

    def extend(self, receipt: str, timeout: Any = "60s", **body: Any) -> httpx.Response:
        return self.post("/messages/visibility", {"receipt_handle": receipt, "timeout": timeout, **body})

    def everything(self, topic: str) -> list[dict[str, Any]]:
        """Every visible message of the topic, by partition and offset."""
        messages: list[dict[str, Any]] = []
        for partition in range(ok(self.get(f"/topics/{topic}"))["partitions"]):
            at, moves = 0, True
            while moves:
                page = self.consume(topic, partition, offset=at, limit=1000)
                messages += page["messages"]
                at, moves = page["next_offset"], page["next_offset"] > at
        return messages

    def dead_letters(self, topic: str) -> list[dict[str, Any]]:
        """What lies in the dead-letter topic of this topic; nothing if there is none."""
        there = self.get(f"/topics/{topic}.dlq").status_code == 200
        return self.everything(f"{topic}.dlq") if there else []

    def pending(self, topic: str) -> list[dict[str, Any]]:
        """Every delayed message of the topic, page by page."""
        messages: list[dict[str, Any]] = []
        while page := ok(self.get(f"/topics/{topic}/delayed", limit=1000, skip=len(messages)))["messages"]:
            messages += page
        return messages

    def positions(self, group: str) -> dict[str, dict[str, int]]:
        return ok(self.get(f"/groups/{group}/offsets"))["offsets"]


class Setting:
    """A topic, a group with one member, and some messages."""

    def __init__(
        self,
        broker: Broker,
        messages: "int | list[Any]" = 3,  # so many, called 0, 1, ...; or these
        partitions: int = 1,
        topic: Optional[dict[str, Any]] = None,  # settings
        **join: Any,
    ) -> None:
        self.broker = broker
        self.topic = broker.create(unique("topic"), partitions, **(topic or {}))
        self.group = unique("group")
        if messages:
            values = list(map(str, range(messages))) if isinstance(messages, int) else messages
            self.published = broker.publish(self.topic, *values)
        self.member: str = broker.join(self.group, self.topic, **join)["member_id"]

    def poll(self, **query: Any) -> list[dict[str, Any]]:
        return self.broker.poll(self.group, self.member, **query)

    def receive(self, count: int, **query: Any) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.broker.receive(self.group, self.member, count, **query)
        return messages

    def values(self, **query: Any) -> list[str]:
        return [m["value"] for m in self.poll(**query)]

    def position(self, partition: int = 0) -> "int | None":
        return self.broker.positions(self.group).get(self.topic, {}).get(str(partition))

    def commit(self, offset: int, **more: Any) -> Any:
        body = {"member_id": self.member, "offsets": {self.topic: {"0": offset}}, **more}
        return self.broker.post(f"/groups/{self.group}/offsets", body)


class Raw:
    """A connection on which the test decides about every byte."""

    def __init__(self, port: int, data: bytes = b"", timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if data:
            self.send(data)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _fill(self) -> bool:
        try:
            more = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            more = b""
        self.buffer += more
        return bool(more)

    def head(self) -> "Optional[tuple[int, dict[str, str]]]":
        """Status and headers of the next reply; None: the connection was closed instead."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._fill():
                return None
        raw, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *rest = raw.decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in rest)
        return int(first.split()[1]), {k.lower(): v.strip() for k, v in pairs}

    def reply(self, has_body: bool = True) -> "Optional[tuple[int, dict[str, str], bytes]]":
        """The next reply, whole; None: the connection was closed instead."""
        got = self.head()
        if got is None:
            return None
        status, headers = got
        size = int(headers.get("content-length", "0")) if has_body and status >= 200 else 0
        while len(self.buffer) < size:
            if not self._fill():
                return None
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return status, headers, body

    def closed(self) -> bool:
        """Whether the broker closes the connection without another byte."""
        try:
            return not self.buffer and not self._fill()
        except TimeoutError:
            return False


def ok(reply: httpx.Response, status: int = 200) -> Any:
    """The JSON of a reply that must be a success."""
    assert reply.status_code == status, f"{reply.request.url}: {reply.status_code} {reply.text}"
    assert reply.headers["content-type"].startswith("application/json")
    return reply.json()


def refused(reply: httpx.Response, status: int, code: Optional[str] = None) -> dict[str, Any]:
    """The JSON of a reply that must be this error (contract 2.7)."""
    assert reply.status_code == status, f"{reply.request.url}: {reply.status_code} {reply.text}"
    body = check_error(status, reply.headers.get("content-type", ""), reply.content)
    assert code is None or body["code"] == code, body
    return body


def check_error(status: int, content_type: str, content: bytes) -> dict[str, Any]:
    assert content_type.startswith("application/json"), content_type
    body = json.loads(content)
    assert isinstance(body["error"], str) and body["error"], body
    assert body["status"] == status, body
    assert re.fullmatch(r"[a-z_]+", body["code"]), body
    return body


def micros(timestamp: str) -> int:
    """A timestamp of the broker (contract 2.5) as microseconds since 1970."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z", timestamp)
    assert match, timestamp
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000 + int((match[2] or "0").ljust(6, "0"))


def now_us() -> int:
    return time.time_ns() // 1000


def after(timestamp: str, seconds: float = 0.05) -> None:
    """Sleep until that time is a little over, for the broker's clock is ours."""
    time.sleep(max(0.0, (micros(timestamp) - now_us()) / 1e6) + seconds * PATIENCE)


def leased_us(message: dict[str, Any], visibility: str = "30s") -> int:
    """When, by the broker's clock, it handed out this delivery."""
    return micros(message["visibility_deadline"]) - round(parse_duration(visibility) * 1e6)


def unique(prefix: str = "t") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def eventually(check: Callable[[], Any], seconds: float = 10.0, pause: float = 0.02) -> Any:
    """Call it until it gives something true; return that."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(pause)


def goqueue(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run another verb of the program."""
    return subprocess.run(
        [BINARY, *arguments],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def running(**settings: str) -> Iterator[Broker]:
    """For fixtures: a broker that is closed afterwards, whatever happens."""
    broker = Broker(**settings)
    try:
        yield broker.start()
    finally:
        broker.close()
