"""Contract 4.3 and 7.3: receipts, redelivery, positions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import PATIENCE, Broker, Setting, eventually, ok, refused, unique

SHORT = "400ms"  # a visibility timeout that a test can wait for


def test_ack(broker: Broker) -> None:
    s = Setting(broker)
    first, second, third = s.poll()
    got = ok(broker.ack(first["receipt_handle"]))
    assert got["acknowledged"] is True
    assert got["success"] is True
    assert (got["topic"], got["partition"], got["offset"]) == (s.topic, 0, 0)
    assert (got["committed_offset"], got["offset_advanced"], got["in_flight_count"]) == (1, True, 2)
    assert "already" not in got
    got = ok(broker.ack(third["receipt_handle"]))
    assert (got["committed_offset"], got["offset_advanced"], got["in_flight_count"]) == (1, False, 1)
    got = ok(broker.ack(second["receipt_handle"]))
    assert (got["committed_offset"], got["offset_advanced"], got["in_flight_count"]) == (3, True, 0)
    assert s.position() == 3
    assert s.poll() == []


def test_double_ack(broker: Broker) -> None:
    s = Setting(broker, 2)
    first, second = s.poll()
    for message in (second, first):
        assert "already" not in ok(broker.ack(message["receipt_handle"]))
        for _ in range(2):
            again = ok(broker.ack(message["receipt_handle"]))
            assert again["acknowledged"] is True
            assert again["already"] is True


def test_consumer_id_is_accepted(broker: Broker) -> None:
    s = Setting(broker, 2)
    first, second = s.poll()
    body = {"receipt_handle": first["receipt_handle"], "consumer_id": "me"}
    ok(broker.post("/messages/ack", body))
    body = {"receipt_handle": second["receipt_handle"], "consumer_id": None}
    ok(broker.post("/messages/ack", body))


def test_redelivery_after_the_visibility_timeout(broker: Broker) -> None:
    s = Setting(broker, 2, visibility_timeout=SHORT)
    start = time.monotonic()
    first = s.poll()
    assert [m["delivery_count"] for m in first] == [1, 1]
    again = s.poll(timeout="10s")
    assert time.monotonic() - start > 0.35
    assert [m["value"] for m in again] == ["0", "1"]
    assert [m["delivery_count"] for m in again] == [2, 2]
    refused(broker.ack(first[0]["receipt_handle"]), 410, "receipt_expired")
    for message in again:
        ok(broker.ack(message["receipt_handle"]))
    assert s.poll(timeout="700ms") == []


def test_visibility_of_the_topic(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 1, visibility_timeout=SHORT)
    broker.publish(topic, "x")
    member = broker.join(group, topic)["member_id"]
    assert broker.poll(group, member)
    assert broker.poll(group, member) == []
    assert broker.poll(group, member, timeout="10s")[0]["delivery_count"] == 2


def test_redelivery_comes_before_newer_messages(broker: Broker) -> None:
    s = Setting(broker, 4, visibility_timeout=SHORT)
    assert s.values(max_messages=2) == ["0", "1"]
    time.sleep(0.5 * PATIENCE)
    assert s.values() == ["0", "1", "2", "3"]


def test_a_late_ack_counts_while_nobody_else_got_the_message(broker: Broker) -> None:
    s = Setting(broker, 1, visibility_timeout="100ms")
    [message] = s.poll()
    time.sleep(0.3 * PATIENCE)
    assert "already" not in ok(broker.ack(message["receipt_handle"]))
    assert s.poll(timeout="300ms") == []


def test_any_client_may_present_a_receipt(broker: Broker) -> None:
    s = Setting(broker, 1)
    [message] = s.poll()
    with broker.raw() as other:
        body = b'{"receipt_handle":"%s"}' % message["receipt_handle"].encode()
        other.send(b"POST /messages/ack HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        other.send(body)
        reply = other.reply()
    assert reply is not None
    assert reply[0] == 200


def test_gone(broker: Broker) -> None:
    s = Setting(broker)
    first, second, _ = s.poll()
    ok(broker.delete(f"/groups/{s.group}"))
    refused(broker.ack(first["receipt_handle"]), 404)
    s = Setting(broker)
    first = s.poll()[0]
    ok(broker.delete(f"/topics/{s.topic}"))
    refused(broker.ack(first["receipt_handle"]), 404)
    broker.create(s.topic)  # a new topic of that name does not know it either
    broker.publish(s.topic, "x")
    refused(broker.ack(first["receipt_handle"]), 404)
    refused(broker.ack(second["receipt_handle"]), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"receipt_handle": None},
        {"receipt_handle": ""},
        {"receipt_handle": 5},
        {"receipt_handle": ["x"]},
        {"receipt_handle": "x"},
        {"receipt_handle": "topic:0:0:1:0123456789abcdef"},
        {"receipt_handle": "é" * 40},
        {"receipt_handle": "A" * 100_000},
        {"receipt_handle": "\0" * 50},
    ],
)
def test_malformed_receipts(broker: Broker, body: dict[str, Any]) -> None:
    refused(broker.post("/messages/ack", body), 400)


def test_receipts_cannot_be_forged(broker: Broker) -> None:
    s = Setting(broker, 1)
    handle = s.poll()[0]["receipt_handle"]
    for i in range(0, len(handle), 3):
        other = "A" if handle[i] != "A" else "B"
        reply = broker.ack(handle[:i] + other + handle[i + 1 :])
        assert reply.status_code in (400, 404), (i, reply.text)
    for wrong in (handle[:-1], handle + "A", handle + "=", handle[1:], " " + handle):
        assert broker.ack(wrong).status_code in (400, 404)
    assert "already" not in ok(broker.ack(handle))


def test_ack_of_a_committed_message(broker: Broker) -> None:
    s = Setting(broker)
    messages = s.poll()
    ok(s.commit(2))
    for message in messages[:2]:
        assert ok(broker.ack(message["receipt_handle"]))["already"] is True
    assert "already" not in ok(broker.ack(messages[2]["receipt_handle"]))


def test_ack_batch(broker: Broker) -> None:
    one, two = Setting(broker, 3), Setting(broker, 2)
    first, second = one.poll(), two.poll()
    ok(broker.ack(first[0]["receipt_handle"]))
    gone = Setting(broker, 1)
    lost = gone.poll()[0]
    ok(broker.delete(f"/groups/{gone.group}"))
    handles = [m["receipt_handle"] for m in (first[2], second[1], first[0], lost, first[1])]
    handles.insert(2, "rubbish")
    handles.append(handles[0])  # the same one twice
    body = ok(broker.post("/messages/ack/batch", {"receipt_handles": handles}))
    assert [r["receipt_handle"] for r in body["results"]] == handles
    done = [r["acknowledged"] for r in body["results"]]
    assert done == [True, True, False, True, False, True, True]
    assert body["success_count"] == 5
    for r in body["results"]:
        assert ("error" in r and "code" in r) is not r["acknowledged"]
    assert (one.position(), two.position()) == (3, None if two.position() is None else 0)
    assert [m["value"] for m in second] == ["0", "1"]
    ok(broker.ack(second[0]["receipt_handle"]))
    assert two.position() == 2


def test_ack_batch_of_a_thousand(broker: Broker) -> None:
    s = Setting(broker, 1000)
    handles = [m["receipt_handle"] for m in s.poll(max_messages=1000)]
    path = "/messages/ack/batch"
    refused(broker.post(path, {"receipt_handles": [*handles, "x"]}), 400)
    assert ok(broker.post(path, {"receipt_handles": handles}))["success_count"] == 1000
    assert s.position() == 1000
    for bad in ({}, {"receipt_handles": []}, {"receipt_handles": "x"}, {"receipt_handles": [1]},
                {"receipt_handles": None}, {"receipt_handles": [None]}):
        refused(broker.post(path, bad), 400)


def test_offsets(broker: Broker) -> None:
    s = Setting(broker)
    assert broker.positions(unique()) == {}
    body = ok(s.commit(2))
    assert (body["committed"], body["status"], body["group"]) == (True, "committed", s.group)
    assert body["offsets"] == {s.topic: {"0": 2}}
    got = ok(broker.get(f"/groups/{s.group}/offsets"))
    assert got["offsets"] == got["topics"] == {s.topic: {"0": 2}}
    assert (got["group_id"], got["generation"]) == (s.group, 1)
    assert got["updated_at"].endswith("Z")
    assert ok(broker.get(f"/groups/{s.group}/offsets", topic=s.topic))["offsets"] == got["offsets"]
    assert ok(broker.get(f"/groups/{s.group}/offsets", topic=unique()))["offsets"] == {}
    assert s.values() == ["2"]


def test_commit_skips_and_rewinds(broker: Broker) -> None:
    s = Setting(broker, 5)
    held = s.poll(max_messages=2)
    ok(s.commit(4))
    assert s.values() == ["4"]
    ok(s.commit(1))
    assert s.position() == 1
    again = s.poll()
    assert [m["value"] for m in again] == ["1", "2", "3", "4"]
    assert broker.ack(held[1]["receipt_handle"]).status_code == 410
    for message in again:
        ok(broker.ack(message["receipt_handle"]))
    assert s.position() == 5
    ok(s.commit(0))
    assert s.values() == ["0", "1", "2", "3", "4"]


def test_commit_beyond_the_end_is_stored_as_given(broker: Broker) -> None:
    s = Setting(broker)
    ok(s.commit(10))
    assert s.position() == 10
    broker.publish(s.topic, *["skipped"] * 7, "seen")
    assert s.values() == ["seen"]


def test_commit_as_a_list_and_idempotent(broker: Broker) -> None:
    s = Setting(broker)
    entries = [{"topic": s.topic, "partition": 0, "offset": 1}]
    for _ in range(2):
        body = {"member_id": s.member, "offsets": entries, "generation": 1}
        assert ok(broker.post(f"/groups/{s.group}/offsets", body))["offsets"] == entries
        assert s.position() == 1


def test_bad_commits(broker: Broker) -> None:
    s = Setting(broker)
    path = f"/groups/{s.group}/offsets"

    def commit(offsets: Any, member: Any = s.member, **more: Any) -> Any:
        return broker.post(path, {"member_id": member, "offsets": offsets, **more})

    for offsets in (None, {}, {s.topic: {}}, [], "x", {s.topic: 5}, {s.topic: {"0": -1}},
                    {s.topic: {"x": 1}}, {s.topic: {"-1": 1}}, {s.topic: {"00": 1}}, {s.topic: {"0": "1"}},
                    {s.topic: {"0": 1.5}}, {s.topic: {"": 1}}, {s.topic: {"0": 2**63}}):
        refused(commit(offsets), 400)
    fine = {s.topic: {"0": 1}}
    refused(commit(fine, member=None), 400)
    refused(commit(fine, member=5), 400)
    refused(commit(fine, member="nobody"), 404, "member_not_found")
    refused(commit({unique(): {"0": 1}}), 404, "topic_not_found")
    refused(commit({s.topic: {"1": 1}}), 404, "partition_not_found")
    refused(commit(fine, generation=0), 409, "stale_generation")
    refused(broker.post(f"/groups/{unique()}/offsets", {"member_id": "m", "offsets": fine}), 404)
    assert s.position() in (None, 0)


def test_commit_needs_the_partition(broker: Broker, topic: str, group: str) -> None:
    broker.create(topic, 2)
    with ThreadPoolExecutor(2) as pool:
        pair = [j.result() for j in [pool.submit(broker.join, group, topic) for _ in "ab"]]
    mine, theirs = pair[0]["partitions"][0], pair[1]["partitions"][0]
    offsets = {topic: {str(mine): 1, str(theirs): 1}}
    body = {"member_id": pair[0]["member_id"], "offsets": offsets}
    refused(broker.post(f"/groups/{group}/offsets", body), 403, "not_assigned")
    assert not any(broker.positions(group).get(topic, {}).values())  # nothing was committed


def test_restart_keeps_what_is_done(own_broker: Broker) -> None:
    s = Setting(own_broker, 10, visibility_timeout="2s")
    messages = s.poll()
    for i in (0, 1, 4, 7):
        ok(own_broker.ack(messages[i]["receipt_handle"]))
    rest = ["2", "3", "5", "6", "8", "9"]
    for restart in (own_broker.restart, own_broker.crash):
        restart()
        assert s.position() == 2
        got: list[str] = []
        eventually(lambda got=got: len(got.extend(s.values()) or got) >= len(rest), 40)
        assert got == rest


def test_receipts_outlive_a_restart(own_broker: Broker) -> None:
    s = Setting(own_broker, 4, visibility_timeout="3s")
    messages = s.poll()
    own_broker.restart()
    assert "already" not in ok(own_broker.ack(messages[0]["receipt_handle"]))
    own_broker.crash()
    assert ok(own_broker.ack(messages[0]["receipt_handle"]))["already"] is True
    assert "already" not in ok(own_broker.ack(messages[2]["receipt_handle"]))
    assert s.position() == 1
    again = s.receive(2)
    assert [m["value"] for m in again] == ["1", "3"]
    refused(own_broker.ack(messages[1]["receipt_handle"]), 410)
    own_broker.restart()
    assert "already" not in ok(own_broker.ack(again[0]["receipt_handle"]))


def test_acks_under_concurrency(broker: Broker) -> None:
    """One receipt acked from many sides at once: all say 200, one of them first."""
    s = Setting(broker, 20)
    with ThreadPoolExecutor(8) as pool:
        for message in s.poll():
            jobs = [pool.submit(broker.ack, message["receipt_handle"]) for _ in range(8)]
            replies = [ok(job.result()) for job in jobs]
            assert all(r["acknowledged"] for r in replies)
    assert s.position() == 20
