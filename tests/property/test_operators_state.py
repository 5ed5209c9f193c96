"""Operators' measures in stored state, against counting by hand, while the file changes between one start and the next."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter
from typing import Any

import pytest

from schemas.codec import decode_any
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import load
from services.signals.core.days import DAY_US
from services.signals.core.partition import PartitionEngine
from services.signals.core.signal import Catalogue
from services.signals.core.state import Account
from services.signals.core.windows import DAYS, MEASURES
from services.signals.operators.file import understand

BUILT_IN = load()
POOL: dict[str, list[dict[str, Any]]] = {
    "a": [{"event": "usage.logged_in"}, {"event": "usage.logged_in", "where": {"user": "ann"}}],
    "b": [{"event": "usage.page_viewed"}],
    "c": [{"event": "usage.feature_used", "sum": "count"}, {"event": "usage.feature_used"}],
    "d": [{"event": "ticket.opened", "where": {"priority": "P1"}}],
    "e": [{"event": "usage.logged_in", "where": {"user": "bob"}}],
}
FIRST = 20_000


def counts(measure: dict[str, Any], event: Event) -> int:
    """What an event adds to a measure, by hand."""
    if event.type != measure["event"]:
        return 0
    where = measure.get("where", {})
    if any(getattr(event.data, name) != value for name, value in where.items()):
        return 0
    return int(event.data.count) if measure.get("sum") else 1


def some_event(rng: random.Random, number: int, day: int) -> Event:
    kind = rng.choice(["usage.logged_in", "usage.page_viewed", "usage.feature_used", "ticket.opened"])
    data: dict[str, Any] = {"user": rng.choice(["ann", "bob", "cy"])}
    if kind == "usage.feature_used":
        data |= {"feature": "f", "count": rng.randrange(1, 5), "core": rng.random() < 0.5}
    if kind == "ticket.opened":
        data |= {"ticket_id": f"t{number}", "priority": rng.choice(["P1", "P2"])}
    time = dt.datetime.fromtimestamp(day * 86_400 + rng.randrange(86_400), dt.UTC).isoformat()
    envelope = {"specversion": "1.0", "id": f"e{number}", "source": "s", "type": kind, "subject": "acme", "time": time}
    event = decode_any(json.dumps({**envelope, "data": data}).encode())
    assert isinstance(event, Event)
    return event


def in_force(measures: dict[str, dict[str, Any]]) -> Catalogue:
    return understand({"measures": measures}, BUILT_IN.by_id).over(BUILT_IN)


def start(measures: dict[str, dict[str, Any]], store: MemoryStore) -> PartitionEngine:
    engine = PartitionEngine(0, INPUT_TOPICS, in_force(measures), store, partitions=1, with_health=False)
    engine.restore()
    return engine


def keep(engine: PartitionEngine, store: MemoryStore) -> None:
    for key, value in engine.take(1, 0.0).state:
        if value is None:
            store.pop(key, None)
        else:
            store[key] = value


def acme(engine: PartitionEngine) -> Account:
    return engine._account(b"acme")


@pytest.mark.parametrize("seed", range(30))
def test_no_measure_ever_reads_anothers_numbers(seed: int) -> None:
    rng = random.Random(seed)
    store, number, today = MemoryStore(), 0, FIRST
    counted: dict[str, tuple[dict[str, Any], Counter[int]]] = {}
    usage: Counter[int] = Counter()
    for _ in range(8):
        chosen = {name: rng.choice(POOL[name]) for name in rng.sample(sorted(POOL), rng.randint(0, 5))}
        # What was in the file before and means the same goes on; all else begins anew.
        before = counted
        counted = {
            name: before[name] if name in before and before[name][0] == measure else (measure, Counter())
            for name, measure in chosen.items()
        }
        engine = start(chosen, store)
        for _ in range(rng.randint(1, 40)):
            if rng.random() < 0.5:
                today += rng.choice([0, 1, 1, 2, 9, 40])
            number += 1
            event = some_event(rng, number, max(FIRST, today - rng.choice([0, 0, 0, 1, 5, 30])))
            topic = INPUT_TOPICS.index(EVENT_TYPES[event.type].topic)
            engine.apply(topic, number, b"acme", b"", event, 1 << 62)
            day = event.time_us // DAY_US
            usage[day] += counts({"event": "usage.feature_used", "sum": "count"}, event)
            for measure, found in counted.values():
                found[day] += counts(measure, event)
            if rng.random() < 0.1:
                keep(engine, store)
        keep(engine, store)
        for account in (acme(engine), acme(start(chosen, store))):
            windows = account.windows
            last = windows.today
            assert windows.by_age(0, DAYS) == [usage[last - age] for age in range(DAYS)]
            for place, name in enumerate(sorted(chosen)):
                by_hand = [counted[name][1][last - age] for age in range(DAYS)]
                assert windows.by_age(len(MEASURES) + place, DAYS) == by_hand, name


def test_a_measure_that_was_out_of_the_file_for_a_while_begins_anew() -> None:
    """Its days in the stored buckets would have a hole that nobody could see."""
    store = MemoryStore()
    logins = {"a": {"event": "usage.logged_in"}}
    for number, measures in enumerate((logins, {}, logins)):
        engine = start(measures, store)
        for n in range(10):  # more days than wait in the account's own record, so that the buckets are written
            event = login(FIRST + 10 * number + n, f"{number}-{n}")
            engine.apply(INPUT_TOPICS.index("usage"), 100 * number + n, b"acme", b"", event, 1 << 62)
        keep(engine, store)
    assert sum(acme(engine).windows.by_age(len(MEASURES), DAYS)) == 10


def login(day: int, identity: str) -> Event:
    time = dt.datetime.fromtimestamp(day * 86_400, dt.UTC).isoformat()
    raw = {"specversion": "1.0", "id": identity, "source": "s", "type": "usage.logged_in", "subject": "acme"}
    event = decode_any(json.dumps({**raw, "time": time, "data": {"user": "ann"}}).encode())
    assert isinstance(event, Event)
    return event


def test_an_erased_account_forgets_its_counts() -> None:
    store = MemoryStore()
    engine = start({"a": {"event": "usage.logged_in"}}, store)
    engine.apply(INPUT_TOPICS.index("usage"), 0, b"acme", b"", login(FIRST, "1"), 1 << 62)
    time = dt.datetime.fromtimestamp(FIRST * 86_400 + 60, dt.UTC).isoformat()
    gone = {"specversion": "1.0", "id": "x", "source": "s", "type": "account.erased", "subject": "acme", "time": time}
    erased = decode_any(json.dumps(gone).encode())
    engine.apply(INPUT_TOPICS.index("accounts"), 0, b"acme", b"", erased, 1 << 62)
    keep(engine, store)
    assert sum(acme(engine).windows.by_age(len(MEASURES), DAYS)) == 0
    engine.apply(INPUT_TOPICS.index("usage"), 1, b"acme", b"", login(FIRST + 1, "2"), 1 << 62)
    assert sum(acme(engine).windows.by_age(len(MEASURES), DAYS)) == 1


def test_nothing_configured_costs_nothing() -> None:
    """No table to look into, no room in an account, no other bytes."""
    assert load().notes == {}
    engine = start({}, MemoryStore())
    engine.apply(INPUT_TOPICS.index("usage"), 0, b"acme", b"", login(FIRST, "1"), 1 << 62)
    assert len(acme(engine).windows.now) == len(MEASURES)
    assert in_force({}).digest == BUILT_IN.digest
