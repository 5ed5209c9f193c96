"""What the engine skips could not have changed milestones, goals, promises and pilots either: random streams of them give
the same transitions, byte for byte, with every signal judged after every event and at every midnight."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import pytest

from schemas.codec import decode_any
from schemas.signals import Transition
from services.common.recording import Line
from services.signals.backtest.run import Backtest
from services.signals.catalogue import load
from services.signals.core.signal import Catalogue
from services.signals.core.transitions import encode
from tests.oracle.generate import START, Stream, Writer, arrange
from tests.oracle.records import DAY, HOUR

FAMILIES = ("onboarding", "goal", "commitment", "pilot")
WHOLE = load()
SIGNALS = [s for s in WHOLE.signals if s.family in FAMILIES or s.id == "usage.post_onboarding_slack"]
CATALOGUE = Catalogue(SIGNALS, WHOLE.digest)
IN_ONE_TEST = 25
SEEDS = [range(first, first + IN_ONE_TEST) for first in range(8000, 8050, IN_ONE_TEST)]


def date(rng: random.Random, days: int) -> str:
    return (dt.date(2024, 1, 1) + dt.timedelta(days=rng.randrange(-10, days))).isoformat()


def profile(w: Writer) -> None:
    """The contract and its dates, or none; a handover in parts; a churn and a return."""
    rng = w.rng
    if rng.random() < 0.8:
        w.write(
            "account.updated", START + rng.randrange(3 * DAY), contract_start=rng.choice(["2024-01-01", "2023-11-20"])
        )
    if rng.random() < 0.5:
        w.write("account.updated", w.some_time(), renewal_date=date(rng, w.days + 60))
    for _ in range(rng.randrange(3)):
        handover = {part: rng.choice(["said", "said", None, " "]) for part in ("goal", "pain_point", "scope", "notes")}
        w.write("account.updated", w.some_time(), handover=handover)
    if rng.random() < 0.15:
        left = w.some_time()
        w.write("account.churned", left, reason="no ROI")
        w.write("account.renewed", left + rng.choice([HOUR, 7 * DAY]))


def milestones(w: Writer) -> None:
    """Kickoff, steps and launch: planned, planned anew, called off, done."""
    rng = w.rng
    for name in rng.sample(["kickoff", "training", "import", "launch"], rng.randint(1, 4)):
        kind = {"kickoff": "kickoff", "launch": "launch"}.get(name, rng.choice(["onboarding", "other"]))
        planned = w.some_time()
        for _ in range(rng.choice([1, 1, 2, 3])):
            due = None if rng.random() < 0.15 else date(rng, w.days)
            w.write("account.milestone_planned", planned, milestone=name, due=due, kind=rng.choice([kind, kind, None]))
            planned += rng.choice([0, HOUR, DAY, 13 * DAY, 14 * DAY])
        if rng.random() < 0.6:
            w.write("account.milestone_done", w.some_time(), milestone=name, kind=kind)


def goals(w: Writer) -> None:
    """Goals with all or some of their parts, measures, reviews, value."""
    rng = w.rng
    for name in rng.sample(["close", "faster", "cheaper"], rng.randint(1, 2)):
        for _ in range(rng.choice([1, 1, 2])):
            parts: dict[str, Any] = {
                "metric": "days",
                "baseline": 10,
                "target": rng.choice([0, 20, 10]),
                "due": date(rng, w.days),
            }
            said = {part: value for part, value in parts.items() if rng.random() < 0.85}
            w.write("account.goal_set", w.some_time(), goal=name, **said)
        for _ in range(rng.randrange(4)):
            w.write("account.goal_measured", w.some_time(), goal=name, value=rng.choice([0, 5, 9, 10, 11, 15, 20]))
        if rng.random() < 0.4:
            w.write("account.goal_achieved", w.some_time(), goal=name)
    for _ in range(rng.randrange(3)):
        w.write("touchpoint.held", w.some_time(), kind="business_review")
    if rng.random() < 0.4:
        w.write("usage.value_reached", w.some_time(), goal="close")


def promises(w: Writer) -> None:
    """Commitments made for a date, moved, kept."""
    rng = w.rng
    for n in range(rng.randint(1, 3)):
        for _ in range(rng.choice([1, 2])):
            w.write(
                "account.commitment_made", w.some_time(), commitment=f"p{n}", due=rng.choice([date(rng, w.days), None])
            )
        if rng.random() < 0.5:
            w.write("account.commitment_kept", w.some_time(), commitment=f"p{n}")


def use(w: Writer) -> None:
    """Some use on many days, up and down, by one team or two."""
    rng = w.rng
    teams = ["finance"] if rng.random() < 0.6 else ["finance", "legal"]
    level = rng.choice([3, 10, 30])
    for day in range(rng.randrange(10), w.days, rng.choice([3, 5, 7])):
        if rng.random() < 0.02:
            level = rng.choice([1, 3, 10, 30])
        fields = {"feature": "match", "count": level, "core": rng.random() < 0.7, "team": rng.choice([*teams, None])}
        w.write("usage.feature_used", START + day * DAY + rng.choice([0, 9 * HOUR, DAY - 1]), **fields)


def slack(w: Writer) -> None:
    """A launch, and use that is less after it, for two weeks or for long."""
    rng = w.rng
    launched = START + rng.randrange(28, w.days - 40) * DAY
    w.write("account.milestone_done", launched, milestone="launch")
    for day, count in ((-20, 40), (-3, 40), (3, 10), (10, rng.choice([10, 30])), (18, rng.choice([5, 60])), (26, 10)):
        at = launched + day * DAY + rng.choice([0, HOUR, DAY - 1])
        w.write("usage.feature_used", at, feature="match", count=count)


def surveys(w: Writer) -> None:
    """Onboarding surveys answered well and badly."""
    for n in range(w.rng.randint(1, 2)):
        w.write(
            "survey.answered", w.some_time(), survey_id=f"s{n}", kind="onboarding", score=w.rng.choice([2, 3, 4, 5])
        )


def pilot(w: Writer) -> None:
    """A pilot: dates, readiness, champions, payments, contacts of the vendor; put off, converted."""
    rng = w.rng
    start = date(rng, 20)

    def said(**more: object) -> None:
        parts = {part: rng.choice([True, True, True, False, None]) for part in ("budget", "owner", "process", "kpi")}
        data = {"start": start, "end": rng.choice([None, date(rng, w.days)]), "readiness": parts}
        w.write("account.updated", w.some_time(), pilot=data | {"paid": rng.choice([None, None, True])}, **more)

    w.write("account.updated", START + rng.randrange(5 * DAY), stage="pilot", seats=rng.choice([10, 49, 50]))
    for _ in range(rng.randrange(4)):
        said()
    if rng.random() < 0.4:
        w.write("account.updated", w.some_time(), stage=rng.choice(["live", None]))
    for _ in range(rng.randrange(3)):
        w.write("account.updated", w.some_time(), use_case=rng.choice(["matching", "payments"]))
    for n in range(rng.choice([0, 1, 2, 9, 11])):
        w.write(
            "account.contact_changed",
            w.some_time(),
            contact_id=f"c{n}",
            roles=[rng.choice(["champion", "executive_sponsor"])],
        )
    if rng.random() < 0.4:
        w.write("account.contact_left", w.some_time(), contact_id="c1")
    first = w.some_time()
    for n in range(rng.choice([0, 7, 8, 12])):
        at = first + n * rng.choice([DAY, 2 * DAY])
        w.write("touchpoint.held", at, kind="call", direction="outbound", contact_id=rng.choice(["c0", "c1", "x"]))
    if rng.random() < 0.6:
        w.write("usage.value_reached", w.some_time(), goal="close")
    if rng.random() < 0.3:
        w.write("invoice.paid", w.some_time(), invoice_id="i", amount="10.00")


def plans(seed: int) -> Stream:
    """A file of one or two accounts, in order or not."""
    rng = random.Random(seed)
    days = rng.choice([90, 150, 240, 400])
    events: list[dict[str, Any]] = []
    for n in range(rng.choice([1, 1, 2])):
        w = Writer(rng, f"account-{n}", days)
        for family in (profile, milestones, goals, promises, slack, use, surveys, pilot):
            if rng.random() < 0.6:
                family(w)
        events += w.events
    return arrange(seed, rng, events, lateness=0.0 if seed % 2 else rng.choice([0.1, 0.3]), days=days)


def found(told: Stream, *, naive: bool) -> list[Transition]:
    """What a backtest of the stream says by these signals."""
    until = dt.date.fromisoformat(told.until) if told.until else None
    run = Backtest(CATALOGUE, until=until, run_start_us=told.run_start)
    run.engine.judge_everything = naive
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in told.lines]
    return list(run.run(Line(line, decode_any(line)) for line in raw))


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_naive_evaluator_says_the_same(seeds: range) -> None:
    raised: set[str] = set()
    cleared: set[str] = set()
    for seed in seeds:
        one = plans(seed)
        quick, naive = found(one, naive=False), found(one, naive=True)
        assert [encode(t) for t in quick] == [encode(t) for t in naive], f"seed {seed}"
        raised |= {t.data.signal for t in quick if t.type == "signal.raised"}
        cleared |= {t.data.signal for t in quick if t.type == "signal.cleared"}
    assert raised == {signal.id for signal in SIGNALS}, "a signal is never raised: nothing was compared of it"
    assert len(cleared) > len(SIGNALS) / 2
