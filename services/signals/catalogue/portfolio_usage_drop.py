"""portfolio.usage_drop: usage fell for most accounts at once. Said once, instead of once per account."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.portfolio import MIN_ACCOUNTS, SHARE, Measure


def _measure(c: Context) -> Measure | None:
    """Yesterday's measure, of accounts enough to be a portfolio."""
    found = c.world.measure(c.now)
    return found if found is not None and found.accounts >= c.p["accounts_min"] else None


def _fallen(measure: Measure, limit: float, day_limit: float) -> bool:
    """Whether the portfolio or a tier of it is at these parts of what it was, or less."""
    return any(
        (change is not None and _left(change) <= limit) or (day is not None and _left(day) <= day_limit)
        for change, day in (measure.change, *measure.tiers.values())
    )


def _left(change: float) -> float:
    """What is left of 1 after a change; measures have four decimals."""
    return round(1 + change, 6)


def _raises(c: Context) -> Finding | None:
    measure = _measure(c)
    if measure is None or any(c.world.topic(feed) == "usage" for feed in measure.late):
        return None  # what was counted is not all there is
    if not _fallen(measure, c.p["raise_at"], c.p["day_raise_at"]):
        return None
    lasting = _fallen(measure, c.p["raise_at"], -1)
    return Finding("warning", frozen={"fallen_on": c.today - 1, "lasting": lasting, **_worst(measure)})


def _worst(measure: Measure) -> dict[str, object]:
    """What describes the fall: the changes, where they were deepest."""
    found = {"": measure.change, **measure.tiers}
    tier = min(found, key=lambda name: min((one for one in found[name] if one is not None), default=0.0))
    return {"tier": tier, "change": found[tier][0], "day": found[tier][1], "accounts": measure.accounts}


def _observe(c: Context) -> None:
    measure = _measure(c)
    if measure is not None:
        fell = c.open.frozen
        fell.update(_worst(measure))
        fell["lasting"] = _fallen(measure, c.p["clear_at" if fell["lasting"] else "raise_at"], -1)
        if fell["lasting"] or _fallen(measure, -1, c.p["day_clear_at"]):
            fell["fallen_on"] = c.today - 1


def _clears(c: Context) -> str | None:
    measure = _measure(c)
    quiet = c.today - 1 - c.open.frozen["fallen_on"]
    if quiet >= c.p["forgotten_days"]:
        return "expired"
    # A day on which nobody ever works says nothing about the days before it.
    told = measure is not None and measure.change[1] is not None
    return "recovered" if quiet and (told or (measure is not None and quiet >= c.p["quiet_days"])) else None


