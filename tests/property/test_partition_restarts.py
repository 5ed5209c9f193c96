"""Batch boundaries and crashes change nothing: the same transitions, the same windows, the same counts.

The partition's engine is driven as the shell drives it, with effects cut at random and the process "killed" after a
random numbered effect; what reached the topics must be what one undisturbed run gives.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import msgspec
import pytest

from schemas.codec import Refusal, decode_any
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.events.control import Tick
from schemas.health import Health
from services.common.recording import FUTURE_US, Line, Midnight, steps
from services.demo import portfolio, story
from services.signals.backtest.broadcasts import with_broadcasts
from services.signals.backtest.run import Backtest, MemoryStore
from services.signals.catalogue import load
from services.signals.core import announcements
from services.signals.core.partition import PartitionEngine
from services.signals.core.transitions import encode

RUN_START = int(dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp() * 1e6)
END = dt.date(2026, 10, 1)
TICK = EVENT_TYPES["clock.tick"].event
Record = tuple[int, int, bytes | None, bytes, Event | Refusal]


def recording(seed: int) -> list[bytes]:
    simulated = [line for _, line in portfolio.simulate(8, 120, seed, END).events]
    rng = random.Random(seed)
    for _ in range(40):  # retries and late arrivals
        line = rng.choice(simulated)
        simulated.insert(rng.randrange(len(simulated)), line)
    return simulated


def records(lines: list[bytes]) -> Iterator[Record]:
    """(topic, offset, key, value, event) in merged order, ticks on every topic."""
    offsets = [0] * len(INPUT_TOPICS)
    decoded = (Line(raw, decode_any(raw)) for raw in lines)
    for _, what in with_broadcasts(steps(decoded, run_start_us=RUN_START), run_start_us=RUN_START):
        if isinstance(what, Midnight):
            now = dt.datetime.fromtimestamp(what.now_us // 1_000_000, dt.UTC)
            for topic in range(len(INPUT_TOPICS)):
                event = TICK(specversion="1.0", id="t", source="t", time=now, data=Tick(now=now, historical=True))
                yield topic, offsets[topic], None, b"{}", event
                offsets[topic] += 1
            continue
        event_or_not = what.event
        topic, key = 0, None
        if isinstance(event_or_not, Event):
            topic = INPUT_TOPICS.index(EVENT_TYPES[event_or_not.type].topic)
            key = event_or_not.subject.encode() if event_or_not.subject else None
        yield topic, offsets[topic], key, what.raw, event_or_not
        offsets[topic] += 1


class Shell:
    """The order of effects, with a process that dies between them."""

    def __init__(self, log: list[Record], rng: random.Random, deaths: float, cuts: float = 0.0) -> None:
        """`cuts`: how often an effect is taken while records are being applied account by account."""
        self.log, self.rng, self.deaths, self.cuts = log, rng, deaths, cuts
        self.store = MemoryStore()
        self.sent: dict[str, bytes] = {}
        self.health: dict[bytes, Health] = {}
        self.repeats = 0
        self.died = 0
        self.committed = 0

    def engine(self) -> PartitionEngine:
        engine = PartitionEngine(0, INPUT_TOPICS, load(), self.store, partitions=1)
        engine.restore()
        return engine

    def run(self) -> PartitionEngine:
        engine, position = self.engine(), 0
        while position < len(self.log):
            batch = self.log[position : position + self.rng.choice((1, 2, 5, 50, 400))]
            if not self.apply(engine, batch) or not self.effect(engine):
                self.died += 1
                engine, position = self.engine(), self.committed
                continue
            position += len(batch)
            self.committed = position
        for topic in range(len(INPUT_TOPICS)):
            engine.tick(topic, engine.clock, False)  # as every replay ends: each account's health is said as of now
        while engine.work(3):
            pass
        self.deaths = 0.0
        self.effect(engine)
        return engine

    def apply(self, engine: PartitionEngine, batch: list[Record]) -> bool:
        """False when the process died within the batch."""
        for item in engine.in_turn([(*record, RUN_START + FUTURE_US) for record in batch]):
            engine.apply(*item)
            event = item[4]
            if isinstance(event, Event) and event.type == "clock.tick" and self.rng.random() < 0.7:
                while engine.work(self.rng.randrange(1, 5)) and self.rng.random() < 0.9:
                    pass
            if self.rng.random() < self.cuts and not self.effect(engine):
                return False
        return True

    def effect(self, engine: PartitionEngine) -> bool:
        effects = engine.take(1, 0.0)
        if self.rng.random() < self.deaths:
            return False  # nothing durable
        for key, value in effects.state:
            if value is None:
                self.store.pop(key, None)
            else:
                self.store[key] = value
        if self.rng.random() < self.deaths:
            return False  # state durable, nothing said
        for _, _, value, _ in effects.signals:
            change = msgspec.json.decode(value)
            self.repeats += change["id"] in self.sent
            assert self.sent.setdefault(change["id"], value) == value, "one id, two values"
        for key, value in effects.health:
            if value is not None:
                self.health[key] = msgspec.json.decode(value, type=Health)
        return self.rng.random() >= self.deaths  # said, and not committed


def truth(lines: list[bytes]) -> tuple[dict[str, bytes], dict[str, int]]:
    run = Backtest(run_start_us=RUN_START)
    changes = {change.id: encode(change) for change in run.run(Line(raw, decode_any(raw)) for raw in lines)}
    return changes, run.counts


@pytest.mark.parametrize("seed", range(3))
def test_crashes_change_nothing(seed: int) -> None:
    lines = recording(seed)
    expected, counts = truth(lines)
    assert len(expected) > 20
    log = list(records(lines))
    calm = Shell(log, random.Random(seed), 0.0)
    steady = calm.run()
    stormy = Shell(log, random.Random(seed + 100), 0.12, cuts=0.01)
    shaken = stormy.run()
    assert stormy.died > 3
    assert calm.sent == expected
    assert stormy.sent == expected
    said = sum(isinstance(event, Event) and event.source == announcements.SOURCE for *_, event in log)
    for name, total in counts.items():  # of the recording's own lines
        ticks = sum(steady.counters["ticks"]) if name == "records" else 0
        assert sum(steady.counters[name]) - ticks - said * (name in ("records", "applied")) == total
    assert shaken.counters == steady.counters
    ignore = {"sequence", "usage_days"}  # these tell of effects, not of the account

    def facts(health: dict[bytes, Health]) -> dict[bytes, dict[str, object]]:
        return {k: {n: v for n, v in msgspec.to_builtins(h).items() if n not in ignore} for k, h in health.items()}

    assert facts(stormy.health) == facts(calm.health)


def test_conservation() -> None:
    lines = [b"{", *recording(9)[:500], b'{"type":"nonsense"}']
    engine = Shell(list(records(lines)), random.Random(1), 0.0).run()
    counted = engine.counters
    for topic in range(len(INPUT_TOPICS)):
        rest = counted["applied"][topic] + counted["duplicate"][topic] + counted["dead"][topic]
        assert counted["records"][topic] - counted["ticks"][topic] == rest
    assert engine.dead_by_reason == {"malformed": 1, "unknown_type": 1}


def test_the_story_restarts_too() -> None:
    lines = [raw for _, raw in story.events()]
    expected, _ = truth(lines)
    shell = Shell(list(records(lines)), random.Random(5), 0.1)
    shell.run()
    assert shell.sent == expected


def test_what_was_not_said_is_said_at_once_after_a_restart() -> None:
    log = list(records([raw for _, raw in story.events()]))
    store = MemoryStore()
    engine = PartitionEngine(0, INPUT_TOPICS, load(), store, partitions=1)
    for topic, offset, key, value, event in log:
        engine.apply(topic, offset, key, value, event, RUN_START + FUTURE_US)
        engine.work(1000)
        effects = engine.take(1, 0.0)
        store.update((k, v) for k, v in effects.state if v is not None)
        if effects.signals and key is None:  # a change made by time alone: no record of its account comes again
            break
    again = PartitionEngine(0, INPUT_TOPICS, load(), store, partitions=1)
    again.restore()
    assert {value for _, _, value, _ in again.take(2, 0.0).signals} == {value for _, _, value, _ in effects.signals}


def test_what_a_replay_decides_is_historical_however_late_it_is_judged() -> None:
    lines = [raw for _, raw in story.events()]
    expected, _ = truth(lines)
    engine = PartitionEngine(0, INPUT_TOPICS, load(), MemoryStore(), partitions=1)
    for topic, offset, key, value, event in records(lines):
        engine.apply(topic, offset, key, value, event, RUN_START + FUTURE_US)
    for topic in range(len(INPUT_TOPICS)):
        engine.tick(topic, engine.clock, False)  # the replay has ended before the last midnights' work is done
    while engine.work(1):
        pass
    assert {msgspec.json.decode(value)["id"]: value for _, _, value, _ in engine.take(1, 0.0).signals} == expected


def test_a_tick_from_the_future_is_refused() -> None:
    engine = PartitionEngine(0, INPUT_TOPICS, load(), MemoryStore(), partitions=1)
    now = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    for topic in range(len(INPUT_TOPICS)):
        event = TICK(specversion="1.0", id="t", source="t", time=now, data=Tick(now=now))
        engine.apply(topic, 0, None, b"{}", event, RUN_START + FUTURE_US)
    assert engine.clock == 0
    assert engine.dead_by_reason == {"future": len(INPUT_TOPICS)}
    assert sum(engine.counters["ticks"]) == 0
