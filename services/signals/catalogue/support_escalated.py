"""support.escalated: a ticket was escalated, or the load of tickets is far above what is usual for the account."""

from __future__ import annotations

from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    times,
)
from services.signals.catalogue.support_same_topic import beside
from services.signals.core.days import DAY_US
from services.signals.core.support import load, next_crossing

WINDOW = 30
NORM_WINDOWS = 3
REACH = (WINDOW, WINDOW * (NORM_WINDOWS + 1))


def _escalated(c: Context) -> list[tuple[int, str, str]]:
    """(when, ticket, event id) of the escalated tickets that are open, the oldest escalation first."""
    return c.account.open_tickets.escalated


def _load(c: Context) -> tuple[int, float]:
    """The load of the last 30 days, and the norm: the mean of the three times 30 days before."""
    support = c.dossier.support
    before = load(support, c.now, WINDOW * NORM_WINDOWS, WINDOW)
    return load(support, c.now, WINDOW), before / NORM_WINDOWS


def _known_long_enough(c: Context) -> bool:
    return bool(c.now >= c.account.hot.first_event + c.p["known_days"] * DAY_US)


def _raises(c: Context) -> Finding | None:
    if len(_escalated(c)) >= c.p["escalations"]:
        return Finding("warning")
    current, norm = _load(c)
    heavy = current >= c.p["load_min"] and current >= c.p["raise_at"] * norm and _known_long_enough(c)
    return Finding("warning") if heavy else None


def _clears(c: Context) -> str | None:
    if _escalated(c):
        return None
    current, norm = _load(c)
    heavy = current >= c.p["load_min"] and current >= c.p["clear_at"] * norm and _known_long_enough(c)
    return None if heavy else "recovered"


