"""usage.breadth_narrowing: a third or more of the core and advanced features are not used any more."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.breadth import age_of_last, features_used, mask_within
from services.signals.core.days import DAY_US, day_of


def _days(c: Context) -> dict[str, int]:
    return features_used(c.account.hot.noted, c.dossier.breadth, c.today)


def _count(used: Iterable[int], newest: int, oldest: int) -> int:
    """How many of these features were used `newest` to `oldest` days ago."""
    mask = mask_within(newest, oldest)
    return sum([1 for days in used if days & mask])


def _first(c: Context) -> int:
    """The first day at which anything can lie in the 28 days before the last 28."""
    return day_of(c.account.hot.first_event) + 29


def _raises(c: Context) -> Finding | None:
    if c.today < _first(c):
        return None
    days = _days(c)
    used = days.values()
    before, now = _count(used, 29, 56), _count(used, 1, 28)
    if before < c.p["baseline_min"] or now > c.p["raise_at"] * before:
        return None
    lately, then = mask_within(1, 28), mask_within(29, 56)
    gone = sorted([name for name, on in days.items() if on & then and not on & lately])
    return Finding("warning", frozen={"baseline": before, "gone": gone[:20]})


def _recovers(c: Context, now: int) -> bool:
    return bool(now >= c.p["clear_at"] * c.open.frozen["baseline"])


def _clears(c: Context) -> str | None:
    if _recovers(c, _count(_days(c).values(), 1, 28)):
        return "recovered"
    return "new_normal" if c.now >= _new_normal(c) else None


def _new_normal(c: Context) -> int:
    return int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _due(c: Context) -> int:
    """Closed: the first midnight at which it would hold if nothing were used any more, as `usage.decline` does. Open: the
    next one, if what was used up to today is enough by then; without a further use it only gets less.

    Uses from today on can only put that off, until they leave the last 28 days themselves, 29 days from now.
    """
    if c.episode is not None:
        enough = _recovers(c, _count(_days(c).values(), 0, 27))
        return min((c.today + 1) * DAY_US, _new_normal(c)) if enough else _new_normal(c)
    if c.today < _first(c):
        return _first(c) * DAY_US
    used = [days for days in _days(c).values() if days]
    if not _count(used, 0, 56):
        return 0
    ages = sorted([age_of_last(days) for days in used])
    most = int(c.p["raise_at"] * len(ages))  # it cannot have been more of them before
    first = 29 - ages[most] if most < len(ages) else 1
    for ahead in range(max(1, first), 29):
        before = _count(used, 29 - ahead, 56 - ahead)
        if before >= c.p["baseline_min"] and bisect_right(ages, 28 - ahead) <= c.p["raise_at"] * before:
            return int((c.today + ahead) * DAY_US)
    return int((c.today + 29) * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    now, baseline, gone = _count(_days(c).values(), 1, 28), c.open.frozen["baseline"], c.open.frozen["gone"]
    sentence = (
        f"{now} core or advanced features were used in the last 28 complete days, against {baseline} at the baseline; "
        f"gone were {', '.join(gone[:5])}{' and more' if len(gone) > 5 else ''}."
    )
    proof = evidence(
        "features_used",
        now,
        "features",
        baseline=baseline,
        threshold=round(c.p["raise_at"] * baseline, 2),
        days=(c.today - 28, c.today - 1),
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="usage.breadth_narrowing",
    version=1,
    title="Fewer of the features that matter are in use",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Distinct features used in production as core or advanced ones over the 28 complete days before today are at most "
        "two thirds of those over the 28 days before, which were at least 3. The baseline is frozen at the raise. Clears at "
        "80 % of it, or after 90 days as the new normal. Judged at midnights and at late events."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.LATE_USAGE,
    reads_open=Fact.BREADTH,
    arms=Fact.BREADTH,
    inputs=("usage.feature_used",),
    action=Action(
        title="Show what the lost features did for them, and ask what replaced them",
        owner="csm",
        playbook="breadth",
        runbook="usage.breadth_narrowing",
    ),
    thresholds={"default": {"baseline_min": 3, "raise_at": 2 / 3, "clear_at": 0.8, "new_normal_days": 90}},
    needs=("usage.feature_used",),
    warming_days=56,
    held_by=("usage",),
    hole_days=56,
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _used(day: str, *features: str, **more: object) -> list[tuple[str, str, dict[str, object]]]:
    fields = {"core": True, **more}
    return [(f"{day}T1{n}:00:00Z", "usage.feature_used", {"feature": f, **fields}) for n, f in enumerate(features)]


# Used on 2026-01-05: in the 28 days before the last 28 from the midnight of 2026-02-03 to that of 2026-03-02.
CASES = [
    Case(
        name="two of three are exactly two thirds",
        events=[*_used("2026-01-05", "a", "b", "c"), *_used("2026-01-20", "a", "b")],
        until="2026-02-02",
        expect=[("2026-02-03T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="three of four are more than two thirds",
        events=[*_used("2026-01-05", "a", "b", "c", "d"), *_used("2026-01-31", "a", "b", "c")],
        until="2026-02-27",
        expect=[],
    ),
    Case(
        name="two before are too few to narrow",
        events=_used("2026-01-05", "a", "b"),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="a feature that is neither core nor advanced does not count",
        events=[*_used("2026-01-05", "a", "b"), *_used("2026-01-05", "c", core=False)],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="an advanced one does; four of five clear it",
        events=[
            *_used("2026-01-05", "a", "b", "c", "d"),
            *_used("2026-01-05", "e", core=False, advanced=True),
            *_used("2026-02-10", "a", "b", "c"),
            *_used("2026-02-11", "d"),
        ],
        until="2026-02-12",
        expect=[("2026-02-03T00:00:00Z", "raised", "warning"), ("2026-02-12T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="three of five are not enough to clear it: after 90 days it is the new normal",
        events=[*_used("2026-01-05", "a", "b", "c", "d", "e"), *_used("2026-02-10", "a", "b", "c")],
        until="2026-05-04",
        expect=[("2026-02-03T00:00:00Z", "raised", "warning"), ("2026-05-04T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a late use of the third feature",
        events=[
            *_used("2026-01-05", "a", "b", "c"),
            *_used("2026-01-20", "a", "b"),
            *_used("2026-02-03", "x", core=False),
            *_used("2026-01-30", "c"),
        ],
        until="2026-02-03",
        expect=[("2026-02-03T00:00:00Z", "raised", "warning"), ("2026-02-03T10:00:00Z", "cleared", "warning")],
    ),
]
