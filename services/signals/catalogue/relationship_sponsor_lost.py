"""relationship.sponsor_lost: the executive sponsor or the champion is gone, and nobody took the role."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import day_of


def _raises(c: Context) -> Finding | None:
    lost = c.account.hot.contacts.lost
    if not lost:
        return None
    frozen = {role: [gone.holder, gone.since, gone.event_id] for role, gone in sorted(lost.items())}
    return Finding("critical", frozen={"lost": frozen})


def _clears(c: Context) -> str | None:
    return None if c.account.hot.contacts.lost else "recovered"


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    lost = c.open.frozen["lost"]
    parts = [f"{role.replace('_', ' ')} {holder} on {on(day_of(since))}" for role, (holder, since, _) in lost.items()]
    still = len(c.account.hot.contacts.lost)
    sentence = f"Lost: {'; '.join(parts)}. {still} of the roles {'is' if still == 1 else 'are'} not held by anybody."
    proof = evidence(
        "roles_not_held",
        still,
        "roles",
        threshold=1,
        event_ids=[event_id for _, _, event_id in lost.values()],
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="relationship.sponsor_lost",
    version=1,
    title="The sponsor or champion is gone",
    kind="risk",
    family="relationship",
    scope="account",
    severity="critical",
    pages=True,
    meaning=(
        "A holder of executive_sponsor or champion left, moved, or lost the role, and nobody else holds it. Clears when "
        "every lost role is held again."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.CONTACTS,
    inputs=("account.contact_changed", "account.contact_left"),
    needs=("account.contact_changed",),
    action=Action(
        title="Find the successor this week, and ask the old sponsor for an introduction",
        owner="csm",
        playbook="sponsor-lost",
        runbook="relationship.sponsor_lost",
    ),
    thresholds={"default": {}},
    raises=_raises,
    clears=_clears,
    describe=_describe,
)


def _contact(day: str, who: str, roles: list[str] | None = None, **more: object) -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"contact_id": who, **more}
    return (f"{day}T10:00:00Z", "account.contact_changed", data if roles is None else {**data, "roles": roles})


def _left(day: str, who: str) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "account.contact_left", {"contact_id": who})


CASES = [
    Case(
        name="the champion leaves, a new one clears it",
        events=[
            _contact("2026-01-05", "c1", ["champion"], name="Ana"),
            _left("2026-02-05", "c1"),
            _contact("2026-02-20", "c2", ["champion", "admin"]),
        ],
        until="2026-02-20",
        expect=[("2026-02-05T10:00:00Z", "raised", "critical"), ("2026-02-20T10:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="the role is taken away",
        events=[_contact("2026-01-05", "c1", ["executive_sponsor"]), _contact("2026-02-05", "c1", ["user"])],
        until="2026-02-05",
        expect=[("2026-02-05T10:00:00Z", "raised", "critical")],
    ),
    Case(
        name="moved to another company",
        events=[_contact("2026-01-05", "c1", ["champion"]), _contact("2026-02-05", "c1", moved_to="Globex")],
        until="2026-02-05",
        expect=[("2026-02-05T10:00:00Z", "raised", "critical")],
    ),
    Case(
        name="somebody else holds the role",
        events=[
            _contact("2026-01-05", "c1", ["champion"]),
            _contact("2026-01-06", "c2", ["champion"]),
            _left("2026-02-05", "c1"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="an admin leaves",
        events=[_contact("2026-01-05", "c1", ["admin"]), _left("2026-02-05", "c1")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="both roles are lost: one of them held again is not enough",
        events=[
            _contact("2026-01-05", "c1", ["champion", "executive_sponsor"]),
            _left("2026-02-05", "c1"),
            _contact("2026-02-06", "c2", ["champion"]),
        ],
        until="2026-02-28",
        expect=[("2026-02-05T10:00:00Z", "raised", "critical")],
    ),
]
