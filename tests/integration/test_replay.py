"""The replay driver on a real broker: what stands in every partition afterwards, also when it was killed on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.kafka import LocalKafka
from schemas.events import INPUT_TOPICS
from services.common.kafka import end_offsets
from services.common.recording import Midnight, merge, read, steps
from services.common.settings import Settings
from services.demo.files import write_events
from services.demo.portfolio import simulate
from services.demo.replay import ReplayRefused, finish, replay, target
from services.demo.tails import read_tails
from services.signals.backtest.broadcasts import with_broadcasts
from tests.conftest import clean_environment
from tests.harness import ROOT, ebbtide

PARTITIONS = 4
YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
Record = tuple[int | None, bytes | None, bytes]  # sequence, key, value


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of 10 customers, with a line that is not JSON and one of an unknown type."""
    path = tmp_path_factory.mktemp("recording") / "events.ndjson.gz"
    lines = [line for _, line in simulate(10, 60, 3, YESTERDAY).events]
    lines[300:300] = [b"not json", b'{"type":"no.such","subject":"acct-0001"}']
    write_events(path, lines)
    return path


@pytest.fixture
def config(clean_topics: LocalKafka, tmp_path: Path) -> Settings:
    return Settings(kafka_bootstrap_servers=clean_topics.bootstrap, data_dir=tmp_path, topic_partitions=PARTITIONS)


def say(text: str) -> None:
    print(text)


async def everything(config: Settings) -> dict[TopicPartition, list[Record]]:
    """All records of the input topics, in order of offset."""
    ends = await end_offsets(config.bootstrap, INPUT_TOPICS)
    found: dict[TopicPartition, list[Record]] = {place: [] for place in ends}
    consumer = AIOKafkaConsumer(bootstrap_servers=config.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(ends))
        for place in ends:
            consumer.seek(place, 0)
        while sum(map(len, found.values())) < sum(ends.values()):
            for place, records in (await consumer.getmany(timeout_ms=2000)).items():
                for record in records:
                    headers = dict(record.headers)
                    assert int(headers["run-start"]) > 0
                    sequence = int(headers["sequence"]) if "sequence" in headers else None
                    found[place].append((sequence, record.key, record.value))
    finally:
        await consumer.stop()
    return found


def wanted(path: Path, run_start_us: int) -> dict[TopicPartition, list[tuple[int, bytes | None, bytes | int]]]:
    """What each partition must hold, in order, without the closing tick; a historical tick as its instant."""
    places = [TopicPartition(topic, number) for topic in INPUT_TOPICS for number in range(PARTITIONS)]
    found: dict[TopicPartition, list[tuple[int, bytes | None, bytes | int]]] = {place: [] for place in places}
    recorded = steps(merge([read(path)]), run_start_us=run_start_us)
    for sequence, what in with_broadcasts(recorded, run_start_us=run_start_us):
        if isinstance(what, Midnight):
            for place in places:
                found[place].append((sequence, None, what.now_us))
        else:
            where = target(what, PARTITIONS)
            for number in where.partitions:
                found[TopicPartition(where.topic, number)].append((sequence, where.key, what.raw))
    return found


def instant(tick: bytes) -> tuple[int, bool]:
    data = json.loads(tick)["data"]
    return round(dt.datetime.fromisoformat(data["now"]).timestamp() * 1e6), data["historical"]


def assert_whole(
    there: dict[TopicPartition, list[Record]], path: Path, run_start_us: int, *, closing_ticks: int = 1
) -> None:
    """Every partition holds exactly the run, once and in order, and then the closing live ticks."""
    for place, expected in wanted(path, run_start_us).items():
        run, closing = there[place][:-closing_ticks], there[place][-closing_ticks:]
        assert [record[:2] for record in run] == [step[:2] for step in expected], place
        for record, step in zip(run, expected, strict=True):
            assert record[2] == step[2] or instant(record[2]) == (step[2], True), (place, record, step)
        last = max(step[2] for step in expected if isinstance(step[2], int))
        assert [(record[0], record[1], instant(record[2])) for record in closing] == [
            (None, None, (last, False))
        ] * closing_ticks


async def test_every_partition_gets_its_records_and_every_tick_in_order(config: Settings, recording: Path) -> None:
    outcome = await replay([recording], config, say, threading.Event())
    assert outcome.complete
    assert outcome.refused == {"malformed": 1, "unknown_type": 1}
    assert outcome.sent == outcome.events + 2
    run_start = round(dt.datetime.fromisoformat(outcome.run_start).timestamp() * 1e6)
    assert_whole(await everything(config), recording, run_start)

    with pytest.raises(ReplayRefused, match=r"its clock is at .* already, and the recording begins on"):
        await replay([recording], config, say, threading.Event())
    assert not await finish(config, say)
    assert_whole(await everything(config), recording, run_start)


