"""Acts on a real database: none is lost, none is half kept, and what SQL says of a signal is what the pure function says."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.lifecycle import STATUSES
from services.api import acts, handled, portfolio_handling_queries, queries, queue_queries
from services.api.acts import Wanted
from services.api.lifecycle import CONTENTS, ActName
from services.api.parameters import QUEUED, QueueFilter, SignalFilter
from services.api.portfolio.period import resolve
from services.api.portfolio_queries import Asked
from services.api.queries import SignalRecord
from services.common import db, people
from services.common.problems import Problem
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests.recorded import Stored, erased, health, transition


def asked(
    act: ActName, version: int, *, request_id: str | None = None, seen: int | None = None, **said: object
) -> Wanted:
    return Wanted(
        act=act, content=CONTENTS[act].model_validate(said), version=version, request_id=request_id, seen=seen
    )


async def write(url: str, *records: Stored) -> None:
    connection = await db.connect(url, process="test")
    try:
        await write_within(connection, *records)
    finally:
        await connection.close()


async def write_within(connection: Any, *records: Stored) -> None:
    async with connection.transaction():
        await write_signals(connection, [signal_row(record) for record in records])


@pytest.fixture
async def engine(migrated_database: str) -> AsyncIterator[AsyncEngine]:
    engine = db.create_engine(migrated_database, process="test", pool_size=10, plan_each=True)
    yield engine
    await engine.dispose()


async def one(engine: AsyncEngine, statement: str) -> object:
    async with engine.connect() as connection:
        return (await connection.execute(text(statement))).scalar_one()


async def test_of_twenty_who_act_at_once_none_is_lost(migrated_database: str, engine: AsyncEngine) -> None:
    await write(migrated_database, transition("acme", "e1", 1, "raised"))
    other = db.create_engine(migrated_database, process="test", pool_size=10)
    told: list[tuple[int, Problem]] = []

    async def insist(n: int) -> int:
        version = 0
        while True:
            try:
                wanted = asked("comment", version, comment=f"note {n}")
                done = await acts.act((engine, other)[n % 2], f"user{n}", "e1", wanted)
            except Problem as problem:
                told.append((version, problem))
                version = json.loads(problem.body())["current"]["version"]
            else:
                return done.act.version

    versions = await asyncio.gather(*(insist(n) for n in range(20)))
    await other.dispose()
    assert sorted(versions) == list(range(1, 21))
    assert told
    for version, problem in told:
        body = json.loads(problem.body())
        assert problem.status == 409
        # What was done since is told completely, whatever was done meanwhile.
        since = range(version + 1, body["current"]["version"] + 1)
        assert [act["version"] for act in body["acts"]] == list(since)
    async with engine.connect() as connection:
        kept = await acts.history(connection, "e1")
    assert [act.version for act in kept] == list(range(1, 21))
    assert {act.data["comment"] for act in kept} == {f"note {n}" for n in range(20)}
    assert [act.at for act in kept] == sorted(act.at for act in kept)
    assert await one(engine, "SELECT version FROM handlings WHERE episode_id = 'e1'") == 20
    # The feed tells of each once, in the order of the versions.
    assert await one(engine, "SELECT array_agg(position ORDER BY id) FROM feed") == list(range(1, 21))


async def test_an_act_is_kept_whole_or_not_at_all(migrated_database: str, engine: AsyncEngine) -> None:
    await write(migrated_database, transition("acme", "e1", 1, "raised"))
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE feed ADD CONSTRAINT no CHECK (type <> 'signal.closed')"))
    with pytest.raises(Problem, match="does not answer"):
        await acts.act(engine, "ana", "e1", asked("close", 0, outcome="no_action"))
    assert await one(engine, "SELECT (SELECT count(*) FROM acts) + (SELECT count(*) FROM handlings)") == 0
    done = await acts.act(engine, "ana", "e1", asked("acknowledge", 0))
    assert (done.act.version, done.status) == (1, "acknowledged")
    body = await one(engine, "SELECT body::text FROM feed")
    assert json.loads(str(body)) | {"time": "", "data": {}} == {
        "specversion": "1.0",
        "id": "e1:v1",
        "source": "ebbtide/api",
        "type": "signal.acknowledged",
        "subject": "acme",
        "time": "",
        "datacontenttype": "application/json",
        "data": {},
    }


async def test_the_same_request_is_one_act_and_another_under_its_name_is_refused(
    migrated_database: str, engine: AsyncEngine
) -> None:
    await write(migrated_database, transition("acme", "e1", 1, "raised"))
    wanted = asked("acknowledge", 0, request_id="r1", comment="mine")
    first = await acts.act(engine, "ana", "e1", wanted)
    await acts.act(engine, "ben", "e1", asked("comment", 1, comment="and now?"))
    again = await acts.act(engine, "ana", "e1", wanted)
    assert (again.act, again.repeated) == (first.act, True)
    assert len(again.acts) == 2
    with pytest.raises(Problem) as other:
        await acts.act(engine, "ana", "e1", asked("acknowledge", 2, request_id="r1", comment="not mine"))
    assert (other.value.status, other.value.errors[0].field) == (400, "request_id")
    # The name is the actor's own.
    assert not (await acts.act(engine, "ben", "e1", asked("acknowledge", 2, request_id="r1"))).repeated


async def test_an_escalation_outdates_what_was_said_and_is_not_overlooked(
    migrated_database: str, engine: AsyncEngine
) -> None:
    raised, escalated, cleared = (
        transition("acme", "e1", 1, "raised"),
        transition("acme", "e1", 2, "escalated", severity="critical"),
        transition("acme", "e1", 3, "cleared", severity="critical"),
    )
    await write(migrated_database, raised)
    await acts.act(engine, "ana", "e1", asked("close", 0, seen=1, outcome="saved"))
    await write(migrated_database, escalated)
    async with engine.connect() as connection:
        found = await queries.signal(connection, "e1")
    assert found is not None
    assert found.status == "open"
    with pytest.raises(Problem, match="escalated since you saw it, and is critical now"):
        await acts.act(engine, "ana", "e1", asked("acknowledge", 1, seen=1))
    assert (await acts.act(engine, "ana", "e1", asked("acknowledge", 1, seen=2))).status == "acknowledged"
    await write(migrated_database, cleared)
    # What comes late is kept, and revives nothing.
    late = await acts.act(engine, "ben", "e1", asked("acknowledge", 2, seen=2))
    assert (late.status, late.act.version) == ("cleared", 3)


async def test_what_is_closed_is_not_acknowledged_or_snoozed_but_a_concession_is(
    migrated_database: str, engine: AsyncEngine
) -> None:
    await write(migrated_database, transition("acme", "e1", 1, "raised"), transition("acme", "e2", 1, "raised"))
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).isoformat()
    await acts.act(engine, "ana", "e1", asked("close", 0, outcome="no_action"))
    for wanted in (asked("acknowledge", 1), asked("snooze", 1, until=until, reason="away")):
        with pytest.raises(Problem, match="ana closed it") as refused:
            await acts.act(engine, "ben", "e1", wanted)
        assert (refused.value.status, refused.value.code) == (409, "not-possible")
    assert (await acts.act(engine, "ben", "e1", asked("undo", 1))).status == "open"
    assert (await acts.act(engine, "ben", "e1", asked("undo", 2))).status == "closed"
    with pytest.raises(Problem, match="act 2 was taken back by act 3") as undone:
        await acts.act(engine, "ben", "e1", asked("undo", 3, undoes=2))
    assert undone.value.status == 400
    conceded = await acts.act(engine, "ana", "e2", asked("close", 0, outcome="saved_by_concession"))
    assert conceded.status == "acknowledged"
    snoozed = await acts.act(engine, "ana", "e2", asked("snooze", 1, until=until, reason="until the free months end"))
    assert snoozed.status == "snoozed"


@pytest.mark.parametrize(("days", "why"), [(-1, "not in the future"), (91, "90 days at most")])
async def test_a_snooze_ends_in_the_future_and_within_ninety_days(
    migrated_database: str, engine: AsyncEngine, days: int, why: str
) -> None:
    await write(migrated_database, transition("acme", "e1", 1, "raised"))
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).isoformat()
    with pytest.raises(Problem, match=why) as refused:
        await acts.act(engine, "ana", "e1", asked("snooze", 0, until=until, reason="away"))
    assert [error.field for error in refused.value.errors] == ["until"]


async def test_work_is_given_to_who_is_there_in_turn_or_by_load(migrated_database: str, engine: AsyncEngine) -> None:
    await write(migrated_database, *(transition("acme", f"e{n}", 1, "raised") for n in range(9)))
    async with engine.begin() as connection:
        for name in ("ana", "ben", "cleo"):
            await people.put_user(connection, name, scopes=["operate"], by="test")
        await people.put_pool(connection, "north", policy="round_robin", members=["ana", "ben", "cleo"], by="test")
        await people.put_pool(connection, "least", policy="load", members=["ana", "ben"], by="test")
        await people.disable_user(connection, "ben", by="test")

    async def give(episode: str, **to: str | None) -> str | None:
        async with engine.connect() as connection:
            version = len(await acts.history(connection, episode))
        found = (await acts.act(engine, "boss", episode, asked("assign", version, **to))).act.data["to"]
        assert found is None or isinstance(found, str)
        return found

    assert [await give(f"e{n}", pool="north") for n in range(3)] == ["ana", "cleo", "ana"]
    async with engine.begin() as connection:
        await people.put_user(connection, "ben", scopes=["operate"], by="test")
    # Ana has two on hand, Ben none; what is closed or cleared is not on hand.
    assert [await give(f"e{n}", pool="least") for n in range(3, 6)] == ["ben", "ben", "ana"]
    await acts.act(engine, "ana", "e0", asked("close", 1, outcome="no_action"))
    await write(migrated_database, transition("acme", "e2", 2, "cleared"))
    assert await give("e6", pool="least") == "ana"
    assert await give("e6", to=None) is None
    for to, field in (({"to": "zoe"}, "to"), ({"pool": "south"}, "pool")):
        with pytest.raises(Problem, match=r"no user 'zoe'|no pool 'south'") as refused:
            await give("e7", **to)
        assert [error.field for error in refused.value.errors] == [field]
    assert await one(engine, "SELECT array_agg(action ORDER BY entry) FROM audit") == [
        *["user.put"] * 3,
        *["pool.put"] * 2,
        "user.disabled",
        "user.put",
    ]


INSERT_HANDLING = """
INSERT INTO handlings (episode_id, account_id, version, acknowledged_ordinal, snoozed_ordinal, snoozed_until,
  closed_ordinal, outcome, assignee, updated_at)
