"""A replay through the real topics gives the transitions of the backtest, byte for byte, also when the engine is killed."""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
import time
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from services.demo import story
from services.demo.files import write_events
from services.demo.portfolio import simulate
from tests.e2e.topics_reader import Said, signals
from tests.harness import ebbtide, start_service, wait_for

# A partition that has had a live tick would find all of the recording late.
REPLAYING = {"EBBTIDE_TICKS": "after-replay"}
TODAY = dt.datetime.now(dt.UTC).date()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The story's year and a small portfolio, both ended before today: two files, merged by whoever reads them."""
    folder = tmp_path_factory.mktemp("recordings")
    shift = story.weeks_to_end_before(TODAY)
    write_events(folder / "story.ndjson.gz", [line for _, line in story.events(shift)])
    yesterday = TODAY - dt.timedelta(days=1)
    simulated = [line for _, line in simulate(60, 240, 11, yesterday).events]
    write_events(folder / "portfolio.ndjson.gz", [line for line in simulated if not lost(json.loads(line), yesterday)])
    return sorted(folder.glob("*.gz"))


def lost(event: dict[str, str], last: dt.date) -> bool:
    """What the product's feed never sent: three days of use, and later six days but for every third account."""
    if not event["type"].startswith("usage."):
        return False
    ago = (last - dt.date.fromisoformat(event["time"][:10])).days
    return 120 <= ago < 123 or (40 <= ago < 46 and sum(event["subject"].encode()) % 3 > 0)


def backtest(files: list[Path], env: dict[str, str]) -> dict[str, bytes]:
    lines = ebbtide("backtest", *map(str, files), env=env, timeout=300).stdout.splitlines()
    return {json.loads(line)["id"]: line.encode() for line in lines}


def all_said(bootstrap: str, expected: dict[str, bytes], within: float) -> Said:
    """What the topics hold once they hold as much as expected, and nothing more is coming."""

    def complete() -> Said | None:
        said = signals(bootstrap)
        return said if len(said.historical) >= len(expected) else None

    wait_for(f"{len(expected)} transitions", complete, within=within, every=1.0)
    time.sleep(1.0)
    return signals(bootstrap)


def check(said: Said, expected: dict[str, bytes]) -> None:
    missing = [expected[name] for name in expected.keys() - said.historical.keys()]
    extra = [said.historical[name] for name in said.historical.keys() - expected.keys()]
    assert not missing
    assert not extra
    assert said.historical == expected
    assert said.contradictions == 0


def test_undisturbed(clean_topics: LocalKafka, service_env: dict[str, str], recordings: list[Path]) -> None:
    expected = backtest(recordings, service_env)
    assert len(expected) > 60
    said = {json.loads(value)["data"]["signal"] for value in expected.values()}
    assert {"portfolio.usage_drop", "pipeline.source_stale"} <= said, "the guards have to be heard by every partition"
    engine = start_service("engine", service_env | REPLAYING)
    try:
        ebbtide("replay", *map(str, recordings), env=service_env, timeout=300)
        check(all_said(clean_topics.bootstrap, expected, 120), expected)
    finally:
        assert engine.stop() == 0


# One death in each gap between effects: nothing durable, state durable and nothing said, said and not committed.
DEATHS = ("state-sent:6:kill", "state-acknowledged:7:kill", "signals-acknowledged:5:kill")


def test_killed_in_the_middle(clean_topics: LocalKafka, service_env: dict[str, str], recordings: list[Path]) -> None:
    expected = backtest(recordings, service_env)
    env = service_env | REPLAYING | {"EBBTIDE_ENGINE_BATCH": "500"}
    sending = threading.Thread(
        target=ebbtide, args=("replay", *map(str, recordings)), kwargs={"env": service_env, "timeout": 300}
    )
    sending.start()
    try:
        for death in DEATHS:
            engine = start_service("engine", env | {"FAILPOINT_OF_TEST": death}, ready=False)
            assert engine.process.wait(120) == -9, engine.tail()
            assert len(signals(clean_topics.bootstrap).historical) < len(expected), "killed too late to show anything"
        engine = start_service("engine", env, within=90)
        sending.join()
        check(all_said(clean_topics.bootstrap, expected, 120), expected)
        assert engine.stop() == 0
    finally:
        sending.join()
        engine.kill()


REAL_DATA = os.environ.get("EBBTIDE_REAL_DATA")


@pytest.mark.skipif(REAL_DATA is None, reason="EBBTIDE_REAL_DATA names no folder with recordings of real events")
def test_a_real_ticket_log(clean_topics: LocalKafka, service_env: dict[str, str]) -> None:
    files = [Path(str(REAL_DATA)) / "incidents.ndjson.gz"]
    expected = backtest(files, service_env)
    assert len(expected) > 20
    engine = start_service("engine", service_env | REPLAYING)
    try:
        ebbtide("replay", *map(str, files), env=service_env, timeout=300)
        check(all_said(clean_topics.bootstrap, expected, 120), expected)
    finally:
        engine.stop()
