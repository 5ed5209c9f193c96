"""expansion.contract_growth: the account pays more than a year ago."""

from __future__ import annotations

from decimal import Decimal

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
from services.signals.core.days import DAY_US, midnight_from
from services.signals.core.subscriptions import (
    LATE_DAYS,
    SETTLED_IN_US,
    growth_base,
    known_since,
    next_level_out,
    recurring,
    years_of_growth,
)

YEAR = 365


def _growth(c: Context, late: int = 0) -> Decimal | None:
    paid = c.dossier.billing.subscriptions
    current, base = recurring(paid, c.now), growth_base(paid, c.now, late)
    return current / base - 1 if current is not None and base else None


def _grew(c: Context, least: str, late: int = 0) -> bool:
    growth = _growth(c, late)
    return growth is not None and growth >= Decimal(str(c.p[least]))


def _changes(c: Context) -> bool:
    """Whether the next midnight opens or clears it: history that is imported fact by fact is judged when the day is over."""
    if c.episode is None:
        return _grew(c, "raise_at")
    return not (_grew(c, "clear_at") or _grew(c, "clear_at", int(c.p["late_days"])))


def _raises(c: Context) -> Finding | None:
    return Finding("info") if c.midnight and _changes(c) else None


def _clears(c: Context) -> str | None:
    return "recovered" if c.midnight and _changes(c) else None


def _due(c: Context) -> int:
    if _changes(c):
        return (c.today + 1) * DAY_US
    paid = c.dossier.billing.subscriptions
    since = known_since(paid)
    if since < 0:
        return 0
    year, late = YEAR * DAY_US, int(c.p["late_days"])
    settled = since + SETTLED_IN_US
    dues = [settled, settled + year, settled + year + late * DAY_US]
    dues += [next_level_out(paid.paying(), c.now, days) for days in (YEAR, YEAR + late)]
    return midnight_from(min((at for at in dues if at > c.now), default=0))


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    paid = c.dossier.billing.subscriptions
    current, base, growth = recurring(paid, c.now), growth_base(paid, c.now), _growth(c)
    currency = str(c.account.hot.profile.fields.get("currency") or "XXX")
    years = years_of_growth(paid, c.now)
    sentence = "What the account paid a year ago is not known any more."
    if growth is not None:
        percent = round(100 * growth)
        sentence = f"{current} {currency} a month, {percent:+d} % against {base} a year ago or at the first contract"
        sentence += f"; {times(years, 'year')} of growth in a row." if years else "."
    since = c.now - YEAR * DAY_US
    events = [
        (level.at, level.event_id)
        for line in paid.paying()
        for level in line.levels
        if level.event_id and level.at > since
    ]
    proof = evidence(
        "mrr",
        None if current is None else str(current),
        currency,
        baseline=None if base is None else str(base),
        threshold=None if base is None else str(base * (1 + Decimal(str(c.p["raise_at"])))),
        window=(since, c.now),
        event_ids=[event_id for _, event_id in sorted(events)[-20:]],
    )
    return sentence, [proof, evidence("years_of_growth", years, "years")]


SIGNAL = Signal(
    id="expansion.contract_growth",
    version=2,
    title="The contract grows",
    kind="opportunity",
    family="expansion",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "What the account pays per month is at least 5 % more than 365 × 24 h ago; where that is not known yet, more than the "
        "first contract as it stood 30 × 24 h after it became known. Subscriptions say it in all, else the profile's amount, "
        "else the lines of recurring invoices. Clears where it is under 2 % more than 365 and than 425 × 24 h ago: a renewal may "
        "be 60 days late. Judged at midnights. The reason names the years of growth in a row."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.SUBSCRIPTIONS | Fact.TIER,
    inputs=("account.subscription_changed", "account.updated", "account.renewed", "invoice.issued"),
    warming_days=30,
    action=Action(
        title="Find out what the growth rests on, and plan the next step with the sponsor",
        owner="sales",
        playbook="contract-growth",
        runbook="expansion.contract_growth",
    ),
    thresholds={"default": {"raise_at": 0.05, "clear_at": 0.02, "late_days": LATE_DAYS}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _sold(at: str, mrr: str, name: str = "s1") -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"subscription_id": name, "product": name, "mrr": mrr}
    return (f"{at}T10:00:00Z", "account.subscription_changed", data)


CASES = [
    Case(
        name="5 % more than the first contract; a year later that is the base",
        events=[_sold("2024-01-05", "1000.00"), _sold("2024-03-05", "1050.00")],
        until="2025-12-31",
        expect=[("2024-03-06T00:00:00Z", "raised", "info"), ("2025-05-05T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="4.9 % more",
        events=[_sold("2024-01-05", "1000.00"), _sold("2024-03-05", "1049.00")],
        until="2025-12-31",
        expect=[],
    ),
    Case(
        name="put together over the first month",
        events=[_sold("2024-01-05", "1000.00"), _sold("2024-02-04", "1000.00", "s2")],
        until="2025-12-31",
        expect=[],
    ),
    Case(
        name="downsold again",
        events=[_sold("2024-01-05", "1000.00"), _sold("2024-03-05", "1100.00"), _sold("2024-04-05", "1010.00")],
        until="2024-12-31",
        expect=[("2024-03-06T00:00:00Z", "raised", "info"), ("2024-04-06T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="raised for an hour",
        events=[
            _sold("2024-01-05", "1000.00"),
            _sold("2024-03-05", "1100.00"),
            ("2024-03-05T11:00:00Z", "account.subscription_changed", _sold("2024-03-05", "1000.00")[2]),
        ],
        until="2024-12-31",
        expect=[],
    ),
    Case(
        name="the next renewal comes 60 days late; what it brought is the base after as long",
        events=[_sold("2024-01-05", "1000.00"), _sold("2024-03-05", "1050.00"), _sold("2025-05-04", "1105.00")],
        until="2025-12-31",
        expect=[("2024-03-06T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="a day later it is not the same growth any more",
        events=[_sold("2024-01-05", "1000.00"), _sold("2024-03-05", "1050.00"), _sold("2025-05-05", "1105.00")],
        until="2025-12-31",
        expect=[
            ("2024-03-06T00:00:00Z", "raised", "info"),
            ("2025-05-05T00:00:00Z", "cleared", "info"),
            ("2025-05-06T00:00:00Z", "raised", "info"),
        ],
    ),
    Case(
        name="history that is imported in a day: first what is paid now, then what was",
        events=[
            ("2025-01-10T10:00:00Z", "account.updated", {"mrr": "1100.00"}),
            ("2024-01-05T10:00:00Z", "account.updated", {"mrr": "1000.00"}),
            _sold("2024-01-05", "1000.00"),
            _sold("2024-06-05", "1100.00"),
        ],
        until="2025-01-20",
        expect=[("2025-01-11T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="renewed at a higher amount, which only the profile states",
        events=[
            ("2024-01-05T10:00:00Z", "account.updated", {"mrr": "1000.00"}),
            ("2025-01-04T10:00:00Z", "account.renewed", {"mrr": "1200.00"}),
        ],
        until="2025-01-31",
        expect=[("2025-01-05T00:00:00Z", "raised", "info")],
    ),
]