VALUES ($1, 'acme', 1, $2, $3, now() + make_interval(hours => $4), $5, $6, $7, now())
"""


async def random_facts(url: str, chance: random.Random, count: int) -> None:
    """Episodes at their first or second transition, some cleared, most of them handled in any way that there is.

    One in ten is the portfolio's: it stands in no queue.
    """
    connection = await db.connect(url, process="test")
    try:
        records = []
        for n in range(count):
            last, csm = chance.choice((1, 2)), chance.choice(("Ana", "Ben"))
            steps = ["raised", "escalated"][:last] + (["cleared"] if chance.random() < 0.2 else [])
            account = "acme" if n % 10 else "_portfolio"
            told = [transition(account, f"e{n:03}", k, step, csm=csm) for k, step in enumerate(steps, 1)]  # type: ignore[arg-type]
            records += told if n % 10 else [of_portfolio(record) for record in told]
            if chance.random() < 0.8:
                said = [chance.choice((None, 1, 2)) for _ in range(3)]
                outcome = chance.choice(("saved", "saved_by_concession", "churned")) if said[2] else None
                hours = chance.choice((-5, -1, 1, 5))
                who = chance.choice((None, "Ana", "Cleo"))
                await connection.execute(INSERT_HANDLING, f"e{n:03}", said[0], said[1], hours, said[2], outcome, who)
        await write_within(connection, *records)
    finally:
        await connection.close()


def of_portfolio(record: Stored) -> Stored:
    assert record.value is not None
    return record._replace(value=record.value.replace(b'"scope":"account"', b'"scope":"portfolio"'))


async def test_sql_and_the_pure_function_agree(migrated_database: str, engine: AsyncEngine) -> None:
    chance = random.Random(7)
    await random_facts(migrated_database, chance, 120)
    window = QueueFilter(limit=200)  # type: ignore[call-arg]  # what is left out has defaults
    async with engine.connect() as read:

        async def listed(**asked: object) -> list[SignalRecord]:
            wanted = SignalFilter(limit=200, **asked)  # type: ignore[arg-type]
            return (await queries.signals(read, wanted))[0]

        async def queued(**asked: object) -> set[str]:
            wanted = queue_queries.Wanted(by_account=False, **asked)  # type: ignore[arg-type]
            hidden = await queue_queries.hidden(read, wanted, window)
            assert hidden.keys().isdisjoint(wanted.statuses)
            return {place.episode_id for place in (await queue_queries.places(read, wanted, window, "any"))[0]}

        # The status of each is the pure function's, of facts that are read without any filter.
        every = await listed()
        assert len(every) == 120
        own = [found for found in every if found.episode.scope == "account"]
        assert len(own) == 108
        assert {found.status for found in every} == {*STATUSES}
        for size in range(1, 6):
            for some in itertools.combinations(STATUSES, size):
                these = [found for found in every if found.status in some]
                assert ids(await listed(status=",".join(some))) == ids(these), some
                if "cleared" not in some:
                    assert await queued(statuses=frozenset(some)) == {*ids(these)} & {*ids(own)}, some
        for name in ("Ana", "Cleo"):
            theirs = [found for found in every if (found.handling.assignee or found.episode.csm) == name]
            assert ids(await listed(owner=name)) == ids(theirs)
            uncleared = {*ids([found for found in theirs if found.status != "cleared"])} & {*ids(own)}
            owner = await handled.owner(read, name)
            assert await queued(statuses=handled.UNCLEARED, owner=owner) == uncleared
        for assignee in ("Cleo", None):
            given = [found for found in every if found.handling.assignee == assignee]
            assert ids(await listed(assignee=assignee or "none")) == ids(given)
            uncleared = {*ids([found for found in given if found.status != "cleared"])} & {*ids(own)}
            assert await queued(statuses=handled.UNCLEARED, assigned=True, assignee=assignee) == uncleared
        hidden = await queue_queries.hidden(read, queue_queries.Wanted(), window)
        assert hidden == {name: sum(found.status == name for found in own) for name in ("snoozed", "closed")}
        at = (await queue_queries.open_at(read, ["acme"]))["acme"]
        assert at.statuses == {name: sum(found.status == name for found in own) for name in QUEUED}
        assert sum(at.counts.values()) == sum(found.status != "cleared" for found in own)


def ids(found: list[SignalRecord]) -> list[str]:
    return [one.episode.episode_id for one in found]


async def test_an_erased_account_leaves_nothing_that_people_did(migrated_database: str, engine: AsyncEngine) -> None:
    await write(
        migrated_database,
        transition("acme", "e1", 1, "raised"),
        transition("umbra", "e2", 1, "raised"),
        health("acme", 1, open_episodes=("e1",)),
    )
    for episode in ("e1", "e2"):
        await acts.act(engine, "ana", episode, asked("comment", 0, comment="they said so"))
    await write(migrated_database, erased("acme"), transition("acme", "e1", 2, "cleared", because="erased"))
    for table in ("acts", "handlings", "feed"):
        assert await one(engine, f"SELECT array_agg(DISTINCT account_id) FROM {table}") == ["umbra"], table
    with pytest.raises(Problem) as gone:
        await acts.act(engine, "ana", "e1", asked("comment", 1, comment="still?"))
    assert gone.value.status == 404


async def test_what_people_did_is_counted_with_how_soon_and_how_it_ended(
    migrated_database: str, engine: AsyncEngine
) -> None:
    names = ["e1", "e2", "e3", "e4"]
    await write(
        migrated_database,
        *(transition("acme", name, 1, "raised", csm="Ana", signal="usage.decline") for name in names),
        transition("acme", "e5", 1, "raised", csm="Ana", signal="support.burst"),
    )
    async with engine.begin() as connection:
        await people.put_user(connection, "ben", scopes=["operate"], by="test")
        await connection.execute(text("UPDATE episodes SET recorded_at = now() - interval '6 hours'"))
    await acts.act(engine, "ben", "e1", asked("assign", 0, to="ben"))
    await acts.act(engine, "ben", "e1", asked("close", 1, outcome="saved"))
    await acts.act(engine, "cleo", "e2", asked("close", 0, outcome="false_alarm"))
    await acts.act(engine, "cleo", "e3", asked("acknowledge", 0))
    await acts.act(engine, "cleo", "e4", asked("comment", 0, comment="hm"))
    now = dt.datetime.now(dt.UTC)
    this = Asked(period=resolve(now, None, None, now.date()), group_by=None, where={})
    async with engine.connect() as read:
        (decline,) = (await portfolio_handling_queries.by_signal(read, this)).values()
        persons = {entry.name: entry for entry in await portfolio_handling_queries.by_person(read, this)}
        narrowed = Asked(period=this.period, group_by=None, where={"csm": "Zoe"})
        assert await portfolio_handling_queries.by_signal(read, narrowed) == {}
    # A comment is no answer; nobody touched support.burst.
    assert (decline.name, decline.acknowledged, decline.closed, decline.precision) == ("usage.decline", 3, 2, 0.5)
    assert decline.outcomes == {"saved": 1, "saved_by_concession": 0, "churned": 0, "false_alarm": 1, "no_action": 0}
    assert round(decline.hours_to_acknowledge or 0) == round(decline.hours_to_resolve or 0) == 6
    assert (persons["ben"].acknowledged, persons["ben"].closed, persons["ben"].precision) == (1, 1, 1.0)
    assert (persons["Ana"].acknowledged, persons["Ana"].closed, persons["Ana"].precision) == (2, 1, 0.0)
