"""What is open, counted in a real database; and delivery's gauges while it is there and away."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import urllib.request
from decimal import Decimal
from typing import Any

from services.common import db
from services.delivery import figures
from tests.harness import Service, start_service, wait_for

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)


async def episode(
    connection: Any,
    name: str,
    account: str,
    signal: str = "usage.silence",
    severity: str = "critical",
    *,
    kind: str = "risk",
    opened: dt.datetime = NOW - 5 * HOUR,
    recorded: dt.datetime = NOW - 5 * HOUR,
    cleared: dt.datetime | None = None,
    owner: str = "csm",
) -> None:
    await connection.execute(
        """
        INSERT INTO episodes (episode_id, account_id, signal, version, kind, severity, scope, pages, historical, tier,
          opened_at, changed_at, cleared_at, last_ordinal, last_sequence, recorded_at)
        VALUES ($1, $2, $3, 1, $4, $5, 'account', true, false, 'high', $6, $6, $7, 1, 1, $8)
        """,
        *(name, account, signal, kind, severity, opened, cleared, recorded),
    )
    body = json.dumps({"data": {"reason": 'he said \\"owner\\":\\"sales\\"', "action": {"title": "x", "owner": owner}}})
    await connection.execute(
        "INSERT INTO transitions (episode_id, ordinal, sequence, time, appended_at, body) VALUES ($1, 1, 1, $2, $2, $3)",
        *(name, opened, body),
    )
    if cleared is None:
        await connection.execute(
            """
            INSERT INTO queue_entries (episode_id, account_id, rank, precedence, signal, family, kind, severity, scope, tier)
            VALUES ($1, $2, 1, 0, $3, 'usage', $4, $5, 'account', 'high')
            """,
            *(name, account, signal, kind, severity),
        )


async def account(connection: Any, name: str, mrr: str, *, churned: bool = False, currency: str | None = "EUR") -> None:
    await connection.execute(
        """
        INSERT INTO accounts (account_id, sort_name, tier, mrr, currency, churned, words)
        VALUES ($1, $1, 'high', $2, $3, $4, '')
        """,
        *(name, Decimal(mrr), currency, churned),
    )


async def handling(connection: Any, name: str, account: str, **said: Any) -> None:
    columns = {"episode_id": name, "account_id": account, "version": 1, "updated_at": NOW} | said
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    await connection.execute(f"INSERT INTO handlings ({', '.join(columns)}) VALUES ({places})", *columns.values())


async def read(url: str) -> figures.Reading:
    connection = await db.connect(url, process="test")
    try:
        for name, mrr in (("a", "100.10"), ("b", "200.20"), ("gone", "999")):
            await account(connection, name, mrr, churned=name == "gone")
        await account(connection, "c", "50", currency=None)
        # Known for five hours; of what a replay told, since it was recorded.
        await episode(connection, "waits", "a")
        await episode(connection, "replayed", "b", opened=NOW - 5000 * HOUR, recorded=NOW - HOUR)
        await episode(connection, "theirs", "gone", "billing.overdue", owner="finance")
        await episode(connection, "warned", "c", severity="warning", owner="nobody-known")
        await episode(connection, "seen", "a", recorded=NOW - 3 * HOUR, opened=NOW - 3 * HOUR)
        await episode(connection, "asleep", "b")
        await episode(connection, "woken", "b", opened=NOW - 2 * HOUR, recorded=NOW - 2 * HOUR)
        await episode(connection, "done", "b")
        await episode(connection, "conceded", "b")
        await episode(connection, "over", "a", cleared=NOW)
        await episode(connection, "probe", "_canary")
        seen = {"acknowledged_at": NOW, "acknowledged_ordinal": 1, "first_acknowledged_at": NOW - HOUR}
        await handling(connection, "seen", "a", **seen)
        asleep = {"snoozed_at": NOW, "snoozed_ordinal": 1}
        await handling(connection, "asleep", "b", snoozed_until=NOW + HOUR, **asleep)
        await handling(connection, "woken", "b", snoozed_until=NOW - HOUR, **asleep)
        closed = {"closed_at": NOW - HOUR, "closed_ordinal": 1}
        await handling(connection, "done", "b", outcome="saved", **closed)
        await handling(connection, "conceded", "b", outcome="saved_by_concession", **closed)
        long_ago = {"closed_at": NOW - 200 * HOUR, "closed_ordinal": 1}
        await handling(connection, "over", "a", outcome="churned", **long_ago)
        await connection.execute(
            "INSERT INTO source_feeds (source, topic, state) VALUES ('crm', 'accounts', '{\"stale\": true}'),"
            " ('web', 'usage', '{\"stale\": false}'), ('app', 'usage', '{}')"
        )
        await connection.execute(
            "INSERT INTO portfolio_measures (day, body, sent_at) VALUES ($1, '{}', now()), ($2, '{}', null)",
            *(NOW.date() - dt.timedelta(days=2), NOW.date() - dt.timedelta(days=1)),
        )
        return await figures.read(connection, {})
    finally:
        await connection.close()


def test_counts_what_is_open_by_what_people_said(migrated_database: str) -> None:
    found = asyncio.run(read(migrated_database))
    assert sorted(found.open) == [
        ("billing.overdue", "critical", "high", 1),
        ("usage.silence", "critical", "high", 7),
        ("usage.silence", "warning", "high", 1),
    ]
    assert sorted(found.handled) == [
        ("usage.silence", "critical", "high", "acknowledged", 2),
        ("usage.silence", "critical", "high", "closed", 1),
        ("usage.silence", "critical", "high", "snoozed", 1),
    ]
    waiting = {signal: (count, round((age or 0) / 3600)) for signal, count, age in found.unacknowledged}
    assert waiting == {"usage.silence": (3, 5), "billing.overdue": (1, 5)}
    assert sorted(found.at_risk) == [
        ("EUR", "critical", Decimal("3603.60")),
        ("XXX", "warning", Decimal(600)),
    ]
    ((severity, count, seconds),) = found.acknowledged
    assert (severity, count, [round(each / 3600) for each in seconds]) == ("critical", 1, [2, 2])
    assert sorted(found.closed) == [("saved", 1), ("saved_by_concession", 1)]
    assert sorted(found.raised) == [("risk", 9, 0)]
    assert sorted(found.stale) == [("accounts", 1), ("usage", 0)]
    ((age, told),) = found.measured
    assert not told
    assert 0 <= age <= 86400
    assert found.owners == {"usage.silence": "csm", "billing.overdue": "finance"}


def test_delivery_shows_them_and_nothing_without_the_database(
    service_env: dict[str, str], postgres: Any, migrated_database: str
) -> None:
    async def one() -> None:
        connection = await db.connect(migrated_database, process="test")
        await account(connection, "a", "100")
        await episode(connection, "waits", "a")
        await connection.close()

    asyncio.run(one())
    service = start_service("delivery", service_env | {"EBBTIDE_GAUGES_INTERVAL_S": "0.5"})
    try:
        line = 'ebbtide_open_signals{owner="csm",severity="critical",signal="usage.silence",tier="high"} 1.0'
        wait_for("the signal is shown", lambda: line in shown(service), within=15)
        text = shown(service)
        assert 'ebbtide_arr_at_risk{currency="EUR",severity="critical"} 1200.0' in text
        assert 'ebbtide_reachable{server="postgres"} 1.0' in text
        assert len(text) < 60_000
        name = migrated_database.rpartition("/")[2]
        postgres.server.drop_database(name)
        wait_for("nothing is shown any more", lambda: "\nebbtide_open_signals{" not in shown(service), within=15)
        assert 'ebbtide_reachable{server="postgres"} 0.0' in shown(service)
        postgres.server.create_database(name)
    finally:
        service.kill()


def shown(service: Service) -> str:
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
