"""The demo: a year of invented history through the real topics, once, and then live events through ingest.

The history is Financiality's first year and a portfolio, in one file that is written once into the data folder. Its
replay belongs to that folder: `demo.json` says which run it is, and the topics themselves say how far it got, so that a
run that was stopped or killed anywhere goes on exactly where it broke off. Until it is complete the topics' clocks
stay in the recording's time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import fcntl
import heapq
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from services.common.settings import Settings
from services.demo import portfolio, story
from services.demo.customer import user_id
from services.demo.files import write_events, write_labels, write_whole
from services.demo.progress import behind
from services.demo.replay import Outcome, ReplayRefused, now_us, replay
from services.demo.trickle import Cast, trickle

ACCOUNTS, DAYS, SEED = 220, 365, 1
LIVE_ACCOUNTS, LIVE_USERS = 40, 4
CAUGHT_UP = 500
LOOK_EVERY_S = 5.0
TELL_EVERY_S = 60.0
NO_ENGINE_AFTER_S = 60.0

Say = Callable[[str], None]


class DemoError(Exception):
    """The demo cannot run here. The message says why and what to do."""


class Run(Struct, kw_only=True):
    """The one run of the demo's history in a data folder: what it is made of, and whether all of it was sent."""

    run_start_us: int
    last_day: dt.date
    accounts: int
    days: int
    seed: int
    complete: bool = False


def pending(settings: Settings) -> bool:
    """Whether this data folder's history is not wholly in the topics yet.

    While it is not, the engine must leave the partitions' clocks alone (`EBBTIDE_TICKS=after-replay`).
    """
    run = _load(settings)
    return run is None or not run.complete


def reset(settings: Settings) -> None:
    """Forget the run, so that the next one starts from the beginning. Topics that hold it already will refuse it."""
    _state(settings).unlink(missing_ok=True)


def run(settings: Settings, say: Say, stop: threading.Event, *, accounts: int = ACCOUNTS, days: int = DAYS) -> None:
    """Bring the history into the topics where that is not done, then send live events until `stop` is set.

    A history that the topics refuse is told and left out. Raises DemoError, BrokerUnreachable, KafkaError, OSError.
    """
    with _alone(settings):
        known = _load(settings)
        chosen = known or _new_run(settings, accounts, days)
        try:
            if not chosen.complete:
                asyncio.run(_history(settings, chosen, say, stop))
            else:
                say("the demo's history was replayed before")
        except ReplayRefused as problem:
            say(f"the demo's history is left out: {problem}")
        if not stop.is_set():
            trickle(settings, _write_key(settings), _cast(chosen), say, stop)


async def _history(settings: Settings, chosen: Run, say: Say, stop: threading.Event) -> None:
    file = _file(settings)
    if not file.exists():
        say(f"inventing a year of {chosen.accounts + 1} customers")
        lines, labels = history(chosen)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_labels(file.with_name("labels.csv"), labels)
        write_events(file, lines)
    say(f"replaying {file} through Kafka; stopped or killed, it goes on there the next time")
    outcome = await _send(settings, chosen, file, say, stop)
    if not outcome.complete:
        say("stopped before the end of the history; the next run goes on there")
        return
    chosen.complete = True
    _save(settings, chosen)
    rate = outcome.sent / max(outcome.seconds, 0.001)
    say(f"{outcome.sent:,} events replayed in {outcome.seconds:,.0f} s ({rate:,.0f}/s)")
    await _catch_up(settings, say, stop)


async def _send(settings: Settings, chosen: Run, file: Path, say: Say, stop: threading.Event) -> Outcome:
    return await replay([file], settings, say, stop, run_start_us=chosen.run_start_us, resume=True, stay_open=True)


async def _catch_up(settings: Settings, say: Say, stop: threading.Event) -> None:
    """Wait until the engine has judged the history, so that live events are judged live."""
    began = seen = time.monotonic()
    told_lag, told_at = 0, -TELL_EVERY_S
    while not stop.is_set():
        lag = await behind(settings)
        now = time.monotonic()
        if lag is not None and lag <= CAUGHT_UP:
            say(f"the engine has judged the history, {now - began:.0f} s after its last event")
            return
        if lag is not None:
            seen = now
            if now - told_at >= TELL_EVERY_S or lag * 2 <= told_lag:
                say(f"the engine is {lag:,} records behind")
                told_lag, told_at = lag, now
        elif now - seen > NO_ENGINE_AFTER_S:
            say("no engine takes the events; live ones are sent nevertheless")
            return
        await asyncio.sleep(LOOK_EVERY_S)


def history(chosen: Run) -> tuple[list[bytes], list[portfolio.Label]]:
    """The demo's events in order of arrival, and the portfolio's labels."""
    weeks = story.weeks_to_end_before(chosen.last_day + dt.timedelta(days=1))
    made = portfolio.simulate(chosen.accounts, chosen.days, chosen.seed, chosen.last_day)
    both = heapq.merge(story.events(weeks), made.events, key=lambda event: event[0])
    return [line for _, line in both], made.labels


def _cast(chosen: Run) -> list[Cast]:
    """Customers that are well and stay, for the live events."""
    labels = portfolio.simulate_labels(chosen.accounts, chosen.days, chosen.seed, chosen.last_day)
    well = [index for index, label in enumerate(labels) if label.trouble_from is None and label.archetype != "tiny"]
    return [
        Cast(labels[index].account, [user_id(portfolio.users_of(index), slot) for slot in range(LIVE_USERS)])
        for index in well[:LIVE_ACCOUNTS]
    ]


def _write_key(settings: Settings) -> str:
    path = settings.data_dir.resolve() / "keys.json"
    try:
        key = json.loads(path.read_bytes())["write_key"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise DemoError(f"{path} has no write key ({problem!r}); `ebbtide run` makes one") from problem
    return str(key)


def _state(settings: Settings) -> Path:
    return settings.data_dir.resolve() / "demo.json"


def _file(settings: Settings) -> Path:
    return settings.data_dir.resolve() / "demo" / "events.ndjson.gz"


def _load(settings: Settings) -> Run | None:
    path = _state(settings)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as problem:
        raise DemoError(f"{path}: {problem}; `ebbtide demo --reset-progress` begins anew") from problem


def _save(settings: Settings, chosen: Run) -> None:
    write_whole(_state(settings), msgspec.json.format(msgspec.json.encode(chosen), indent=2))


def _new_run(settings: Settings, accounts: int, days: int) -> Run:
    """A run whose history ends with yesterday. Written down before anything of it is sent."""
    start = now_us()
    yesterday = (dt.datetime.fromtimestamp(start / 1e6, dt.UTC) - dt.timedelta(days=1)).date()
    chosen = Run(run_start_us=start, last_day=yesterday, accounts=accounts, days=days, seed=SEED)
    _file(settings).unlink(missing_ok=True)
    _save(settings, chosen)
    return chosen


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One demo at a time in a data folder: two would send the history twice."""
    folder = settings.data_dir.resolve() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise DemoError(f"another demo runs in {settings.data_dir}; end that one first") from problem
        yield
