"""billing.contraction: less is paid for one product than before: less of it, at a lower price, or with a deeper discount."""

from __future__ import annotations

from decimal import Decimal

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.subscriptions import Fall, Line, falls, next_level_out, standing

NAMES = {
    "mrr": "recurring amount",
    "quantity": "quantity",
    "unit_price": "unit price",
    "discount": "discount",
}
UNITS = {"quantity": "units", "discount": "points"}


def _products(c: Context) -> dict[str, list[Line]]:
    metered = c.account.hot.profile.fields.get("pricing") == "usage"
    return c.dossier.billing.subscriptions.products(metered=metered)


def _lines(c: Context) -> list[Line]:
    return _products(c).get(c.subject, [])


def _falls(c: Context) -> list[Fall]:
    return falls(_lines(c), c.now, c.p["days"])


def _subjects(c: Context) -> list[str]:
    return [product for product, lines in _products(c).items() if falls(lines, c.now, c.p["days"])]


def _raises(c: Context) -> Finding | None:
    found = _falls(c)
    return Finding("warning", frozen={"before": {fall.measure: str(fall.before) for fall in found}}) if found else None


def _clears(c: Context) -> str | None:
    if _falls(c):
        return None
    current = standing(_lines(c), c.now)
    if current is None:
        return "not_applicable"
    for measure, before in c.open.frozen["before"].items():
        value = getattr(current, measure)
        if value is not None and (value > Decimal(before) if measure == "discount" else value < Decimal(before)):
            return "new_normal"
    return "recovered"


def _due(c: Context) -> int:
    return 0 if c.episode is None else next_level_out(_lines(c), c.now, c.p["days"])


def _plain(value: Decimal) -> str:
    return f"{round(value, 4).normalize():f}"


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    found, window = _falls(c), (c.now - c.p["days"] * DAY_US, c.now)
    currency = str(c.account.hot.profile.fields.get("currency") or "XXX")
    if not found:
        current = standing(_lines(c), c.now)
        amount = None if current is None or current.mrr is None else str(current.mrr)
        sentence = f"{c.subject}: nothing is less than in the last {c.p['days']} days."
        return sentence, [evidence("mrr", amount, currency, window=window)]
    changes = ", ".join(f"{NAMES[fall.measure]} {_plain(fall.before)} → {_plain(fall.now)}" for fall in found)
    sentence = f"{c.subject}: {changes}, against the best of the last {c.p['days']} days."
    events = [
        level.event_id
        for line in _lines(c)
        for level in line.levels
        if window[0] < level.at <= c.now and level.event_id
    ]
    return sentence, [
        evidence(
            fall.measure,
            _plain(fall.now),
            UNITS.get(fall.measure, currency),
            baseline=_plain(fall.before),
            threshold=_plain(fall.before),
            window=window,
            event_ids=events[-20:],
        )
        for fall in found
    ]


