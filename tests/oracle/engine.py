"""The engine's answer in the oracle's terms, with the laws that every list of transitions must obey."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import structs

from schemas.codec import Refusal, decode_any
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.health import Health
from schemas.signals import Transition
from services.common.recording import Line, Midnight, steps
from services.signals.backtest.broadcasts import Said, with_broadcasts
from services.signals.backtest.run import MemoryStore, run
from services.signals.catalogue import load
from services.signals.core.days import NEVER
from services.signals.core.partition import PartitionEngine
from services.signals.core.signal import Catalogue
from tests.oracle.oracle import Change
from tests.oracle.records import DAY, SECOND
from tests.oracle.signals import SIGNALS

EVERY_ACCOUNT = 1 << 30


def microseconds(moment: dt.datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


@cache
def counted() -> Catalogue:
    """The signals that the oracle knows too, and no others: what another signal opens would change its composites.

    Nothing is held back: the oracle knows of no portfolio and of no sources, and most of its streams have no broadcasts.
    """
    whole = load()
    known = {signal.name for signal in SIGNALS}
    signals = [
        structs.replace(signal, explained=None, worse_explained=None, held_by=())
        for signal in whole.signals
        if signal.id in known
    ]
    return Catalogue(signals, f"{whole.digest}-counted")


def transitions(
    lines: Iterable[bytes | dict[str, Any]], *, until: str | None, run_start: int, catalogue: Catalogue | None = None
) -> list[Transition]:
    """What `backtest` says about a file given as events or raw lines, by the signals that the oracle knows or by these."""
    raw = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    day = dt.date.fromisoformat(until) if until else None
    return list(run(raw, until=day, run_start_us=run_start, catalogue=catalogue or counted()))


def changes(found: list[Transition]) -> list[Change]:
    """Transitions as changes; the ordinal is the place among the episodes of one account, signal and user."""
    ordinals: Counter[tuple[str, str, str]] = Counter()
    numbers: dict[str, int] = {}
    told: list[Change] = []
    for t in found:
        user = t.data.user if isinstance(t.data.user, str) else ""
        subject = (t.subject, t.data.signal, user)
        if t.type == "signal.raised":
            ordinals[subject] += 1
            numbers[t.data.episode_id] = ordinals[subject]
        told.append(
            Change(
                microseconds(t.time),
                t.subject,
                t.data.signal,
                user,
                numbers.get(t.data.episode_id, 0),
                t.type.removeprefix("signal."),
                t.data.severity,
                microseconds(t.data.opened_at),
                t.data.cleared_because if isinstance(t.data.cleared_because, str) else None,
            )
        )
    return told


def broken_laws(found: list[Transition]) -> list[str]:
    """What is wrong with a list of transitions on its own terms: identity, order, and the shape of episodes."""
    wrong: list[str] = []
    ranks = {"info": 0, "warning": 1, "critical": 2}
    for identity, times in Counter(t.id for t in found).items():
        if times > 1:
            wrong.append(f"transition id {identity} is used {times} times")
    if [t.time for t in found] != sorted(t.time for t in found):
        wrong.append("transitions are not in order of time")
    episodes: dict[str, list[Transition]] = {}
    for t in found:
        episodes.setdefault(t.data.episode_id, []).append(t)
    for identity, story in episodes.items():
        kinds = [t.type for t in story]
        if kinds[0] != "signal.raised" or kinds.count("signal.raised") != 1:
            wrong.append(f"episode {identity} does not begin with its one raise: {kinds}")
        if "signal.cleared" in kinds[:-1]:
            wrong.append(f"episode {identity} goes on after it was cleared: {kinds}")
        severities = [ranks[t.data.severity] for t in story]
        if severities != sorted(severities):
            wrong.append(f"severity falls inside episode {identity}: {severities}")
        for before, t in pairwise(story):
            if t.type == "signal.escalated" and t.data.previous_severity != before.data.severity:
                wrong.append(
                    f"episode {identity} escalates from {t.data.previous_severity}, was {before.data.severity}"
                )
        if len({(t.subject, t.data.signal, t.data.opened_at, str(t.data.user)) for t in story}) != 1:
            wrong.append(f"episode {identity} changes what it is about")
        for t in story:
            cleared = t.type == "signal.cleared"
            if (
                isinstance(t.data.cleared_because, str) != cleared
                or isinstance(t.data.cleared_at, dt.datetime) != cleared
            ):
                wrong.append(f"{t.id}: cleared_at and cleared_because belong to cleared, and only there")
            if cleared and t.data.cleared_at != t.time:
                wrong.append(f"{t.id}: cleared_at is not the time of the change")
            if t.data.opened_at > t.time:
                wrong.append(f"{t.id}: opened after it changed")
            if not t.data.reason.strip() or not t.data.evidence:
                wrong.append(f"{t.id}: no reason or no evidence")
            if (t.data.scope == "user") != isinstance(t.data.user, str):
                wrong.append(f"{t.id}: scope {t.data.scope} and user {t.data.user!r}")
    return wrong


@dataclass
class Driven:
    """What an engine said when it was driven record by record: transitions as published, and each account's health."""

    transitions: list[Transition]
    health: dict[str, Health]
    counts: Counter[str]


