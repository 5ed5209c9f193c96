"""The stream on a real database: everybody gets everything once and in order, whoever comes back loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.db.feed import APPEND_LOCK
from services.api import stream
from services.api.feed_queries import Entry
from services.api.stream import Gap, Mark, Tail, Wanted, Watcher
from services.common import db, keys
from services.common.http_server import SHUTDOWN_S
from services.common.problems import Problem
from tests.conftest import clean_environment
from tests.harness import free_ports, start_service, wait_for

PAGE = Path(__file__).parent.parent.parent / "docs" / "streams.md"
WITHIN_S = 10

APPEND = """
INSERT INTO feed (type, account_id, episode_id, position, signal, kind, severity, tier, csm, pages, body)
SELECT 'signal.raised', account, 'e-' || account, 1, 'usage.decline', 'risk', 'warning', 'high', 'Ana', false,
  json_build_object('id', 'e-' || account || '-1', 'subject', account)
FROM unnest($1::text[]) AS account
"""


class Told:
    """Writes the feed as its writers do."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def tell(self, *accounts: str) -> None:
        async with self.connection.transaction():
            await self.connection.execute(APPEND_LOCK)
            await self.connection.execute(APPEND, list(accounts))


@pytest.fixture
async def feed(migrated_database: str) -> AsyncIterator[Told]:
    connection = await db.connect(migrated_database, process="test")
    yield Told(connection)
    await connection.close()


@pytest.fixture
async def engine(migrated_database: str) -> AsyncIterator[Any]:
    engine = db.create_engine(migrated_database, process="test", pool_size=5)
    yield engine
    await engine.dispose()


async def heard(watcher: Watcher, until: str) -> list[str]:
    """Accounts of the entries, in order, up to and with that of `until`."""
    found: list[str] = []
    items = watcher.items()
    try:
        async with asyncio.timeout(WITHIN_S):
            async for item in items:
                if isinstance(item, Entry):
                    found.append(item.account_id)
                    if item.account_id == until:
                        return found
    finally:
        await items.aclose()
    raise AssertionError(f"ended after {found}")


