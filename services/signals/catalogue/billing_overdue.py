"""billing.overdue: the latest recurring invoice is past due, in steps."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US


def past_due(c: Context) -> list[tuple[int, str]]:
    """(due day, invoice id) of each unpaid recurring invoice past due, by due date. The last one decides."""
    invoices = c.account.hot.invoices.items()
    return sorted((i.due_day, name) for name, i in invoices if i.recurring and i.due_day < c.today)


def days_overdue(c: Context) -> int:
    """Days past due of the deciding invoice, 0 where none is past due."""
    found = past_due(c)
    return c.today - found[-1][0] if found else 0


def next_step(c: Context, steps: list[int]) -> int:
    """The next midnight at which an unpaid recurring invoice reaches a step, or 0."""
    due = (i.due_day for i in c.account.hot.invoices.values() if i.recurring)
    return min((at for day in due for step in steps if (at := (day + step) * DAY_US) > c.now), default=0)


def _step(c: Context) -> int:
    days = days_overdue(c)
    return max((step for step, _ in c.p["steps"] if step <= days), default=0)


def _raises(c: Context) -> Finding | None:
    step = _step(c)
    return Finding(dict(c.p["steps"])[step], level=step) if step else None


def _escalates(c: Context) -> Finding | None:
    step = _step(c)
    return Finding(dict(c.p["steps"])[step], level=step) if step > c.open.level else None


def _clears(c: Context) -> str | None:
    return None if past_due(c) else "recovered"


def _due(c: Context) -> int:
    return next_step(c, [1, *(step for step, _ in c.p["steps"])])


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    found = past_due(c)
    if not found:
        return "No recurring invoice is unpaid past its due date.", [evidence("days_overdue", 0, "days")]
    day, name = found[-1]
    invoice, days = c.account.hot.invoices[name], c.today - day
    more = f"; {len(found)} are unpaid in all" if len(found) > 1 else ""
    sentence = f"Invoice {name} over {invoice.amount} {invoice.currency} was due on {on(day)}, {days} days ago{more}."
    level = c.open.level
    proofs = [
        evidence("days_overdue", days, "days", threshold=level, event_ids=[invoice.event_id]),
        evidence("amount_due", invoice.amount, invoice.currency),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id="billing.overdue",
    version=2,
    title="An invoice is overdue",
    kind="risk",
    family="billing",
    scope="account",
    severity="info at 1 day, warning at 15, critical at 30 and 60",
    pages=False,
    meaning=(
        "Of the unpaid recurring invoices past due, the one with the latest due date decides: 1, 15, 30 and 60 days past "
        "due are steps that escalate and never fall. Clears when no recurring invoice is unpaid past due."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 3, ch. 16",
    reads=Fact.INVOICES,
    inputs=("invoice.issued", "invoice.paid", "invoice.partly_paid", "invoice.voided", "invoice.credited"),
    needs=("invoice.issued",),
    action=Action(
        title="Walk the dunning ladder: three reminders, then a personal call by finance",
        owner="finance",
        playbook="dunning",
        runbook="billing.overdue",
    ),
    thresholds={"default": {"steps": [[1, "info"], [15, "warning"], [30, "critical"], [60, "critical"]]}},
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    held_by=("invoices",),
    describe=_describe,
)


def _issued(at: str, name: str, due: str, **more: object) -> tuple[str, str, dict[str, object]]:
    data = {"invoice_id": name, "amount": "100.00", "currency": "EUR", "due": due, **more}
    return (f"{at}T09:00:00Z", "invoice.issued", data)


def _paid(at: str, name: str, what: str = "paid", amount: str = "1.00") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", f"invoice.{what}", {"invoice_id": name, "amount": amount})


CASES = [
    Case(
        name="the four steps, then paid, whatever the amount",
        events=[_issued("2026-01-01", "I1", "2026-01-15"), _paid("2026-03-20", "I1")],
        until="2026-03-20",
        expect=[
            ("2026-01-16T00:00:00Z", "raised", "info"),
            ("2026-01-30T00:00:00Z", "escalated", "warning"),
            ("2026-02-14T00:00:00Z", "escalated", "critical"),
            ("2026-03-16T00:00:00Z", "escalated", "critical"),
            ("2026-03-20T09:00:00Z", "cleared", "critical"),
        ],
    ),
    Case(
        name="paid on the due date",
        events=[_issued("2026-01-01", "I1", "2026-01-15"), _paid("2026-01-15", "I1")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="late already when issued: one raise at the highest step",
        events=[_issued("2026-02-20", "I1", "2026-01-15")],
        until="2026-02-20",
        expect=[("2026-02-20T09:00:00Z", "raised", "critical")],
    ),
    Case(
        name="a one-off invoice never counts",
        events=[_issued("2026-01-01", "I1", "2026-01-15", recurring=False)],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="parts and credits settle it when their sum reaches the amount",
        events=[
            _issued("2026-01-01", "I1", "2026-01-15"),
            _paid("2026-01-17", "I1", "partly_paid", "60.00"),
            _paid("2026-01-18", "I1", "credited", "39.99"),
            _paid("2026-01-19", "I1", "partly_paid", "0.01"),
        ],
        until="2026-01-31",
        expect=[("2026-01-16T00:00:00Z", "raised", "info"), ("2026-01-19T09:00:00Z", "cleared", "info")],
    ),
    Case(
        name="a newer invoice past due decides, and the step never falls",
        events=[
            _issued("2026-01-01", "I1", "2026-01-15"),
            _issued("2026-02-01", "I2", "2026-02-01"),
            _paid("2026-02-20", "I2"),
        ],
        until="2026-02-20",
        expect=[
            ("2026-01-16T00:00:00Z", "raised", "info"),
            ("2026-01-30T00:00:00Z", "escalated", "warning"),
            ("2026-02-20T09:00:00Z", "escalated", "critical"),
        ],
    ),
    Case(
        name="a void settles it",
        events=[
            _issued("2026-01-01", "I1", "2026-01-15"),
            ("2026-01-20T09:00:00Z", "invoice.voided", {"invoice_id": "I1"}),
        ],
        until="2026-01-31",
        expect=[("2026-01-16T00:00:00Z", "raised", "info"), ("2026-01-20T09:00:00Z", "cleared", "info")],
    ),
]
