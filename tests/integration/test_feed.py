"""What the recorder tells: each transition that is news once, in the order of the commits, and nothing of the past."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest

from schemas.signals import Transition
from services.common import db
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests import recorded
from tests.recorded import Stored, erased, health

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)
transition = partial(recorded.transition, appended=NOW)


@pytest.fixture
async def connection(migrated_database: str) -> AsyncIterator[Any]:
    connection = await db.connect(migrated_database, process="test")
    yield connection
    await connection.close()


async def record(connection: Any, *records: Stored) -> None:
    async with connection.transaction():
        await write_signals(connection, [signal_row(record) for record in records])


async def told(connection: Any) -> list[tuple[Any, ...]]:
    rows = await connection.fetch("SELECT episode_id, type, position FROM feed ORDER BY id")
    return [(row[0], row[1].removeprefix("signal."), row[2]) for row in rows]


async def test_each_transition_is_told_once_as_it_came(connection: Any) -> None:
    raised = transition("acme", "e1", 1, "raised", tier="high", csm="Ana")
    escalated = transition("acme", "e1", 2, "escalated", severity="critical")
    await record(connection, raised, escalated)
    await record(connection, raised, escalated, transition("acme", "e1", 1, "raised", reason="otherwise"))
    await record(connection, escalated, transition("acme", "e1", 3, "cleared"))
    assert await told(connection) == [("e1", "raised", 1), ("e1", "escalated", 2), ("e1", "cleared", 3)]
    first = await connection.fetchrow("SELECT *, body::text AS sent FROM feed ORDER BY id LIMIT 1")
    assert (first["account_id"], first["signal"], first["kind"], first["severity"]) == (
        "acme",
        "usage.decline",
        "risk",
        "warning",
    )
    assert (first["tier"], first["csm"], first["pages"]) == ("high", "Ana", False)
    assert first["sent"].encode() == raised.value


async def test_the_past_is_recorded_and_not_told(connection: Any) -> None:
    await record(
        connection,
        transition("acme", "e1", 1, "raised", historical=True),
        transition("acme", "e2", 1, "raised", appended=NOW - 25 * HOUR),
        transition("acme", "e3", 1, "raised", appended=NOW - 23 * HOUR),
    )
    assert await told(connection) == [("e3", "raised", 1)]
    assert await connection.fetchval("SELECT count(*) FROM transitions") == 3
    # Nobody was told of them, so nobody is told that health puts them right.
    await record(connection, health("acme", 10, appended=NOW))
    assert await connection.fetchval("SELECT count(*) FROM episodes WHERE cleared_because = 'reconciled'") == 3
    assert await told(connection) == [("e3", "raised", 1), ("e3", "cleared", None)]


async def test_what_health_puts_right_is_told_once(connection: Any) -> None:
    await record(connection, transition("acme", "e1", 1, "raised", sequence=3))
    await record(connection, health("acme", 10, appended=NOW))
    await record(connection, health("acme", 11, appended=NOW))
    # The clear that health already knew of comes late: it is recorded, and nobody hears it twice.
    await record(connection, transition("acme", "e1", 2, "cleared", sequence=9))
    assert await told(connection) == [("e1", "raised", 1), ("e1", "cleared", None)]
    assert await connection.fetchval("SELECT cleared_because FROM episodes") == "recovered"
    # A clear of a worker that had lost the account: it is open after all.
    await record(connection, health("acme", 12, open_episodes=("e1",), appended=NOW))
    assert (await told(connection))[2:] == [("e1", "raised", None)]
    bodies = [
        row[0] for row in await connection.fetch("SELECT body::text FROM feed WHERE position IS NULL ORDER BY id")
    ]
    cleared, reopened = (msgspec.json.decode(body, type=Transition) for body in bodies)
    assert (cleared.id, cleared.type, cleared.data.cleared_because) == ("e1-health-10", "signal.cleared", "reconciled")
    assert cleared.time == cleared.data.cleared_at == recorded.DAY_0 + 10 * 24 * HOUR
    assert (reopened.id, reopened.type, reopened.data.cleared_at) == ("e1-health-12", "signal.raised", msgspec.UNSET)


async def test_an_erased_account_is_forgotten_in_the_feed_too(connection: Any) -> None:
    await record(connection, transition("acme", "e1", 1, "raised"), transition("birk", "e2", 1, "raised"))
    await record(connection, erased("acme", appended=NOW + HOUR))
    await record(connection, transition("acme", "e1", 2, "escalated"))
    assert await told(connection) == [("e2", "raised", 1)]
    await record(connection, transition("birk", "e2", 2, "cleared", because="erased"))
    assert await told(connection) == []
