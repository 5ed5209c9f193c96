"""support.feature_requests: the account asks for features and prices more than it used to."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.catalogue.support_same_topic import beside
from services.signals.core.days import DAY_US
from services.signals.core.support import next_crossing

WINDOW = 30
NORM_WINDOWS = 3
REACH = (WINDOW, WINDOW * (NORM_WINDOWS + 1))
CATEGORIES = ("feature_request", "pricing")


def _asked(c: Context) -> tuple[list[tuple[int, str]], float]:
    """(opened, event id) of such tickets of the last 30 days, and the norm: the mean of the three times 30 days before."""
    support = c.dossier.support
    found = sorted((t.opened_at, t.event_id) for _, t in support.within(c.now, WINDOW) if t.category in CATEGORIES)
    before = sum(t.category in CATEGORIES for _, t in support.within(c.now, WINDOW * NORM_WINDOWS, WINDOW))
    return found, before / NORM_WINDOWS


def _known_from(c: Context) -> int:
    return int(c.account.hot.first_event + c.p["known_days"] * DAY_US)


def _raises(c: Context) -> Finding | None:
    found, norm = _asked(c)
    above = len(found) >= c.p["requests"] and len(found) >= c.p["raise_at"] * norm and c.now >= _known_from(c)
    return Finding("info", frozen={"norm": norm}) if above else None


def _clears(c: Context) -> str | None:
    found, _ = _asked(c)
    stays = len(found) >= c.p["clear_below"] and len(found) >= c.p["clear_at"] * c.open.frozen["norm"]
    return None if stays else "recovered"


def _due(c: Context) -> int:
    found, _ = _asked(c)
    if c.episode is None and len(found) < c.p["requests"]:
        return 0
    dues = (next_crossing(c.dossier.support, c.now, REACH), _known_from(c))
    return min((at for at in dues if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    found, _ = _asked(c)
    norm = c.open.frozen["norm"]
    sentence = f"{len(found)} feature or pricing requests in 30 days, {norm:.1f} were usual in the three months before."
    proof = evidence(
        "feature_and_pricing_requests",
        len(found),
        "tickets",
        baseline=round(norm, 2),
        threshold=c.p["requests"],
        window=(c.now - WINDOW * DAY_US, c.now),
        event_ids=[event_id for _, event_id in found[:20]],
    )
    asked = (known for _, known in c.dossier.support.within(c.now, WINDOW) if known.category in CATEGORIES)
    return sentence, [proof, *beside(c, asked)]


SIGNAL = Signal(
    id="support.feature_requests",
    version=1,
    title="Asks for features and prices more than usual",
    kind="risk",
    family="support",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "At least 3 tickets of category feature request or pricing were opened in the trailing 30 × 24 h (high touch 2, "
        "tech touch 5), and at least twice the norm: the mean of the three times 30 × 24 h before, frozen at the raise. For "
        "accounts known for 60 × 24 h. Clears when fewer than 2 were (tech touch 3), or fewer than 1.5 times the norm. It "
        "may mean that a rival is being looked at."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.TICKETS | Fact.TIER,
    inputs=("ticket.opened", "ticket.updated"),
    needs=("ticket.opened",),
    warming_days=60,
    action=Action(
        title="Ask what they compare the product with, and show what exists already and what is planned",
        owner="csm",
        playbook="feature-requests",
        runbook="support.feature_requests",
    ),
    thresholds={
        "default": {"requests": 3, "raise_at": 2.0, "clear_below": 2, "clear_at": 1.5, "known_days": 60},
        "high": {"requests": 2},
        "tech": {"requests": 5, "clear_below": 3},
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _asks(at: str, category: str = "feature_request") -> tuple[str, str, dict[str, object]]:
    return (f"2026-{at}T10:00:00Z", "ticket.opened", {"ticket_id": at, "priority": "P4", "category": category})


_KNOWN = ("2026-01-01T10:00:00Z", "account.updated", {"name": "Acme"})

CASES = [
    Case(
        name="three in 30 × 24 h where none were usual; clears when fewer than two are left",
        events=[_KNOWN, _asks("04-01"), _asks("04-10", "pricing"), _asks("04-30")],
        until="2026-05-31",
        expect=[("2026-04-30T10:00:00Z", "raised", "info"), ("2026-05-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the first is exactly 30 × 24 h old when the third comes",
        events=[_KNOWN, _asks("04-01"), _asks("04-10"), _asks("05-01")],
        until="2026-06-30",
        expect=[],
    ),
    Case(
        name="other categories",
        events=[_KNOWN, _asks("04-01"), _asks("04-10", "bug"), _asks("04-20", "how_to"), _asks("04-21")],
        until="2026-05-31",
        expect=[],
    ),
    Case(
        name="three where one and two thirds are usual",
        events=[
            _KNOWN,
            *(_asks(day) for day in ("01-20", "02-05", "02-20", "03-07", "03-22", "04-06")),
            *(_asks(day) for day in ("04-22", "04-23")),
        ],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="a new account is not judged before 60 × 24 h",
        events=[("2026-03-15T10:00:00Z", "account.updated", {"name": "Acme"})]
        + [_asks(day) for day in ("04-20", "04-21", "04-22")],
        until="2026-05-14",
        expect=[("2026-05-14T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="high touch: two",
        events=[
            ("2026-01-01T00:00:00Z", "account.updated", {"tier": "high"}),
            _asks("04-01"),
            _asks("04-10"),
        ],
        until="2026-04-30",
        expect=[("2026-04-10T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="time alone lowers the norm: three where one and two thirds were usual become twice the norm",
        events=[
            _KNOWN,
            *(_asks(day) for day in ("01-11", "01-12", "02-10", "02-11", "03-12")),
            *(_asks(day) for day in ("05-01", "05-02", "05-03")),
        ],
        until="2026-05-12",
        expect=[("2026-05-11T10:00:00Z", "raised", "info")],
    ),
]
