"""What a transition costs the recorder: from the signal topics and `health` to Postgres, while it works off a backlog.

One recorder process on a broker and a database of its own; the database waits for its disk. The episodes of some
thousand accounts are raised, escalated and cleared; for every so many transitions there is a health record with its open
episodes and usage days. Baseline in the same run: COPY of the very rows that came out, into tables with the same indexes.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import random
import time
from collections.abc import Iterator
from typing import Any

import psutil
from aiokafka import AIOKafkaProducer

from services.common import db
from tests.bench.report import Report, Table
from tests.bench.servers import servers
from tests.harness import start_service
from tests.recorded import DAY_0, Stored, health, transition

TABLES = ("transitions", "episodes", "account_health", "accounts", "usage_days")
WITHIN_S = 600.0


def options(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument("--transitions", type=int, default=40_000, help="how many")
    parser.add_argument("--accounts", type=int, default=5_000, help="of how many accounts")
    parser.add_argument("--each", type=int, default=5, help="a health record for every so many transitions")
    parser.add_argument("--days", type=int, default=7, help="usage days in a health record")


def records(transitions: int, accounts: int, each: int, days: int) -> Iterator[Stored]:
    """The backlog: an account's transitions and health in the order in which an engine says them."""
    chance = random.Random(1)
    sequences = [0] * accounts
    opened: list[dict[str, int]] = [{} for _ in range(accounts)]
    for number in range(transitions):
        at = chance.randrange(accounts)
        name = f"acct-{at:06}"
        sequences[at] += 1
        if opened[at] and chance.random() < 0.6:
            episode, ordinal = chance.choice(list(opened[at].items()))
            if ordinal == 1 and chance.random() < 0.4:
                step, severity = "escalated", "critical"
                opened[at][episode] = 2
            else:
                step, severity = "cleared", "warning" if ordinal == 1 else "critical"
                del opened[at][episode]
            yield transition(name, episode, ordinal + 1, step, sequence=sequences[at], severity=severity)  # type: ignore[arg-type]
        else:
            episode = f"ep{number:016x}"
            opened[at][episode] = 1
            since = DAY_0 + dt.timedelta(minutes=number)
            yield transition(name, episode, 1, "raised", sequence=sequences[at], opened=since)
        if not number % each:
            first = DAY_0.date() + dt.timedelta(days=number * 60 // transitions)
            usage = {first + dt.timedelta(days=day): chance.randrange(1, 90) for day in range(days)}
            yield health(name, sequences[at], open_episodes=tuple(opened[at]), usage=usage)


async def _fill(bootstrap: str, backlog: list[Stored]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20, max_batch_size=1 << 19)
    await producer.start()
    try:
        for start in range(0, len(backlog), 5000):
            part = backlog[start : start + 5000]
            sent = [await producer.send(r.topic, r.value, r.key, headers=list(r.headers)) for r in part]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def _recorded(connection: Any, wanted: int) -> tuple[float, float]:
    """When the first batch was committed, and when all of the records were (monotonic seconds)."""
    first: float | None = None
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        done = await connection.fetchval("SELECT coalesce(sum(next_offset), 0) FROM recorder_offsets")
        now = time.monotonic()
        if done and first is None:
            first = now
        if done >= wanted and first is not None:
            return first, now
        await asyncio.sleep(0.05)
    raise TimeoutError(f"not recorded within {WITHIN_S:.0f} s")


async def _copy(connection: Any) -> tuple[float, int]:
    """Seconds that COPY of all rows takes into tables of the same shape, and how many rows there are."""
    taken, rows = 0.0, 0
    for name in TABLES:
        found = [tuple(row) for row in await connection.fetch(f"SELECT * FROM {name}")]
        await connection.execute(f"CREATE TABLE copy_of_{name} (LIKE {name} INCLUDING ALL)")
        # The text form of a tsvector is what COPY takes.
        columns = [
            row["attname"]
            for row in await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0"
                " AND atttypid <> 'tsvector'::regtype ORDER BY attnum",
                name,
            )
        ]
        if len(columns) < len(found[0]):
            await connection.execute(f"ALTER TABLE copy_of_{name} ALTER words DROP NOT NULL")
            found = [row[: len(columns)] for row in found]
        since = time.monotonic()
        await connection.copy_records_to_table(f"copy_of_{name}", records=found, columns=columns)
        taken += time.monotonic() - since
        rows += len(found)
    return taken, rows


def _cpu(process: psutil.Process) -> float:
    """CPU seconds of a process and those of its children that live."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        total += times.user + times.system
    return total


def run(given: argparse.Namespace) -> Report:
    """Measure and report."""
    backlog = list(records(given.transitions, given.accounts, given.each, given.days))
    healths = sum(record.topic == "health" for record in backlog)
    with servers() as env:
        asyncio.run(_fill(env["EBBTIDE_KAFKA_BOOTSTRAP_SERVERS"], backlog))

        async def measure(process: psutil.Process) -> tuple[float, float, float, float, int]:
            connection = await db.connect(env["EBBTIDE_DATABASE_URL"], process="bench", statement_timeout_s=120)
            try:
                started = _cpu(process)
                first, last = await _recorded(connection, len(backlog))
                cpu = _cpu(process) - started
                held = await connection.fetchval("SELECT count(*) FROM transitions")
                if held != given.transitions:
                    raise AssertionError(f"{held} of {given.transitions} transitions are recorded")
                return first, last, cpu, *await _copy(connection)
            finally:
                await connection.close()

        began = time.monotonic()
        service = start_service("recorder", env, ready=False)
        try:
            first, last, cpu, copied, rows = asyncio.run(measure(psutil.Process(service.process.pid)))
        finally:
            service.stop()
    seconds = last - first
    table = Table("Recorder, working off a backlog", ("what", "figure"))
    table.rows += [
        ("transitions/s", given.transitions / seconds),
        ("health records/s beside them", healths / seconds),
        ("seconds from the first commit to the last", seconds),
        ("seconds from the start of the process to the last", last - began),
        ("CPU of the recorder, µs a record (with its start)", cpu / len(backlog) * 1e6),
        ("share of one core", cpu / (last - began)),
        (f"COPY of the {rows} rows that came out, seconds", copied),
        ("times the COPY", seconds / copied),
    ]
    return Report(
        "recorder",
        {"transitions": given.transitions, "accounts": given.accounts, "each": given.each, "days": given.days},
        [table],
    )
