"""relationship.champion_unsubscribed: the champion does not want our mail any more."""

from __future__ import annotations

from functools import partial

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US, day_of


def _gone(c: Context) -> list[tuple[int, str, str]]:
    """Champions who unsubscribed and read no mail since: when, who, and the event. The latest last."""
    contacts = c.account.hot.contacts
    champions = contacts.holders("champion")
    if not champions:
        return []
    mail = c.dossier.engagement.mail
    found = []
    for who in champions:
        person = contacts.people[who]
        reader = mail.reader(partial(person.reads_mail_as, who))
        if reader.unsubscribed:
            found.append((reader.left_at, person.name or who, reader.leave_event))
    return sorted(found)


def _ends(c: Context, gone: list[tuple[int, str, str]]) -> int:
    return gone[-1][0] + int(c.p["expires_days"]) * DAY_US if gone else 0


def _raises(c: Context) -> Finding | None:
    gone = _gone(c)
    if c.now >= _ends(c, gone):
        return None
    at, who, event_id = gone[-1]
    return Finding("warning", frozen={"at": at, "who": who, "event": event_id})


def _clears(c: Context) -> str | None:
    gone = _gone(c)
    if not gone:
        return "recovered"
    return "expired" if c.now >= _ends(c, gone) else None


def _due(c: Context) -> int:
    return 0 if c.episode is None else _ends(c, _gone(c))


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    frozen = c.open.frozen
    days = (c.now - frozen["at"]) // DAY_US
    sentence = f"Champion {frozen['who']} unsubscribed from our mail on {on(day_of(frozen['at']))}."
    proof = evidence(
        "days_since_unsubscribed",
        days,
        "days",
        threshold=c.p["expires_days"],
        window=(frozen["at"], c.now),
        event_ids=[frozen["event"]],
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="relationship.champion_unsubscribed",
    version=1,
    title="The champion unsubscribed",
    kind="risk",
    family="relationship",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Somebody who holds the role champion now unsubscribed from mail in the last 90 × 24 h, and opened or clicked no "
        "mail since. A mail's user is a contact where it is the contact's id, or the contact's e-mail address in upper or "
        "lower case. Clears when every such champion reads mail again or holds the role no more, or 90 d after the last "
        "unsubscribed."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.MAIL | Fact.CONTACTS,
    inputs=("mail.unsubscribed", "mail.opened", "mail.clicked", "account.contact_changed", "account.contact_left"),
    needs=("mail.opened", "account.contact_changed"),
    action=Action(
        title="Call the champion: ask what they want to hear about, and whether their work has changed",
        owner="csm",
        playbook="champion-unsubscribed",
        runbook="relationship.champion_unsubscribed",
    ),
    thresholds={"default": {"expires_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _contact(day: str, roles: list[str], who: str = "c1", **more: object) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T09:00:00Z", "account.contact_changed", {"contact_id": who, "roles": roles, **more})


def _mail(at: str, what: str, user: str = "c1") -> tuple[str, str, dict[str, object]]:
    return (at, f"mail.{what}", {"user": user, "campaign": "release notes"})


CASES = [
    Case(
        name="by contact id; a mail read later clears it",
        events=[
            _contact("2026-01-05", ["champion"]),
            _mail("2026-02-02T10:00:00Z", "clicked"),
            _mail("2026-02-02T10:05:00Z", "unsubscribed"),
            _mail("2026-02-20T10:00:00Z", "opened"),
        ],
        until="2026-02-20",
        expect=[("2026-02-02T10:05:00Z", "raised", "warning"), ("2026-02-20T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="by e-mail address, and it ends after 90 days to the second",
        events=[
            _contact("2026-01-05", ["champion"], email="Ana@Acme.example"),
            _mail("2026-02-02T10:05:00Z", "unsubscribed", "ana@acme.example"),
        ],
        until="2026-05-10",
        expect=[("2026-02-02T10:05:00Z", "raised", "warning"), ("2026-05-03T10:05:00Z", "cleared", "warning")],
    ),
    Case(
        name="who becomes champion 89 days after unsubscribing",
        events=[
            _contact("2026-01-05", ["user"]),
            _mail("2026-01-06T09:00:00Z", "unsubscribed"),
            _contact("2026-04-05", ["champion"]),
        ],
        until="2026-04-05",
        expect=[("2026-04-05T09:00:00Z", "raised", "warning")],
    ),
    Case(
        name="who becomes champion exactly 90 days after unsubscribing",
        events=[
            _contact("2026-01-05", ["user"]),
            _mail("2026-01-06T09:00:00Z", "unsubscribed"),
            _contact("2026-04-06", ["champion"]),
        ],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="somebody else unsubscribes",
        events=[
            _contact("2026-01-05", ["champion"]),
            _contact("2026-01-05", ["admin"], who="c2"),
            _mail("2026-02-02T10:05:00Z", "unsubscribed", "c2"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="the champion changes: another sign tells of that",
        events=[
            _contact("2026-01-05", ["champion"]),
            _mail("2026-02-02T10:05:00Z", "unsubscribed"),
            ("2026-02-10T09:00:00Z", "account.contact_left", {"contact_id": "c1"}),
        ],
        until="2026-02-28",
        expect=[("2026-02-02T10:05:00Z", "raised", "warning"), ("2026-02-10T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="an unsubscribing that is told late, after mail was read again",
        events=[
            _contact("2026-01-05", ["champion"]),
            _mail("2026-02-20T10:00:00Z", "opened"),
            _mail("2026-02-02T10:05:00Z", "unsubscribed"),
        ],
        until="2026-02-28",
        expect=[],
    ),
]
