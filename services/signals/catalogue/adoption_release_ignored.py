"""adoption.release_ignored: a released feature was not tried within two months."""

from __future__ import annotations

from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    on,
    times,
)
from services.signals.core.breadth import was_used
from services.signals.core.days import DAY_US, day_of
from services.signals.core.releases import released


def _tried(c: Context) -> bool:
    return was_used(c.subject, c.account.hot.noted, c.dossier.breadth)


def _subjects(c: Context) -> list[str]:
    """Releases that are old enough to have been tried, or will be, and not too old to be worth a campaign."""
    since = c.now - c.p["expires_days"] * DAY_US
    return [release.feature for release in released(c.account, c.world) if release.at > since]


def _released_at(c: Context) -> int:
    return next(release.at for release in c.world.releases if release.feature == c.subject)


def _raises(c: Context) -> Finding | None:
    at = _released_at(c)
    ignored = c.now >= at + c.p["days"] * DAY_US and not _tried(c)
    return Finding("info", frozen={"released_at": at}) if ignored else None


def _clears(c: Context) -> str | None:
    if _tried(c):
        return "recovered"
    return "expired" if c.now >= _expires(c) else None


def _expires(c: Context) -> int:
    return int(c.open.frozen["released_at"] + c.p["expires_days"] * DAY_US)


def _due(c: Context) -> int:
    if c.episode is not None:
        return _expires(c)
    return 0 if _tried(c) else int(_released_at(c) + c.p["days"] * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    at = c.open.frozen["released_at"]
    days = (c.now - at) // DAY_US
    state = "is in use now" if _tried(c) else "was not tried"
    sentence = f"{c.subject} was released on {on(day_of(at))}, {times(days, 'day')} ago, and {state}."
    return sentence, [evidence("days_since_release", days, "days", threshold=c.p["days"], window=(at, c.now))]


SIGNAL = Signal(
    id="adoption.release_ignored",
    version=1,
    title="A new feature was not tried",
    kind="risk",
    family="adoption",
    scope="campaign",
    severity="info",
    pages=False,
    meaning=(
        "60 × 24 h after a feature was released it was never used in production, by an account whose first event is not "
        "later than the release. One episode per feature; of the latest 40 releases. Clears with the first use, or 180 "
        "days after the release."
    ),
    source=(
        "Customer Success (Mehta, Steinman, Murphy), ch. 3, ch. 16; Fourteen commandments of customer success (Abdullah), "
        "commandment 7"
    ),
    reads=Fact.RELEASES,
    inputs=("feature.released", "usage.feature_used"),
    action=Action(
        title="Invite the account to a short session on the new feature",
        owner="csm",
        playbook="release-campaign",
        runbook="adoption.release_ignored",
    ),
    thresholds={"default": {"days": 60, "expires_days": 180}},
    subjects=_subjects,
    needs=("usage.feature_used",),
    held_by=("usage",),
    hole_days="days",
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _used(at: str, feature: str) -> tuple[str, str, dict[str, object]]:
    return (at, "usage.feature_used", {"feature": feature})


def _released(at: str, feature: str = "forecast") -> tuple[str, str, dict[str, object]]:
    return (at, "feature.released", {"feature": feature})


_THERE = _used("2026-01-01T09:00:00Z", "report")

CASES = [
    Case(
        name="not tried in 60 days, then tried",
        events=[_THERE, _released("2026-01-05T12:00:00Z"), _used("2026-03-10T10:00:00Z", "forecast")],
        until="2026-03-10",
        expect=[("2026-03-06T12:00:00Z", "raised", "info"), ("2026-03-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="tried in the last moment",
        events=[_THERE, _released("2026-01-05T12:00:00Z"), _used("2026-03-06T11:59:59Z", "forecast")],
        until="2026-08-31",
        expect=[],
    ),
    Case(
        name="tried before it was released to everybody",
        events=[_THERE, _used("2026-01-02T09:00:00Z", "forecast"), _released("2026-01-05T12:00:00Z")],
        until="2026-08-31",
        expect=[],
    ),
    Case(
        name="a customer since after the release",
        events=[_released("2025-12-31T09:00:00Z"), _THERE],
        until="2026-08-31",
        expect=[],
    ),
    Case(
        name="a customer since the very instant of the release",
        events=[_released("2026-01-01T09:00:00Z"), _THERE],
        until="2026-03-02",
        expect=[("2026-03-02T09:00:00Z", "raised", "info")],
    ),
    Case(
        name="two features, one tried; the campaign ends after 180 days",
        events=[
            _THERE,
            _released("2026-01-05T12:00:00Z"),
            _released("2026-01-05T12:00:00Z", "export"),
            _used("2026-02-01T10:00:00Z", "export"),
        ],
        until="2026-07-04",
        expect=[("2026-03-06T12:00:00Z", "raised", "info"), ("2026-07-04T12:00:00Z", "cleared", "info")],
    ),
    Case(
        name="a late use shows that it was tried in time",
        events=[
            _THERE,
            _released("2026-01-05T12:00:00Z"),
            _used("2026-03-07T08:00:00Z", "report"),
            _used("2026-03-01T10:00:00Z", "forecast"),
        ],
        until="2026-03-07",
        expect=[("2026-03-06T12:00:00Z", "raised", "info"), ("2026-03-07T08:00:00Z", "cleared", "info")],
    ),
]
