"""What is on the disk: several segments, torn tails, and damage that must be reported, never served.

`goqueue check` and the broker's start name the file and the position.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness import STOP_SECONDS, Broker, eventually, goqueue

SMALL = {"LOG_SEGMENTSIZE": "1MiB", "JOURNAL_CHECKPOINT": "1MiB", "JOURNAL_SEGMENTSIZE": "96MiB"}


@pytest.fixture
def small() -> Iterator[Broker]:
    """Segments and checkpoints of a megabyte."""
    broker = Broker(**SMALL)
    try:
        yield broker.start()
    finally:
        broker.close()


def files(broker: Broker, pattern: str) -> list[pathlib.Path]:
    found = sorted(broker.data.rglob(pattern))
    assert found, f"no {pattern}"
    return found


def check(broker: Broker) -> tuple[int, dict[str, Any], str]:
    ended = goqueue("check", str(broker.data), "--json")
    return ended.returncode, json.loads(ended.stdout), ended.stdout + ended.stderr


def assert_sound(broker: Broker) -> str:
    code, body, text = check(broker)
    assert code == 0, text
    plain = goqueue("check", str(broker.data))
    assert plain.returncode == 0, plain.stdout + plain.stderr
    return str(body["digest"])


def assert_reported(broker: Broker, path: pathlib.Path, start_refuses: bool = True) -> str:
    """check exits 1 and names the file; so does the start."""
    for arguments in (["--json"], []):
        ended = goqueue("check", str(broker.data), *arguments)
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert path.name in ended.stdout + ended.stderr
    if not start_refuses:
        return ""
    before = path.read_bytes() if path.exists() else b""
    ended = broker.run_to_end()
    assert ended.returncode == 1, ended.stderr
    assert path.name in ended.stderr
    assert re.search(r"position=\d+", ended.stderr), ended.stderr
    assert (path.read_bytes() if path.exists() else b"") == before, "the evidence was changed"
    return ended.stderr


def damage(path: pathlib.Path, position: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)


def flip(path: pathlib.Path, needle: bytes, last: bool = False) -> int:
    """Change one bit of the needle; returns where."""
    content = path.read_bytes()
    position = content.rfind(needle) if last else content.find(needle)
    assert position >= 0, f"{needle!r} is not in {path}"
    damage(path, position, bytes([content[position] ^ 1]))
    return position


def fill(broker: Broker, topic: str, megabytes: int) -> list[str]:
    """Values of about 10 KB on one partition, in requests of 20."""
    values: list[str] = []
    for batch in range(megabytes * 5):
        new = [f"{batch}-{i}-" + "x" * 10_000 for i in range(20)]
        broker.publish(topic, *new)
        values += new
    return values


def test_several_segments(small: Broker) -> None:
    small.create("t")
    values = fill(small, "t", 6)
    for restart in (small.crash, small.restart, small.crash):
        restart()
        assert small.all_values("t") == values
        new = fill(small, "t", 1)
        values += new
    small.stop()
    assert len(files(small, "*.log")) >= 6
    assert len(files(small, "*.snapshot")) <= 2
    assert len(files(small, "*.journal")) <= 3
    digest = assert_sound(small)
    small.start().stop()
    assert assert_sound(small) == digest


def test_reading_from_any_offset(small: Broker) -> None:
    small.create("t")
    values = fill(small, "t", 3)
    small.restart()
    for offset in (*range(0, len(values), 17), len(values) - 1):
        page = small.consume("t", offset=offset, limit=3)["messages"]
        assert [m["offset"] for m in page] == list(range(offset, offset + 3))[: len(values) - offset]
        assert [m["value"] for m in page] == values[offset : offset + 3]


def journal_of(broker: Broker, count: int = 20) -> tuple[pathlib.Path, list[str]]:
    """A killed broker with `count` publishes in its journal that no snapshot covers."""
    broker.create("t")
    values = [f"needle-{i:04}-end" for i in range(count)]
    for value in values:
        broker.publish("t", value)
    broker.kill()
    return files(broker, "*.journal")[-1], values


@pytest.mark.parametrize("how", ["zeros", "noise", "bit"])
def test_a_torn_tail_is_cut(own_broker: Broker, how: str) -> None:
    b = own_broker
    journal, values = journal_of(b)
    at = journal.read_bytes().rfind(values[-1].encode())
    if how == "bit":
        flip(journal, values[-1].encode(), last=True)
    else:
        damage(journal, at, b"\0" * 4096 if how == "zeros" else bytes(range(256)) * 16)
    assert_sound(b)
    b.start()
    assert b.all_values("t") == values[:-1]
    assert b.publish("t", "again")[0]["offset"] == len(values) - 1
    b.crash()
    assert b.all_values("t") == [*values[:-1], "again"]
    b.restart()
    assert b.all_values("t") == [*values[:-1], "again"]


@pytest.mark.parametrize("which", [0, 7, 18])
def test_damage_inside_the_journal_is_refused(own_broker: Broker, which: int) -> None:
    b = own_broker
    journal, values = journal_of(b)
    position = flip(journal, values[which].encode())
    said = assert_reported(b, journal)
    match = re.search(r"position=(\d+)", said)
    assert match
    assert position - 4096 <= int(match[1]) <= position + 8
    flip(journal, bytes([values[which].encode()[0] ^ 1]) + values[which].encode()[1:])  # healed
    b.start()
    assert b.all_values("t") == values


def test_a_damaged_journal_header_is_refused(own_broker: Broker) -> None:
    journal, _ = journal_of(own_broker)
    damage(journal, 8, b"\xff" * 8)
    assert_reported(own_broker, journal)


def test_a_damaged_snapshot_is_refused(own_broker: Broker) -> None:
    b = own_broker
    b.create("topic-in-the-snapshot")
    b.publish("topic-in-the-snapshot", "x")
    b.stop()
    snapshot = files(b, "*.snapshot")[-1]
    size = snapshot.stat().st_size
    for position in (0, 9, size // 2, size - 1):
        good = snapshot.read_bytes()
        damage(snapshot, position, bytes([good[position] ^ 0x10]))
        assert_reported(b, snapshot)
        snapshot.write_bytes(good)
    good = snapshot.read_bytes()
    snapshot.write_bytes(good[:-3])
    assert_reported(b, snapshot)
    snapshot.write_bytes(good)
    b.start()
    assert b.all_values("topic-in-the-snapshot") == ["x"]


def test_damage_in_a_partition_log_is_reported_and_never_served(small: Broker) -> None:
    b = small
    b.create("t")
    b.create("other")
    b.publish("other", "fine")
    values = fill(b, "t", 3)
    b.stop()
    log = files(b, "*.log")[0]
    if b"fine" in log.read_bytes():
        log = next(path for path in files(b, "*.log") if b"fine" not in path.read_bytes())
    content = log.read_bytes()
    position = content.find(b"xxxx", len(content) // 2)
    damage(log, position, b"y")
    assert_reported(b, log, start_refuses=False)
    b.start()  # sealed segments are not read at the start
    offset, failed = 0, 0
    while offset < len(values):
        reply = b.get("/topics/t/partitions/0/messages", offset=offset, limit=20)
        if reply.status_code >= 500:
            failed += 1
            assert "xxxx" not in reply.text
            offset += 20
            continue
        page = reply.json()["messages"]
        assert page, "the rest was silently dropped"
        assert [m["value"] for m in page] == values[page[0]["offset"] : page[-1]["offset"] + 1]
        offset = page[-1]["offset"] + 1
    assert failed > 0
    assert b.all_values("other") == ["fine"]
    eventually(lambda: log.name in b.stderr())


def test_a_log_that_ends_early_is_refused(own_broker: Broker) -> None:
    b = own_broker
    b.create("t")
    b.publish("t", *["x" * 1000] * 50)
    b.stop()
    log = files(b, "*.log")[0]
    content = log.read_bytes()
    log.write_bytes(content[:-100])
    assert_reported(b, log)
    log.write_bytes(content)
    b.start()
    assert len(b.all_values("t")) == 50


def test_a_missing_log_segment_is_refused(small: Broker) -> None:
    small.create("t")
    fill(small, "t", 4)
    small.stop()
    middle = files(small, "*.log")[1]
    moved = small.directory / "moved"
    middle.rename(moved)
    ended = goqueue("check", str(small.data))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    refusal = small.run_to_end()
    assert refusal.returncode == 1, refusal.stderr
    assert str(small.data) in refusal.stderr


def test_strange_files_are_left_alone(own_broker: Broker) -> None:
    b = own_broker
    b.publish("t", {"value": "x", "partition": 0})
    b.stop()
    strangers = [b.data / "lost+found", *(p.parent / "notes.txt" for p in files(b, "*.log")[:1])]
    for path in strangers:
        path.write_text("not ours")
    b.start()
    assert b.all_values("t") == ["x"]
    b.crash()
    assert all(path.read_text() == "not ours" for path in strangers)


def test_check_says_what_it_cannot_do(own_broker: Broker) -> None:
    own_broker.publish("t", "x")
    missing = goqueue("check", str(own_broker.directory / "nothing"))
    assert missing.returncode != 0
    assert "nothing" in missing.stderr + missing.stdout
    assert goqueue("check").returncode == 2
    assert goqueue("check", "--no-such-flag", str(own_broker.data)).returncode == 2


def test_a_log_that_fails_refuses_nothing_the_journal_has(small: Broker, topic: str) -> None:
    """A 503 says that nothing happened: what a restart brings back was answered 200."""
    small.create(topic)
    stored = [f"{i}:" + "x" * 50_000 for i in range(10)]
    small.post(f"/topics/{topic}/messages", {"messages": [{"value": v} for v in stored]})
    folder = files(small, "*.log")[0].parent
    away = folder.rename(folder.with_name("away"))  # no next segment can be made there
    for i in range(10, 200):
        value = f"{i}:" + "x" * 50_000
        try:
            reply = small.post(f"/topics/{topic}/messages", {"messages": [{"value": value}]})
        except httpx.TransportError:
            break
        if reply.status_code != 200:
            assert reply.status_code == 503, reply.text
            break
        stored.append(value)
    assert small.process is not None
    assert small.process.wait(STOP_SECONDS) == 1
    small.kill()  # is gone: only lets go of what the harness holds
    away.rename(folder)
    small.start()
    read: list[str] = []
    while page := small.get(f"/topics/{topic}/partitions/0/messages", offset=len(read)).json():
        if not page["messages"]:
            break
        read += [m["value"] for m in page["messages"]]
    assert [v[:10] for v in read] == [v[:10] for v in stored]


def test_more_partitions_than_descriptors(own_broker: Broker) -> None:
    """Those that were not written to for longest do without one, readers and checkpoints find all."""
    few = ("sh", "-c", 'ulimit -n 200 && exec "$@"', "sh")
    b = own_broker
    b.stop()
    b.settings.update(SMALL)
    b.start(prefix=few)
    partitions, rounds = 600, 4
    b.create("wide", partitions)
    for i in range(rounds):
        batch = [
            {"partition": p, "value": f"{p}-{i}-" + "x" * 1000} for p in range(partitions)
        ]  # some checkpoints each
        assert all("error" not in result for result in b.publish("wide", *batch))
        for p in range(i, partitions, 97):
            assert [v.rsplit("-", 1)[0] for v in b.values("wide", p)] == [
                f"{p}-{j}" for j in range(i + 1)
            ]
    for restart in ("stop", "kill"):
        getattr(b, restart)()
        b.start(prefix=few)
        for p in range(0, partitions, 7):
            assert len(b.values("wide", p)) == rounds
    descriptors = len(list(pathlib.Path(f"/proc/{b.process.pid}/fd").iterdir()))
    assert descriptors < 200
    assert "disk_error" not in b.stderr()