SIGNAL = Signal(
    id="billing.contraction",
    version=1,
    title="Partial churn: less is paid for a product",
    kind="risk",
    family="billing",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Of one product, the recurring amount per month, the quantity or the unit price is lower, or the discount deeper, than "
        "at its best in the trailing 90 × 24 h (what held when they began included), each for itself, whatever the account "
        "pays in all; the episode is about the product. Subscriptions say it; of a product without one the lines of recurring "
        "invoices do, per month of their period, unless the account is priced by usage; with neither, the profile's own "
        "amount and seats, as the product contract. A product that stood on the last invoice with others of this one and "
        "does not stand on this one is gone. Clears when all is regained, or when the fall is 90 × 24 h old, as the new "
        "normal."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2, law 8",
    reads=Fact.SUBSCRIPTIONS | Fact.PROFILE,
    inputs=("account.subscription_changed", "invoice.issued", "account.updated", "account.renewed"),
    action=Action(
        title="Find out which work the customer gave up, and record the reason of the downsell",
        owner="csm",
        playbook="contraction",
        runbook="billing.contraction",
    ),
    thresholds={"default": {"days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    subjects=_subjects,
)


def _sold(day: str, product: str, mrr: str, **more: object) -> tuple[str, str, dict[str, object]]:
    data = {"subscription_id": f"s-{product}", "product": product, "mrr": mrr, **more}
    return (f"2026-{day}T10:00:00Z", "account.subscription_changed", data)


def _billed(day: str, *lines: dict[str, object], **more: object) -> tuple[str, str, dict[str, object]]:
    data = {"invoice_id": f"I{day}", "amount": "100.00", "currency": "EUR", "due": "2026-12-31", "lines": list(lines)}
    return (f"2026-{day}T10:00:00Z", "invoice.issued", {**data, **more})


def _line(product: str, quantity: int, unit_price: str, **more: object) -> dict[str, object]:
    return {"product": product, "quantity": quantity, "unit_price": unit_price, **more}


CASES = [
    Case(
        name="fewer seats of one product while the total rises; the new normal after 90 × 24 h",
        events=[
            _sold("01-05", "desk", "1000.00", quantity=10),
            _sold("02-01", "chat", "5000.00", quantity=50),
            _sold("02-05", "desk", "900.00", quantity=9),
        ],
        until="2026-05-31",
        expect=[("2026-02-05T10:00:00Z", "raised", "warning"), ("2026-05-06T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the same and more",
        events=[
            _sold("01-05", "desk", "1000.00", quantity=10, unit_price="100.00"),
            _sold("02-05", "desk", "1000.00", quantity=10, unit_price="100.00"),
            _sold("03-05", "desk", "1210.00", quantity=11, unit_price="110.00"),
        ],
        until="2026-05-31",
        expect=[],
    ),
    Case(
        name="a lower price hides behind more seats; it is regained",
        events=[
            _sold("01-05", "desk", "1000.00", quantity=10, unit_price="100.00"),
            _sold("02-05", "desk", "1080.00", quantity=12, unit_price="90.00"),
            _sold("02-25", "desk", "1200.00", quantity=12, unit_price="100.00"),
        ],
        until="2026-05-31",
        expect=[("2026-02-05T10:00:00Z", "raised", "warning"), ("2026-02-25T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a first discount",
        events=[_sold("01-05", "desk", "1000.00"), _sold("02-05", "desk", "1000.00", discount=5)],
        until="2026-02-28",
        expect=[("2026-02-05T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="moved to a greater product: the lesser one is gone",
        events=[
            _sold("01-05", "basic", "100.00"),
            (
                "2026-02-05T10:00:00Z",
                "account.subscription_changed",
                {"subscription_id": "s-basic", "product": "pro", "mrr": "300.00"},
            ),
        ],
        until="2026-02-28",
        expect=[("2026-02-05T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="invoice lines: fewer seats, and a yearly invoice at the same price is no fall",
        events=[
            _billed("01-05", _line("desk", 10, "100.00"), _line("chat", 5, "20.00")),
            _billed("02-05", _line("desk", 9, "100.00"), _line("chat", 5, "20.00")),
            _billed(
                "03-05",
                _line("desk", 9, "1200.00"),
                _line("chat", 5, "240.00"),
                period_start="2026-03-01",
                period_end="2027-02-28",
            ),
        ],
        until="2026-03-31",
        expect=[("2026-02-05T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a product is no more on the invoice; one that has its own invoice is not missed",
        events=[
            _billed("01-05", _line("desk", 10, "100.00"), _line("chat", 5, "20.00")),
            _billed("01-06", _line("voice", 1, "50.00")),
            _billed("02-05", _line("desk", 10, "100.00")),
        ],
        until="2026-02-28",
        expect=[("2026-02-05T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="one-off lines, and what is priced by usage",
        events=[
            ("2026-01-01T10:00:00Z", "account.updated", {"pricing": "usage"}),
            _billed("01-05", _line("calls", 1000, "0.10")),
            _billed("02-05", _line("calls", 800, "0.10")),
            _billed("02-06", _line("setup", 2, "500.00"), recurring=False),
            _billed("02-07", _line("setup", 1, "500.00"), recurring=False),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="only the profile is known: fewer seats",
        events=[
            ("2026-01-05T10:00:00Z", "account.updated", {"seats": 50, "mrr": "500.00"}),
            ("2026-02-05T10:00:00Z", "account.updated", {"seats": 40}),
        ],
        until="2026-02-28",
        expect=[("2026-02-05T10:00:00Z", "raised", "warning")],
    ),
    Case(
        name="what was said late counts in its place",
        events=[
            _sold("03-05", "desk", "900.00"),
            _sold("01-05", "desk", "1000.00"),
        ],
        until="2026-03-31",
        expect=[("2026-03-05T10:00:00Z", "raised", "warning")],
    ),
]