async def test_who_comes_back_at_any_id_misses_nothing_while_others_write(
    feed: Told, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PAGE", 3)
    tail = Tail(engine, asyncio.Event())
    await feed.tell(*(f"a{n}" for n in range(10)))
    everything = [f"a{n}" for n in range(30)] + ["end"]

    async def write() -> None:
        for n in range(10, 30):
            await feed.tell(f"a{n}")
        await feed.tell("end")

    watchers = [await tail.subscribe(Wanted(), after) for after in (0, 4, 10, None)]
    writing = asyncio.create_task(write())
    found = await asyncio.gather(*(heard(watcher, "end") for watcher in watchers))
    await writing
    assert found == [everything, everything[4:], everything[10:], everything[10:]]
    assert tail.position is None or await settled(tail)


async def settled(tail: Tail) -> bool:
    """Whether the tail ends once nobody listens: the database is asked for nobody's sake."""
    for _ in range(100):
        if tail.position is None:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_filter_holds_for_what_was_missed_and_for_what_is_new(feed: Told, engine: Any) -> None:
    tail = Tail(engine, asyncio.Event())
    await feed.tell("acme", "birk", "acme")
    watcher = await tail.subscribe(Wanted(account="acme"), 1)
    items = watcher.items()
    async with asyncio.timeout(WITHIN_S):
        assert await anext(items) == Mark(1)
        entry = await anext(items)
        assert isinstance(entry, Entry)
        assert entry.id == 3
        # What concerned somebody else was looked at too: coming back does not start before it.
        assert await anext(items) == Mark(3)
        await feed.tell("birk", "acme")
        last = await anext(items)
    assert isinstance(last, Entry)
    assert (last.id, last.account_id) == (5, "acme")
    await items.aclose()


async def test_whom_nothing_concerns_is_told_how_far_it_is(
    feed: Told, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MARK_S", 0.05)
    items = (await Tail(engine, asyncio.Event()).subscribe(Wanted(account="acme"))).items()
    async with asyncio.timeout(WITHIN_S):
        assert await anext(items) == Mark(0)
        following = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0.3)
        await feed.tell("birk", "birk")
        assert await following == Mark(2)
    await items.aclose()


async def test_who_reads_too_slowly_is_cut_off_and_loses_nothing_by_coming_back(feed: Told, engine: Any) -> None:
    tail = Tail(engine, asyncio.Event(), buffered_most=5)
    slow, quick = await tail.subscribe(Wanted()), await tail.subscribe(Wanted())
    items = slow.items()
    assert await anext(items) == Mark(0)
    following = asyncio.ensure_future(anext(items))
    hearing = asyncio.create_task(heard(quick, "end"))
    await asyncio.sleep(0.5)
    await feed.tell("a0")
    async with asyncio.timeout(WITHIN_S):
        first = await following
        assert isinstance(first, Entry)
        for n in range(1, 8):
            await feed.tell(f"a{n}")
            await asyncio.sleep(0.05)
        await slow.ended.wait()
    await items.aclose()
    await feed.tell("end")
    assert await hearing == [f"a{n}" for n in range(8)] + ["end"]
    again = await tail.subscribe(Wanted(), first.id)
    assert await heard(again, "end") == [f"a{n}" for n in range(1, 8)] + ["end"]


async def test_what_is_not_kept_is_a_gap(feed: Told, engine: Any) -> None:
    await feed.tell("a0", "a1", "a2", "a3")
    await feed.connection.execute("DELETE FROM feed WHERE id < 3")
    tail = Tail(engine, asyncio.Event())
    items = (await tail.subscribe(Wanted(), 1)).items()
    async with asyncio.timeout(WITHIN_S):
        gap = await anext(items)
        assert isinstance(gap, Gap)
        assert (gap.asked, gap.position) == (1, 2)
        following = await anext(items)
        assert isinstance(following, Entry)
        assert following.id == 3
    await items.aclose()
    await feed.connection.execute("DELETE FROM feed")
    items = (await tail.subscribe(Wanted(), 3)).items()
    async with asyncio.timeout(WITHIN_S):
        assert await anext(items) == Gap(3, 4, None)
    await items.aclose()


async def test_there_are_not_more_than_can_be_served(engine: Any) -> None:
    tail = Tail(engine, asyncio.Event(), watchers_most=1)
    items = (await tail.subscribe(Wanted())).items()
    await anext(items)
    with pytest.raises(Problem) as refused:
        await tail.subscribe(Wanted())
    assert refused.value.status == 503
    assert refused.value.headers == {"retry-after": "30"}
    await items.aclose()
    await tail.subscribe(Wanted())


async def test_a_database_that_is_away_ends_no_stream(
    feed: Told, engine: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream, "PAUSE_S", 0.05)
    hearing = asyncio.create_task(heard(await Tail(engine, asyncio.Event()).subscribe(Wanted()), "end"))
    await asyncio.sleep(0.5)
    monkeypatch.setattr(stream.feed_queries, "after", _away)
    await asyncio.sleep(0.5)
    await feed.tell("a0")
    monkeypatch.undo()
    await feed.tell("end")
    assert await hearing == ["a0", "end"]


async def _away(*arguments: object) -> list[Entry]:
    raise ConnectionRefusedError("nobody listens")


# --- over HTTP -----------------------------------------------------------------------------------------------------


class Api:
    """The api's process, which can be ended and started again, and a key."""

    def __init__(self, env: dict[str, str], key: str) -> None:
        self.env = env
        self.key = key
        self.service = start_service("api", env)

    def again(self) -> None:
        """Start it where it was."""
        self.service = start_service("api", self.env)


@pytest.fixture
def api(migrated_database: str, tmp_path: Path) -> Iterator[Api]:
    port, metrics_port = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(tmp_path),
        "EBBTIDE_DATABASE_URL": migrated_database,
        "EBBTIDE_API_PORT": str(port),
        "EBBTIDE_METRICS_PORT_API": str(metrics_port),
    }

    async def make() -> str:
        engine = db.create_engine(migrated_database, process="test", pool_size=1)
        made = await keys.create(engine, ["read"])
        await engine.dispose()
        return made.secret

    found = Api(env, asyncio.run(make()))
    try:
        yield found
    finally:
        found.service.stop()


