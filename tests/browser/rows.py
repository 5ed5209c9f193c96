"""What the pages are looked at with: a simulated portfolio through the real engine, recorded as it is live, and people.

It ends now, so that what is new is new; the same code says the same of every day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from schemas.codec import Refusal, decode_any
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from services.common import db, keys, people
from services.demo.portfolio import simulate
from services.signals.catalogue import load
from services.signals.core.partition import PartitionEngine
from services.signals.recorder.main import write_events, write_signals
from services.signals.recorder.records import TIMELINE_TOPICS, event_row, signal_row
from tests.recorded import Stored, milliseconds

ACCOUNTS: Final = 26
DAYS: Final = 130
SEED: Final = 3
DAY_US: Final = 86_400_000_000
EVERYTHING_DUE: Final = 1 << 30

CSMS: Final = {"lea.vogt": "Lea Vogt", "mia.torres": "Mia Torres", "yuki.sato": "Yuki Sato"}
"""People of the simulated portfolio who sign in."""


def portfolio(now: dt.datetime) -> tuple[list[Stored], list[Stored]]:
    """The simulated portfolio as it stands at `now`: see `judged`."""
    now_us = milliseconds(now) * 1000
    lines = [line for at, line in simulate(ACCOUNTS, DAYS, SEED, now.date()).events if at <= now_us]
    return judged(lines, now)


def judged(lines: Sequence[bytes], now: dt.datetime) -> tuple[list[Stored], list[Stored]]:
    """Records of the signal topics and `health`, and those of the input topics, that events in order come to at `now`."""
    engine = PartitionEngine(0, INPUT_TOPICS, load(), store := {}, partitions=1)
    said: list[Stored] = []
    sent: list[Stored] = []
    now_us = milliseconds(now) * 1000

    def take() -> None:
        effects = engine.take(0, 1e9 * len(said))
        for key, value in effects.state:
            store.pop(key, None) if value is None else store.update({key: value})
        said.extend(
            Stored(topic, 0, 0, milliseconds(now), key, value, (("sequence", str(sequence).encode()),))
            for topic, key, value, sequence in effects.signals
        )
        said.extend(Stored("health", 0, 0, milliseconds(now), key, value) for key, value in effects.health)

    def tick(at_us: int) -> None:
        for topic in range(len(INPUT_TOPICS)):
            engine.tick(topic, at_us, False)
        engine.work(EVERYTHING_DUE)
        take()

    clock_us: int | None = None
    for number, line in enumerate(lines):
        event = decode_any(line)
        if isinstance(event, Refusal) or event.time > now:
            continue
        topic = EVENT_TYPES[event.type].topic
        at_us = milliseconds(event.time) * 1000
        clock_us = at_us // DAY_US * DAY_US if clock_us is None else clock_us
        while clock_us <= at_us:
            tick(clock_us)
            clock_us += DAY_US
        key = None if event.subject is None else event.subject.encode()
        engine.apply(INPUT_TOPICS.index(topic), number, key, line, event, now_us + DAY_US)
        if topic in TIMELINE_TOPICS:
            sent.append(Stored(topic, 0, number, milliseconds(event.time), key, line))
    tick(now_us)
    return said, sent


async def record(url: str, said: Sequence[Stored], sent: Sequence[Stored]) -> None:
    """Write what the recorder would write of these records."""
    connection = await db.connect(url, process="test")
    try:
        async with connection.transaction():
            await write_signals(connection, [signal_row(record) for record in said])
            events = [event_row(record) for record in sent]
            await write_events(connection, [row for row in events if row is not None])
    finally:
        await connection.close()


async def fill_all(url: str) -> dict[str, str]:
    """Record the portfolio and its people. Returns the secrets of keys, by whose they are."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    await record(url, *portfolio(now))
    connection = await db.connect(url, process="test")
    try:
        async with connection.transaction():
            # As where something comes every minute.
            await connection.execute("UPDATE latest_scores SET as_of = now() - interval '40 s'")
    finally:
        await connection.close()
    engine = db.create_engine(url, process="test", pool_size=1)
    made = {}
    try:
        async with engine.begin() as writing:
            for user_id, name in CSMS.items():
                await people.put_user(writing, user_id, scopes=["operate"], name=name, by="cli")
            await people.put_user(writing, "lead", scopes=["admin"], name="Nora Lead", by="cli")
            await people.put_pool(writing, "digital", policy="round_robin", members=list(CSMS), by="cli")
        for user_id in CSMS:
            made[user_id] = (await keys.create(engine, ["operate"], user=user_id, name=user_id)).secret
        made["lead"] = (await keys.create(engine, ["admin"], user="lead", name="lead")).secret
        made["looker"] = (await keys.create(engine, ["read"], name="wall screen")).secret
    finally:
        await engine.dispose()
    return made
