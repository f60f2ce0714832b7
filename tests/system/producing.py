"""A producer as tests use it: its identity, and one method a call of contract 4.8."""

from __future__ import annotations

from typing import Any, Optional

import httpx
from harness import Broker, ok, unique


class Producer:
    """Made by /producers/init; `name` None: without a transactional id."""

    def __init__(self, broker: Broker, name: Optional[str] = "", tenant: str = "", **init: Any) -> None:
        self.broker = broker
        self.name = unique("producer") if name == "" else name
        self.headers = {"X-Tenant-ID": tenant} if tenant else {}
        body = init if self.name is None else {"transactional_id": self.name, **init}
        reply = ok(self.post("/producers/init", body))
        self.id: int = reply["producer_id"]
        self.epoch: int = reply["epoch"]

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.broker.request("POST", path, body, headers=self.headers)

    def get(self, path: str) -> httpx.Response:
        return self.broker.request("GET", path, headers=self.headers)

    @property
    def who(self) -> dict[str, Any]:
        return {"producer_id": self.id, "epoch": self.epoch}

    @property
    def named(self) -> dict[str, Any]:
        return {**self.who, "transactional_id": self.name}

    # Calls whose reply the test judges.

    def try_begin(self) -> httpx.Response:
        return self.post("/transactions/begin", self.named)

    def try_publish(self, topic: str, value: Any, **more: Any) -> httpx.Response:
        return self.post("/transactions/publish", {**self.who, "topic": topic, "value": value, **more})

    def try_commit(self) -> httpx.Response:
        return self.post("/transactions/commit", self.named)

    def try_abort(self) -> httpx.Response:
        return self.post("/transactions/abort", self.named)

    def try_ack(self, *receipts: str) -> httpx.Response:
        return self.post("/transactions/ack", {**self.who, "receipt_handles": list(receipts)})

    def try_offsets(self, group: str, member: str, offsets: Any, **more: Any) -> httpx.Response:
        body = {**self.who, "group": group, "member_id": member, "offsets": offsets, **more}
        return self.post("/transactions/offsets", body)

    def heartbeat(self, **body: Any) -> httpx.Response:
        return self.post(f"/producers/{self.id}/heartbeat", {"epoch": self.epoch, **body})

    # Calls that must succeed.

    def begin(self) -> str:
        transaction: str = ok(self.try_begin())["transaction_id"]
        return transaction

    def publish(self, topic: str, *values: Any, **more: Any) -> list[dict[str, Any]]:
        return [ok(self.try_publish(topic, value, **more)) for value in values]

    def commit(self) -> dict[str, Any]:
        reply: dict[str, Any] = ok(self.try_commit())
        assert reply["status"] == "committed"
        return reply

    def abort(self) -> dict[str, Any]:
        reply: dict[str, Any] = ok(self.try_abort())
        assert reply["status"] == "aborted"
        return reply

    def ack(self, *receipts: str) -> dict[str, Any]:
        reply: dict[str, Any] = ok(self.try_ack(*receipts))
        assert (reply["status"], reply["count"]) == ("added", len(receipts))
        return reply

    def transaction(self, transaction_id: str) -> dict[str, Any]:
        reply: dict[str, Any] = ok(self.get(f"/transactions/{transaction_id}"))
        return reply

    def open(self) -> list[dict[str, Any]]:
        """Its open transactions, as the list tells them."""
        listed = ok(self.get("/transactions"))
        assert listed["count"] == len(listed["transactions"])
        return [t for t in listed["transactions"] if t["producer_id"] == self.id]
