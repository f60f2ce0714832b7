"""Settings: everything wrong is said at once, before anything is bound or created."""

from __future__ import annotations

import socket

import pytest
from harness import Broker, goqueue, ok


def test_all_problems_at_once(idle_broker: Broker) -> None:
    b = idle_broker
    ended = b.run_to_end(
        "--topics-partitions=0",
        "--no-such-flag=1",
        "stray",
        LISTENERS_HTTP="nonsense",
        DELIVERY_VISIBILITY="30",
        BROKER_DURABILITY="maybe",
        TOPICS_AUTOCREATE="perhaps",
        LIMITS_BODY="1 parsec",
        JOURNAL_CHECKPOINT="1",
        TOPICS_RETENTIONHOURS="0",
    )
    assert ended.returncode == 2, ended.stderr
    for word in ("topics-partitions", "no-such-flag", "stray", "listeners-http",
                 "GOQUEUE_DELIVERY_VISIBILITY", "GOQUEUE_BROKER_DURABILITY",
                 "GOQUEUE_TOPICS_AUTOCREATE", "GOQUEUE_LIMITS_BODY", "GOQUEUE_JOURNAL_CHECKPOINT",
                 "topics-retentionhours", "nonsense", "maybe", "perhaps", "1 parsec"):
        assert word in ended.stderr, word
    assert not b.data.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTENERS_HTTP", ""),
        ("LISTENERS_HTTP", "127.0.0.1"),
        ("LISTENERS_HTTP", "127.0.0.1:65536"),
        ("LISTENERS_HTTP", "127.0.0.1:-1"),
        ("LISTENERS_HTTP", "::1:80"),
        ("BROKER_DATADIR", ""),
        ("TOPICS_PARTITIONS", "1025"),
        ("TOPICS_PARTITIONS", "3x"),
        ("TOPICS_PARTITIONS", ""),
        ("DELIVERY_VISIBILITY", "-1s"),
        ("DELIVERY_VISIBILITY", "13h"),
        ("LOG_SEGMENTSIZE", "1KiB"),
        ("LOG_SEGMENTSIZE", "99999999999999999999"),
        ("LOG_LEVEL", "loud"),
        ("BROKER_IOTHREADS", "65"),
    ],
)
def test_each_problem(idle_broker: Broker, name: str, value: str) -> None:
    ended = idle_broker.run_to_end(**{name: value})
    assert ended.returncode == 2, ended.stderr
    assert name.lower().replace("_", "-") in ended.stderr.lower().replace("_", "-")
    assert not idle_broker.data.exists()


def test_flags_win_over_the_environment(idle_broker: Broker) -> None:
    idle_broker.start("--topics-partitions", "5", "--broker-nodeid=flag", TOPICS_PARTITIONS="4",
                      BROKER_NODEID="environment")
    idle_broker.publish("t", "x")
    assert ok(idle_broker.get("/topics/t"))["partitions"] == 5
    assert ok(idle_broker.get("/stats"))["node_id"] == "flag"


def test_the_started_line(own_broker: Broker) -> None:
    [line] = [line for line in own_broker.lines if " started " in line]
    assert line.split()[1] == "INFO"
    assert f"http=127.0.0.1:{own_broker.port}" in line.split()
    assert line.split()[0].endswith("Z")


def test_the_port_is_taken(idle_broker: Broker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = idle_broker.run_to_end(LISTENERS_HTTP=address)
    assert ended.returncode == 1, ended.stderr
    assert address in ended.stderr
    assert "in use" in ended.stderr


def test_an_address_that_is_not_ours(idle_broker: Broker) -> None:
    for address in ("192.0.2.1:8080", "no.such.host.invalid:8080"):
        ended = idle_broker.run_to_end(LISTENERS_HTTP=address)
        assert ended.returncode in (1, 2), ended.stderr
        assert address.split(":")[0] in ended.stderr


def test_the_directory_is_taken(own_broker: Broker) -> None:
    own_broker.publish("t", "x")
    ended = own_broker.run_to_end()
    assert ended.returncode == 1, ended.stderr
    assert str(own_broker.data) in ended.stderr
    assert "in use" in ended.stderr or "lock" in ended.stderr
    assert own_broker.values("t") == ["x"]
    own_broker.crash()  # a lock does not outlive its process
    assert own_broker.values("t") == ["x"]


def test_the_directory_cannot_be_used(idle_broker: Broker) -> None:
    idle_broker.data.write_text("a file")
    ended = idle_broker.run_to_end()
    assert ended.returncode == 1, ended.stderr
    assert str(idle_broker.data) in ended.stderr
    assert idle_broker.data.read_text() == "a file"


def test_ipv6(idle_broker: Broker) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    idle_broker.start(LISTENERS_HTTP="[::1]:0")
    with socket.create_connection(("::1", idle_broker.port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_defaults_come_from_settings(idle_broker: Broker) -> None:
    idle_broker.start(TOPICS_PARTITIONS="7", TOPICS_RETENTIONHOURS="-1",
                      DELIVERY_VISIBILITY="1m", DELIVERY_MAXDELIVERIES="9")
    idle_broker.post("/topics", {"name": "t"})
    got = ok(idle_broker.get("/topics/t"))
    assert (got["partitions"], got["retention_hours"]) == (7, -1)
    assert (got["visibility_timeout"], got["max_deliveries"]) == ("1m0s", 9)


def test_os_durability(idle_broker: Broker) -> None:
    idle_broker.start(BROKER_DURABILITY="os")
    idle_broker.publish("t", "x")
    idle_broker.crash()  # the process died, not the machine
    assert idle_broker.values("t") == ["x"]


def test_help_and_usage() -> None:
    for arguments in (["--help"], ["serve", "--help"]):
        ended = goqueue(*arguments)
        assert ended.returncode == 0
        assert "serve" in ended.stdout
    assert "GOQUEUE_LISTENERS_HTTP" in goqueue("serve", "--help").stdout
    assert goqueue("--version").stdout.strip()
    for arguments in ([], ["no-such-verb"]):
        ended = goqueue(*arguments)
        assert ended.returncode == 2
        assert "serve" in ended.stderr