async def test_stopped_it_gives_the_topics_back_to_the_present(config: Settings, recording: Path) -> None:
    stop = threading.Event()
    stop.set()
    outcome = await replay([recording], config, say, stop)
    assert not outcome.complete
    assert 0 < outcome.sent < outcome.events
    tails = await read_tails(config.bootstrap, dict.fromkeys(INPUT_TOPICS, PARTITIONS))
    assert {(tail.historical, tail.tick_us is None) for tail in tails.values()} == {(False, False)}


async def test_a_killed_run_can_be_finished_or_resumed_exactly(config: Settings, recording: Path) -> None:
    run_start = time.time_ns() // 1000
    await killed_on_the_way(config, recording, run_start)

    with pytest.raises(ReplayRefused, match="another replay is open"):
        await replay([recording], config, say, threading.Event())

    await killed_on_the_way(config, recording, run_start)
    again = await replay(
        [recording], config, say, threading.Event(), run_start_us=run_start, resume=True, stay_open=True
    )
    assert again.complete
    assert 0 < again.sent < again.events, "the killed run had sent nothing, or everything"
    assert_whole(await everything(config), recording, run_start)

    # Complete: resuming once more sends no event again, and closes once more, which does no harm.
    once_more = await replay([recording], config, say, threading.Event(), run_start_us=run_start, resume=True)
    assert (once_more.complete, once_more.sent) == (True, 0)
    assert_whole(await everything(config), recording, run_start, closing_ticks=2)


async def test_a_closed_run_is_not_resumed(config: Settings, recording: Path) -> None:
    run_start = time.time_ns() // 1000
    await killed_on_the_way(config, recording, run_start)
    assert await finish(config, say)
    with pytest.raises(ReplayRefused, match="closed before its end"):
        await replay([recording], config, say, threading.Event(), run_start_us=run_start, resume=True)


async def killed_on_the_way(config: Settings, recording: Path, run_start: int) -> None:
    """Run (or resume) the replay in a process that is killed as soon as a good part of it is on the broker."""
    before = sum((await end_offsets(config.bootstrap, INPUT_TOPICS)).values())
    code = (
        "import asyncio, sys, threading, services.demo.replay as driver\n"
        "from pathlib import Path\nfrom services.common.settings import Settings\n"
        # Slowed down, so that the kill comes in the middle of it on any machine.
        "driver.STEPS_BETWEEN_FLUSHES = 50\npause = asyncio.sleep\n"
        "driver.STEPS_BETWEEN_PAUSES = 50\ndriver.asyncio.sleep = lambda s: pause(s or 0.02)\n"
        "path, bootstrap, run = sys.argv[1:]\n"
        "asyncio.run(driver.replay([Path(path)], Settings(kafka_bootstrap_servers=bootstrap), print, threading.Event(),"
        " run_start_us=int(run), resume=True, stay_open=True))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        str(recording),
        config.bootstrap,
        str(run_start),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while sum((await end_offsets(config.bootstrap, INPUT_TOPICS)).values()) < before + 400:
            assert process.returncode is None, "the driver ended before it could be killed"
            assert time.monotonic() < deadline, "the driver sent nothing"
            await asyncio.sleep(0.02)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_the_command_replays_and_refuses(clean_topics: LocalKafka, recording: Path, tmp_path: Path) -> None:
    env = clean_environment() | {
        "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": clean_topics.bootstrap,
        "EBBTIDE_DATA_DIR": str(tmp_path),
    }
    done = ebbtide("replay", str(recording), "--until", str(YESTERDAY - dt.timedelta(days=40)), "--json", env=env)
    midnight = dt.datetime.combine(YESTERDAY - dt.timedelta(days=39), dt.time(), dt.UTC)
    assert dt.datetime.fromisoformat(json.loads(done.stdout)["clock"]) == midnight
    assert "1 lines are no usable events (malformed)" in done.stderr
    refused = ebbtide("replay", str(recording), env=env, ok=False)
    assert (refused.returncode, "its clock is at" in refused.stderr) == (1, True)
    assert ebbtide("replay", "--finish", "--json", env=env).stdout == '{"closed": false}\n'
