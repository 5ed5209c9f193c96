"""pilot.unpaid: the pilot costs nothing, so nobody has to want it."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.apply import SEEN
from services.signals.core.days import DAY_US, day_of
from services.signals.core.pilot import Pilot, how_it_ended, is_pilot, running

PAYMENTS = sum(1 << SEEN.index(name) for name in ("invoice.paid", "invoice.partly_paid"))


def _paid(c: Context, pilot: Pilot) -> bool:
    return pilot.paid or bool(c.account.hot.seen & PAYMENTS)


def _late_from(c: Context, pilot: Pilot) -> int:
    """The day from which it should be paid: what was paid before the first event came, nobody knows."""
    return int(max(pilot.start, day_of(c.account.hot.first_event)) + c.p["days"])


def _raises(c: Context) -> Finding | None:
    pilot = running(c.account.hot.profile)
    if not c.midnight or pilot is None or c.today < _late_from(c, pilot) or _paid(c, pilot):
        return None
    return Finding("warning")


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    pilot = running(profile)
    if pilot is None:
        return how_it_ended(profile)
    return "recovered" if _paid(c, pilot) else None


def _due(c: Context) -> int:
    pilot = running(c.account.hot.profile)
    if c.episode is not None or pilot is None or _paid(c, pilot):
        return 0
    return max(_late_from(c, pilot), c.today + 1) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    pilot = running(c.account.hot.profile)
    if pilot is None:
        return "The pilot has ended.", [evidence("days_unpaid", None, "days", threshold=c.p["days"])]
    days = c.today - pilot.start
    proof = evidence("days_unpaid", days, "days", threshold=c.p["days"])
    if _paid(c, pilot):
        return f"The pilot is paid for, by day {days}.", [proof]
    return f"Nothing was paid in {days} days of the pilot; the limit is {c.p['days']} days.", [proof]


SIGNAL = Signal(
    id="pilot.unpaid",
    version=1,
    title="The pilot is not paid for",
    kind="risk",
    family="pilot",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "The stage is pilot, 30 days have passed since its start and since the first event of the account, the profile does "
        "not say that it is paid, and no payment of any invoice was ever seen. Raised at midnights. Clears when one of them "
        "is there, or when the stage is another. A pilot starts with its stated start, or else with the contract, or else "
        "when its stage was said."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 1",
    reads=Fact.PROFILE | Fact.INVOICES,
    where=is_pilot,
    inputs=("account.updated", "invoice.paid", "invoice.partly_paid"),
    needs=("profile.stage",),
    action=Action(
        title="Ask for a price, however small: who pays decides, and who decides uses it",
        owner="sales",
        playbook="paid-pilot",
        runbook="pilot.unpaid",
    ),
    thresholds={"default": {"days": 30}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("invoices",),
    describe=_describe,
)


def _pilot(paid: bool | None = None) -> tuple[str, str, dict[str, object]]:
    pilot = {"start": "2026-01-01", "end": "2026-04-01", "paid": paid}
    return ("2026-01-01T08:00:00Z", "account.updated", {"stage": "pilot", "pilot": pilot})


_ISSUED = (
    "2026-01-05T08:00:00Z",
    "invoice.issued",
    {"invoice_id": "I", "amount": "500.00", "currency": "EUR", "due": "2026-02-05", "recurring": False},
)


def _payment(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "invoice.paid", {"invoice_id": "I", "amount": "500.00"})


CASES = [
    Case(
        name="an invoice alone is no payment: day 30; paid later",
        events=[_pilot(), _ISSUED, _payment("2026-02-04T10:00:00Z")],
        until="2026-04-30",
        expect=[("2026-01-31T00:00:00Z", "raised", "warning"), ("2026-02-04T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="paid in the last second before",
        events=[_pilot(), _ISSUED, _payment("2026-01-30T23:59:59Z")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="a pilot of before the first event: 30 days after that",
        events=[("2026-02-10T08:00:00Z", *_pilot()[1:])],
        until="2026-03-12",
        expect=[("2026-03-12T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="the profile says that it is paid",
        events=[_pilot(paid=True)],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="the pilot becomes a contract",
        events=[_pilot(), ("2026-02-20T09:00:00Z", "account.updated", {"stage": "live"})],
        until="2026-04-30",
        expect=[("2026-01-31T00:00:00Z", "raised", "warning"), ("2026-02-20T09:00:00Z", "cleared", "warning")],
    ),
]
