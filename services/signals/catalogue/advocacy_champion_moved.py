"""advocacy.champion_moved: a champion who left is at another company now, and knows the product."""

from __future__ import annotations

from collections.abc import Iterable

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US, day_of


def _contacts(c: Context) -> Iterable[str]:
    return [who for who, moved in c.dossier.engagement.advocacy.moved.items() if c.now < _ends(c, moved.at)]


def _ends(c: Context, at: int) -> int:
    return at + int(c.p["days"]) * DAY_US


def _raises(c: Context) -> Finding | None:
    moved = c.dossier.engagement.advocacy.moved[c.subject]
    if c.now >= _ends(c, moved.at):
        return None
    frozen = {"at": moved.at, "name": moved.name, "where": moved.where, "event": moved.event_id}
    return Finding("info", frozen=frozen)


def _clears(c: Context) -> str | None:
    return "expired" if c.now >= _ends(c, c.open.frozen["at"]) else None


def _due(c: Context) -> int:
    return 0 if c.episode is None else _ends(c, c.open.frozen["at"])


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    frozen = c.open.frozen
    days = (c.now - frozen["at"]) // DAY_US
    sentence = f"Champion {frozen['name']} is at {frozen['where']} now (known since {on(day_of(frozen['at']))})."
    proof = evidence(
        "days_since_moved",
        days,
        "days",
        threshold=c.p["days"],
        window=(frozen["at"], c.now),
        event_ids=[frozen["event"]],
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="advocacy.champion_moved",
    version=1,
    title="A champion is at another company",
    kind="opportunity",
    family="advocacy",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "A contact event says where a contact moved to, and the contact holds the role champion, or held it when last heard "
        "of. Per contact, named in `about`. All of this is told by the account that the champion left: whether the other "
        "company is a customer, or a lead, cannot be seen here. Clears after 90 d. That the role is empty at this account "
        "is told by relationship.sponsor_lost."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 2",
    reads=Fact.CONTACTS,
    inputs=("account.contact_changed", "account.contact_left"),
    needs=("account.contact_changed",),
    action=Action(
        title="Congratulate the person, and ask who decides at the new company",
        owner="sales",
        playbook="champion-moved",
        runbook="advocacy.champion_moved",
    ),
    thresholds={"default": {"days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    subjects=_contacts,
)


def _contact(day: str, who: str, what: str = "contact_changed", **more: object) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", f"account.{what}", {"contact_id": who, **more})


CASES = [
    Case(
        name="moved, over after 90 days",
        events=[
            _contact("2026-01-05", "c1", name="Ana", roles=["champion"]),
            _contact("2026-02-05", "c1", moved_to="Globex"),
        ],
        until="2026-05-06",
        expect=[("2026-02-05T10:00:00Z", "raised", "info"), ("2026-05-06T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="left first, and appears elsewhere a month later",
        events=[
            _contact("2026-01-05", "c1", roles=["champion"]),
            _contact("2026-02-05", "c1", "contact_left"),
            _contact("2026-03-05", "c1", moved_to="Globex"),
        ],
        until="2026-03-31",
        expect=[("2026-03-05T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="the leaving itself says where to",
        events=[
            _contact("2026-01-05", "c1", roles=["champion"]),
            _contact("2026-02-05", "c1", "contact_left", moved_to="Globex"),
        ],
        until="2026-02-28",
        expect=[("2026-02-05T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="two champions are two opportunities",
        events=[
            _contact("2026-01-05", "c1", roles=["champion"]),
            _contact("2026-01-05", "c2", roles=["champion"]),
            _contact("2026-02-05", "c1", moved_to="Globex"),
            _contact("2026-02-06", "c2", moved_to="Initech"),
        ],
        until="2026-02-28",
        expect=[("2026-02-05T10:00:00Z", "raised", "info"), ("2026-02-06T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="left for nobody knows where",
        events=[_contact("2026-01-05", "c1", roles=["champion"]), _contact("2026-02-05", "c1", "contact_left")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="who was champion no more when moving",
        events=[
            _contact("2026-01-05", "c1", roles=["champion"]),
            _contact("2026-01-20", "c1", roles=["user"]),
            _contact("2026-02-05", "c1", moved_to="Globex"),
        ],
        until="2026-02-28",
        expect=[],
    ),
]
