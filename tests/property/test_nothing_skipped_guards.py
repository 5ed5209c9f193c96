"""What the engine skips could not have changed either when the portfolio is measured and sources stop: held conditions
are looked at again when they may be raised, whatever comes between."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import pytest

from services.signals.core.transitions import encode
from tests.oracle.generate import MINUTE, START, Stream, stream
from tests.oracle.records import DAY, iso, us
from tests.property.test_nothing_skipped import found

IN_ONE_TEST = 20
SEEDS = [range(first, first + IN_ONE_TEST) for first in range(7000, 7040, IN_ONE_TEST)]
HELD = {"usage.silence", "usage.decline", "usage.core_erosion", "adoption.shelfware", "critical.usage_and_survey"}


def broadcasts(rng: random.Random, days: int) -> list[tuple[int, dict[str, Any]]]:
    """Measures of most days, in time, within the hour or late; sources that stop, return, or are said to twice."""
    told: list[tuple[int, str, dict[str, Any]]] = []
    usual = rng.choice([-0.4, -0.3, -0.14, -0.12, 0.0])
    for day in range(days):
        if rng.random() < 0.7:
            change = rng.choice([usual, usual, -0.2, -0.5, 0.0])
            tiers = {"high": {"usage_change": rng.choice([-0.3, 0.0])}} if rng.random() < 0.3 else None
            date = (dt.date(2024, 1, 1) + dt.timedelta(days=day)).isoformat()
            when = START + (day + 1) * DAY + rng.choice([0, 0, 5, 59, 60, 61, 900]) * MINUTE
            late = (
                [{"source": "app", "topic": "usage", "since": iso(START + day * DAY)}] if rng.random() < 0.1 else None
            )
            accounts = rng.choice([500, 500, 20, 19])
            data = {"day": date, "accounts": accounts, "usage_change": change, "by_tier": tiers, "late_sources": late}
            told.append((when, "portfolio.measured", data))
    for source in ("app", "crm"):
        for topic in ("usage", "tickets", "engagement"):
            at = START + rng.randrange(days) * DAY
            while at < START + days * DAY and rng.random() < 0.7:
                stopped = {"source": source, "topic": topic, "since": iso(at - rng.randrange(3 * DAY))}
                told.append((at, "source.stale", stopped))
                if rng.random() < 0.2:
                    told.append((at + MINUTE, "source.stale", stopped))
                at += rng.choice([0, DAY, DAY, 3 * DAY, 30 * DAY, 120 * DAY]) + rng.choice([0, 7 * MINUTE])
                if rng.random() < 0.9:
                    told.append((at, "source.fresh", stopped))
                at += rng.randrange(40) * DAY
    base = {"specversion": "1.0", "source": "guards"}
    return [
        (at, {**base, "id": f"b{place}", "type": type_, "time": iso(at), "data": data})
        for place, (at, type_, data) in enumerate(told)
    ]


def with_broadcasts(seed: int) -> Stream:
    """A stream of the oracle's, with broadcasts where their time is among the others' arrivals, a few of them late."""
    one = stream(seed, in_order=seed % 2 == 0)
    rng = random.Random(seed)
    times = [us(line["time"]) for line in one.lines if isinstance(line, dict)]
    days = (max(times, default=START) - START) // DAY + 1
    told = [(at + (rng.randrange(3 * DAY) if rng.random() < 0.1 else 0), event) for at, event in broadcasts(rng, days)]
    told.sort(key=lambda entry: entry[0])
    lines: list[bytes | dict[str, Any]] = []
    clock = 0
    for line in one.lines:
        if isinstance(line, dict):
            clock = max(clock, us(line["time"]))
        while told and told[0][0] <= clock:
            lines.append(told.pop(0)[1])
        lines.append(line)
    lines.extend(event for _, event in told)
    return Stream(seed, lines, one.until, one.run_start)


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_naive_evaluator_says_the_same(seeds: range) -> None:
    signals: set[str] = set()
    silenced = 0
    for seed in seeds:
        one = with_broadcasts(seed)
        quick, naive = found(one, naive=False), found(one, naive=True)
        assert [encode(t) for t in quick] == [encode(t) for t in naive], f"seed {seed}"
        signals |= {t.data.signal for t in quick}
        bare = Stream(
            seed,
            [line for line in one.lines if b'"guards"' not in json.dumps(line, default=str).encode()],
            one.until,
            one.run_start,
        )
        said = {(t.time, t.subject, t.data.signal, t.type) for t in quick}
        silenced += sum(
            (t.time, t.subject, t.data.signal, t.type) not in said
            for t in found(bare, naive=False)
            if t.data.signal in HELD
        )
    assert {"portfolio.usage_drop", "pipeline.source_stale", "usage.decline", "usage.silence"} <= signals
    assert silenced > 5, "the broadcasts hold nothing back"
