"""support.burst: many tickets in a short time, by the limits of the tier."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import islice
from typing import Any

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
from services.signals.core.days import DAY_US
from services.signals.core.open_tickets import INSTANT
from services.signals.core.state import OPENINGS_KEPT_US

MAX_REMEMBERED = 500


def _span(c: Context, days: int) -> slice:
    """Where in the openings those of the trailing window are."""
    openings = c.account.hot.openings
    since = bisect_right(openings, c.now - days * DAY_US, key=INSTANT)
    return slice(since, bisect_right(openings, c.now, key=INSTANT))


def _inside(c: Context, days: int) -> list[str]:
    """Tickets opened in the trailing window, oldest first."""
    return [ticket for _, ticket in c.account.hot.openings[_span(c, days)]]


def _holding(c: Context) -> list[tuple[int, int]]:
    """(limit, days) of each pair of the tier that holds now."""
    spans = ((limit, days, _span(c, days)) for limit, days in c.p["pairs"])
    return [(limit, days) for limit, days, span in spans if span.stop - span.start >= limit]


def _raises(c: Context) -> Finding | None:
    holding = _holding(c)
    if not holding:
        return None
    limit, days = holding[0]
    remembered = list(dict.fromkeys(ticket for _, reach in holding for ticket in _inside(c, reach)))
    count = len(_inside(c, days))
    frozen = {"limit": limit, "days": days, "count": count, "tickets": remembered[:MAX_REMEMBERED]}
    return Finding("warning", frozen=frozen)


def _observe(c: Context) -> None:
    remembered = c.open.frozen["tickets"]
    if len(remembered) >= MAX_REMEMBERED:
        return
    known = set(remembered)
    inside = (ticket for _, days in _holding(c) for ticket in _inside(c, days))
    new = dict.fromkeys(ticket for ticket in inside if ticket not in known)
    remembered.extend(islice(new, MAX_REMEMBERED - len(remembered)))


def _clears(c: Context) -> str | None:
    if _holding(c) or any(ticket in c.account.hot.tickets for ticket in c.open.frozen["tickets"]):
        return None
    return "recovered"


def _due(c: Context) -> int:
    if c.episode is None:
        return 0
    openings = c.account.hot.openings
    spans = ((days, _span(c, days)) for _, days in c.p["pairs"])
    ends = (openings[span.start][0] + days * DAY_US for days, span in spans if span.start < len(openings))
    return min(ends, default=0)


def _refuses(p: Mapping[str, Any]) -> str:
    kept, longest = OPENINGS_KEPT_US // DAY_US, max(days for _, days in p["pairs"])
    return f"pairs ask for {longest} days, and no more than {kept} is remembered" if longest > kept else ""


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    limit, days, _ = c.open.frozen["limit"], c.open.frozen["days"], 0
    tickets = _inside(c, days)
    still = sum(ticket in c.account.hot.tickets for ticket in c.open.frozen["tickets"])
    sentence = (
        f"{times(len(tickets), 'ticket')} opened in {days} days, the limit is {limit}; {still} of the burst still open."
    )
    known = c.account.hot.tickets
    proof = evidence(
        "tickets_opened",
        len(tickets),
        "tickets",
        threshold=limit,
        window=(c.now - days * DAY_US, c.now),
        event_ids=[known[ticket].event_id for ticket in tickets if ticket in known][:20],
    )
    usage = c.account.windows
    trend = evidence("usage_28d", usage.last_28(0), "uses", baseline=usage.previous_28(0), days=(c.today - 27, c.today))
    return sentence, [proof, trend]


SIGNAL = Signal(
    id="support.burst",
    version=1,
    title="Many tickets at once",
    kind="risk",
    family="support",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Tickets opened in the trailing window: at least 5 in 7 days or 20 in 30 days (low touch), 20 in 30 days (tech "
        "touch), 3 in 7 days or 10 in 30 days (high touch). Clears when no pair holds and no ticket that was in a "
        "holding window is open."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2, ch. 3, ch. 17",
    reads=Fact.TICKETS | Fact.PROFILE,
    inputs=("ticket.opened", "ticket.resolved", "ticket.closed", "ticket.reopened"),
    needs=("ticket.opened",),
    action=Action(
        title="Look through the tickets for one cause, and call with a plan",
        owner="support",
        playbook="ticket-burst",
        runbook="support.burst",
    ),
    thresholds={
        "default": {"pairs": [[5, 7], [20, 30]]},
        "high": {"pairs": [[3, 7], [10, 30]]},
        "tech": {"pairs": [[20, 30]]},
    },
    raises=_raises,
    observe=_observe,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=_refuses,
)


def _opened(*times_: str) -> list[tuple[str, str, dict[str, object]]]:
    return [(at, "ticket.opened", {"ticket_id": f"T{n}", "priority": "P3"}) for n, at in enumerate(times_)]


def _closed(count: int, day: str) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"{day}T1{n % 10}:00:00Z", "ticket.closed", {"ticket_id": f"T{n}"}) for n in range(count)]


def _tier(tier: str) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-01T00:00:00Z", "account.updated", {"tier": tier})


_FIVE = ("2026-01-05T10:00:00Z", *(f"2026-01-12T0{n}:00:00Z" for n in range(6, 10)))

CASES = [
    Case(
        name="five within 7 × 24 h; clears when the window is past and all are closed",
        events=[*_opened(*_FIVE), *_closed(5, "2026-01-14")],
        until="2026-01-20",
        expect=[("2026-01-12T09:00:00Z", "raised", "warning"), ("2026-01-14T14:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the first is exactly 7 × 24 h old when the fifth comes",
        events=_opened("2026-01-05T09:00:00Z", *_FIVE[1:]),
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="one of them still open keeps it",
        events=[*_opened(*_FIVE), *_closed(4, "2026-01-14")],
        until="2026-02-28",
        expect=[("2026-01-12T09:00:00Z", "raised", "warning")],
    ),
    Case(
        name="high touch: three in a week",
        events=[_tier("high"), *_opened(*_FIVE[:4])],
        until="2026-01-12",
        expect=[("2026-01-12T07:00:00Z", "raised", "warning")],
    ),
    Case(
        name="high touch: ten in 30 days",
        events=[_tier("high"), *_opened(*(f"2026-01-{1 + n // 2 * 7:02d}T1{n % 2}:00:00Z" for n in range(10)))],
        until="2026-01-29",
        expect=[("2026-01-29T11:00:00Z", "raised", "warning")],
    ),
    Case(
        name="low touch: ten in 30 days are usual",
        events=_opened(*(f"2026-01-{1 + 3 * n:02d}T10:00:00Z" for n in range(10))),
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="tech touch: a week of five is usual",
        events=[_tier("tech"), *_opened(*_FIVE)],
        until="2026-01-31",
        expect=[],
    ),
]
