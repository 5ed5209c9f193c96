"""What the engine skips could not have changed contacts, mail, advocacy and reminders either: random streams of them give
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

FAMILIES = ("relationship", "advocacy", "lifecycle")
WHOLE = load()
SIGNALS = [signal for signal in WHOLE.signals if signal.family in FAMILIES and signal.id != "advocacy.power_user"]
CATALOGUE = Catalogue([*SIGNALS, WHOLE.by_id["renewal.unsecured"]], WHOLE.digest)
IN_ONE_TEST = 20
SEEDS = [range(first, first + IN_ONE_TEST) for first in range(9000, 9060, IN_ONE_TEST)]
PEOPLE = ["c1", "c2", "ana@acme.example"]


def date(rng: random.Random, days: int) -> str:
    return (dt.date(2024, 1, 1) + dt.timedelta(days=rng.randrange(days))).isoformat()


def profile(w: Writer) -> None:
    """Tier, money, owners, dates; a renewal, a churn and a return."""
    rng = w.rng
    for _ in range(rng.randint(1, 3)):
        fields = {
            "tier": rng.choice(["high", "high", "low", "tech", None]),
            "mrr": rng.choice(["83333.33", "83333.34", "100"]),
            "sales_owner": rng.choice(["Sue", "Carl", None]),
            "contract_start": rng.choice(["2023-11-20", date(rng, w.days), None]),
            "renewal_date": rng.choice([date(rng, w.days + 120), date(rng, w.days + 60), None]),
        }
        chosen = {name: value for name, value in fields.items() if rng.random() < 0.7}
        w.write("account.updated", w.some_time(), **chosen)
    if rng.random() < 0.3:
        w.write("account.renewed", w.some_time(), term_months=rng.choice([1, 6, 12]))
    if rng.random() < 0.15:
        left = w.some_time()
        w.write("account.churned", left, reason="no ROI")
        w.write("account.renewed", left + rng.choice([HOUR, 7 * DAY]))


def contacts(w: Writer) -> None:
    """Sponsors and champions who come, change their address, are away, leave and turn up elsewhere."""
    rng = w.rng
    roles = ["executive_sponsor", "champion", "admin"]
    if rng.random() < 0.4:
        came = w.some_time()
        w.write("account.contact_changed", came, contact_id="c4", roles=["champion"])
        w.write("account.contact_changed", came + rng.choice([HOUR, 9 * DAY]), contact_id="c4", moved_to="Globex")
    for _ in range(rng.randint(2, 6)):
        who = rng.choice(["c1", "c2", "c3"])
        dice = rng.random()
        if dice < 0.15:
            w.write("account.contact_left", w.some_time(), contact_id=who)
        elif dice < 0.35:
            w.write(
                "account.contact_changed", w.some_time(), contact_id=who, moved_to=rng.choice(["Globex", "Initech"])
            )
        elif dice < 0.45:
            w.write("contact.away", w.some_time(), contact_id=who, until=date(rng, w.days))
        else:
            more = {"email": rng.choice(["Ana@acme.example", "bo@acme.example"])} if rng.random() < 0.4 else {}
            held = [role for role in roles if rng.random() < 0.6]
            w.write("account.contact_changed", w.some_time(), contact_id=who, roles=held, **more)


def touches(w: Writer) -> None:
    """Contacts of every kind, in rows and alone; business reviews planned, missed and held."""
    rng = w.rng
    for _ in range(rng.randint(1, 3)):
        t = w.some_time()
        for _ in range(rng.choice([1, 3, 5])):
            fields: dict[str, Any] = {"kind": rng.choice(["call", "email", "meeting", "business_review"])}
            if rng.random() < 0.6:
                fields |= {"direction": rng.choice(["outbound", "outbound", "inbound"])}
            if rng.random() < 0.5:
                fields |= {"answered": rng.choice([False, False, True])}
            if rng.random() < 0.5:
                fields |= {"contact_id": rng.choice(["c1", "c2", "c3"]), "by": rng.choice(["Sue", "Carl"])}
            if rng.random() < 0.15:
                fields |= {"bulk": True}
            w.write("touchpoint.held", t, **fields)
            t = min(t + rng.choice([0, HOUR, DAY, 7 * DAY, 7 * DAY, 10 * DAY, 30 * DAY]), START + w.days * DAY - 1)
    for _ in range(rng.randint(0, 3)):
        more = {"due": date(rng, w.days)} if rng.random() < 0.9 else {}
        w.write("touchpoint.planned", w.some_time(), kind=rng.choice(["business_review", "call"]), **more)
    if rng.random() < 0.3:
        w.write("touchpoint.missed", w.some_time(), kind=rng.choice(["business_review", "call"]))


def voices(w: Writer) -> None:
    """Mail, surveys, complaints, trainings, references, evaluations."""
    rng = w.rng
    for _ in range(rng.randint(1, 6)):
        what = rng.choice(["opened", "clicked", "bounced", "bounced", "unsubscribed", "unsubscribed"])
        w.write(f"mail.{what}", w.some_time(), user=rng.choice(PEOPLE))
    for n in range(rng.randint(0, 5)):
        kind = rng.choice(["nps", "nps", "csat", "onboarding", "goals"])
        score = {"score": rng.choice([8, 9, 9, 10, 3]) if kind == "nps" else rng.choice([1, 4, 5])}
        who = {"user": rng.choice(["u1", "u2"])} if rng.random() < 0.8 else {}
        w.write("survey.answered", w.some_time(), survey_id=f"s{n}", kind=kind, **score, **who)
    for _ in range(rng.randint(0, 4)):
        kind = rng.choice(["complaint.made", "training.attended", "evaluation.announced", "community.active"])
        w.write(kind, w.some_time(), **({"about": rng.choice(["team", "product"])} if kind == "complaint.made" else {}))
    for _ in range(rng.choice([0, 0, 1, 2])):
        w.write(rng.choice(["reference.given", "review.given", "referral.made"]), w.some_time())


def work(w: Writer) -> None:
    """What reminders and health follow: a launch, tickets solved and rated, use and invoices."""
    rng = w.rng
    if rng.random() < 0.7:
        at = w.some_time()
        w.write("account.milestone_done", at, milestone="Launch", kind="launch")
    for n in range(rng.randint(0, 4)):
        t = w.some_time()
        w.write("ticket.opened", t, ticket_id=f"t{n}", priority="P4")
        if rng.random() < 0.9:
            w.write("ticket.resolved", t + rng.choice([0, HOUR, DAY]), ticket_id=f"t{n}")
        if rng.random() < 0.3:
            w.write(
                "ticket.rated", t + rng.choice([HOUR, 2 * DAY, 9 * DAY]), ticket_id=f"t{n}", score=rng.randint(1, 5)
            )
        if rng.random() < 0.2:
            w.write("ticket.reopened", t + rng.choice([HOUR, 2 * DAY]), ticket_id=f"t{n}")
    if rng.random() < 0.7:
        for day in range(0, w.days, 7):
            w.write("usage.feature_used", START + day * DAY + 9 * HOUR, feature="report", count=rng.choice([1, 9, 10]))
        fields = {"invoice_id": "i1", "amount": "100.00", "currency": "EUR", "due": "2024-12-31"}
        w.write("invoice.issued", START + rng.randrange(3) * DAY, **fields)


def praise(w: Writer) -> None:
    """Steady use, nothing overdue, and people who say so."""
    rng = w.rng
    for day in range(0, w.days, 7):
        w.write("usage.feature_used", START + day * DAY + 9 * HOUR, feature="report", count=10)
    fields = {"invoice_id": "i1", "amount": "100.00", "currency": "EUR", "due": "2026-12-31"}
    w.write("invoice.issued", START + rng.randrange(3) * DAY, **fields)
    w.write("touchpoint.held", START + rng.randrange(40) * DAY, kind="call", contact_id="c1")
    for n in range(4):
        at = START + rng.randrange(100, w.days) * DAY
        w.write("survey.answered", at, survey_id=f"p{n}", kind="nps", score=rng.choice([9, 10, 10, 6]), user=f"u{n}")
    if rng.random() < 0.5:
        w.write("reference.given", START + rng.randrange(w.days) * DAY)


def stream(seed: int) -> Stream:
    """A file of one account, every second one in order."""
    rng = random.Random(seed)
    days = rng.choice([60, 120, 200, 260, 430, 430])
    w = Writer(rng, "acme", days)
    if days > 200 and rng.random() < 0.5:
        praise(w)
        contacts(w)
    else:
        for write in (profile, contacts, touches, voices, work):
            if rng.random() < 0.85:
                write(w)
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
    signals: set[str] = set()
    for seed in seeds:
        one = stream(seed)
        quick, naive = found(one, naive=False), found(one, naive=True)
        assert [encode(t) for t in quick] == [encode(t) for t in naive], f"seed {seed}"
        signals |= {t.data.signal for t in quick}
    missing = {signal.id for signal in CATALOGUE.signals} - signals
    assert not missing, "the streams never raise these"
