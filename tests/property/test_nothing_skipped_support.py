"""What the engine skips could not have changed tickets, payments, surveys and growth either: random streams of them give
the same transitions, byte for byte, with every signal judged after every event and at every midnight."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

from schemas.codec import decode_any
from schemas.signals import Transition
from services.common.recording import Line
from services.signals.backtest.run import Backtest
from services.signals.catalogue import load
from services.signals.core.signal import Catalogue
from services.signals.core.transitions import encode
from tests.oracle.generate import START, Stream, Writer, arrange, contract, erosion, tiers, usage
from tests.oracle.records import DAY, HOUR, iso

JUDGED = {
    "support.same_topic",
    "support.escalated",
    "support.reopened",
    "support.silence",
    "support.feature_requests",
    "survey.unanswered",
    "survey.below_average",
    "critical.usage_and_survey",
    "fit.out_of_profile",
    "billing.payment_failed",
    "billing.paying_later",
    "billing.contraction",
    "billing.reorder_overdue",
    "expansion.contract_growth",
    "renewal.opt_out_window",
    "renewal.early",
    "growth.gap",
}
PARTS = {"usage.core_erosion", "billing.overdue", "renewal.unsecured"}
WHOLE = load()
CATALOGUE = Catalogue([s for s in WHOLE.signals if s.id in JUDGED | PARTS], WHOLE.digest)
SEEDS = range(9000, 9032)
TOPICS = ["reporting", "login", None]
CATEGORIES = ["how_to", "bug", "feature_request", "feature_request", "pricing", "other", None]


def tickets(w: Writer) -> None:
    """Tickets on few topics, in clusters: solved, back again, escalated, rated, their topic and category found out later."""
    rng = w.rng
    number = 0
    for _ in range(rng.randint(1, 5)):
        at = w.some_time()
        for _ in range(rng.choice([1, 3, 3, 6, 9])):
            number += 1
            name = f"t{number}"
            told: dict[str, Any] = {"topic": rng.choice(TOPICS), "category": rng.choice(CATEGORIES)}
            w.write("ticket.opened", at, ticket_id=name, priority=rng.choice(["P1", "P2", "P3", "P4"]), **told)
            for _ in range(rng.randint(0, 4)):
                step_at = at + rng.choice([0, 1, 3, 13, 14, 14, 30, 60]) * DAY + rng.choice([0, 0, -1, 1, HOUR])
                step = rng.choice(["resolved", "resolved", "closed", "reopened", "escalated", "rated", "updated"])
                more: dict[str, Any] = {}
                if step == "rated":
                    more = {"score": rng.randint(1, 5)}
                elif step == "updated":
                    more = {"topic": rng.choice(["reporting", "login"]), "category": rng.choice(CATEGORIES[:-1])}
                w.write(f"ticket.{step}", step_at, ticket_id=rng.choice([name, name, name, "nobody's"]), **more)
            at += rng.choice([0, HOUR, DAY, 4 * DAY, 7 * DAY, 14 * DAY])


def quiet(w: Writer) -> None:
    """A question, and use that falls by about a tenth three months later."""
    rng = w.rng
    asked = START + rng.randrange(20) * DAY + rng.choice([0, 9 * HOUR])
    w.write("ticket.opened", asked, ticket_id="q", priority="P3")
    level = 100
    for days in range(30, w.days, 28):
        w.write("usage.feature_used", START + days * DAY + rng.choice([0, HOUR, DAY - 1]), feature="f", count=level)
        level = rng.choice([level, level * 9 // 10, level * 7 // 10, 100])


def surveys(w: Writer) -> None:
    """Surveys of every kind sent, sent again, answered with and without a score."""
    rng = w.rng
    for n in range(rng.randint(2, 7)):
        kind = rng.choice(["nps", "nps", "csat", "ces"])
        at, survey = w.some_time(), rng.choice([f"s{n}", f"s{n}", "s0"])
        for _ in range(rng.randrange(3)):
            w.write("survey.sent", at + rng.choice([0, 3, 7]) * DAY, survey_id=survey, kind=kind)
        for _ in range(rng.randrange(3)):
            score = rng.choice([None, 1, 3, 4, 5] if kind != "nps" else [None, 4, 6, 7, 8, 10])
            who = {"user": rng.choice(["u0", "u1"])} if rng.random() < 0.7 else {}
            answered = at + rng.choice([0, 1, 13, 14, 14, 90, 90]) * DAY + rng.choice([0, 0, -1, 1])
            w.write("survey.answered", answered, survey_id=survey, kind=kind, score=score, **who)


def eroding(w: Writer) -> None:
    """Core use down after half a year, and surveys when that shows."""
    erosion(w)
    for n in range(w.rng.randint(1, 3)):
        at = START + w.rng.randrange(190, 240) * DAY + w.rng.choice([0, 9 * HOUR])
        w.write("survey.sent", at, survey_id=f"e{n}", kind="nps")
        if w.rng.random() < 0.5:
            w.write(
                "survey.answered",
                at + w.rng.choice([2, 14]) * DAY,
                survey_id=f"e{n}",
                kind="nps",
                score=w.rng.choice([6, 7]),
            )


def invoices(w: Writer) -> None:
    """Invoices month by month, paid ever later or not, with lines that change; payments that fail, first or never."""
    rng = w.rng
    late, quantity, price = 5, 10, 100
    first = rng.randrange(20)
    recurring = rng.random() < 0.8
    for n in range(rng.randint(4, 11)):
        at = START + (first + n * rng.choice([10, 30, 30])) * DAY
        data: dict[str, Any] = {"invoice_id": f"i{n}", "amount": "100.00", "currency": "EUR", "due": "2024-12-31"}
        lines = [{"product": "desk", "quantity": quantity, "unit_price": f"{price}.00"}]
        if rng.random() < 0.7:
            lines.append({"product": "chat", "quantity": 5, "unit_price": "10.00", "discount": rng.choice([0, 0, 5])})
        w.write("invoice.issued", at, **data, recurring=recurring, **({"lines": lines} if rng.random() < 0.8 else {}))
        late += rng.choice([-8, 0, 10, 20])
        for attempt in range(rng.choice([0, 0, 0, 1, 2])):
            w.write("invoice.payment_failed", at + attempt * DAY, invoice_id=f"i{n}", attempt=attempt)
        if rng.random() < 0.9:
            kind = rng.choice(["paid"] * 6 + ["voided"])
            more = {"amount": "100.00"} if kind == "paid" else {}
            w.write(f"invoice.{kind}", at + max(0, late) * DAY + rng.choice([0, HOUR]), invoice_id=f"i{n}", **more)
        quantity, price = rng.choice([quantity, 9, 10, 12]), rng.choice([price, 90, 100])


def subscriptions(w: Writer) -> None:
    """Subscriptions up, down, cancelled, moved to another product; or amounts that only the profile knows."""
    rng = w.rng
    for name in rng.sample(["s1", "s2"], rng.randint(0, 2)):
        for _ in range(rng.randint(1, 5)):
            told: dict[str, Any] = {"quantity": rng.choice([8, 9, 10]), "discount": rng.choice([None, 0, 5])}
            told["mrr"] = rng.choice(["0", "90.00", "100.00", "105.00", "130.00"])
            product = rng.choice(["desk", "desk", "desk", "pro"])
            w.write("account.subscription_changed", w.some_time(), subscription_id=name, product=product, **told)
    for _ in range(rng.randrange(4)):
        told = {"mrr": rng.choice(["100.00", "105.00", "110.00", "90.00"]), "seats": rng.choice([9, 10, None])}
        w.write("account.updated", w.some_time(), **told)


def growing(w: Writer) -> None:
    """A retailer who pays a little more or less after months, for longer than a year."""
    w.write("account.updated", START + w.rng.randrange(5) * DAY + HOUR, mrr="100.00", industry="retail")
    w.write("account.updated", START + w.rng.randrange(30, 420) * DAY, mrr=w.rng.choice(["95.00", "110.00", "120.00"]))


def profile(w: Writer) -> None:
    """Fit, industry, pricing, the day of the opt-out; value reached, or not."""
    rng = w.rng
    for _ in range(rng.randint(1, 3)):
        date = (dt.date(2024, 1, 1) + dt.timedelta(days=rng.randrange(w.days))).isoformat()
        told = {
            "opt_out_by": rng.choice([date, date, None]),
            "fit": rng.choice(["poor", "good", 0.4, 0.5, True, False, None]),
            "industry": rng.choice(["retail", "retail", None]),
            "pricing": rng.choice(["usage", "per_seat", None, None]),
        }
        some = {name: value for name, value in told.items() if rng.random() < 0.6}
        w.write("account.updated", w.some_time(), **some)
    if rng.random() < 0.3:
        w.write("usage.value_reached", w.some_time(), goal="g")


def benchmarks(rng: random.Random, days: int) -> list[dict[str, Any]]:
    """What the portfolio is said to have answered and grown by, on some Sundays."""
    told: list[dict[str, Any]] = []
    for week in range(days // 7):
        if rng.random() < 0.3:
            data = {"day": (dt.date(2024, 1, 7) + dt.timedelta(weeks=week)).isoformat(), "accounts": 40}
            data |= {"nps_mean": rng.choice([None, 7.0, 8.0]), "csat_mean": rng.choice([None, 3.5, 4.2])}
            data["growth_mean_by_segment"] = rng.choice([None, {"retail": 0.1}, {"retail": 0.3}, {"finance": 0.3}])
            at = iso(START + (7 * week + 7) * DAY + rng.choice([0, HOUR // 2]))
            told.append({"specversion": "1.0", "source": "p", "type": "portfolio.measured", "time": at, "data": data})
    return told


FAMILIES = (
    tickets,
    quiet,
    surveys,
    eroding,
    invoices,
    subscriptions,
    growing,
    profile,
    contract,
    tiers,
    usage,
)


def streams(seed: int) -> Stream:
    """A file of one or two accounts, in order or not, with or without what is said of the portfolio."""
    rng = random.Random(seed)
    days = rng.choice([120, 240, 430])
    events: list[dict[str, Any]] = []
    for n in range(rng.choice([1, 1, 2])):
        w = Writer(rng, f"account-{n}", days)
        for family in FAMILIES:
            if rng.random() < (0.7 if family in (growing, invoices) else 0.4):
                family(w)
        events += w.events
    if rng.random() < 0.8:
        events += benchmarks(rng, days)
    return arrange(seed, rng, events, lateness=0.0 if seed % 2 else rng.choice([0.1, 0.3]), days=days)


def found(told: Stream, *, naive: bool) -> list[Transition]:
    """What a backtest of the stream says by these signals."""
    until = dt.date.fromisoformat(told.until) if told.until else None
    run = Backtest(CATALOGUE, until=until, run_start_us=told.run_start)
    run.engine.judge_everything = naive
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in told.lines]
    return list(run.run(Line(line, decode_any(line)) for line in raw))


def test_the_naive_evaluator_says_the_same() -> None:
    raised: set[str] = set()
    cleared: set[str] = set()
    for seed in SEEDS:
        one = streams(seed)
        quick, naive = found(one, naive=False), found(one, naive=True)
        assert [encode(t) for t in quick] == [encode(t) for t in naive], f"seed {seed}"
        raised |= {t.data.signal for t in quick if t.type == "signal.raised"}
        cleared |= {t.data.signal for t in quick if t.type == "signal.cleared"}
    assert raised >= JUDGED, f"never raised, so nothing was compared of them: {sorted(JUDGED - raised)}"
    assert len(cleared & JUDGED) > len(JUDGED) / 2
