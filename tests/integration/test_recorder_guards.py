"""The recorder's guards on a real database and a real broker: the portfolio's day is measured and said once, and a source
that stopped is said to every partition."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.kafka import LocalKafka
from services.common import db
from services.common.kafka import end_offsets, producer
from services.common.settings import Settings
from services.signals.recorder.fold import fold_signals
from services.signals.recorder.guards import Guards, measured_rows
from services.signals.recorder.records import signal_row
from services.signals.recorder.writer import write_signals
from tests.harness import start_service
from tests.recorded import Stored, event, health

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
YESTERDAY = dt.date(2026, 3, 9)
MIDNIGHT = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)


@pytest.fixture
def config(clean_topics: LocalKafka, migrated_database: str, tmp_path: Path) -> Settings:
    return Settings(kafka_bootstrap_servers=clean_topics.bootstrap, database_url=migrated_database, data_dir=tmp_path)


@pytest.fixture
async def connection(migrated_database: str) -> AsyncIterator[Any]:
    connection = await db.connect(migrated_database, process="test")
    yield connection
    await connection.close()


@pytest.fixture
async def client(config: Settings) -> AsyncIterator[AIOKafkaProducer]:
    client = await producer(config)
    yield client
    await client.stop()


async def portfolio(connection: Any, midnight: dt.datetime, accounts: int = 24) -> None:
    """Ten uses a day, eight in the last 28 days, and two yesterday; account 0 is new and account 1 has churned."""
    yesterday = midnight.date() - DAY
    usage = {yesterday - n * DAY: 2 if n == 0 else 8 if n < 28 else 10 for n in range(60)}
    records = [
        health(
            f"a{number:02d}",
            100,
            usage=usage if number else {yesterday: 50},
            profile={"name": f"A{number}", "tier": "high", "mrr": "130" if number == 2 else "110"},
            churned=number == 1,
            as_of=midnight + HOUR / 60,
        )
        for number in range(accounts)
    ]
    await write_signals(connection, fold_signals(signal_row(record) for record in records))
    for number in range(accounts):
        await connection.execute(
            "INSERT INTO account_spans (account_id, since, until, industry, currency, mrr, signed, churned) VALUES"
            " ($1, $2, $3, 'retail', 'EUR', 100, $4, false), ($1, $3, NULL, 'retail', 'EUR', 110, $4, false)",
            f"a{number:02d}",
            midnight - 500 * DAY,
            midnight - 100 * DAY,
            (midnight - 500 * DAY).date(),
        )
    for user, score in ((f"u{number}", 9 - number % 2 * 3) for number in range(20)):
        await connection.execute(
            "INSERT INTO timeline VALUES ('a02', $1, $2, 'survey.answered', 's', $3, $1, $4::json)",
            midnight - 3 * DAY,
            user.encode(),
            user,
            json.dumps({"survey_id": "S", "kind": "nps", "user": user, "score": score}),
        )


async def broadcasts(config: Settings) -> dict[int, list[dict[str, Any]]]:
    """What every partition of the accounts topic was told."""
    ends = await end_offsets(config.bootstrap, ["accounts"])
    consumer = AIOKafkaConsumer(bootstrap_servers=config.bootstrap, enable_auto_commit=False)
    await consumer.start()
    found: dict[int, list[dict[str, Any]]] = {place.partition: [] for place in ends}
    try:
        consumer.assign(list(ends))
        await consumer.seek_to_beginning()
        waiting = {TopicPartition(*place) for place, end in ends.items() if end}
        while waiting:
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                found[place.partition] += [json.loads(record.value) for record in records]
                assert all(record.key is None for record in records)
                if records[-1].offset + 1 >= ends[place]:
                    waiting.discard(place)
    finally:
        await consumer.stop()
    return found


async def test_the_day_is_measured_by_the_pure_function_and_said_once(
    config: Settings, connection: Any, client: AIOKafkaProducer
) -> None:
    await portfolio(connection, MIDNIGHT)
    guards = Guards(config)
    await guards.load(connection)
    await guards.look(connection, client, MIDNIGHT + HOUR / 30)
    assert not any((await broadcasts(config)).values()), "what is on its way is waited for"
    await guards.look(connection, client, MIDNIGHT + HOUR / 10)
    told = await broadcasts(config)
    assert len(told) == config.topic_partitions
    (said,) = told[0]
    assert all(found == [said] for found in told.values())
    assert (said["type"], said["time"]) == ("portfolio.measured", "2026-03-10T00:00:00Z")
    # 27 x 8 + 2 of 280; yesterday 2 against 8, 8, 8 and 10 four weeks before.
    assert said["data"] == {
        "day": "2026-03-09",
        "accounts": 22,
        "usage_change": round(218 / 280 - 1, 4),
        "usage_change_day": round(2 / 8.5 - 1, 4),
        "by_tier": {"high": {"usage_change": round(218 / 280 - 1, 4), "usage_change_day": round(2 / 8.5 - 1, 4)}},
        "nps_mean": 7.5,
        "csat_mean": None,
        # 22 accounts from 100 to 110 and one to 130.
        "growth_mean_by_segment": {"retail": round((22 * 0.1 + 0.3) / 23, 4)},
        "late_sources": None,
    }
    again = Guards(config)
    await again.load(connection)
    await again.look(connection, client, MIDNIGHT + HOUR)
    assert sum(map(len, (await broadcasts(config)).values())) == len(told), "once a day, across restarts"
    # The process ended between the row and the broadcast.
    await connection.execute("UPDATE portfolio_measures SET sent_at = NULL")
    await again.look(connection, client, MIDNIGHT + HOUR)
    assert all(found == [said, said] for found in (await broadcasts(config)).values())


async def test_nothing_is_measured_before_the_engine_has_passed_midnight(
    config: Settings, connection: Any, client: AIOKafkaProducer
) -> None:
    await portfolio(connection, MIDNIGHT)
    await connection.execute("UPDATE account_health SET as_of = $1 WHERE account_id < 'a03'", MIDNIGHT - HOUR)
    guards = Guards(config)
    await guards.load(connection)
    await guards.look(connection, client, MIDNIGHT + HOUR)
    assert await connection.fetchval("SELECT count(*) FROM portfolio_measures") == 0
    rows = await measured_rows(connection, YESTERDAY)
    assert len(rows) == 23
    assert {(row.current, row.previous) for row in rows} == {(218, 280), (50, 0)}


def arrival(source: str, when: dt.datetime, account: str, **more: Any) -> Stored:
    data = {"feature": "report"}
    return event("usage", "usage.feature_used", account, data, id_="e", source=source, time=when, appended=when, **more)


def tick(when: dt.datetime, *, historical: bool) -> Stored:
    data = {"now": when.isoformat(), "historical": historical}
    sent = event("usage", "clock.tick", "x", data, id_="t", time=when, appended=when)
    value = {name: member for name, member in json.loads(sent.value or b"").items() if name != "subject"}
    return sent._replace(key=None, value=json.dumps(value).encode())


async def test_a_source_that_stops_is_said_when_it_is_late_and_when_it_is_back(
    config: Settings, connection: Any, client: AIOKafkaProducer
) -> None:
    start = MIDNIGHT - 21 * DAY
    guards = Guards(config)
    await guards.load(connection)
    for hour in range(20 * 24):
        for number in range(12):
            guards.row(arrival("app", start + hour * HOUR, f"a{number}"))
        for number in range(9):
            guards.row(arrival("few", start + hour * HOUR, f"a{number}"))
    last = start + (20 * 24 - 1) * HOUR
    for source in ("app", "few"):
        guards.row(arrival(source, last, "a0"))
    await guards.look(connection, client, last + 43 * HOUR)
    assert not any((await broadcasts(config)).values())
    # Every hour, and 42 hours more; what is in flight for a minute is waited for.
    late = last + 43 * HOUR + dt.timedelta(minutes=2)
    guards.row(tick(late, historical=True))
    await guards.look(connection, client, late)
    assert not any((await broadcasts(config)).values()), "a replay runs"
    guards.row(tick(late, historical=False))
    await guards.look(connection, client, late)
    stale = (await broadcasts(config))[1]
    assert [(one["type"], one["data"]["source"], one["data"]["since"]) for one in stale] == [
        ("source.stale", "app", last.isoformat().replace("+00:00", "Z"))
    ]
    # Another process goes on: it knows the source, and that it is stale.
    other = Guards(config)
    await other.load(connection)
    await other.look(connection, client, late + HOUR)
    other.row(arrival("app", late + 2 * HOUR, "a5"))
    await other.look(connection, client, late + 2 * HOUR)
    told = await broadcasts(config)
    assert all([one["type"] for one in found] == ["source.stale", "source.fresh"] for found in told.values())


async def test_the_process_measures_by_itself(config: Settings, connection: Any, service_env: dict[str, str]) -> None:
    """Yesterday is measured by the running recorder (it waits for three minutes past midnight)."""
    midnight = dt.datetime.combine(dt.datetime.now(dt.UTC).date(), dt.time(), dt.UTC)
    await portfolio(connection, midnight)
    service = start_service("recorder", service_env)
    try:
        for _ in range(1200):
            if await connection.fetchval("SELECT count(sent_at) FROM portfolio_measures"):
                break
            await asyncio.sleep(0.2)
        told = await broadcasts(config)
    finally:
        code = service.stop()
    assert code == 0, service.tail()
    assert [one["data"]["accounts"] for found in told.values() for one in found] == [22] * config.topic_partitions