def tell(url: str, *accounts: str) -> None:
    async def append() -> None:
        connection = await db.connect(url, process="test")
        await Told(connection).tell(*accounts)
        await connection.close()

    asyncio.run(append())


def examples() -> dict[str, str]:
    """The page's programs that hear the stream, by their language."""
    blocks = re.findall(r"^```(python|js)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return {language: code for language, code in blocks if "/v1/stream" in code}


class Example:
    """One of the page's programs as it runs, and what it has printed."""

    def __init__(self, command: list[str], api: Api) -> None:
        env = os.environ | {"EBBTIDE_URL": api.service.url, "EBBTIDE_KEY": api.key}
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.printed: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            for line in out:
                self.printed.append(line.strip())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()


def test_the_pages_programs_miss_nothing_while_the_api_restarts(
    api: Api, migrated_database: str, tmp_path: Path
) -> None:
    code = examples()
    (tmp_path / "listen.py").write_text(code["python"])
    (tmp_path / "listen.mjs").write_text(code["js"])
    running = [
        Example([sys.executable, str(tmp_path / "listen.py")], api),
        Example(["node", str(tmp_path / "listen.mjs")], api),
    ]
    try:
        wait_for("both listen", lambda: watchers(api) == 2)
        tell(migrated_database, "acme", "birk")
        expected = ["1 signal.raised acme", "2 signal.raised birk"]
        wait_for("both have heard", lambda: all(one.printed == expected for one in running))
        assert api.service.stop() == 0
        tell(migrated_database, "missed")
        api.again()
        tell(migrated_database, "new")
        expected += ["3 signal.raised missed", "4 signal.raised new"]
        wait_for("both have heard the rest", lambda: all(len(one.printed) >= 4 for one in running))
        assert [one.printed for one in running] == [expected, expected]
    finally:
        for one in running:
            one.end()


def watchers(api: Api) -> float:
    text = httpx.get(f"http://127.0.0.1:{api.env['EBBTIDE_METRICS_PORT_API']}/metrics").text
    return float(next(line for line in text.splitlines() if line.startswith("ebbtide_stream_watchers ")).split()[1])


def test_over_http(api: Api, migrated_database: str) -> None:
    service, key = api.service, {"authorization": f"Bearer {api.key}"}
    url = f"{service.url}/v1/stream"
    tell(migrated_database, "acme", "birk")
    with httpx.Client(timeout=WITHIN_S) as client:
        assert client.get(url).status_code == 401
        refused = client.get(url, headers=key | {"last-event-id": "x"})
        assert refused.status_code == 400
        assert refused.json()["field"] == "Last-Event-ID"
        assert client.get(url, headers=key, params={"severity": "bad"}).status_code == 400
        assert client.head(url, headers=key).headers["content-type"].startswith("text/event-stream")
        # The header of one who comes back is newer than what stands in its address.
        with client.stream("GET", url, headers=key | {"last-event-id": "1"}, params={"last_event_id": 0}) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["cache-control"] == "no-store"
            lines = answer.iter_lines()
            sent = [next(lines) for _ in range(7)]
            assert sent[:6] == ["retry: 3000", "", "id: 1", "", "id: 2", "event: signal.raised"]
            assert json.loads(sent[6].removeprefix("data: "))["subject"] == "birk"
            # A stream that is open ends whole, by itself and not because the server has waited long enough.
            began = time.monotonic()
            service.process.terminate()
            rest = list(lines)
            assert time.monotonic() - began < SHUTDOWN_S
            assert service.stop() == 0
            assert [line for line in rest if line.startswith("event:")] == []
