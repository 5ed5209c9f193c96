"""The demo's state in a data folder: what is pending, what a history is made of, and that two do not run at once."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pytest

from schemas.codec import decode_any
from schemas.envelope import Event
from services.common.settings import Settings
from services.demo import demo, story

LAST_DAY = dt.date(2026, 3, 31)
RUN = demo.Run(run_start_us=1_775_000_000_000_000, last_day=LAST_DAY, accounts=3, days=30, seed=1)


def say(text: str) -> None:
    print(text)


def test_the_history_is_story_and_portfolio_in_order_and_ends_before_today() -> None:
    lines, labels = demo.history(RUN)
    assert (lines, labels) == demo.history(RUN)
    events = [event for event in map(decode_any, lines) if isinstance(event, Event)]
    assert len(events) == len(lines)
    assert {event.subject for event in events} == {story.ACCOUNT, *(label.account for label in labels)}
    newest = max(event.time for event in events)
    assert newest < dt.datetime.combine(LAST_DAY, dt.time(), dt.UTC) + dt.timedelta(days=1)
    alone = [event.time for event in events if event.subject == story.ACCOUNT]
    assert alone == sorted(alone)


def test_pending_until_the_run_is_complete_and_again_after_a_reset(tmp_path: Path) -> None:
    config = Settings(data_dir=tmp_path)
    assert demo.pending(config)
    (tmp_path / "demo.json").write_text(
        '{"run_start_us": 1, "last_day": "2026-03-31", "accounts": 3, "days": 30, "seed": 1, "complete": true}'
    )
    assert not demo.pending(config)
    demo.reset(config)
    assert demo.pending(config)
    demo.reset(config)


def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{}")
    with pytest.raises(demo.DemoError, match=r"demo\.json: .*--reset-progress"):
        demo.pending(Settings(data_dir=tmp_path))


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    config = Settings(data_dir=tmp_path)
    with demo._alone(config), pytest.raises(demo.DemoError, match="another demo runs"):
        demo.run(config, say, threading.Event())


async def test_how_far_behind_the_engine_is_is_told_when_it_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    lags = iter([100_000, 99_000, 90_000, 49_000, 40_000, 30_000, 10_000, 400])
    told: list[str] = []

    async def behind(settings: Settings) -> int:
        return next(lags)

    monkeypatch.setattr(demo, "behind", behind)
    monkeypatch.setattr(demo, "LOOK_EVERY_S", 0.0)
    await demo._catch_up(Settings(), told.append, threading.Event())
    assert [line.split(" is ")[-1] for line in told[:-1]] == [
        f"{lag:,} records behind" for lag in (100_000, 49_000, 10_000)
    ]
    assert "has judged the history" in told[-1]
