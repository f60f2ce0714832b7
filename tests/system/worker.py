"""One worker of test_workers.py, as somebody would write it with the SDK; it is killed at any moment.

    worker.py URL GROUP TOPIC LOG CLIENT_ID SESSION_TIMEOUT VISIBILITY_TIMEOUT WORK_SECONDS

It joins, polls, works, acknowledges, and joins again when it is a member no more; SIGTERM makes it leave.

What it asks and what it is told goes to LOG, one JSON object a line, written before the next request: a
kill -9 loses nothing that was written. `at` and `sent` are nanoseconds of CLOCK_MONOTONIC, which is the
same for all processes; `sent` is when the request of an answer was on its way.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable
from typing import Any

from goqueue_client import GoQueueClient, GoQueueError, parse_duration

HEARTBEAT_SECONDS = 0.4
SLOW_SHARE = 0.01  # so many messages take longer than their visibility timeout


class Log:
    """Not buffered here: what is written is the kernel's, whatever becomes of the process."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, **fields: Any) -> None:
        line = json.dumps({"at": time.monotonic_ns(), "what": what, **fields}, separators=(",", ":"))
        os.write(self.file, line.encode() + b"\n")


class Worker:
    def __init__(self, client: GoQueueClient, arguments: list[str]) -> None:
        self.client = client
        self.group, self.topic, log, self.client_id, self.session, self.visibility, seconds = arguments
        self.work_seconds = float(seconds)  # for one message, on average
        self.log = Log(log)
        self.member = ""
        self.generation = 0
        self.jobs: set[asyncio.Task[None]] = set()

    async def ask(self, what: str, call: Awaitable[Any], **fields: Any) -> Any:
        """The reply of a call, logged before and after."""
        fields["member"] = self.member
        self.log.write(f"{what}?", **fields)
        sent = time.monotonic_ns()
        try:
            reply = await call
        except GoQueueError as error:
            self.log.write(f"{what}!", sent=sent, status=error.status, **fields)
            raise
        return sent, reply, fields

    async def join(self) -> None:
        self.member = ""
        body: Any = {
            "client_id": self.client_id,
            "topics": [self.topic],
            "session_timeout": self.session,
            "visibility_timeout": self.visibility,
        }
        sent, reply, _ = await self.ask("join", self.client.groups.join(self.group, body))
        self.member, self.generation = reply["member_id"], reply["generation"]
        self.log.write("join", sent=sent, member=self.member, session=parse_duration(self.session))

    async def poll(self) -> None:
        call = self.client.groups.poll(self.group, self.member, max_messages=5, timeout="1s")
        sent, reply, fields = await self.ask("poll", call)
        names = "value", "partition", "offset", "delivery_count", "visibility_deadline"
        messages = [[m.get(name) for name in names] for m in reply["messages"]]
        self.log.write("poll", sent=sent, messages=messages, **fields)
        for message in reply["messages"]:
            if random.random() < SLOW_SHARE:
                job = asyncio.create_task(self.work(message, parse_duration(self.visibility) * 1.3))
                self.jobs.add(job)
                job.add_done_callback(self.jobs.discard)
            else:
                await self.work(message, random.uniform(0, 2 * self.work_seconds))

    async def work(self, message: Any, seconds: float) -> None:
        await asyncio.sleep(seconds)
        call = self.client.messages.ack(message["receipt_handle"])
        fields = {"value": message["value"], "count": message["delivery_count"]}
        try:
            sent, reply, fields = await self.ask("ack", call, **fields)
        except GoQueueError as error:
            if error.status != 410:  # somebody else has it: that is for the judge
                raise
        else:
            self.log.write("ack", sent=sent, already=reply.get("already", False), **fields)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            body: Any = {"member_id": self.member, "generation": self.generation}
            sent, reply, fields = await self.ask("beat", self.client.groups.heartbeat(self.group, body))
            self.generation = reply["generation"]
            self.log.write("beat", sent=sent, **fields)

    async def serve(self) -> None:
        """Be a member until the broker says that we are none."""
        await self.join()
        beats = asyncio.create_task(self.beat())
        try:
            while not beats.done():
                await self.poll()
            await beats
        except GoQueueError as error:
            if error.status != 404:
                raise
        finally:
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)

    async def run(self) -> None:
        while True:
            await self.serve()

    async def leave(self) -> None:
        if self.member:
            sent, _, fields = await self.ask(
                "leave", self.client.groups.leave(self.group, {"member_id": self.member})
            )
            self.log.write("leave", sent=sent, **fields)


async def main() -> None:
    url, *arguments = sys.argv[1:]
    async with GoQueueClient(url) as client:
        worker = Worker(client, arguments)
        work = asyncio.create_task(worker.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        await asyncio.wait([work])
        if work.cancelled():
            await worker.leave()
        else:
            work.result()  # a failure: exit code 1


if __name__ == "__main__":
    asyncio.run(main())
