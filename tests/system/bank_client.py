"""One teller of test_bank.py: it moves money, a transaction each, and is killed or stopped at any moment.

    bank_client.py PORT_FILE LOG NAME SEED

It repeats a call until there is an answer, for as long as the broker is away. What it is about to do and
what it was told goes to LOG, one JSON object a line, before the next call: a kill -9 loses nothing that
was written. `sent` and `at` are nanoseconds of CLOCK_MONOTONIC, the same for all processes.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sys
import time
import uuid
from typing import Any, Optional

ACCOUNTS = [f"account-{i:02}" for i in range(20)]
ABORT_SHARE = 0.15
CALL_SECONDS = 10


class Fenced(Exception):
    """Another one has our name now."""


class Teller:
    def __init__(self, port_file: str, log: str, name: str, seed: str) -> None:
        self.port_file, self.name = port_file, name
        self.log_file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.rng = random.Random(int(seed))
        self.connection: Optional[http.client.HTTPConnection] = None
        self.port = ""
        self.who: dict[str, Any] = {}

    def log(self, what: str, **fields: Any) -> None:
        line = json.dumps({"at": time.monotonic_ns(), "what": what, **fields}, separators=(",", ":"))
        os.write(self.log_file, line.encode() + b"\n")

    def once(self, path: str, body: Any) -> tuple[int, Any]:
        with open(self.port_file) as file:
            port = file.read()
        if self.connection is None or port != self.port:
            self.port = port
            self.connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=CALL_SECONDS)
        try:
            self.connection.request("POST", path, json.dumps(body))
            reply = self.connection.getresponse()
            return reply.status, json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.connection.close()
            self.connection = None
            return 503, {"code": "gone"}

    def call(self, path: str, **more: Any) -> tuple[int, Any]:
        while True:
            sent = time.monotonic_ns()
            status, body = self.once(path, {**self.who, **more})
            if status == 200 and path != "/producers/init":
                self.log("accepted", sent=sent, epoch=self.who["epoch"], path=path)
            if status < 500:
                break
            time.sleep(0.02)
        if body.get("code") == "producer_fenced":
            raise Fenced
        return status, body

    def transfer(self) -> None:
        transfer = uuid.uuid4().hex
        source, target = self.rng.sample(ACCOUNTS, 2)
        amount = self.rng.randint(1, 500)
        self.log("begin", transfer=transfer)
        status, body = self.call("/transactions/begin")
        assert status == 200, body
        entries = [("debits", source, -amount), ("credits", target, amount)]
        for sequence, (topic, account, change) in enumerate(entries):
            value = json.dumps({"transfer": transfer, "account": account, "amount": change})
            status, body = self.call("/transactions/publish", topic=topic, key=account, value=value,
                                     sequence=sequence)
            if status != 200:
                break
        wish = "abort" if status != 200 or self.rng.random() < ABORT_SHARE else "commit"
        self.log(f"{wish}?", transfer=transfer)
        status, body = self.call(f"/transactions/{wish}")
        if wish == "abort":
            assert status == 200, body
        elif status != 200:  # its time was over
            assert body["code"] in ("transaction_aborted", "no_transaction"), body
            wish = "abort"
        self.log(f"{wish}!", transfer=transfer)

    def run(self) -> None:
        # Unnamed members of the calls: their transactional id, for all of them.
        self.who = {"transactional_id": self.name, "transaction_timeout": "3s"}
        status, body = self.call("/producers/init")
        assert status == 200, body
        self.who = {"transactional_id": self.name, "producer_id": body["producer_id"], "epoch": body["epoch"]}
        self.log("init!", epoch=body["epoch"])
        try:
            while True:
                self.transfer()
        except Fenced:
            self.log("fenced")


if __name__ == "__main__":
    try:
        Teller(*sys.argv[1:]).run()
    except AssertionError as error:
        print(f"teller: {error}", file=sys.stderr)
        raise