def _due(c: Context) -> int:
    if c.episode is None:
        return 0
    return int((c.open.frozen["fallen_on"] + 1 + c.p["forgotten_days"]) * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    fell = c.open.frozen
    whom = f"the {fell['tier']} tier" if fell["tier"] else "the portfolio"
    change, day, today = fell["change"], fell["day"], c.today
    parts = [f"{100 * change:+.1f} % over 28 days"] if change is not None else []
    parts += [f"{100 * day:+.1f} % on the day against the same weekday"] if day is not None else []
    sentence = (
        f"Median usage of {whom} changed by {' and '.join(parts) or 'an unknown part'}, over {fell['accounts']} accounts "
        "with a baseline: falls that this explains are not raised per account."
    )
    over = evidence(
        "usage_change", change, "ratio", threshold=round(c.p["raise_at"] - 1, 4), days=(today - 28, today - 1)
    )
    on_day = evidence(
        "usage_change_day", day, "ratio", threshold=round(c.p["day_raise_at"] - 1, 4), days=(today - 1, today - 1)
    )
    return sentence, [over, on_day]


SIGNAL = Signal(
    id="portfolio.usage_drop",
    version=1,
    title="Usage fell for most accounts at once",
    kind="risk",
    family="portfolio",
    scope="portfolio",
    severity="warning",
    pages=False,
    meaning=(
        "Over the accounts with at least 20 uses in the 28 days before: the median change of usage over 28 complete days is "
        "12.5 % down or more, or that of yesterday against the same weekday of the last 4 weeks is 30 % down or more, "
        "of all accounts or of a tier of at least 20. From 20 measured accounts on, and not where a source of usage was late "
        "as the day ended. Clears when the first is less than "
        "10 % down and the second less than 15 % (a week without a fall, where the day cannot be told); after 14 days "
        "without a measure it has expired. While the 28 days are 12.5 % down (half of an account's own threshold), a "
        "fall of an account's usage is raised only if it is past its threshold against the portfolio's, or its tier's, "
        "as well. Judged when the portfolio was measured."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4: health moves like a sine wave",
    reads=Fact.PORTFOLIO,
    inputs=("portfolio.measured",),
    needs=("portfolio.measured",),
    action=Action(
        title="Find out what everybody has in common: a holiday, an outage, a release",
        owner="product",
        playbook="portfolio-usage-drop",
        runbook="portfolio.usage_drop",
    ),
    thresholds={
        "default": {
            "accounts_min": MIN_ACCOUNTS,
            "share": SHARE,
            "raise_at": 0.875,
            "clear_at": 0.9,
            "day_raise_at": 0.7,
            "day_clear_at": 0.85,
            "quiet_days": 7,
            "forgotten_days": 14,
        }
    },
    raises=_raises,
    observe=_observe,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _measured(day: int, accounts: int = 20, **changes: object) -> tuple[str, str, dict[str, object]]:
    data = {"day": f"2026-03-{day:02d}", "accounts": accounts, **changes}
    return (f"2026-03-{day + 1:02d}T00:00:00Z", "portfolio.measured", data)


_RAISED = ("2026-03-03T00:00:00Z", "raised", "warning")

CASES = [
    Case(
        name="an eighth less over 28 days; clears at less than a tenth",
        events=[
            _measured(1, usage_change=-0.12, usage_change_day=0.0),
            _measured(2, usage_change=-0.125, usage_change_day=0.0),
            _measured(3, usage_change=-0.1, usage_change_day=0.0),
            _measured(4, usage_change=-0.09, usage_change_day=0.0),
        ],
        until="2026-03-06",
        expect=[_RAISED, ("2026-03-05T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a holiday: 30 % less on the day; a weekend that tells nothing keeps it; half as bad keeps it",
        events=[
            _measured(2, usage_change=-0.02, usage_change_day=-0.3),
            _measured(3, usage_change=-0.02),
            _measured(4, usage_change=-0.02, usage_change_day=-0.15),
            _measured(5, usage_change=-0.02, usage_change_day=-0.14),
        ],
        until="2026-03-06",
        expect=[_RAISED, ("2026-03-06T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="one tier alone",
        events=[_measured(2, usage_change=0.0, by_tier={"high": {"usage_change": -0.2}})],
        until="2026-03-03",
        expect=[_RAISED],
    ),
    Case(
        name="a measure that comes late is said when it comes",
        events=[
            ("2026-03-03T10:30:00Z", "portfolio.measured", {"day": "2026-03-02", "accounts": 40, "usage_change": -0.5})
        ],
        until="2026-03-03",
        expect=[("2026-03-03T10:30:00Z", "raised", "warning")],
    ),
    Case(
        name="14 days without a measure",
        events=[_measured(2, usage_change=-0.3)],
        until="2026-03-20",
        expect=[_RAISED, ("2026-03-17T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="19 accounts are no portfolio",
        events=[_measured(2, accounts=19, usage_change=-0.9, usage_change_day=-0.9)],
        until="2026-03-04",
        expect=[],
    ),
    Case(
        name="just short of both",
        events=[_measured(2, usage_change=-0.124, usage_change_day=-0.29)],
        until="2026-03-04",
        expect=[],
    ),
]
