"""support.same_topic: several tickets on one topic in two weeks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.support import KEPT_DAYS, Request


def beside(c: Context, tickets: Iterable[Request]) -> list[Evidence]:
    """What a count of tickets never stands without: their priorities, their categories, and the trend of usage."""
    counted = list(tickets)
    priorities = Counter(known.priority for known in counted)
    categories = Counter(known.category or "none" for known in counted)
    usage = c.account.windows
    return [
        evidence("priorities", _listed(priorities), "tickets"),
        evidence("categories", _listed(categories), "tickets"),
        evidence("usage_28d", usage.last_28(0), "uses", baseline=usage.previous_28(0), days=(c.today - 27, c.today)),
    ]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _inside(c: Context) -> list[tuple[int, str]]:
    """(opened, event id) of the tickets on the topic that were opened in the trailing window, the oldest first."""
    return c.dossier.support.on_topic(c.subject, c.now, c.p["days"])


def _subjects(c: Context) -> list[str]:
    return c.dossier.support.topics(c.now, c.p["days"], c.p["tickets"])


def _raises(c: Context) -> Finding | None:
    return Finding("warning") if len(_inside(c)) >= c.p["tickets"] else None


def _open_of_the_group(c: Context) -> int:
    """Tickets on the topic that are open, of those opened since the window of the raise began."""
    return c.account.open_tickets.on_topic_since(c.subject, c.open.opened_at - c.p["days"] * DAY_US)


def _clears(c: Context) -> str | None:
    return None if len(_inside(c)) >= c.p["tickets"] or _open_of_the_group(c) else "recovered"


def _due(c: Context) -> int:
    if c.episode is None:
        return 0
    inside = _inside(c)
    return int(inside[0][0] + c.p["days"] * DAY_US) if inside else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    inside, days = _inside(c), c.p["days"]
    counted = f"{len(inside)} ticket{'s' * (len(inside) != 1)}"
    sentence = f"{counted} on {c.subject} opened in {days} days, the limit is {c.p['tickets']}; "
    sentence += f"{_open_of_the_group(c)} of them still open."
    proof = evidence(
        "tickets_on_topic",
        len(inside),
        "tickets",
        threshold=c.p["tickets"],
        window=(c.now - days * DAY_US, c.now),
        event_ids=[event_id for _, event_id in inside[:20]],
    )
    tickets = [known for _, known in c.dossier.support.within(c.now, days) if known.topic == c.subject]
    return sentence, [proof, *beside(c, tickets)]


def _refuses(p: Mapping[str, Any]) -> str:
    return f"days: tickets are remembered for {KEPT_DAYS} days" if p["days"] > KEPT_DAYS else ""


SIGNAL = Signal(
    id="support.same_topic",
    version=1,
    title="The same topic again and again",
    kind="risk",
    family="support",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "At least 3 tickets on one topic were opened in the trailing 14 × 24 h; the episode is about the topic. A topic is "
        "its text as the tickets have it now. Clears when fewer than 3 were, and no ticket on it is open that was opened "
        "later than 14 × 24 h before the raise."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.TICKETS | Fact.TIER,
    inputs=("ticket.opened", "ticket.updated", "ticket.resolved", "ticket.closed", "ticket.reopened"),
    needs=("ticket.opened",),
    action=Action(
        title="Offer a session or an article on the topic to the whole team, and tell product what they ask",
        owner="csm",
        playbook="same-topic",
        runbook="support.same_topic",
    ),
    thresholds={"default": {"tickets": 3, "days": 14}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=_refuses,
    subjects=_subjects,
)


def _opened(at: str, name: str, topic: str | None = "reporting") -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"ticket_id": name, "priority": "P3"}
    return (at, "ticket.opened", data if topic is None else {**data, "topic": topic})


def _step(at: str, name: str, what: str = "resolved", **data: object) -> tuple[str, str, dict[str, object]]:
    return (at, f"ticket.{what}", {"ticket_id": name, **data})


_THREE = [
    _opened("2026-01-05T10:00:00Z", "T1"),
    _opened("2026-01-12T10:00:00Z", "T2"),
    _opened("2026-01-19T09:59:59Z", "T3"),
]

CASES = [
    Case(
        name="three in just under 14 × 24 h; clears when the first leaves the window and all are solved",
        events=[
            *_THREE,
            *(_step("2026-01-18T12:00:00Z", name) for name in ("T1", "T2")),
            _step("2026-01-19T12:00:00Z", "T3", "closed"),
        ],
        until="2026-01-31",
        expect=[("2026-01-19T09:59:59Z", "raised", "warning"), ("2026-01-19T12:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the first is exactly 14 × 24 h old when the third comes",
        events=[*_THREE[:2], _opened("2026-01-19T10:00:00Z", "T3")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="one of them still open keeps it",
        events=[*_THREE, *(_step("2026-01-20T12:00:00Z", name) for name in ("T1", "T2"))],
        until="2026-03-31",
        expect=[("2026-01-19T09:59:59Z", "raised", "warning")],
    ),
    Case(
        name="solved within the window: clears when the window is past",
        events=[
            _opened("2026-01-18T10:00:00Z", "T1"),
            _opened("2026-01-18T11:00:00Z", "T2"),
            _opened("2026-01-18T12:00:00Z", "T3"),
            *(_step("2026-01-19T12:00:00Z", name) for name in ("T1", "T2", "T3")),
        ],
        until="2026-02-28",
        expect=[("2026-01-18T12:00:00Z", "raised", "warning"), ("2026-02-01T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="three topics, and a ticket without one",
        events=[
            _opened("2026-01-05T10:00:00Z", "T1"),
            _opened("2026-01-05T11:00:00Z", "T2"),
            _opened("2026-01-06T10:00:00Z", "T3", "login"),
            _opened("2026-01-07T10:00:00Z", "T4", "export"),
            _opened("2026-01-08T10:00:00Z", "T5", None),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="the topic of the third is found out later",
        events=[
            *_THREE[:2],
            _opened("2026-01-13T10:00:00Z", "T3", None),
            _step("2026-01-14T10:00:00Z", "T3", "updated", topic="reporting"),
        ],
        until="2026-01-14",
        expect=[("2026-01-14T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="two topics at once are two episodes",
        events=[
            *(_opened(f"2026-01-05T1{n}:00:00Z", f"R{n}") for n in range(3)),
            *(_opened(f"2026-01-06T1{n}:00:00Z", f"L{n}", "login") for n in range(3)),
        ],
        until="2026-01-06",
        expect=[("2026-01-05T12:00:00Z", "raised", "warning"), ("2026-01-06T12:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a late ticket completes the three at the clock",
        events=[
            *_THREE[:2],
            ("2026-01-18T10:00:00Z", "usage.feature_used", {"feature": "report"}),
            _opened("2026-01-06T10:00:00Z", "T3"),
        ],
        until="2026-01-18",
        expect=[("2026-01-18T10:00:00Z", "raised", "warning")],
    ),
]
