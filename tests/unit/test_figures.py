"""From a snapshot's rows to what the gauges say."""

from __future__ import annotations

from decimal import Decimal

from services.common import metrics
from services.delivery import figures
from services.delivery.figures import Reading

OWNERS = {"usage.silence": "csm", "billing.overdue": "finance"}


def test_what_is_closed_is_not_open_and_what_is_handled_is_shown_as_such() -> None:
    found = figures.values(
        Reading(
            open=[("usage.silence", "critical", "high", 5), ("billing.overdue", "warning", None, 2)],
            handled=[
                ("usage.silence", "critical", "high", "acknowledged", 1),
                ("usage.silence", "critical", "high", "closed", 2),
            ],
            owners=OWNERS,
        )
    )
    assert found[metrics.OPEN_SIGNALS] == {
        ("usage.silence", "critical", "high", "csm"): 3,
        ("billing.overdue", "warning", "none", "finance"): 2,
    }
    assert found[metrics.SIGNALS_SHOWN] == {
        ("open", "critical", "csm"): 2,
        ("acknowledged", "critical", "csm"): 1,
        ("closed", "critical", "csm"): 2,
        ("open", "warning", "finance"): 2,
    }


def test_labels_are_bounded() -> None:
    found = figures.values(Reading(open=[("own.signal", "info", f"tier-{n}", 1) for n in range(50)]))
    assert found[metrics.OPEN_SIGNALS] == {("own.signal", "info", "none", "none"): 50}


def test_no_signal_is_a_figure_and_nothing_measured_is_none() -> None:
    found = figures.values(Reading(raised=[("risk", 0, 70)], at_risk=[("EUR", "critical", Decimal("1200.60"))]))
    assert found[metrics.RAISED] == {
        ("last_day", "risk"): 0,
        ("week_before", "risk"): 70,
        ("last_day", "opportunity"): 0,
        ("week_before", "opportunity"): 0,
    }
    assert found[metrics.ARR_AT_RISK] == {("EUR", "critical"): 1200.6}
    assert found[metrics.PORTFOLIO_AGE] == {}


def test_a_reading_takes_the_place_of_the_one_before_it() -> None:
    figures.show(Reading(closed=[("saved", 3), ("churned", 1)], stale=[("tickets", 1)]))
    figures.show(Reading(closed=[("saved", 4)]))
    assert _samples(metrics.CLOSED) == {("saved",): 4.0}
    assert _samples(metrics.STALE_SOURCES) == {}
    figures.forget()
    assert all(_samples(gauge) == {} for gauge in figures.GAUGES)


def _samples(gauge: object) -> dict[tuple[str, ...], float]:
    (family,) = gauge.collect()  # type: ignore[attr-defined]
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}
