"""Whether one account can slow the others: `python -m tests.bench fairness`. Milliseconds and CPU µs an event.

Three logs of the same others' events: alone, with an account that has a third of all events, and with an account of many
users on which a tenth of all events fall, each of another of its users. Each is measured twice. As a backlog: CPU of the
worker an event, and the others' events a second. Live: the events are appended at a steady rate straight to Kafka, and
ten times a second an event that surely raises a signal (an NPS answer of 0 by a new user) goes to one of the other
accounts; timed from the broker's acknowledgement until the transition arrived at a consumer of `signals.risk`. Half of
these go to accounts in the partition of the special account, which they wait behind, half to the other partitions.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.signals import RISK_TOPIC
from services.common.kafka import end_offsets, partition_of
from tests.bench.bench_engine import follow
from tests.bench.report import Cell, Report, Table, percentile
from tests.bench.stage import Stage, outcomes, until
from tests.bench.workload import Record, name_of

SPECIAL = "acct-special"
PROBES_A_S = 10
SETTLE_S = 5.0
HOT_SHARE = 1 / 3
CROWD_SHARE = 1 / 10


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--events", type=int, default=30_000, help="the others' events in the backlog")
    parser.add_argument("--accounts", type=int, default=2_000, help="the other accounts")
    parser.add_argument("--users", type=int, default=5_000, help="users of the crowded account (stated: 50000)")
    parser.add_argument("--rate", type=int, default=500, help="the others' events/s, live")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each case is measured live")
    parser.add_argument("--store", choices=("rocksdb", "memory"), default="rocksdb")


@dataclass(frozen=True)
class Special:
    """The account that may be in the way: its share of all events, and how many users it has."""

    name: str
    share: float
    users: int


def run(given: argparse.Namespace) -> Report:
    """Each case on topics of its own."""
    table = Table(
        f"The others beside one account, {given.accounts:,} accounts",
        (
            "case",
            "µs/event",
            "others' events/s",
            *(f"{which} {share}" for which in ("same partition", "elsewhere") for share in ("p50", "p95", "p99")),
            "lost",
        ),
    )
    cases = (
        Special("alone", 0.0, 0),
        Special("a hot account: a third of all events", HOT_SHARE, 20),
        Special(f"an account of {given.users:,} users", CROWD_SHARE, given.users),
    )
    with Stage() as stage:
        for special in cases:
            table.rows.append((special.name, *measure(stage, given, special)))
    remarks = ["latencies in ms; load, probes, broker and worker share this machine's cores"]
    return Report("fairness", {name: str(value) for name, value in vars(given).items()}, [table], remarks)


def measure(stage: Stage, given: argparse.Namespace, special: Special) -> list[Cell]:
    """Backlog, then live, on one worker."""
    if stage.ends("usage"):
        stage.kafka.delete_all_topics()
    app_id = stage.new_app()
    env = stage.environment(app_id, engine_store=given.store, log_level="warning")
    crowd = stage.fill(_crowd(special)) if special.users else 0
    if crowd:
        with stage.service("engine", env, log=f"{app_id}-crowd") as engine:
            until(
                "the crowd is known",
                lambda: outcomes(engine.metrics()).get("applied", 0) >= crowd,
                [engine],
                within=120 + crowd / 500,
                every=0.5,
            )
    total = stage.fill(_backlog(given.events, given.accounts, special))
    with stage.service("engine", env, ready=False, log=app_id) as engine:
        first, last = follow(stage, [engine], total, f"{app_id}-state-changelog")
        events = last.applied - first.applied
        wall = last.engine.at - first.engine.at
        live = uvloop.run(_live(stage, given, special))
    us = (last.engine.cpu_s - first.engine.cpu_s) / events * 1e6
    return [us, events * (1 - special.share) / wall, *live]


def _crowd(special: Special) -> Iterator[Record]:
    for number in range(special.users):
        at = _first_day() + dt.timedelta(seconds=number * 3600 / special.users)
        yield Record("usage", SPECIAL.encode(), _usage(f"crowd-{number}", SPECIAL, f"user-{number}", at))


def _backlog(events: int, accounts: int, special: Special) -> Iterator[Record]:
    """The others' events, the same in every case, with the special account's between them."""
    others, its = random.Random(5), random.Random(6)
    start = _first_day() + dt.timedelta(days=1)
    for index in range(events):
        at = start + dt.timedelta(seconds=index * 20 * 86_400 / events)
        account = name_of(others.randrange(accounts))
        yield Record("usage", account.encode(), _usage(f"b{index}", account, f"user-{others.randrange(4)}", at))
        if special.share and its.random() < special.share / (1 - special.share):
            user = f"user-{its.randrange(special.users)}"
            yield Record("usage", SPECIAL.encode(), _usage(f"s{index}", SPECIAL, user, at))


def _first_day() -> dt.datetime:
    """So that the backlog ends yesterday: live events then move no clock over more than a day."""
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - dt.timedelta(days=22)


def _usage(name: str, account: str, user: str, at: dt.datetime) -> bytes:
    return (
        f'{{"specversion":"1.0","id":"{name}","source":"bench","type":"usage.page_viewed","subject":"{account}",'
        f'"time":"{at.isoformat()}","data":{{"user":"{user}","page":"/board"}}}}'
    ).encode()


async def _live(stage: Stage, given: argparse.Namespace, special: Special) -> list[Cell]:
    """Percentiles of the probes in the special account's partition and elsewhere, and how many were lost."""
    bootstrap, partitions = stage.kafka.bootstrap, stage.partitions
    home = partition_of(SPECIAL.encode(), partitions)
    near = [a for a in map(name_of, range(given.accounts)) if partition_of(a.encode(), partitions) == home][:200]
    far = [a for a in map(name_of, range(given.accounts)) if partition_of(a.encode(), partitions) != home][:200]
    taken: dict[bool, list[float]] = {True: [], False: []}
    open_: dict[str, tuple[bool, float]] = {}
    early: dict[str, float] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=100)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await consumer.start()
    await producer.start()

    async def read() -> None:
        async for record in consumer:
            user = json.loads(record.value)["data"].get("user")
            if user in open_:
                is_near, since = open_.pop(user)
                taken[is_near].append((time.monotonic() - since) * 1000)
            elif user:
                early[user] = time.monotonic()

    async def send(account: str, topic: str, value: bytes) -> asyncio.Future[object]:
        number = partition_of(account.encode(), partitions)
        sent: asyncio.Future[object] = await producer.send(topic, value, account.encode(), partition=number)
        return sent

    async def probe(number: int) -> None:
        is_near = number % 2 == 0
        accounts = near if is_near else far
        user, account = uuid.uuid4().hex, accounts[number // 2 % len(accounts)]
        event = {
            "specversion": "1.0",
            "id": user,
            "source": "bench",
            "type": "survey.answered",
            "subject": account,
            "time": dt.datetime.now(dt.UTC).isoformat(),
            "data": {"survey_id": "S1", "kind": "nps", "score": 0, "user": user},
        }
        await (await send(account, "engagement", json.dumps(event).encode()))
        if early.pop(user, None) is not None:
            taken[is_near].append(0.0)
        else:
            open_[user] = (is_near, time.monotonic())

    async def load(seconds: float) -> None:
        others, its = random.Random(7), random.Random(8)
        started, count = time.monotonic(), 0
        while (passed := time.monotonic() - started) < seconds:
            while count < passed * given.rate:
                at = dt.datetime.now(dt.UTC)
                account = name_of(others.randrange(given.accounts))
                await send(account, "usage", _usage(uuid.uuid4().hex, account, f"user-{others.randrange(4)}", at))
                if special.share and its.random() < special.share / (1 - special.share):
                    user = f"user-{its.randrange(special.users)}"
                    await send(SPECIAL, "usage", _usage(uuid.uuid4().hex, SPECIAL, user, at))
                count += 1
            await asyncio.sleep(0.005)

    try:
        ends = await end_offsets(bootstrap, [RISK_TOPIC])
        consumer.assign(list(ends))
        for place, end in ends.items():
            consumer.seek(place, end)
        reading = asyncio.ensure_future(read())
        # The first event of today moves each account's clock over the time since the backlog: that is not the question.
        await load(SETTLE_S)
        loading = asyncio.ensure_future(load(given.seconds))
        number, started = 0, time.monotonic()
        async with asyncio.TaskGroup() as probes:
            while not loading.done():
                probes.create_task(probe(number))
                number += 1
                await asyncio.sleep(max(0.0, started + number / PROBES_A_S - time.monotonic()))
        await loading
        for _ in range(300):
            if not open_:
                break
            await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    finally:
        await producer.stop()
        await consumer.stop()
    cells: list[Cell] = []
    for which in (True, False):
        cells += [percentile(taken[which], share) if taken[which] else None for share in (0.5, 0.95, 0.99)]
    return [*cells, len(open_)]
