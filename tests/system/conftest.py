"""Fixtures: the real broker on a free port and a temporary directory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness import Broker, running, unique


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: more than a few seconds; left out under sanitizers")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """A failed test shows what the brokers wrote."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        for broker in Broker.alive:
            report.sections.append((f"broker's stderr, port {broker.port}", broker.stderr()))


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One broker for all tests of a file; each uses names of its own."""
    yield from running()


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker that the test may stop, kill and restart."""
    yield from running()


@pytest.fixture
def idle_broker() -> Iterator[Broker]:
    """A directory whose broker is not started yet."""
    broker = Broker()
    try:
        yield broker
    finally:
        broker.close()


@pytest.fixture
def topic() -> str:
    """A name nobody else uses."""
    return unique("topic")


@pytest.fixture
def group() -> str:
    """A name nobody else uses."""
    return unique("group")
