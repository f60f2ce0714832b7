"""GET /metrics: the Prometheus text format, and the families that the contract names."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest
from harness import Broker, ok

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.eE+-]+|[+-]Inf|NaN)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> tuple[dict[str, str], Samples]:
    """Types by family, and samples; strict about the format."""
    types: dict[str, str] = {}
    helps: set[str] = set()
    samples: Samples = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helps, f"{name}: HELP twice"
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name}: TYPE twice"
            assert kind in ("counter", "gauge", "histogram", "summary")
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            labels = match[2] or ""
            found = LABEL.findall(labels)
            assert LABEL.sub("", labels) == "", line
            family = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert match[1] in types or types.get(family) in ("histogram", "summary"), line
            key = (match[1], tuple(sorted(found)))
            assert key not in samples, f"twice: {line}"
            samples[key] = float(match[3])
    assert helps == set(types)
    return types, samples


def metrics(broker: Broker) -> tuple[dict[str, str], Samples]:
    reply = broker.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(reply.text)


def value(samples: Samples, name: str, **labels: Any) -> float:
    return samples["goqueue_" + name, tuple(sorted((k, str(v)) for k, v in labels.items()))]


def test_families_and_values(own_broker: Broker) -> None:
    b = own_broker
    b.create("orders", 2)
    b.publish("orders", *["12345678"] * 10)
    b.consume("orders")
    member = b.join("workers", "orders")["member_id"]
    messages = b.poll("workers", member)
    for message in messages[:4]:
        ok(b.ack(message["receipt_handle"]))
    b.post("/topics/orders/messages", {"messages": [{"value": "x", "partition": 9}]})
    types, samples = metrics(b)
    assert value(samples, "broker_messages_published_total", topic="orders") == 10
    assert value(samples, "broker_messages_consumed_total", topic="orders") >= 10
    assert value(samples, "broker_messages_acked_total") == 4
    assert value(samples, "broker_topic_count") == 1
    assert value(samples, "broker_topic_partitions", topic="orders") == 2
    assert value(samples, "consumer_group_members", group="workers") == 1
    assert value(samples, "consumer_group_generation", group="workers") == 1
    committed = [
        value(samples, "consumer_committed_offset", group="workers", topic="orders", partition=p)
        for p in (0, 1)
    ]
    lag = [
        value(samples, "consumer_lag", group="workers", topic="orders", partition=p)
        for p in (0, 1)
    ]
    assert sum(committed) == 4
    assert sum(lag) == 6
    totals: dict[str, float] = defaultdict(float)
    for (name, _), number in samples.items():
        totals[name.removeprefix("goqueue_")] += number
    assert totals["broker_bytes_published_total"] >= 80
    assert totals["broker_bytes_consumed_total"] >= 80
    assert totals["broker_messages_failed_total"] == 1
    assert totals["storage_log_size_bytes"] > 0
    for name in ("broker_publish_latency_seconds", "broker_fetch_latency_seconds",
                 "broker_ack_latency_seconds", "storage_fsync_latency_seconds"):
        assert types["goqueue_" + name] in ("histogram", "summary")
        assert totals[name + "_count"] > 0
    for name, kind in types.items():
        assert name.startswith(("goqueue_", "process_")), name
        assert (kind == "counter") == name.endswith("_total"), name


def test_histograms_are_cumulative(broker: Broker, topic: str) -> None:
    for _ in range(20):
        broker.publish(topic, "x")
    types, samples = metrics(broker)
    for family in (name for name, kind in types.items() if kind == "histogram"):
        buckets: dict[Any, list[tuple[float, float]]] = defaultdict(list)
        for (name, labels), number in samples.items():
            if name == family + "_bucket":
                rest = tuple(pair for pair in labels if pair[0] != "le")
                buckets[rest].append((float(dict(labels)["le"]), number))
        assert buckets, family
        for rest, pairs in buckets.items():
            pairs.sort()
            counts = [count for _, count in pairs]
            assert counts == sorted(counts), family
            assert pairs[-1][0] == float("inf")
            assert pairs[-1][1] == samples[family + "_count", rest]


@pytest.mark.parametrize("path", ["/metrics", "/v1/metrics", "/metrics/"])
def test_is_text_whatever_is_asked_for(broker: Broker, path: str) -> None:
    reply = broker.request("GET", path, headers={"Accept": "application/json"})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    parse(reply.text)


def test_names_from_outside_are_escaped(own_broker: Broker) -> None:
    own_broker.create("a-b_C", 1)
    own_broker.join("g.r-p", "a-b_C", client_id='c"\n\\')
    _, samples = metrics(own_broker)
    assert value(samples, "consumer_group_members", group="g.r-p") == 1
