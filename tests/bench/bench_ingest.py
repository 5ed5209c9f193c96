"""What an event costs ingest: `python -m tests.bench ingest` (or `python -m tests.bench.bench_ingest --seconds 10`).

One ingest process on a broker and a database of its own. Requests of 100 come over 16 connections, each sent when the
answer before it is there; an event counts when its answer says that Kafka acknowledged it. CPU is that of the ingest
process. The baseline in the same run is aiokafka producing the very same records: once with a future per record, as its
`send` does it, and once with a record batch per partition and request.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import psutil
from aiokafka import AIOKafkaProducer

from services.common.kafka import partition_of
from tests.bench.servers import servers
from tests.harness import new_key, start_service

ACCOUNTS, BATCH, REQUESTS, CONNECTIONS, PARTITIONS = 20_000, 100, 200, 16, 4
WARM_UP_S = 2.0
SOURCE = "bench"


class Load(NamedTuple):
    """What is sent: the path, request bodies of `BATCH` events each, and what an answer says of each that was kept."""

    name: str
    path: str
    bodies: list[bytes]
    accepted: bytes
    accepted_is_all: bool


class Rate(NamedTuple):
    """CPU seconds and wall seconds for so many events."""

    events: int
    cpu_s: float
    wall_s: float

    def __str__(self) -> str:
        each = self.cpu_s / self.events * 1e6
        busy = self.cpu_s / self.wall_s
        return f"{each:9.1f} {self.events / self.wall_s:10,.0f} {1e6 / each:14,.0f} {busy:8.0%}"


def cloudevents() -> Load:
    """Usage events of some 330 bytes, accounts at random."""
    chance = random.Random(1)
    bodies = [msgspec.json.encode([_event(chance) for _ in range(BATCH)]) for _ in range(REQUESTS)]
    return Load("/v1/events, batches of 100", "/v1/events", bodies, b'"accepted"', False)


def _event(chance: random.Random) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid.UUID(int=chance.getrandbits(128))),
        "source": "https://app.example.com/backend",
        "type": "usage.feature_used",
        "subject": f"acct-{chance.randrange(ACCOUNTS):06}",
        "time": dt.datetime.now(dt.UTC).isoformat(),
        "data": {
            "user": f"user-{chance.randrange(500)}@example.com",
            "feature": chance.choice(["export", "report", "dashboard", "search"]),
            "count": chance.randrange(1, 9),
            "core": chance.random() < 0.3,
            "channel": "web",
            "duration_s": round(chance.random() * 90, 1),
        },
    }


def segment() -> Load:
    """Track calls as an SDK batches them; each names its account in the context."""
    chance = random.Random(2)
    bodies = []
    for _ in range(REQUESTS):
        sent = dt.datetime.now(dt.UTC).isoformat()
        calls = [_call(chance, sent) for _ in range(BATCH)]
        bodies.append(msgspec.json.encode({"batch": calls, "sentAt": sent}))
    return Load("/v1/batch, 100 track calls", "/v1/batch", bodies, b'"success":true', True)


def _call(chance: random.Random, sent: str) -> dict[str, Any]:
    account = chance.randrange(ACCOUNTS)
    return {
        "type": "track",
        "event": chance.choice(["Report Exported", "Dashboard Viewed", "Search Run"]),
        "userId": f"user-{account}-{chance.randrange(3)}",
        "anonymousId": None,
        "messageId": str(uuid.UUID(int=chance.getrandbits(128))),
        "timestamp": sent,
        "integrations": {},
        "properties": {"duration_s": round(chance.random() * 90, 1), "label": "quarterly"},
        "context": {
            "library": {"name": "analytics-python", "version": "2.4.0"},
            "groupId": f"acct-{account:06}",
        },
    }


class _Client(asyncio.Protocol):
    """One connection: sends a request when the answer to the one before it is there."""

    def __init__(self, requests: list[bytes], first: int, load: Load) -> None:
        self._requests = requests
        self._at = first
        self._load = load
        self._answer = b""
        self._transport: Any = None
        self.kept = 0
        self.failure: str | None = None
        self.running = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._transport.write(self._requests[self._at % len(self._requests)])
        self._at += 1

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        kept = body.count(self._load.accepted) * (BATCH if self._load.accepted_is_all else 1)
        if not head.startswith(b"HTTP/1.1 200") or kept != BATCH:
            self.failure = (head[:80] + b" " + body[:400]).decode(errors="replace")
            self.running = False
        self.kept += kept
        self._answer = b""
        if self.running:
            self._send()


async def offer(load: Load, port: int, key: str, process: psutil.Process, seconds: float) -> Rate:
    """Send `load` for so long and measure the process that answers."""
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    )
    requests = [head.format(len(body)).encode() + body for body in load.bodies]
    loop = asyncio.get_running_loop()
    clients = [_Client(requests, number * 13, load) for number in range(CONNECTIONS)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(WARM_UP_S)
    before, since, kept = process.cpu_times(), time.monotonic(), sum(client.kept for client in clients)
    await asyncio.sleep(seconds)
    after, wall = process.cpu_times(), time.monotonic() - since
    kept = sum(client.kept for client in clients) - kept
    failures = [client.failure for client in clients if client.failure]
    for client in clients:
        client.running = False
    await asyncio.sleep(0.5)
    if failures:
        sys.exit(f"an answer was not as expected: {failures[0]}")
    return Rate(kept, after.user + after.system - before.user - before.system, wall)


async def produce(
    bootstrap: str,
    bodies: list[bytes],
    seconds: float,
    send: Callable[[Any, list[tuple[bytes, bytes]]], Awaitable[None]],
) -> Rate:
    """aiokafka alone, with the records of the same requests, some of them on their way at once."""
    split = msgspec.json.Decoder(list[msgspec.Raw])
    records = [
        [(msgspec.json.decode(raw)["subject"].encode(), bytes(raw)) for raw in split.decode(body)] for body in bodies
    ]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    done = 0
    until = time.monotonic() + seconds

    async def connection(at: int) -> None:
        nonlocal done
        while time.monotonic() < until:
            at += 1
            await send(producer, records[at % len(records)])
            done += BATCH

    gc.collect()
    cpu, since = time.process_time(), time.monotonic()
    try:
        await asyncio.gather(*(connection(number * 13) for number in range(CONNECTIONS)))
        return Rate(done, time.process_time() - cpu, time.monotonic() - since)
    finally:
        await producer.stop()


async def one_by_one(producer: Any, records: list[tuple[bytes, bytes]]) -> None:
    """A future per record, all awaited."""
    await asyncio.gather(*[await producer.send("usage", value, key) for key, value in records])


async def by_batches(producer: Any, records: list[tuple[bytes, bytes]]) -> None:
    """A record batch for each partition of a request."""
    batches = {number: producer.create_batch() for number in range(PARTITIONS)}
    for key, value in records:
        batches[partition_of(key, PARTITIONS)].append(timestamp=None, key=key, value=value)
    sending = [await producer.send_batch(batch, "usage", partition=number) for number, batch in batches.items()]
    await asyncio.gather(*sending)


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_ingest")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each line is measured")
    parser.add_argument("--only", choices=("events", "segment"), help="one of the loads, and no baseline")
    wanted = parser.parse_args(arguments)
    with servers() as env:
        key = new_key(env, "ingest", source=SOURCE)
        service = start_service("ingest", env)
        try:
            process = psutil.Process(service.process.pid)
            print(f"{'':38}{'CPU µs':>9} {'events/s':>10} {'a core could':>14} {'busy':>8}")
            for load in (cloudevents(), segment()):
                if wanted.only is None or load.path == f"/v1/{'batch' if wanted.only == 'segment' else wanted.only}":
                    port = int(env["EBBTIDE_INGEST_PORT"])
                    rate = asyncio.run(offer(load, port, key, process, wanted.seconds))
                    print(f"{load.name:38}{rate}", flush=True)
            print(f"memory of the process: {process.memory_info().rss / 2**20:.0f} MiB")
        finally:
            service.stop()
        if wanted.only is None:
            bodies = cloudevents().bodies
            for name, send in (("aiokafka, send for each", one_by_one), ("aiokafka, a batch a partition", by_batches)):
                bootstrap = env["EBBTIDE_KAFKA_BOOTSTRAP_SERVERS"]
                rate = asyncio.run(produce(bootstrap, bodies, wanted.seconds, send))
                print(f"{name:38}{rate}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
