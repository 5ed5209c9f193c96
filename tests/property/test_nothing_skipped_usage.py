"""What the engine skips could not have changed features, teams, core users, errors, releases and what follows either:
random streams of them give the same transitions, byte for byte, with every signal judged after every event and at every
midnight."""

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
from services.signals.core import breadth
from services.signals.core.apply import breadth as applied
from services.signals.core.signal import Catalogue
from services.signals.core.transitions import encode
from tests.oracle.generate import START, Stream, Writer, arrange
from tests.oracle.records import DAY, HOUR

OWN = (
    "usage.never_started",
    "usage.outages",
    "usage.breadth_narrowing",
    "usage.key_user_silent",
    "adoption.single_threaded",
    "adoption.release_ignored",
    "adoption.advanced",
    "expansion.overage",
    "expansion.growth",
    "expansion.new_team",
    "value.reached",
    "recovery",
    "critical.compound",
)
PARTS = ("support.burst", "support.aged_critical", "relationship.sponsor_lost", "relationship.evaluation")
WHOLE = load()
CATALOGUE = Catalogue([WHOLE.by_id[name] for name in (*OWN, *PARTS)], WHOLE.digest)
IN_ONE_TEST = 15
SEEDS = [range(first, first + IN_ONE_TEST) for first in range(7000, 7045, IN_ONE_TEST)]


def profile(w: Writer) -> None:
    """Seats, pricing, the contract's start; a churn and a return."""
    rng = w.rng
    start = (dt.date(2024, 1, 1) + dt.timedelta(days=rng.choice([-90, -60, -14, 0, 7]))).isoformat()
    w.write(
        "account.updated", START + rng.randrange(3) * DAY, contract_start=start, seats=rng.choice([1, 2, 3, 20, 30])
    )
    for _ in range(rng.randint(0, 3)):
        fields = {
            "seats": rng.choice([None, 0, 1, 2, 3, 20]),
            "pricing": rng.choice(["per_seat", "value"]),
            "tier": rng.choice(["high", "low", "tech", None]),
            "contract_start": rng.choice([start, None, "2024-03-01"]),
        }
        name = rng.choice(sorted(fields))
        w.write("account.updated", w.some_time(), **{name: fields[name]})
    if rng.random() < 0.1:
        left = w.some_time()
        w.write("account.churned", left, reason="no ROI")
        w.write("account.renewed", left + rng.choice([HOUR, 40 * DAY]))


def habits(w: Writer) -> None:
    """A few people who use a few features at their own cadence, from some day to another; teams come and go with them."""
    rng = w.rng
    for user in rng.sample(["ana", "bob", "eva", "kim", "lee"], rng.randint(1, 4)):
        first = rng.choice([0, 0, 5, 30, 70])
        last = rng.choice([w.days, w.days, first + 21, first + 45, first + 100])
        team = rng.choice([None, "ops", "ops", "finance", "sales"])
        liked = rng.sample(["a", "b", "c", "d", "forecast"], rng.randint(1, 4))
        for day in range(first, min(last, w.days), rng.choice([1, 2, 3, 7, 9])):
            feature = rng.choice(liked)
            fields: dict[str, Any] = {"feature": feature, "user": user, "count": rng.choice([1, 2, 5, 9])}
            fields |= {"core": True} if feature in ("a", "b", "c") else {}
            fields |= {"advanced": True} if feature in ("d", "forecast") else {}
            fields |= {"team": team} if team else {}
            fields |= {"environment": "trial"} if rng.random() < 0.03 else {}
            w.write("usage.feature_used", START + day * DAY + rng.choice([0, HOUR, 9 * HOUR, DAY - 1]), **fields)
            if rng.random() < 0.1:
                w.write("usage.feature_used", START + day * DAY + 10 * HOUR, feature="forecast", count=1)


def growth(w: Writer) -> None:
    """Core usage in steps of four weeks."""
    counts = w.rng.choice([[20, 25, 32], [80, 100, 125], [80, 99, 200], [40, 60, 90]])
    first = w.rng.choice([4, 11, 32])
    for n, count in enumerate(counts):
        w.write("usage.feature_used", START + (first + 28 * n) * DAY + HOUR, feature="a", core=True, count=count)


def crowd(w: Writer) -> None:
    """So many people and features that they are more than can wait."""
    rng = w.rng
    for _ in range(rng.randint(20, 60)):
        name = f"x{rng.randrange(12)}"
        w.write("usage.feature_used", w.some_time(), feature=name, user=name, team=name, core=True, advanced=True)