def _due(c: Context) -> int:
    support = c.dossier.support
    if load(support, c.now, WINDOW) < c.p["load_min"]:
        return 0
    dues = (next_crossing(support, c.now, REACH), c.account.hot.first_event + c.p["known_days"] * DAY_US)
    return min((at for at in dues if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    escalated, (current, norm) = _escalated(c), _load(c)
    sentence = f"Load of {current} over 30 days (P1 counts 8, P2 4, P3 2, P4 1), {norm:.1f} is usual for the account."
    if escalated:
        names = ", ".join(name for _, name, _ in escalated[:3])
        sentence = f"{times(len(escalated), 'escalated ticket')} open: {names}. {sentence}"
    window = (c.now - WINDOW * DAY_US, c.now)
    proofs = [
        evidence(
            "escalated_tickets_open",
            len(escalated),
            "tickets",
            threshold=c.p["escalations"],
            event_ids=[event_id for _, _, event_id in escalated[:20]],
        ),
        evidence("support_load", current, "points", baseline=round(norm, 2), threshold=c.p["load_min"], window=window),
    ]
    return sentence, [*proofs, *beside(c, (known for _, known in c.dossier.support.within(c.now, WINDOW)))]


SIGNAL = Signal(
    id="support.escalated",
    version=1,
    title="Escalated, or far more load than usual",
    kind="risk",
    family="support",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "An open ticket was escalated (tech touch: 2 are), or the load of the tickets opened in the trailing 30 × 24 h is at "
        "least twice the norm and at least 24 (high touch 16, tech touch 40). A P1 weighs 8, a P2 4, a P3 2, a P4 1, by the "
        "priority it has now; the norm is the mean of the three times 30 × 24 h before, for accounts known for 60 × 24 h. "
        "Clears when no escalated ticket is open, and the load is under 1.5 times the norm or under that minimum. A ticket "
        "that is reopened is as escalated as it was."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.TICKETS | Fact.TIER,
    inputs=("ticket.opened", "ticket.updated", "ticket.escalated", "ticket.resolved", "ticket.closed"),
    needs=("ticket.opened",),
    warming_days=60,
    action=Action(
        title="Name one owner for the account's tickets, and call the customer with a date for each",
        owner="support",
        playbook="escalation",
        runbook="support.escalated",
    ),
    thresholds={
        "default": {"escalations": 1, "load_min": 24, "raise_at": 2.0, "clear_at": 1.5, "known_days": 60},
        "high": {"load_min": 16},
        "tech": {"escalations": 2, "load_min": 40},
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _opened(at: str, name: str, priority: str = "P3") -> tuple[str, str, dict[str, object]]:
    return (at, "ticket.opened", {"ticket_id": name, "priority": priority})


def _step(at: str, name: str, what: str) -> tuple[str, str, dict[str, object]]:
    return (at, f"ticket.{what}", {"ticket_id": name})


_KNOWN = ("2026-01-01T10:00:00Z", "account.updated", {"name": "Acme"})


def _usual(*days: str) -> list[tuple[str, str, dict[str, object]]]:
    return [_opened(f"2026-{day}T09:00:00Z", f"U{day}", "P2") for day in days]


CASES = [
    Case(
        name="an escalation, until the ticket is resolved",
        events=[
            _opened("2026-01-05T10:00:00Z", "T1"),
            _step("2026-01-06T10:00:00Z", "T1", "escalated"),
            _step("2026-01-09T10:00:00Z", "T1", "resolved"),
        ],
        until="2026-01-31",
        expect=[("2026-01-06T10:00:00Z", "raised", "warning"), ("2026-01-09T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="escalated after it was resolved, and a ticket that nobody opened",
        events=[
            _opened("2026-01-05T10:00:00Z", "T1"),
            _step("2026-01-06T10:00:00Z", "T1", "resolved"),
            _step("2026-01-07T10:00:00Z", "T1", "escalated"),
            _step("2026-01-07T11:00:00Z", "T9", "escalated"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="reopened, it is as escalated as it was",
        events=[
            _opened("2026-01-05T10:00:00Z", "T1"),
            _step("2026-01-06T10:00:00Z", "T1", "escalated"),
            _step("2026-01-09T10:00:00Z", "T1", "resolved"),
            _step("2026-01-12T10:00:00Z", "T1", "reopened"),
        ],
        until="2026-01-31",
        expect=[
            ("2026-01-06T10:00:00Z", "raised", "warning"),
            ("2026-01-09T10:00:00Z", "cleared", "warning"),
            ("2026-01-12T10:00:00Z", "raised", "warning"),
        ],
    ),
    Case(
        name="tech touch: one escalation is not enough, two are",
        events=[
            ("2026-01-01T00:00:00Z", "account.updated", {"tier": "tech"}),
            _opened("2026-01-05T10:00:00Z", "T1"),
            _opened("2026-01-05T11:00:00Z", "T2"),
            _step("2026-01-06T10:00:00Z", "T1", "escalated"),
            _step("2026-01-07T10:00:00Z", "T2", "escalated"),
        ],
        until="2026-01-31",
        expect=[("2026-01-07T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a load of 24 where 12 are usual; clears when the first of it is 30 × 24 h old",
        events=[
            _KNOWN,
            *_usual("01-02", "01-03", "01-04", "02-02", "02-03", "02-04", "03-02", "03-03", "03-04"),
            *(_opened(f"2026-04-1{n}T09:00:00Z", f"T{n}", "P1") for n in range(3)),
        ],
        until="2026-05-31",
        expect=[("2026-04-12T09:00:00Z", "raised", "warning"), ("2026-05-10T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a load of 24 where 13 and a third are usual",
        events=[
            _KNOWN,
            *_usual("01-02", "01-10", "01-20", "01-30", "02-08", "02-16", "02-24", "03-02", "03-08", "03-12"),
            *(_opened(f"2026-04-1{n}T09:00:00Z", f"T{n}", "P1") for n in range(3)),
        ],
        until="2026-04-20",
        expect=[],
    ),
    Case(
        name="the load of a new account waits until it is known for 60 × 24 h",
        events=[
            ("2026-02-20T10:00:00Z", "account.updated", {"name": "Acme"}),
            *(_opened(f"2026-04-1{n}T09:00:00Z", f"T{n}", "P1") for n in range(3)),
        ],
        until="2026-04-21",
        expect=[("2026-04-21T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a load of 22",
        events=[
            _KNOWN,
            *(_opened(f"2026-04-1{n}T09:00:00Z", f"T{n}", "P1") for n in range(2)),
            *(_opened(f"2026-04-1{n}T10:00:00Z", f"S{n}") for n in range(3)),
        ],
        until="2026-05-31",
        expect=[],
    ),
    Case(
        name="high touch: a load of 16",
        events=[
            ("2026-01-01T00:00:00Z", "account.updated", {"tier": "high"}),
            *(_opened(f"2026-04-1{n}T09:00:00Z", f"T{n}", "P1") for n in range(2)),
        ],
        until="2026-04-30",
        expect=[("2026-04-11T09:00:00Z", "raised", "warning")],
    ),
]
