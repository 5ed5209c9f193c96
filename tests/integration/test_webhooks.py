"""Webhooks on a real database and a real receiver: order, repeats, failures, and who never hears of what."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from schemas.webhooks import Filter
from services.common import db, keys
from services.common.settings import Settings
from services.delivery import schedule
from services.delivery.ledger import Ledger, feed_message_id
from services.delivery.webhooks import Webhooks
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests.harness import Service, start_service, wait_for
from tests.receiver import Answer, Got, Receiver, receiver
from tests.recorded import Stored, erased, transition

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


async def test_an_endpoint_that_fails_recovers_and_rotates_gets_everything_once_and_in_order(
    connection: Any, migrated_database: str, target: Receiver, quick: None
) -> None:
    webhook_id = await subscribe(connection, "a", target.url + "/")
    failing = iter([Answer(500), Answer(503, (("retry-after", "1"),)), Answer(302, (("location", "/other"),))])

    def answer(got: Got) -> Answer:
        if got.body.count(b'"e4"'):
            return next(failing, Answer())
        return Answer()

    target.answer = answer
    async with sending(migrated_database):
        await record(connection, *(raised(number) for number in range(1, 7)))
        await until("the failing one twice", lambda: len(target.got) >= 5)
        await connection.execute(
            "UPDATE webhooks SET secret = $1, previous_secret = $2, previous_until = $3, revision = revision + 1",
            NEW_SECRET,
            SECRET,
            NOW + dt.timedelta(hours=1),
        )
        await until("all", lambda: len(target.got) == 9)
        await record(connection, raised(7))
        await until("one more", lambda: len(target.got) == 10)
    ids = [feed_message_id(webhook_id, row[0]) for row in await connection.fetch("SELECT id FROM feed ORDER BY id")]
    assert [got.id for got in target.got] == [*ids[:3], *[ids[3]] * 4, *ids[4:]]
    asked_to_wait, after = target.got[4], target.got[5]
    assert after.at - asked_to_wait.at >= 1.0
    last = target.got[-1]
    for secret in (NEW_SECRET, SECRET):
        Webhook(secret).verify(last.body, last.headers)
    assert not [got for got in target.got if got.path == "/other"]
    assert [row[2:] for row in await log_of(connection, webhook_id)] == [
        ("delivered", 4 if number == 4 else 1) for number in range(1, 8)
    ]
    assert await connection.fetchval("SELECT failing_since FROM webhooks") is None


async def test_changes_in_the_middle_and_a_flaky_receiver_neither_repeat_nor_pass_over_a_message(
    connection: Any, migrated_database: str, target: Receiver, quick: None
) -> None:
    webhook_id = await subscribe(connection, "a", target.url + "/")
    chance = random.Random(11)
    taken: list[str] = []

    def answer(got: Got) -> Answer:
        if chance.random() < 0.2:
            return Answer(500)
        taken.append(got.id)
        return Answer(after_s=chance.random() / 50)

    target.answer = answer
    async with sending(migrated_database):
        for number in range(60):
            await record(connection, raised(number))
            if number % 3 == 0:
                await connection.execute("UPDATE webhooks SET revision = revision + 1")
        await until("all", lambda: len(taken) >= 60)
    ids = [row[0] for row in await connection.fetch("SELECT id FROM feed ORDER BY id")]
    assert taken == [feed_message_id(webhook_id, feed_id) for feed_id in ids]
    assert {row[2] for row in await log_of(connection, webhook_id)} == {"delivered"}


async def test_a_crash_after_the_send_repeats_the_same_message_and_loses_none(
    connection: Any, migrated_database: str, target: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook_id = await subscribe(connection, "a", target.url + "/")
    crashes = iter([False, True, True])
    whole = Ledger.record

    async def cut(self: Ledger, *what: Any) -> Any:
        if next(crashes, False):
            raise ConnectionResetError("the database went away")
        return await whole(self, *what)

    monkeypatch.setattr(Ledger, "record", cut)
    await record(connection, *(raised(number) for number in range(1, 5)))
    async with sending(migrated_database):
        await until("all", lambda: len(target.got) == 6)
    ids = [feed_message_id(webhook_id, row[0]) for row in await connection.fetch("SELECT id FROM feed ORDER BY id")]
    assert [got.id for got in target.got] == [ids[0], ids[1], ids[1], ids[1], ids[2], ids[3]]
    assert len({got.body for got in target.got if got.id == ids[1]}) == 1


async def test_over_the_api_with_a_rotation_and_a_kill_while_the_receiver_thinks(
    connection: Any, migrated_database: str, target: Receiver, service_env: dict[str, str]
) -> None:
    env = service_env | {"EBBTIDE_DATABASE_URL": migrated_database, "EBBTIDE_WEBHOOK_ALLOW_PRIVATE": "true"}
    engine = db.create_engine(migrated_database, process="test", pool_size=1)
    key = (await keys.create(engine, ["admin"])).secret
    await engine.dispose()
    target.answer = lambda got: Answer(after_s=20 if got.body.count(b'"e3"') else 0)
    client = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{env['EBBTIDE_API_PORT']}", headers={"authorization": f"Bearer {key}"}, timeout=20
    )
    running: list[Service] = []
    try:
        for name in ("api", "delivery"):
            running.append(await asyncio.to_thread(start_service, name, env, within=90))
        made = (await client.post("/v1/webhooks", json={"url": target.url + "/"})).json()
        path = f"/v1/webhooks/{made['webhook_id']}"
        await record(connection, *(raised(number) for number in range(1, 6)))
        await asyncio.to_thread(wait_for, "the third one", lambda: len(target.got) == 3)
        rotated = (await client.post(f"{path}/rotate", json={})).json()
        running.pop().kill()
        target.answer = lambda got: Answer()
        running.append(await asyncio.to_thread(start_service, "delivery", env, within=90))
        await asyncio.to_thread(wait_for, "all", lambda: len(target.got) == 6)
        assert (await client.post(f"{path}/test")).status_code == 202
        await asyncio.to_thread(wait_for, "the test", lambda: len(target.got) == 7)
        assert (await client.post(f"{path}/redeliver", json={"from_id": 2, "to_id": 3})).status_code == 202
        await asyncio.to_thread(wait_for, "two again", lambda: len(target.got) == 9)
        assert await asyncio.to_thread(running[-1].stop) == 0
        log = (await client.get(f"{path}/deliveries")).json()["items"]
    finally:
        await client.aclose()
        for service in running:
            service.kill()
    ids = [feed_message_id(made["webhook_id"], feed_id) for feed_id in range(1, 6)]
    sent = [got.id for got in target.got]
    assert [*sent[:6], *sent[7:]] == [ids[0], ids[1], ids[2], ids[2], ids[3], ids[4], ids[1], ids[2]]
    assert [(each["state"], each["attempts"]) for each in reversed(log)] == [
        ("delivered", 1),
        ("delivered", 2),
        ("delivered", 2),
        ("delivered", 1),
        ("delivered", 1),
        ("delivered", 1),
    ]
    for got in target.got[3:]:
        for secret in (made["secret"], rotated["secret"]):
            Webhook(secret).verify(got.body, got.headers)


async def test_gone_disables_and_tells_those_who_want_to_know(
    connection: Any, migrated_database: str, target: Receiver
) -> None:
    gone = await subscribe(connection, "gone", target.url + "/gone")
    watcher = await subscribe(connection, "watch", target.url + "/watch", filters=Filter(types=("endpoint.disabled",)))
    slack = await subscribe(
        connection, "slack", target.url + "/slack", format="slack", filters=Filter(types=("endpoint.disabled",))
    )
    target.answer = lambda got: Answer(410 if got.path == "/gone" else 200)
    async with sending(migrated_database):
        await record(connection, raised(1), raised(2))
        await until("both told", lambda: target.bodies("/watch") and target.bodies("/slack"))
        target.answer = lambda got: Answer()
        row = await connection.fetchrow("SELECT enabled, disabled_because FROM webhooks WHERE webhook_id = $1", gone)
        assert tuple(row) == (False, "gone")
        told = json.loads(target.bodies("/watch")[0])
        assert (told["type"], told["data"]["webhook_id"], told["data"]["because"]) == (
            "endpoint.disabled",
            gone,
            "gone",
        )
        assert told["data"]["url"] == target.url  # no path: it may be a secret
        assert json.loads(target.bodies("/slack")[0])["text"].startswith(f"The webhook {gone} was disabled (gone)")
        audit = await connection.fetchrow("SELECT actor, action, subject FROM audit")
        assert tuple(audit) == ("delivery", "webhook.disabled", gone)
        assert len(target.bodies("/gone")) == 1
        # Whoever enables it again loses nothing.
        await connection.execute(
            "UPDATE webhooks SET enabled = true, revision = revision + 1 WHERE webhook_id = $1", gone
        )
        await until("the rest", lambda: len(target.bodies("/gone")) == 3)
    assert target.ids("/gone") == [feed_message_id(gone, feed_id) for feed_id in (1, 2)]
    assert [len(target.bodies(path)) for path in ("/watch", "/slack")] == [1, 1]
    assert [row[1:3] for row in await log_of(connection, watcher)] == [("endpoint.disabled", "delivered")]
    assert [row[1:3] for row in await log_of(connection, slack)] == [("endpoint.disabled", "delivered")]


async def test_five_days_of_failure_disable(connection: Any, migrated_database: str, target: Receiver) -> None:
    await subscribe(connection, "a", target.url + "/")
    target.answer = lambda got: Answer(500)
    later = dt.timedelta()
    async with sending(migrated_database, clock=lambda: dt.datetime.now(dt.UTC) + later):
        await record(connection, raised(1))
        await until("one attempt", lambda: len(target.got) == 1)
        later = dt.timedelta(days=4, hours=23)
        await record(connection, raised(2))  # wakes it
        await until("another attempt", lambda: len(target.got) == 2)
        assert await connection.fetchval("SELECT enabled FROM webhooks")
        later = dt.timedelta(days=5, hours=1)
        await record(connection, raised(3))

        async def disabled() -> bool:
            return not await connection.fetchval("SELECT enabled FROM webhooks")

        await until("disabled", disabled)
    assert len(target.got) == 3
    assert await connection.fetchval("SELECT disabled_because FROM webhooks") == "failing"


async def test_a_slow_endpoint_delays_no_other_and_filters_are_its_own(
    connection: Any, migrated_database: str, target: Receiver
) -> None:
    await subscribe(connection, "slow", target.url + "/slow")
    await subscribe(connection, "critical", target.url + "/critical", filters=Filter(severity="critical"))
    await subscribe(connection, "quick", target.url + "/quick", filters=Filter(signals=("usage.*",)))
    target.answer = lambda got: Answer(after_s=3 if got.path == "/slow" else 0)
    async with sending(migrated_database):
        await record(
            connection,
            raised(1, historical=True),
            raised(2),
            raised(3, severity="critical", signal="billing.overdue"),
            raised(4, severity="critical"),
        )
        # Within the 3 s that the slow one takes for its first.
        counts = {"/quick": 2, "/critical": 2, "/slow": 1}
        await until("the quick ones", lambda: {path: len(target.bodies(path)) for path in counts} == counts, 2.5)

    def episodes(path: str) -> list[str]:
        return [json.loads(body)["data"]["data"]["episode_id"] for body in target.bodies(path)]

    assert episodes("/quick") == ["e2", "e4"]
    assert episodes("/critical") == ["e3", "e4"]


async def test_what_is_asked_for_again_goes_under_its_ids_and_a_test_goes_first(
    connection: Any, migrated_database: str, target: Receiver
) -> None:
    webhook_id = await subscribe(connection, "a", target.url + "/", filters=Filter(severity="warning"))
    async with sending(migrated_database):
        await record(connection, raised(1), raised(2, severity="info"), *(raised(number) for number in range(3, 6)))
        await until("four", lambda: len(target.got) == 4)
        first = [got.id for got in target.got]
        target.got.clear()
        target.answer = lambda got: Answer(500)
        await connection.execute(
            "INSERT INTO webhook_replays (webhook_id, next_id, until_id, requested_by) VALUES ($1, 1, 4, 'Ana')",
            webhook_id,
        )
        await connection.execute("UPDATE webhooks SET revision = revision + 1")
        await until("one attempt, in vain", lambda: len(target.got) == 1)
        target.answer = lambda got: Answer()
        # A test that arrives shows that the receiver is back: what waited goes at once.
        await connection.execute(
            "INSERT INTO webhook_deliveries (webhook_id, message_id, type, state, body) "
            "VALUES ($1, 'msg_test', 'webhook.test', 'queued', '{}')",
            webhook_id,
        )
        await connection.execute("UPDATE webhooks SET revision = revision + 1")
        await until("the part", lambda: len(target.got) == 5, 4)
        assert [got.id for got in target.got] == [first[0], "msg_test", *first[:3]]

        async def done() -> bool:
            return not await connection.fetch("SELECT FROM webhook_replays")

        await until("the part is done", done)
        # One of them alone, whatever the filters say now.
        await connection.execute("UPDATE webhook_deliveries SET state = 'queued', tries = 0 WHERE feed_id = 3")
        await connection.execute('UPDATE webhooks SET filters = \'{"severity": "critical"}\', revision = revision + 1')
        await until("it", lambda: len(target.got) == 6)
    assert target.got[-1].id == first[1]
    assert (await log_of(connection, webhook_id))[:2] == [
        (1, "signal.raised", "delivered", 3),
        (3, "signal.raised", "delivered", 3),
    ]


async def test_what_waits_of_an_erased_account_is_never_sent(
    connection: Any, migrated_database: str, target: Receiver
) -> None:
    webhook_id = await subscribe(connection, "a", target.url + "/")
    target.answer = lambda got: Answer(500)
    async with sending(migrated_database):
        await record(connection, raised(1))
        await until("one attempt", lambda: len(target.got) == 1)
        target.answer = lambda got: Answer()
        await record(connection, erased("acme", appended=NOW + dt.timedelta(seconds=1)))
        await connection.execute("UPDATE webhook_deliveries SET next_at = now()")
        await connection.execute("UPDATE webhooks SET revision = revision + 1")
        await record(connection, transition("birk", "e9", 1, "raised", appended=NOW))
        await until("the other's", lambda: len(target.got) == 2)
    assert b"acme" not in target.got[1].body
    assert [row[2] for row in await log_of(connection, webhook_id)] == ["withdrawn", "delivered"]
    assert await connection.fetchval("SELECT excerpt FROM webhook_attempts WHERE status = 500") is None


async def test_a_name_that_leads_inside_is_not_connected_to(
    connection: Any, migrated_database: str, target: Receiver
) -> None:
    webhook_id = await subscribe(connection, "a", target.url.replace("http://127.0.0.1", "https://localhost") + "/")
    async with sending(migrated_database, webhook_allow_private=False):
        await record(connection, raised(1))

        async def attempted() -> str | None:
            found: str | None = await connection.fetchval("SELECT error FROM webhook_attempts")
            return found

        await until("an attempt", attempted)
        assert "loopback" in (await attempted() or "")
    assert not target.got
    assert [row[2] for row in await log_of(connection, webhook_id)] == ["retrying"]


async def test_the_feed_is_kept_for_those_who_have_yet_to_be_told(connection: Any) -> None:
    await record(connection, *(raised(number) for number in range(1, 5)))
    await connection.execute("UPDATE feed SET at = now() - interval '31 days' WHERE id <= 3")
    ledger = Ledger(connection)
    behind = await subscribe(connection, "behind", "https://example.com/", cursor=1)
    await subscribe(connection, "ahead", "https://example.com/", cursor=4)

    async def kept() -> list[int]:
        return [row[0] for row in await connection.fetch("SELECT id FROM feed ORDER BY id")]

    assert not await ledger.trim(dt.datetime.now(dt.UTC))
    assert await kept() == [2, 3, 4]
    await connection.execute("UPDATE webhooks SET enabled = false WHERE webhook_id = $1", behind)
    await ledger.trim(dt.datetime.now(dt.UTC))
    assert await kept() == [4]
