"""The api's SQL on a real database, where the way to an answer depends on how much there is."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from services.api import queries
from services.api.parameters import AccountFilter, SignalFilter
from services.common import db
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests.recorded import health, transition


@pytest.mark.parametrize("sort", ["name", "-mrr", "last_seen"])
async def test_a_search_finds_the_same_whether_its_matches_are_few_or_many(
    migrated_database: str, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    names = [f"{'Holding' if n % 2 else 'Labs'} {n % 7}" for n in range(60)]
    rows = [signal_row(health(f"a{n:02}", 1, profile={"name": name, "mrr": str(n)})) for n, name in enumerate(names)]
    connection = await db.connect(migrated_database, process="test")
    async with connection.transaction():
        await write_signals(connection, rows)
    await connection.close()
    engine = db.create_engine(migrated_database, process="test", plan_each=True)
    try:
        async with engine.connect() as connection:

            async def found(q: str) -> list[str]:
                ids: list[str] = []
                cursor = None
                while True:
                    wanted = AccountFilter(q=q, sort=sort, limit=7, cursor=cursor)  # type: ignore[arg-type]
                    page, cursor = await queries.accounts(connection, wanted)
                    ids += [record.account_id for record in page]
                    if cursor is None:
                        return ids

            asked = ("holding", "holding 3", "hold lab", "zzz", "a1")
            few = [await found(q) for q in asked]
            monkeypatch.setattr(queries, "FEW_MATCHES", 0)
            assert [await found(q) for q in asked] == few
            assert [len(ids) for ids in few] == [30, 5, 0, 0, 10]
    finally:
        await engine.dispose()


async def test_what_never_goes_together_is_not_looked_for_in_every_episode(migrated_database: str) -> None:
    connection = await db.connect(migrated_database, process="test")
    try:
        rows = [
            signal_row(transition(f"a{n % 50}", f"e{n:05}", 1, "raised", severity=("warning", "critical")[n % 2]))  # type: ignore[arg-type]
            for n in range(4000)
        ]
        async with connection.transaction():
            await write_signals(connection, rows)
        await connection.execute("VACUUM ANALYZE episodes")
        for never in ("severity = 'info'", "kind = 'opportunity'", "severity = 'info' AND tier = 'high'"):
            plan = await connection.fetchval(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM episodes"
                f" WHERE signal = 'usage.decline' AND {never} ORDER BY opened_at DESC, episode_id DESC LIMIT 51"
            )
            assert '"Rows Removed by Filter"' not in plan, plan
            assert "ix_episodes_facets" in plan
    finally:
        await connection.close()


async def test_open_signals_of_a_severity_are_read_along_an_index_and_not_sorted(migrated_database: str) -> None:
    connection = await db.connect(migrated_database, process="test")
    engine = db.create_engine(migrated_database, process="test", plan_each=True)
    asked: list[tuple[str, Any]] = []
    try:
        rows = [
            signal_row(transition("acme", f"e{n:05}", 1, "raised", severity=("info", "warning", "critical")[n % 3]))  # type: ignore[arg-type]
            for n in range(4000)
        ]
        async with connection.transaction():
            await write_signals(connection, rows)
        await connection.execute("VACUUM ANALYZE")
        event.listen(
            engine.sync_engine, "before_cursor_execute", lambda _c, _cu, sql, given, _x, _m: asked.append((sql, given))
        )
        async with engine.connect() as read:
            wanted = SignalFilter(status="open", severity="info")  # type: ignore[arg-type, call-arg]
            found, _ = await queries.signals(read, wanted)
        assert len(found) == 50
        ((statement, given),) = asked
        await connection.execute("SET plan_cache_mode = force_custom_plan")
        plan = await connection.fetchval("EXPLAIN (FORMAT JSON) " + statement, *given)
        assert '"Node Type": "Sort"' not in plan, plan
    finally:
        await engine.dispose()
        await connection.close()