def drive(
    lines: Iterable[bytes | dict[str, Any]],
    *,
    until: str | None,
    run_start: int,
    batch_ends: Callable[[], bool] = lambda: False,
    restarts: Callable[[], bool] = lambda: False,
) -> Driven:
    """Drive the engine as its runtime does: state is taken where a batch ends, and read back where it restarts.

    `batch_ends` is asked after each step and `restarts` after each batch. What is published more than once, with the
    same id and the same bytes, is one transition.
    """
    store = MemoryStore()
    catalogue = counted()
    engine = PartitionEngine(0, INPUT_TOPICS, catalogue, store, partitions=1)
    published: dict[str, bytes] = {}
    health: dict[str, Health] = {}

    def end_batch(now_s: float) -> None:
        effects = engine.take(0, now_s)
        for key, value in effects.state:
            if value is None:
                store.pop(key, None)
            else:
                store[key] = value
        for _, _, value, _ in effects.signals:
            identity = json.loads(value)["id"]
            assert published.setdefault(identity, value) == value, f"{identity} was published with other bytes"
        for key, record in effects.health:
            if record is None:
                health.pop(key.decode(), None)
            else:
                health[key.decode()] = msgspec.json.decode(record, type=Health)

    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    end = None if until is None else microseconds(dt.datetime.fromisoformat(until).replace(tzinfo=dt.UTC)) + DAY
    for topic in range(len(INPUT_TOPICS)):
        engine.tick(topic, 0, True)
    decoded = (Line(line, decode_any(line)) for line in raw)
    recorded = steps(decoded, run_start_us=run_start, until_us=end)
    guards = 0  # lines that are not of the file
    for sequence, what in with_broadcasts(recorded, run_start_us=run_start):
        guards += isinstance(what, Said)
        if isinstance(what, Midnight):
            for topic in range(len(INPUT_TOPICS)):
                engine.tick(topic, what.now_us, True)
            engine.work(EVERY_ACCOUNT)
        else:
            topic, key = 0, None
            if not isinstance(what.event, Refusal):
                topic = INPUT_TOPICS.index(EVENT_TYPES[what.event.type].topic)
                key = what.event.subject.encode() if what.event.subject is not None else None
            engine.apply(
                topic, sequence, key, what.raw, what.event, NEVER if isinstance(what, Said) else run_start + DAY
            )
        if batch_ends():
            end_batch(sequence)
            if restarts():
                engine = PartitionEngine(0, INPUT_TOPICS, catalogue, store, partitions=1)
                engine.restore()
    for topic in range(len(INPUT_TOPICS)):
        engine.tick(topic, engine.clock, False)  # as every replay ends: each account's health is said as of now
    engine.work(EVERY_ACCOUNT)
    end_batch(1e9)
    while engine.health_due():
        end_batch(2e9)
    found = [msgspec.json.decode(value, type=Transition) for value in published.values()]
    counts: Counter[str] = Counter()
    for name, by_topic in engine.counters.items():
        counts[name] = sum(by_topic) - (guards if name in ("records", "applied") else 0)
    return Driven(sorted(found, key=lambda t: t.time), health, counts)


def windows(health: Health) -> dict[str, int | None]:
    """The headline windows of a health record as the oracle gives them."""
    w = health.windows
    return {
        "usage_7d": w.usage_7d,
        "usage_28d": w.usage_28d,
        "usage_prev_28d": w.usage_prev_28d,
        "usage_90d": w.usage_90d,
        "active_users_28d": w.active_users_28d,
        "open_tickets": w.open_tickets,
        "tickets_opened_7d": w.tickets_opened_7d,
        "oldest_overdue_days": w.oldest_overdue_days or None,
        "last_seen": None if w.last_seen is None else microseconds(w.last_seen),
    }