def troubles(w: Writer) -> None:
    """Errors, outages, tickets, champions who leave, evaluations."""
    rng = w.rng
    for _ in range(rng.randint(0, 3)):
        t = w.some_time()
        for _ in range(rng.choice([1, 2, 10, 12])):
            w.write("usage.error_seen", t, kind=rng.choice(["error", "error", "error", "outage"]))
            t += rng.choice([0, HOUR // 2, HOUR, 10 * DAY // 10])
    for n in range(rng.randint(0, 8)):
        t = w.some_time()
        w.write("ticket.opened", t, ticket_id=f"t{n}", priority=rng.choice(["P1", "P2", "P3"]))
        for step in rng.sample(["escalated", "resolved", "resolved", "reopened", "closed"], rng.randint(0, 3)):
            w.write(f"ticket.{step}", t + rng.choice([1, 5, 11, 20]) * DAY, ticket_id=f"t{n}")
    if rng.random() < 0.6:
        t = w.some_time()
        w.write("account.contact_changed", START, contact_id="c1", roles=["champion"])
        w.write("account.contact_left", t, contact_id="c1")
        w.write("account.contact_changed", t + rng.choice([3, 20, 60]) * DAY, contact_id="c2", roles=["champion"])
    if rng.random() < 0.6:
        w.write("evaluation.announced", w.some_time())


def distress(w: Writer) -> None:
    """Several risks within a day or two; and usage that falls meanwhile and comes back."""
    rng = w.rng
    day = rng.randrange(30, 80)
    t = START + day * DAY
    for n in range(5):
        w.write("ticket.opened", t + n * HOUR, ticket_id=f"d{n}", priority="P1" if not n else "P4")
        w.write("ticket.resolved", t + rng.choice([12, 12, 30]) * DAY, ticket_id=f"d{n}")
    w.write("evaluation.announced", t + rng.choice([0, DAY]))
    w.write("account.contact_changed", START, contact_id="d1", roles=["executive_sponsor"])
    w.write("account.contact_left", t + rng.choice([0, DAY, 2 * DAY]), contact_id="d1")
    for other in range(0, w.days, 7):
        bad = day <= other < day + 14
        w.write(
            "usage.feature_used", START + other * DAY + HOUR, feature="b", count=20 if bad else rng.choice([50, 52])
        )


def goals(w: Writer) -> None:
    """Goals set and achieved, value events."""
    rng = w.rng
    for _ in range(rng.randint(0, 5)):
        what = rng.choice(["usage.value_reached", "account.goal_set", "account.goal_achieved"])
        w.write(what, w.some_time(), goal=rng.choice(["g1", "g2"]))


def releases(w: Writer) -> None:
    """Features released to everybody, before and after they are used."""
    rng = w.rng
    for feature in rng.sample(["a", "d", "forecast", "export", "import"], rng.randint(1, 3)):
        w.write("feature.released", w.some_time(), feature=feature)
        if rng.random() < 0.5:
            w.write("usage.feature_used", w.some_time(), feature=feature)


def stream(seed: int) -> Stream:
    """A file of one account, every second one in order."""
    rng = random.Random(seed)
    days = rng.choice([60, 120, 150, 220])
    w = Writer(rng, "acme", days)
    for write, share in (
        (profile, 0.9),
        (habits, 0.8),
        (growth, 0.3),
        (crowd, 0.15),
        (troubles, 0.6),
        (distress, 0.3 if days > 100 else 0.0),
        (goals, 0.5),
        (releases, 0.6),
    ):
        if rng.random() < share:
            write(w)
    for event in w.events:
        if event["type"] == "feature.released":
            del event["subject"]
    lateness = 0.0 if seed % 2 == 0 else rng.choice([0.1, 0.3, 1.0])
    return arrange(seed, rng, w.events, lateness=lateness, days=days)


def found(told: Stream, *, naive: bool) -> list[Transition]:
    """What a backtest of the stream says."""
    until = dt.date.fromisoformat(told.until) if told.until else None
    run = Backtest(CATALOGUE, until=until, run_start_us=told.run_start)
    run.engine.judge_everything = naive
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in told.lines]
    return list(run.run(Line(line, decode_any(line)) for line in raw))


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_naive_evaluator_says_the_same(seeds: range) -> None:
    for seed in seeds:
        one = stream(seed)
        assert [encode(t) for t in found(one, naive=False)] == [encode(t) for t in found(one, naive=True)], (
            f"seed {seed}"
        )


def test_each_signal_is_raised_in_some_stream() -> None:
    said = {t.data.signal for seed in range(7000, 7045) for t in found(stream(seed), naive=False)}
    assert not {*OWN} - said


def test_how_much_waits_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(7100, 7110)
    before = [[encode(t) for t in found(stream(seed), naive=False)] for seed in seeds]
    for name, value in (("WAITING_DAYS", 9), ("WAITING_FEATURES", 2), ("WAITING_USERS", 1), ("TEAMS_INLINE", 1)):
        monkeypatch.setattr(applied, name, value)
        monkeypatch.setattr(breadth, name, value)
    after = [[encode(t) for t in found(stream(seed), naive=False)] for seed in seeds]
    assert any(before)
    assert after == before
