"""The recorder on a real database and a real broker."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client import REGISTRY

from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from services.common import db
from services.common.settings import Settings
from services.signals.recorder.lane import Lane
from services.signals.recorder.main import lanes, write_events, write_signals
from services.signals.recorder.records import event_row, signal_row
from tests.harness import free_ports, http_status, start_service, wait_for
from tests.recorded import APPENDED_0, DAY_0, Stored, erased, event, health, transition

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
HOSTILE = "a\x00b \u2028 \U0001f984 'quote\" \\ ; DROP TABLE episodes --"


@pytest.fixture
async def connection(migrated_database: str) -> AsyncIterator[Any]:
    connection = await db.connect(migrated_database, process="test")
    yield connection
    await connection.close()


async def record(connection: Any, *records: Stored) -> None:
    """Write one batch, as a lane does."""
    signals = [signal_row(r) for r in records if r.topic.startswith("signals.") or r.topic == "health"]
    events = [row for r in records if r.topic in ("tickets", "accounts", "engagement") and (row := event_row(r))]
    async with connection.transaction():
        count = await write_signals(connection, signals)
        await write_events(connection, events)
    count()


async def rows(connection: Any, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(query, *arguments)]


EPISODES = """
SELECT episode_id, severity, opened_at, changed_at, cleared_at, cleared_because, last_ordinal FROM episodes ORDER BY 1
"""


def history(episode: str, account: str = "acme") -> list[Stored]:
    return [
        transition(account, episode, 1, "raised", sequence=3),
        transition(account, episode, 2, "escalated", sequence=5, severity="critical"),
        transition(account, episode, 3, "cleared", sequence=9, severity="critical"),
    ]


async def test_any_order_any_batches_and_any_repeats_give_the_same_rows(connection: Any) -> None:
    told = history("e1") + history("e2")[:2] + history("e3", "birk")[:1]
    await record(connection, *told)
    wanted = await rows(connection, EPISODES)
    assert [(r[0], r[1], r[5], r[6]) for r in wanted] == [
        ("e1", "critical", "recovered", 3),
        ("e2", "critical", None, 2),
        ("e3", "warning", None, 1),
    ]
    transitions = await rows(connection, "SELECT episode_id, ordinal, body::text FROM transitions ORDER BY 1, 2")
    assert len(transitions) == 6
    chance = random.Random(7)
    for _ in range(25):
        await connection.execute("TRUNCATE episodes, transitions")
        shuffled = told + chance.sample(told, k=3)
        chance.shuffle(shuffled)
        while shuffled:
            size = chance.randint(1, 4)
            await record(connection, *shuffled[:size])
            shuffled = shuffled[size:]
        assert await rows(connection, EPISODES) == wanted
        found = await rows(connection, "SELECT episode_id, ordinal, body::text FROM transitions ORDER BY 1, 2")
        assert found == transitions
    assert not await rows(connection, "SELECT * FROM recorder_refused")


async def test_one_id_with_other_content_is_kept_aside_and_the_first_stays(connection: Any) -> None:
    await record(connection, transition("acme", "e1", 1, "raised", offset=4))
    await record(connection, transition("acme", "e1", 1, "raised", reason="otherwise", offset=5))
    ((topic, offset, reason, value),) = await rows(
        connection, 'SELECT topic, "offset", reason, value FROM recorder_refused'
    )
    assert (topic, offset, reason) == ("signals.risk", 5, "contradiction")
    assert b"otherwise" in value
    ((body,),) = await rows(connection, "SELECT body::text FROM transitions")
    assert "otherwise" not in body


async def test_health_closes_what_it_does_not_list_and_opens_what_it_lists(connection: Any) -> None:
    orphan, cleared, later = history("e1")[0], history("e2"), transition("acme", "e3", 1, "raised", sequence=12)
    await record(connection, orphan, *cleared, later)
    await record(connection, health("acme", 10, open_episodes=("e2",)))
    found = {row[0]: (row[4] is None, row[5]) for row in await rows(connection, EPISODES)}
    # e3 is younger than the record: it says nothing about it.
    assert found == {"e1": (False, "reconciled"), "e2": (True, None), "e3": (True, None)}
    await record(connection, health("acme", 14, open_episodes=("e1", "e3")))
    found = {row[0]: (row[4] is None, row[5]) for row in await rows(connection, EPISODES)}
    assert found == {"e1": (True, None), "e2": (False, "reconciled"), "e3": (True, None)}


async def test_a_transition_that_comes_after_its_health_record_is_reconciled_too(connection: Any) -> None:
    await record(connection, health("acme", 10))
    await record(connection, history("e1")[0])
    assert (await rows(connection, EPISODES))[0][5] == "reconciled"
    await record(connection, history("e1")[2])
    assert (await rows(connection, EPISODES))[0][5] == "recovered"


async def test_older_health_changes_nothing(connection: Any) -> None:
    await record(connection, health("acme", 10, open_episodes=("e1",), usage={DAY_0.date(): 7}))
    await record(connection, history("e1")[0])
    await record(connection, health("acme", 9, usage={DAY_0.date(): 3}, profile={"name": "Old"}))
    assert await rows(connection, "SELECT sequence FROM account_health") == [(10,)]
    assert await rows(connection, "SELECT name FROM accounts") == [("Acme",)]
    assert await rows(connection, "SELECT usage, core FROM usage_days") == [(7, 3)]
    assert (await rows(connection, EPISODES))[0][4] is None


async def test_daily_usage_is_corrected_and_a_day_without_usage_has_no_row(connection: Any) -> None:
    first = DAY_0.date()
    await record(connection, health("acme", 1, usage={first: 4, first + DAY: 0}))
    await record(connection, health("acme", 2, usage={first: 6, first + DAY: 2}))
    await record(connection, health("acme", 3, usage={first: 0}))
    assert await rows(connection, "SELECT day, usage, core FROM usage_days") == [(first + DAY, 2, 1)]


async def test_a_day_that_changes_after_it_was_over_is_marked_and_one_that_was_not_over_is_not(connection: Any) -> None:
    first = DAY_0.date()
    told, ended = first + 9 * DAY, first + 8 * DAY
    await record(
        connection, health("acme", 1, as_of=DAY_0 + 9 * DAY, usage={first: 4, first + DAY: 5, ended: 2, told: 1})
    )
    await record(
        connection, health("acme", 2, as_of=DAY_0 + 12 * DAY, usage={first: 7, first + DAY: 5, ended: 3, told: 9})
    )
    revised = "SELECT day, usage FROM usage_days WHERE revised_at IS NOT NULL"
    assert await rows(connection, revised) == [(first, 7)]
    # It stays marked, and what was not known of before is news and no revision.
    await record(connection, health("acme", 3, as_of=DAY_0 + 13 * DAY, usage={first: 7, first + 2 * DAY: 1}))
    assert await rows(connection, revised) == [(first, 7)]


async def test_episodes_follow_their_account_to_its_new_owner(connection: Any) -> None:
    await record(connection, history("e1")[0], history("e2")[0])
    await record(connection, health("acme", 10, open_episodes=("e1", "e2"), profile={"csm": "Ben", "tier": "low"}))
    assert await rows(connection, "SELECT DISTINCT csm, tier FROM episodes") == [("Ben", "low")]
    await record(connection, transition("acme", "e1", 2, "escalated", sequence=11))
    assert await rows(connection, "SELECT DISTINCT csm, tier FROM episodes") == [("Ben", "low")]


@pytest.mark.parametrize("signals_first", [True, False])
async def test_erasing_an_account_leaves_nothing_and_stops_what_is_still_on_its_way(
    connection: Any, signals_first: bool
) -> None:
    before, at, after = APPENDED_0, APPENDED_0 + HOUR, APPENDED_0 + 2 * HOUR
    opened = [transition("acme", "e1", 1, "raised"), *history("e2")]
    ended = transition("acme", "e1", 2, "cleared", because="erased", appended=at + dt.timedelta(seconds=1))
    ticket = event("tickets", "ticket.closed", "acme", {"ticket_id": "1", "note": "secret"}, id_="1", appended=before)
    erasure = event("accounts", "account.erased", "acme", {}, id_="2", time=DAY_0 + DAY, appended=at)
    await record(connection, health("acme", 4, usage={DAY_0.date(): 1}), health("birk", 1))
    await record(connection, transition("acme", "e9", 1, "raised")._replace(value=b"?"))
    if signals_first:
        await record(connection, *opened, ticket)
        await record(connection, ended)
        await record(connection, erased("acme", appended=at), erasure)
    else:
        await record(connection, erased("acme", appended=at), erasure)
        await record(connection, *opened, ticket)
        await record(connection, ended)
    for table in ("accounts", "account_health", "usage_days", "episodes", "timeline"):
        assert not await rows(connection, f"SELECT * FROM {table} WHERE account_id = 'acme'"), table
    assert not await rows(connection, "SELECT * FROM transitions")
    assert not await rows(connection, "SELECT * FROM recorder_refused")
    assert await rows(connection, "SELECT account_id FROM accounts") == [("birk",)]

    # The id may be a customer's again: what comes after is recorded.
    again = event("tickets", "ticket.closed", "acme", {"ticket_id": "9"}, id_="9", time=DAY_0 + 2 * DAY, appended=after)
    await record(connection, health("acme", 9, open_episodes=("e5",), appended=after), again)
    await record(connection, transition("acme", "e5", 1, "raised", sequence=9, appended=after))
    assert (await rows(connection, EPISODES))[0][0] == "e5"
    assert await rows(connection, "SELECT event_id FROM timeline") == [("9",)]


async def test_hostile_texts_are_recorded(connection: Any) -> None:
    long = "ü" * 1024
    await record(
        connection,
        transition("acme", "e1", 1, "raised", user=HOSTILE, reason=HOSTILE, csm=long, tier=HOSTILE, signal=long),
        health("acme", 1, open_episodes=("e1",), profile={"name": HOSTILE, "csm": long, "mrr": "1e999999"}),
        event("tickets", "ticket.closed", "acme", {"ticket_id": "1", "note": HOSTILE}, id_=long[:250], source=HOSTILE),
        event("tickets", "ticket.closed", "\U0001f984" * 128, {"ticket_id": "1"}, id_=HOSTILE, source="ü" * 512),
    )
    assert not await rows(connection, "SELECT * FROM recorder_refused")
    assert (await rows(connection, "SELECT count(*) FROM timeline")) == [(2,)]
    ((user, csm),) = await rows(connection, 'SELECT "user", csm FROM episodes')
    assert user == HOSTILE.replace("\x00", "�")
    assert csm == long[:256]


# --- with the broker -----------------------------------------------------------------------------------------------


def config(kafka: LocalKafka, url: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka.bootstrap, database_url=url)  # type: ignore[call-arg]


@asynccontextmanager
async def recording(settings: Settings) -> AsyncIterator[list[Lane]]:
    """Both lanes running in this loop."""
    stop = asyncio.Event()
    running = lanes(settings)
    tasks = [asyncio.create_task(lane.run(stop)) for lane in running]
    try:
        yield running
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def produce(kafka: LocalKafka, records: Sequence[Stored]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    await producer.start()
    try:
        for r in records:
            await producer.send(r.topic, key=r.key, value=r.value, headers=list(r.headers))
        await producer.flush()
    finally:
        await producer.stop()


async def eventually(probe: Callable[[], bool], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not probe():  # noqa: ASYNC110 # nothing to wait for but the state
            await asyncio.sleep(0.05)


async def until(connection: Any, query: str, wanted: object, within: float = 30.0) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while (found := await connection.fetchval(query)) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"{query}: {found}, not {wanted}, in {within} s"
        await asyncio.sleep(0.1)


async def test_from_the_topics_to_the_tables_across_a_restart(
    clean_topics: LocalKafka, migrated_database: str, connection: Any
) -> None:
    accounts = [f"a{n}" for n in range(30)]
    opened = [transition(a, f"{a}-e", 1, "raised", kind="opportunity" if a == "a3" else "risk") for a in accounts]
    await produce(clean_topics, opened)
    poison = Stored("signals.risk", 0, 0, 0, b"a1", b"\xff not JSON", (("sequence", b"1"),))
    tick = Stored("usage", 0, 0, 0, None, b'{"type":"clock.tick"}')
    usage = [event("usage", "usage.logged_in", a, {"user": "u"}, id_=f"u{n}") for n, a in enumerate(accounts)]
    value = event("usage", "usage.value_reached", "a1", {"goal": "g"}, id_="v1")
    async with recording(config(clean_topics, migrated_database)):
        await until(connection, "SELECT count(*) FROM episodes", 30)
        await produce(clean_topics, [poison, poison, tick, *usage, value])
        await until(connection, "SELECT count(*) FROM recorder_refused", 2)
        await until(connection, "SELECT count(*) FROM timeline", 1)
        await until(connection, "SELECT sum(next_offset)::int FROM recorder_offsets WHERE topic = 'usage'", 32)
    closed = [transition(a, f"{a}-e", 2, "cleared", kind="opportunity" if a == "a3" else "risk") for a in accounts]
    await produce(clean_topics, [*closed, *opened, *(health(a, 5, usage={DAY_0.date(): 3}) for a in accounts)])
    async with recording(config(clean_topics, migrated_database)) as running:
        await until(connection, "SELECT count(*) FROM episodes WHERE cleared_because = 'recovered'", 30)
        await until(connection, "SELECT count(*) FROM usage_days", 30)
        assert all(lane.ready for lane in running)
    assert await connection.fetchval("SELECT count(*) FROM transitions") == 60
    assert await connection.fetchval("SELECT count(*) FROM recorder_refused") == 2


@pytest.fixture
def own_postgres(session_folder: Path) -> Iterator[LocalPostgres]:
    (port,) = free_ports(1)
    server = LocalPostgres(session_folder / f"recorder-{port}", port, durable=True)
    server.start()
    server.wait_ready()
    yield server
    server.kill()


async def test_postgres_gone_for_a_while_loses_nothing(clean_topics: LocalKafka, own_postgres: LocalPostgres) -> None:
    await db.upgrade(own_postgres.url())
    total = 3000
    records = [transition(f"a{n % 50}", f"e{n}", 1, "raised") for n in range(total)]
    async with recording(config(clean_topics, own_postgres.url())) as running:
        sending = asyncio.create_task(_slowly(clean_topics, records, seconds=4.0))
        connection = await db.connect(own_postgres.url(), process="test")
        await until(connection, "SELECT count(*) >= 300 FROM episodes", True)
        connection.terminate()
        await asyncio.to_thread(own_postgres.kill)
        await eventually(lambda: not running[0].ready)
        await asyncio.sleep(2.0)
        assert not running[0].ready
        await asyncio.to_thread(own_postgres.start)
        await asyncio.to_thread(own_postgres.wait_ready)
        await sending
        connection = await db.connect(own_postgres.url(), process="test")
        await until(connection, "SELECT count(*) FROM episodes", total)
        await until(
            connection, "SELECT sum(next_offset)::int FROM recorder_offsets WHERE topic = 'signals.risk'", total
        )
        assert await connection.fetchval("SELECT count(*) FROM transitions") == total
        assert running[0].ready
        await connection.close()


async def _slowly(kafka: LocalKafka, records: list[Stored], seconds: float) -> None:
    steps = 20
    size = len(records) // steps
    for step in range(steps):
        await produce(kafka, records[step * size : (step + 1) * size])
        await asyncio.sleep(seconds / steps)


async def test_a_record_that_postgres_refuses_is_set_aside_and_the_rest_goes_on(
    clean_topics: LocalKafka, migrated_database: str, connection: Any
) -> None:
    records = [transition(f"a{n}", f"e{n}", 1, "raised") for n in range(40)]
    bad = transition("a1", "bad", 1, "raised")
    assert bad.value is not None
    # An integer wider than the column: decodes well, and no retry will ever store it.
    records.insert(20, bad._replace(value=bad.value.replace(b'"version":1', b'"version":99999999999')))
    before = REGISTRY.get_sample_value("ebbtide_recorder_refused_total", {"reason": "unrecordable"}) or 0
    await produce(clean_topics, records)
    async with recording(config(clean_topics, migrated_database)):
        await until(connection, "SELECT count(*) FROM episodes", 40)
        await until(connection, "SELECT reason FROM recorder_refused", "unrecordable")
    assert REGISTRY.get_sample_value("ebbtide_recorder_refused_total", {"reason": "unrecordable"}) == before + 1


async def test_a_second_recorder_stands_by_and_takes_over(
    clean_topics: LocalKafka, migrated_database: str, connection: Any
) -> None:
    settings = config(clean_topics, migrated_database)
    async with recording(settings) as first:
        await eventually(lambda: all(lane.detail == "recording" for lane in first))
        async with recording(settings) as second:
            await eventually(lambda: all("standing by" in lane.detail for lane in second))
            await produce(clean_topics, [transition("a", "e1", 1, "raised")])
            await until(connection, "SELECT count(*) FROM episodes", 1)
            # The first one's connections end: whoever gets the lock next goes on from the table.
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            await produce(clean_topics, [transition("a", "e2", 1, "raised")])
            await until(connection, "SELECT count(*) FROM episodes", 2)
    assert await connection.fetchval("SELECT sum(next_offset) FROM recorder_offsets WHERE topic = 'signals.risk'") == 2


# What is told of one account takes long to be committed: long enough for the other writer to be done before.
SLOW_COMMITS = """
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON feed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (NEW.account_id = 'a3' AND NEW.position = 1) EXECUTE FUNCTION linger();
"""


async def test_two_writers_tell_in_one_order_and_lose_nothing_when_one_of_them_is_cut_off(
    clean_topics: LocalKafka, migrated_database: str, connection: Any
) -> None:
    now = dt.datetime.now(dt.UTC)
    accounts = [f"a{n}" for n in range(40)]
    steps: list[tuple[int, Literal["raised", "escalated", "cleared"]]] = [
        (1, "raised"),
        (2, "escalated"),
        (3, "cleared"),
    ]
    said = [
        transition(account, f"{account}-{n}", ordinal, step, sequence=n * 3 + ordinal, opened=now)
        for n in range(60)
        for ordinal, step in steps
        for account in accounts
    ]
    read: list[tuple[int, str, int]] = []

    async def follow() -> None:
        """Read as a stream does: what comes after the greatest id that was seen."""
        reader = await db.connect(migrated_database, process="test-reader")
        while len(read) < len(said):
            found = await reader.fetch(
                "SELECT id, episode_id, position FROM feed WHERE id > $1 ORDER BY id", read[-1][0] if read else 0
            )
            read.extend(tuple(row) for row in found)
            await asyncio.sleep(0.005)
        await reader.close()

    await connection.execute(SLOW_COMMITS)
    await produce(clean_topics, said)
    settings = config(clean_topics, migrated_database)
    following = asyncio.create_task(follow())
    async with recording(settings):
        for wanted in (1000, 3000):
            await until(connection, f"SELECT count(*) >= {wanted} FROM transitions", True)
            # One of the two is gone in the middle of what it does; the other one is not.
            await connection.execute(
                "SELECT pg_terminate_backend(min(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'ebbtide-recorder-signals'"
            )
        async with asyncio.timeout(60):
            await following
        await produce(clean_topics, [health(account, 1000) for account in accounts])
        await until(connection, "SELECT sum(next_offset)::int FROM recorder_offsets", len(said) + len(accounts))
    assert await connection.fetchval("SELECT count(*) FROM feed") == len(said)
    positions: dict[str, list[int]] = {}
    for _, episode_id, position in read:
        positions.setdefault(episode_id, []).append(position)
    assert len(positions) == 60 * 40
    assert all(found == [1, 2, 3] for found in positions.values()), "each transition once, an episode's in their order"
    query = "SELECT e.*, (SELECT max(id) FROM feed) FROM episodes e ORDER BY episode_id"
    before = await connection.fetch(query)
    assert {row["cleared_because"] for row in before} == {"recovered"}
    await connection.execute("DELETE FROM recorder_offsets")
    async with recording(settings):
        await until(connection, "SELECT sum(next_offset)::int FROM recorder_offsets", len(said) + len(accounts))
    assert await connection.fetch(query) == before, "read again from the start, it changes nothing"
    assert not await connection.fetchval("SELECT count(*) FROM recorder_refused")


async def test_topics_made_anew_are_read_from_their_start(
    clean_topics: LocalKafka, migrated_database: str, connection: Any
) -> None:
    await connection.execute("INSERT INTO recorder_offsets SELECT 'signals.risk', n, 1000 FROM generate_series(0, 3) n")
    await produce(clean_topics, [transition("a", "e1", 1, "raised")])
    async with recording(config(clean_topics, migrated_database)):
        await until(connection, "SELECT count(*) FROM episodes", 1)


def test_the_process_says_that_it_is_ready_and_ends_when_told(
    clean_topics: LocalKafka, service_env: dict[str, str]
) -> None:
    service = start_service("recorder", service_env)
    try:
        assert http_status(f"{service.url}/metrics") == 200
        wait_for("livez", lambda: http_status(f"{service.url}/livez") == 200)
    finally:
        code = service.stop()
    assert code == 0, service.tail()


def test_without_postgres_the_process_lives_and_is_not_ready(
    clean_topics: LocalKafka, service_env: dict[str, str]
) -> None:
    (port,) = free_ports(1)
    env = service_env | {"EBBTIDE_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{port}/none"}
    service = start_service("recorder", env, ready=False)
    try:
        wait_for("livez", lambda: http_status(f"{service.url}/livez") == 200)
        assert http_status(f"{service.url}/readyz") == 503
    finally:
        assert service.stop() == 0
