"""From an event accepted to everybody who listens: `python -m tests.bench stream`. Percentiles in milliseconds.

Real ingest, engine, recorder, api, broker and database, with hardly any load: some events a second, each of which surely
raises a signal (an NPS answer of 0 by a user who never answered before). Each is timed from ingest's answer that it was
accepted until the transition came to the first and to the last of the clients that listen to `/v1/stream`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from contextlib import ExitStack
from typing import Any

import aiohttp
import uvloop

from tests.bench.bench_latency import Clients, World, start
from tests.bench.report import Cell, Report, Table, percentile
from tests.bench.stage import Stage

LOST_AFTER_S = 15.0
LOOKS = 150
WARM_UP = 5


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--watchers", default="1,100", help="clients that listen, one phase each")
    parser.add_argument("--events", type=int, default=60, help="events in a phase")
    parser.add_argument("--a-second", type=float, default=5.0, help="events a second")


async def listen(
    session: aiohttp.ClientSession, world: World, heard: dict[str, list[float]], up: asyncio.Event
) -> None:
    """Note when each user's signal comes, until cancelled. `up` is set once the stream is open."""
    headers = {"Authorization": f"Bearer {world.read_key}"}
    while True:
        async with session.get(f"{world.api_url}/v1/stream?signal=survey.detractor", headers=headers) as answer:
            async for line in answer.content:
                if line.startswith(b"id: "):
                    up.set()
                if line.startswith(b"data: "):
                    heard.setdefault(json.loads(line[6:])["data"]["user"], []).append(time.monotonic())
        await asyncio.sleep(1)


async def phase(world: World, watchers: int, events: int, a_second: float) -> list[Cell]:
    """One line of the table."""
    heard: dict[str, list[float]] = {}
    accepted: dict[str, float] = {}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = Clients(session, world.ingest_url, world.api_url, world.write_key, world.read_key)
        ups = [asyncio.Event() for _ in range(watchers)]
        listening = [asyncio.create_task(listen(session, world, heard, up)) for up in ups]
        await asyncio.gather(*(up.wait() for up in ups))
        for number in range(WARM_UP + events):
            user = uuid.uuid4().hex
            event: dict[str, Any] = {
                "specversion": "1.0",
                "id": user,
                "source": "bench",
                "type": "survey.answered",
                "subject": f"probe-{number % 50:02}",
                "time": clients.stamp(),
                "data": {"survey_id": "S1", "kind": "nps", "score": 0, "user": user},
            }
            if await clients.send([event]) and number >= WARM_UP:
                accepted[user] = time.monotonic()
            await asyncio.sleep(1 / a_second)
        for _ in range(LOOKS):
            if all(len(heard.get(user, ())) == watchers for user in accepted):
                break
            await asyncio.sleep(LOST_AFTER_S / LOOKS)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    took = {user: heard[user] for user in accepted if len(heard.get(user, ())) == watchers}
    cells: list[Cell] = [watchers, len(accepted), len(accepted) - len(took)]
    for which in (0, -1):
        values = [max(times[which] - accepted[user], 0.0) * 1000 for user, times in took.items()]
        cells += [percentile(values, share) if values else None for share in (0.5, 0.95, 1.0)]
    return cells


def run(given: argparse.Namespace) -> Report:
    """All phases, on the same processes."""
    columns = [f"{which} {share}" for which in ("first", "last") for share in ("p50", "p95", "max")]
    table = Table("Milliseconds from accepted to heard", ("watchers", "events", "lost", *columns))
    with Stage() as stage, ExitStack() as stack:
        world = start(stage, stack, stack, "rocksdb", ticks="on")
        for watchers in map(int, given.watchers.split(",")):
            table.rows.append(uvloop.run(phase(world, watchers, given.events, given.a_second)))
    remarks = ["all processes and the clients share this machine's cores; the feed is asked five times a second"]
    return Report("stream", {name: str(value) for name, value in vars(given).items()}, [table], remarks)
