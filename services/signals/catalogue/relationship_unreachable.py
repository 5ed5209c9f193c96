"""relationship.unreachable: nobody answers, or the sponsor's mail comes back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
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
from services.signals.core.touches import KEPT_TOUCHES, Touch


def _attempts(c: Context) -> list[Touch]:
    """Personal outbound contacts that stayed unanswered since somebody was last reached. Who is out of office cannot answer."""
    engagement = c.dossier.engagement
    tried = engagement.touches.unanswered(c.now, c.p["days"])
    return [touch for touch in tried if not engagement.away_at(touch.contact, touch.at)]


def _bounced(c: Context) -> list[tuple[int, str, str]]:
    """Sponsors whose mail came back, who read none since and were not reached either: when, who, and the event."""
    contacts = c.account.hot.contacts
    sponsors = contacts.holders("executive_sponsor")
    if not sponsors:
        return []
    engagement = c.dossier.engagement
    found = []
    for who in sponsors:
        person = contacts.people[who]
        reader = engagement.mail.reader(partial(person.reads_mail_as, who))
        met = any(t.contact == who and t.reached and t.at > reader.bounced_at for t in engagement.touches.personal)
        if reader.bounces and not met:
            found.append((reader.bounced_at, person.name or who, reader.bounce_event))
    return sorted(found)


def _raises(c: Context) -> Finding | None:
    enough = len(_attempts(c)) >= c.p["attempts"]
    return Finding("warning", frozen={"attempts": enough}) if enough or _bounced(c) else None


def _clears(c: Context) -> str | None:
    if _bounced(c):
        return None
    if c.open.frozen["attempts"] and _attempts(c):
        return None
    opened = c.open.opened_at
    silent = c.open.frozen["attempts"] and not any(
        touch.reached and touch.at >= opened for touch in c.dossier.engagement.touches.personal
    )
    return "expired" if silent else "recovered"


def _observe(c: Context) -> None:
    """An episode that a bounce opened ends no sooner than one of attempts, once there were enough of those too."""
    if len(_attempts(c)) >= c.p["attempts"]:
        c.open.frozen["attempts"] = True


def _due(c: Context) -> int:
    if c.episode is None:
        return 0
    return min((touch.at + int(c.p["days"]) * DAY_US for touch in _attempts(c)), default=0)


def _refuses(p: Mapping[str, Any]) -> str:
    if not 1 <= p["attempts"] <= KEPT_TOUCHES:
        return f"attempts is {p['attempts']} and must be 1 to {KEPT_TOUCHES}, as many contacts as are remembered"
    return ""


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    attempts, bounced = _attempts(c), _bounced(c)
    days, limit = c.p["days"], c.p["attempts"]
    parts = [f"{times(len(attempts), 'personal contact')} of the last {days} days stayed unanswered (limit {limit})"]
    parts += [f"mail to the sponsor {who} comes back" for _, who, _ in bounced]
    proofs = [
        evidence(
            "unanswered_contacts",
            len(attempts),
            "contacts",
            threshold=limit,
            window=(max(0, c.now - days * DAY_US), c.now),
            event_ids=[touch.event_id for touch in attempts],
        )
    ]
    if bounced:
        ids = [event_id for _, _, event_id in bounced]
        proofs.append(evidence("sponsors_whose_mail_bounces", len(bounced), "contacts", threshold=1, event_ids=ids))
    return f"{'; '.join(parts)}.", proofs


SIGNAL = Signal(
    id="relationship.unreachable",
    version=1,
    title="Nobody answers",
    kind="risk",
    family="relationship",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "At least 3 personal outbound contacts in the trailing 30 × 24 h stayed unanswered, with nobody reached since the "
        "first of them; or mail to somebody who holds executive_sponsor now bounced, and that person opened or clicked no "
        "mail and was not reached since. Reached is an inbound contact, one that was answered, or a meeting, visit or "
        "business review that was held. Attempts to reach somebody who was out of office then do not count; bulk mail "
        "does neither. One that stayed unanswered and has no direction was outbound. Clears when no sponsor's mail "
        "bounces and, once there were 3 attempts, somebody was reached or all of them are older than 30 d."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.TOUCH | Fact.MAIL | Fact.CONTACTS | Fact.AWAY,
    inputs=(
        "touchpoint.held",
        "mail.bounced",
        "mail.opened",
        "mail.clicked",
        "account.contact_changed",
        "contact.away",
    ),
    needs=("touchpoint.held",),
    action=Action(
        title="Try another person and another channel; ask sales or the partner for an introduction",
        owner="csm",
        playbook="unreachable",
        runbook="relationship.unreachable",
    ),
    thresholds={"default": {"attempts": 3, "days": 30}},
    raises=_raises,
    clears=_clears,
    observe=_observe,
    due=_due,
    describe=_describe,
    refuses=_refuses,
)


def _try(day: str, answered: bool | None = False, **more: object) -> tuple[str, str, dict[str, object]]:
    data = {"kind": "call", "direction": "outbound", "answered": answered, **more}
    return (f"{day}T10:00:00Z", "touchpoint.held", data)


_SPONSOR = (
    "2026-01-02T09:00:00Z",
    "account.contact_changed",
    {"contact_id": "s1", "email": "sam@acme.example", "roles": ["executive_sponsor"]},
)


def _mail(day: str, what: str, user: str) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", f"mail.{what}", {"user": user})


CASES = [
    Case(
        name="the third unanswered call; an answer clears it",
        events=[*(_try(f"2026-01-{day}") for day in ("05", "12", "19")), _try("2026-01-26", answered=True)],
        until="2026-01-26",
        expect=[("2026-01-19T10:00:00Z", "raised", "warning"), ("2026-01-26T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="unanswered, and nobody said in which direction",
        events=[
            (f"2026-01-{day}T10:00:00Z", "touchpoint.held", {"kind": "email", "answered": False})
            for day in ("05", "12", "19")
        ],
        until="2026-01-19",
        expect=[("2026-01-19T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="three unanswered calls of the customer to us",
        events=[_try(f"2026-01-{day}", direction="inbound") for day in ("05", "12", "19")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="nobody tries any more: cleared when the last attempt is 30 days old",
        events=[_try(f"2026-01-{day}") for day in ("05", "12", "19")],
        until="2026-02-18",
        expect=[("2026-01-19T10:00:00Z", "raised", "warning"), ("2026-02-18T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the first of three is exactly 30 days old",
        events=[_try("2026-01-05"), _try("2026-01-20"), _try("2026-02-04")],
        until="2026-02-04",
        expect=[],
    ),
    Case(
        name="an inbound mail between them",
        events=[
            _try("2026-01-05"),
            _try("2026-01-12"),
            ("2026-01-15T10:00:00Z", "touchpoint.held", {"kind": "email", "direction": "inbound"}),
            _try("2026-01-19"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="bulk mail, and calls that nobody says were not answered",
        events=[
            *(_try(f"2026-01-{day}", answered=None) for day in ("05", "06", "07")),
            *(_try(f"2026-01-{day}", bulk=True) for day in ("12", "13", "14")),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="out of office until the 20th",
        events=[
            ("2026-01-04T10:00:00Z", "contact.away", {"contact_id": "s1", "until": "2026-01-20"}),
            *(_try(f"2026-01-{day}", contact_id="s1") for day in ("05", "12", "19")),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="the sponsor's mail bounces, by address; a mail opened later clears it",
        events=[
            _SPONSOR,
            _mail("2026-02-02", "bounced", "SAM@acme.example"),
            _mail("2026-02-09", "opened", "sam@acme.example"),
        ],
        until="2026-02-09",
        expect=[("2026-02-02T10:00:00Z", "raised", "warning"), ("2026-02-09T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="another address for the sponsor",
        events=[
            _SPONSOR,
            _mail("2026-02-02", "bounced", "sam@acme.example"),
            (
                "2026-02-05T09:00:00Z",
                "account.contact_changed",
                {"contact_id": "s1", "email": "sam.lee@acme.example"},
            ),
        ],
        until="2026-02-05",
        expect=[("2026-02-02T10:00:00Z", "raised", "warning"), ("2026-02-05T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a user's mail bounces",
        events=[_SPONSOR, _mail("2026-02-02", "bounced", "ana")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="three attempts, the first told last: it counts in its place",
        events=[_try("2026-01-12"), _try("2026-01-19"), _try("2026-01-05")],
        until="2026-01-20",
        expect=[("2026-01-19T10:00:00Z", "raised", "warning")],
    ),
]
