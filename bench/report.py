#!/usr/bin/env python3
"""Makes the table of `make bench` from the JSON files that bench/run.sh left in a directory."""

import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def first_match(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return "unknown"


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def machine(work: Path) -> list[str]:
    commit = output("git", "describe", "--always", "--dirty", "--abbrev=10")
    memory_gib = int(first_match("/proc/meminfo", "MemTotal").split()[0]) / 1048576
    file_system = output("stat", "-f", "-c", "%T", str(work))
    load = float((work / "loadavg").read_text().split()[0])
    busy = "; the machine was busy with other work, so all of this is too low" if load > 0.5 else ""
    return [
        f"# Benchmark of {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit}",
        "",
        f"- CPU: {first_match('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores; "
        f"{memory_gib:.1f} GiB of memory",
        f"- Kernel: {platform.release()}; file system: {file_system}",
        f"- Load average before the start: {load:.2f}{busy}",
        "- The client runs on the same machine and takes its share of the cores (last column).",
        "- Every publish and ack is durable (`fsync`) before it is answered.",
        "",
    ]


class Run:
    """What one `goqueue bench` reported; zeros and a note if it did not."""

    def __init__(self, work: Path, name: str) -> None:
        text = (work / f"{name}.json").read_text()
        self.data: dict[str, Any] = json.loads(text) if text.strip() else {}

    def __getitem__(self, key: str) -> float:
        return float(self.data.get(key) or 0)

    def latency(self, quantile: str, which: str = "latency_ms") -> float:
        return float((self.data.get(which) or {}).get(quantile, 0))

    @property
    def cores(self) -> float:
        used = self["client_cpu_user_seconds"] + self["client_cpu_system_seconds"]
        return used / self["run_seconds"] if self["run_seconds"] else 0.0

    @property
    def problem(self) -> str:
        if not self.data:
            return "did not run"
        errors = int(self["errors"])
        return f"{errors} errors, first: {self.data.get('first_error', '')}" if errors else ""


def rate(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value:,.0f}"


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def latencies(run: Run, which: str = "latency_ms") -> str:
    return " / ".join(f"{run.latency(q, which):.2f}" for q in ("p50", "p99", "p99_9"))


def rows(work: Path) -> tuple[list[list[str]], list[str]]:
    names = ("echo_bulk", "echo_single", "publish_bulk", "publish_single", "transaction", "consume")
    names += ("poll_1000", "poll_100", "ack_single", "latency", "refill", "poll_calm", "poll_busy")
    run = {name: Run(work, name) for name in names}
    disk_1m = json.loads((work / "disk_1m.json").read_text())
    disk_4k = json.loads((work / "disk_4k.json").read_text())
    sync_ms = disk_4k["latency_ms"]["p50"]
    bulk, single, acks = run["publish_bulk"], run["publish_single"], run["ack_single"]
    echo_bulk, echo_single, idle = run["echo_bulk"], run["echo_single"], run["latency"]

    def row(name: str, got: str, aim: str, against: str, times: str, cores: float) -> list[str]:
        return [name, got, aim, against, times, f"{cores:.2f}"]

    transaction = run["transaction"]

    table = [
        row("echo server, 1000 × 100 B, 4 connections",
            f"{rate(echo_bulk['requests_per_second'])} requests/s", "", "reference",
            latencies(echo_bulk), echo_bulk.cores),
        row("echo server, 1 × 100 B, 64 connections",
            f"{rate(echo_single['requests_per_second'])} requests/s", "", "reference",
            latencies(echo_single), echo_single.cores),
        row("publish, 1000 × 100 B, 4 connections",
            f"{rate(bulk['messages_per_second'])} messages/s", "≥ 3 M",
            f"{share(bulk['requests_per_second'], echo_bulk['requests_per_second'])} of echo, "
            f"{share(bulk['body_mb_per_second'], disk_1m['mb_per_second'])} of the disk",
            latencies(bulk), bulk.cores),
        row("publish, 1 × 100 B, 64 connections",
            f"{rate(single['requests_per_second'])} requests/s",
            "≥ 60 % of echo; p99 ≤ 3 syncs",
            f"{share(single['requests_per_second'], echo_single['requests_per_second'])} of echo; "
            f"p99 = {single.latency('p99') / sync_ms:.1f} syncs",
            latencies(single), single.cores),
        row("transactions of 100 × 100 B, one message a request, 64 connections",
            f"{rate(transaction['messages_per_second'])} messages/s", "≥ 50 % of the row above",
            f"{share(transaction['messages_per_second'], single['messages_per_second'])} of it",
            latencies(transaction), transaction.cores),
        row("consume by offset, limit 1000, 4 connections",
            f"{rate(run['consume']['messages_per_second'])} messages/s", "≥ 3 M",
            f"{run['consume']['body_mb_per_second']:,.0f} MB/s of JSON",
            latencies(run["consume"]), run["consume"].cores),
    ]
    for count in (1000, 100):
        poll = run[f"poll_{count}"]
        table.append(
            row(f"poll {count} + ack/batch, 4 members",
                f"{rate(poll['messages_per_second'])} messages/s", "≥ 1 M",
                f"ack/batch p50 {poll.latency('p50', 'ack_latency_ms'):.2f} ms",
                latencies(poll), poll.cores))
    calm, busy = run["poll_calm"], run["poll_busy"]
    pending = json.loads((work / "delay_stats.json").read_text())["pending_count"]
    in_flight = json.loads((work / "in_flight.json").read_text())["groups"]["crowd"]
    table += [
        row("poll 1000 + ack/batch, 4 members, 64 partitions",
            f"{rate(calm['messages_per_second'])} messages/s", "", "for the next row",
            latencies(calm), calm.cores),
        row(f"the same with {pending:,} delayed and {in_flight:,} in flight",
            f"{rate(busy['messages_per_second'])} messages/s", "≥ 70 % of the row above",
            f"{share(busy['messages_per_second'], calm['messages_per_second'])} of the row above",
            latencies(busy), busy.cores),
        row("single acks, 64 connections",
            f"{rate(acks['acks_per_second'])} acks/s", "≥ 50 % of echo",
            f"{share(acks['acks_per_second'], echo_single['requests_per_second'])} of echo",
            latencies(acks, "ack_latency_ms"), acks.cores),
        row("publish → parked poll, idle system",
            f"p50 {idle.latency('p50'):.3f} ms", "p50 ≤ 0.5 ms",
            f"{idle.latency('p50') / sync_ms:.1f} syncs; "
            f"publish alone p50 {idle.latency('p50', 'publish_latency_ms'):.3f} ms",
            latencies(idle), idle.cores),
    ]
    run.update({f"parked_{groups}": Run(work, f"parked_{groups}") for groups in (1, 10)})
    problems = [f"- **{name}**: {r.problem}" for name, r in run.items() if r.problem]
    return table, problems


def parked_rows(work: Path) -> list[list[str]]:
    """10,000 members that each wait in a poll."""
    one, ten = Run(work, "parked_1"), Run(work, "parked_10")
    parked: dict[str, Any] = one.data.get("parked") or {"polls": 0, "bytes_each": 0, "idle_cpu_seconds": 0}
    share_used = 100 * parked["idle_cpu_seconds"] / parked.get("idle_seconds", 1)
    polls = f"{parked['polls']:,} parked polls"

    def woken(run: Run) -> str:
        return " / ".join(f"{run.latency(q):.2f}" for q in ("p50", "p99", "max")) + " ms"

    return [
        [f"{polls}: memory of each, member and connection included",
         f"{parked['bytes_each'] / 1000:.1f} KB", "≤ 20 KB"],
        [f"{polls}: CPU of the idle broker", f"{share_used:.2f} % of a core", "none"],
        [f"{polls}, {one['requests_per_second']:.0f} woken a second: from publish to poll, p50 / p99 / max",
         woken(one), "p50 ≤ 1 ms, p99 ≤ 20 ms"],
        [f"the same, each message for 10 groups: {ten['requests_per_second']:.0f} woken a second",
         woken(ten), "p99 ≤ 20 ms"],
    ]


def print_table(header: list[str], table: list[list[str]]) -> None:
    for line in (header, ["---"] * len(header), *table):
        print("| " + " | ".join(line) + " |")


def main() -> None:
    work = Path(sys.argv[1])
    print("\n".join(machine(work)))
    table, problems = rows(work)
    print_table(["Work", "Reached", "Aim", "Against the references", "p50 / p99 / p99.9 ms",
                 "Client cores"], table)
    print()

    restart = json.loads((work / "restart.json").read_text())
    stats = json.loads((work / "stats.json").read_text())
    stored = sum(t["total_messages"] for t in stats.get("topic_stats", {}).values())
    due = json.loads((work / "due.json").read_text())
    early = "some were EARLY, " if due["early"] else ""
    print_table(["Also", "Reached", "Aim"], [
        [f"{due['count']:,} delayed messages due at one moment",
         f"{early}the last {due['last_late_ms']:.1f} ms late", "≤ 50 ms"],
        ["single publishes meanwhile",
         f"p50 {due['publish_meanwhile_p50_ms']:.2f} ms, max {due['publish_meanwhile_max_ms']:.2f} ms of "
         f"{due['publish_meanwhile_count']}; before: p50 {due['publish_quiet_p50_ms']:.2f} ms, "
         f"max {due['publish_quiet_max_ms']:.2f} ms", "not stalled"],
        [f"restart with {stored:,} messages", f"ready after {restart['ready_ms']} ms",
         "< 1 s with 10 M"],
        ["memory after the restart", f"{restart['resident_kib'] / 1024:.0f} MiB",
         "≤ 64 MiB + buffers"],
        ["memory after the load", f"{restart['loaded_kib'] / 1024:.0f} MiB", ""],
        *parked_rows(work),
    ])
    print()
    for kib in (4, 1024):
        name = "disk_4k" if kib == 4 else "disk_1m"
        disk = json.loads((work / f"{name}.json").read_text())
        times = disk["latency_ms"]
        print(f"- Raw disk, durable appends of {kib} KiB: {disk['writes_per_second']:,.0f}/s, "
              f"{disk['mb_per_second']:,.0f} MB/s, p50 {times['p50']:.3f} ms, "
              f"p99 {times['p99']:.3f} ms")
    print("- The echo server reads each body and answers 80 fixed bytes; the broker's reply to a "
          "publish of 1000 is some 70 KB.")
    if problems:
        print("\nNot clean:\n" + "\n".join(problems))


if __name__ == "__main__":
    main()
