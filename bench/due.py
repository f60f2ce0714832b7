#!/usr/bin/env python3
"""Delayed messages that fall due at one moment: how late the last one is, and what publishing feels of it.

    bench/due.py URL COUNT

Publishes COUNT messages with one deliverAt, publishes single messages before and after it over one connection, and asks
for the number of pending ones until there are none. Prints JSON; times in milliseconds."""

import http.client
import json
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

TOPIC = "due"
BATCH = 10000


class Broker:
    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def call(self, method: str, path: str, body: object = None) -> dict:
        self.connection.request(method, path, json.dumps(body) if body is not None else None)
        response = self.connection.getresponse()
        reply = json.loads(response.read())
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {reply}")
        return reply


def publish_all(broker: Broker, count: int, due: datetime) -> None:
    messages = [{"value": "x" * 100, "deliverAt": due.isoformat()}] * BATCH
    for first in range(0, count, BATCH):
        reply = broker.call("POST", f"/topics/{TOPIC}/messages", {"messages": messages[: count - first]})
        late = [r for r in reply["results"] if not r["delayed"]]
        if late:
            raise SystemExit(f"published too slowly, or refused: {late[0]}")


def publish_singles(url: str, until: float, latencies: list[tuple[float, float]]) -> None:
    broker = Broker(url)
    while time.time() < until:
        begin = time.time()
        broker.call("POST", "/topics/due-others/messages", {"messages": [{"value": "x" * 100}]})
        latencies.append((begin, (time.time() - begin) * 1000))


def quantile(values: list[float], q: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(q * len(values)))], 3) if values else 0.0


def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    broker = Broker(url)
    broker.call("POST", "/topics", {"name": TOPIC, "num_partitions": 6})
    due = datetime.now(timezone.utc) + timedelta(seconds=4 + count / 50000)
    publish_all(broker, count, due)
    moment = due.timestamp()
    latencies: list[tuple[float, float]] = []
    publisher = threading.Thread(target=publish_singles, args=(url, moment + 1, latencies))
    publisher.start()
    pending, seen_early = count, False
    while pending > 0:
        pending = broker.call("GET", "/delay/stats")["by_topic"].get(TOPIC, 0)
        now = time.time()
        seen_early = seen_early or (pending < count and now < moment)
        if now > moment + 30:
            raise SystemExit(f"{pending} messages are 30 s late")
    last_late_ms = (now - moment) * 1000
    publisher.join()
    quiet = [ms for at, ms in latencies if at < moment - 0.1]
    storm = [ms for at, ms in latencies if moment - 0.005 <= at < moment + last_late_ms / 1000]
    print(json.dumps({
        "count": count,
        "early": seen_early,
        "last_late_ms": round(last_late_ms, 1),
        "publish_quiet_p50_ms": quantile(quiet, 0.5),
        "publish_quiet_max_ms": quantile(quiet, 1),
        "publish_meanwhile_p50_ms": quantile(storm, 0.5),
        "publish_meanwhile_max_ms": quantile(storm, 1),
        "publish_meanwhile_count": len(storm),
    }))


if __name__ == "__main__":
    main()
