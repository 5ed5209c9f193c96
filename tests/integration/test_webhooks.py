"""Webhooks on a real database and a real receiver: order, repeats, failures, and who never hears of what."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from schemas.webhooks import Filter
from services.common import db
from services.common.settings import Settings
from services.delivery import schedule
from services.delivery.ledger import feed_message_id
from services.delivery.webhooks import Webhooks
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests.receiver import Receiver, receiver
from tests.recorded import Stored, transition

SECRET = "whsec_" + "c2VjcmV0LW9mLTI0LWJ5dGVzLW9rYXkh"
NEW_SECRET = "whsec_" + "YW5vdGhlci1zZWNyZXQtb2YtMjQtYnl0"
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def target() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
async def connection(migrated_database: str) -> AsyncIterator[Any]:
    connection = await db.connect(migrated_database, process="test")
    yield connection
    await connection.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry schedule of a tenth of a second for each wait."""
    monkeypatch.setattr(schedule, "DELAYS", (dt.timedelta(seconds=0.1),) * 9)


async def subscribe(connection: Any, name: str, url: str, **given: Any) -> str:
    values = {"format": "standard", "secret": SECRET, "filters": Filter(), "cursor": 0} | given
    values["filters"] = msgspec.json.encode(values["filters"]).decode()
    await connection.execute(
        "INSERT INTO webhooks (webhook_id, url, format, secret, filters, cursor) VALUES ($1, $2, $3, $4, $5::json, $6)",
        f"wh_{name}",
        url,
        *(values[field] for field in ("format", "secret", "filters", "cursor")),
    )
    return f"wh_{name}"


async def record(connection: Any, *records: Stored) -> None:
    async with connection.transaction():
        await write_signals(connection, [signal_row(record) for record in records])


def raised(number: int, **more: Any) -> Stored:
    return transition("acme", f"e{number}", 1, "raised", **({"appended": NOW} | more))


@asynccontextmanager
async def sending(
    url: str, *, clock: Callable[[], dt.datetime] | None = None, **settings: Any
) -> AsyncIterator[Webhooks]:
    config = Settings(
        database_url=url, **({"webhook_allow_private": True, "console_url": "https://eb.test"} | settings)
    )
    made = Webhooks(config) if clock is None else Webhooks(config, clock=clock)
    stop = asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    try:
        yield made
    finally:
        stop.set()
        await running


async def until(what: str, probe: Callable[[], Any], within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while True:
            found = probe()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


async def log_of(connection: Any, webhook_id: str) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "SELECT feed_id, type, state, attempts FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY delivery_id",
        webhook_id,
    )
    return [tuple(row) for row in rows]


async def test_each_entry_arrives_once_in_order_signed_and_whole(
    connection: Any, migrated_database: str, target: Receiver
) -> None:
    webhook_id = await subscribe(connection, "a", target.url + "/")
    first = [raised(number) for number in range(1, 6)]
    async with sending(migrated_database):
        await record(connection, *first)
        await until("five", lambda: len(target.got) == 5)
        await record(connection, *first, transition("acme", "e1", 2, "escalated", severity="critical", appended=NOW))
        await until("six", lambda: len(target.got) == 6)
    ids = [row[0] for row in await connection.fetch("SELECT id FROM feed ORDER BY id")]
    assert [got.id for got in target.got] == [feed_message_id(webhook_id, feed_id) for feed_id in ids]
    for got, sent in zip(target.got, first, strict=False):
        message = Webhook(SECRET).verify(got.body, got.headers)
        assert message["type"] == "signal.raised"
        assert message["data"] == json.loads(sent.value or b"")
        assert message["timestamp"] == message["data"]["time"]
    assert await log_of(connection, webhook_id) == [
        *((feed_id, "signal.raised", "delivered", 1) for feed_id in ids[:5]),
        (ids[5], "signal.escalated", "delivered", 1),
    ]
    assert await connection.fetchval("SELECT cursor FROM webhooks") == ids[-1]
    attempt = await connection.fetchrow("SELECT * FROM webhook_attempts ORDER BY delivery_id LIMIT 1")
    assert (attempt["attempt"], attempt["status"], attempt["error"], attempt["excerpt"]) == (1, 200, None, "taken")
