"""Charts: where things are drawn, that no text leaves the drawing or lies on another, and that nothing is believed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from markupsafe import Markup

from services.api.console.charts import (
    Level,
    Moment,
    SignalFacts,
    Step,
    health_line,
    parts_bar,
    signal_chart,
    waterfall,
)
from services.api.console.charts.evidence import lines_of, proofs_of
from services.api.console.charts.health import ScoredDay
from services.api.console.charts.labels import Mark, arrange
from services.api.console.charts.scale import spanning, steps
from services.api.console.charts.svg import TEXT, width_of
from services.api.console.charts.usage import Held, Span, Usage, usage_chart
from services.api.console.charts.words import number, signed
from services.api.endpoints.catalogue import entries as descriptions
from services.signals.backtest.run import run
from services.signals.catalogue import entries
from tests.catalogue.test_cases import RUN_START
from tests.catalogue.test_cases import lines_of as lines_of_case

TODAY = dt.date(2026, 3, 30)
DAY = dt.timedelta(days=1)
STILL = {
    "fit.out_of_profile",
    "onboarding.handover_incomplete",
    "pilot.unready",
    "pipeline.source_stale",
    "value.reached",
}
"""Signals whose evidence is words, or a number with nothing to compare it with."""


def parsed(chart: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(f"<x>{chart}</x>")


def drawings(chart: Markup) -> list[ElementTree.Element]:
    return [one for one in parsed(chart).iter("svg") if one.get("role") == "img"]


def texts(drawing: ElementTree.Element) -> Iterator[tuple[float, float, float, str]]:
    """Left, right and baseline of every text of a drawing, moved as its group is; and what it says."""

    def walk(element: ElementTree.Element, down: float) -> Iterator[tuple[float, float, float, str]]:
        moved = re.match(r"translate\(0 ([\d.]+)\)", element.get("transform", ""))
        down += float(moved.group(1)) if moved else 0.0
        if element.tag == "text":
            said = element.text or ""
            width = width_of(said, bold="strong" in element.get("class", ""))
            x, place = float(element.get("x", "0")), element.get("text-anchor", "start")
            left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[place]
            yield left, left + width, float(element.get("y", "0")) + down, said
        for child in element:
            yield from walk(child, down)

    return walk(drawing, 0.0)


def assert_readable(chart: Markup) -> None:
    for drawing in drawings(chart):
        _, _, width, height = map(float, drawing.get("viewBox", "").split())
        found = list(texts(drawing))
        for left, right, y, said in found:
            assert left >= -1.5, f"{said!r} begins at {left}"
            assert right <= width + 1.5, f"{said!r} ends at {right} of {width}"
            assert TEXT * 0.7 <= y <= height, f"{said!r} is at {y} of {height}"
        for n, (left, right, y, said) in enumerate(found):
            for other_left, other_right, other_y, other in found[n + 1 :]:
                apart = right <= other_left or other_right <= left or abs(y - other_y) >= TEXT - 1
                assert apart, f"{said!r} lies on {other!r}"


# --- every signal --------------------------------------------------------------------------------------------------


def examples() -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Of each signal its first case that fires: each transition, with those up to it."""
    for signal, cases, _ in entries().values():
        for case in [case for case in cases if case.expect][:1]:
            changes = run(lines_of_case(case), until=dt.date.fromisoformat(case.until), run_start_us=RUN_START)
            mine = [msgspec.to_builtins(change) for change in changes if change.data.signal == signal.id]
            for episode in dict.fromkeys(change["data"]["episode_id"] for change in mine):
                told = [change for change in mine if change["data"]["episode_id"] == episode]
                for n, change in enumerate(told, 1):
                    yield signal.id, change["data"], told[:n]


EXAMPLES = list(examples())
DESCRIBED = {entry["id"]: entry for entry in descriptions()}


def facts_for(changes: list[dict[str, Any]]) -> SignalFacts:
    end = dt.datetime.fromisoformat(changes[-1]["time"])
    uses = {end.date() - n * DAY: 100_000 + 37 * n for n in range(240)}
    moments = [Moment(end - dt.timedelta(hours=7 * n), f"T{n} <b>P1</b>") for n in range(30)]
    return SignalFacts(today=end.date(), usage=uses, core=uses, moments=moments, held=[Held(end.date(), end.date())])


def test_every_signal_has_a_chart_that_can_be_read_or_nothing_to_draw() -> None:
    drawn = set()
    for signal, data, changes in EXAMPLES:
        for facts in (facts_for(changes), None):
            chart = signal_chart(data, changes, DESCRIBED[signal], facts)
            if chart:
                drawn.add(signal)
                assert_readable(chart)
    assert {signal for signal, _, _ in EXAMPLES} == set(entries())
    bare = set(entries()) - drawn
    # The others are reminders as they come due: 0 days, limit 0.
    assert {signal for signal in bare if not signal.startswith("lifecycle.")} == STILL


@pytest.mark.parametrize(
    "evidence",
    [
        None,
        "text",
        [],
        [1, None],
        [{"measure": "usage", "value": "NaN", "baseline": "Infinity", "threshold": -1, "unit": "uses"}],
        [{"measure": "days_since_usage", "value": 1e9, "threshold": 5, "unit": "days", "window_start": "yesterday"}],
        [{"measure": "usage", "value": 1, "baseline": 0, "threshold": 0, "unit": "uses", "window_start": "2026-01-01"}],
        [{"measure": "x" * 500, "value": -3, "baseline": 10**30, "threshold": 0, "unit": "<script>"}],
    ],
)
def test_evidence_out_of_the_ordinary_is_drawn_plainly_or_not_at_all(evidence: object) -> None:
    chart = signal_chart({"signal": "usage.decline", "episode_id": 'a"b', "reason": "?", "evidence": evidence})
    if chart:
        assert_readable(chart)


def test_texts_from_outside_are_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    told = {"measure": evil, "value": 3, "baseline": 4, "threshold": 2, "unit": evil}
    chart = signal_chart({"signal": evil, "episode_id": evil, "reason": evil, "evidence": [told]})
    assert "<script" not in chart
    assert "alert(1)" in chart  # it is there, as text
    ids = [one.get("id") for one in parsed(chart).iter() if one.get("id")]
    assert ids
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", name or "") for name in ids)
    assert "style=" not in chart


# --- pieces --------------------------------------------------------------------------------------------------------


def test_a_clear_line_is_drawn_only_where_the_evidence_shows_its_scale() -> None:
    (proof,) = proofs_of([{"measure": "usage", "value": 50, "baseline": 100, "threshold": 75, "unit": "uses"}])
    shares = {"raise_at": 0.75, "critical_at": 0.5, "clear_at": 0.85}
    assert [(one.kind, one.value) for one in lines_of(proof, shares)] == [
        ("raise", 75.0),
        ("critical", 50.0),
        ("clear", 85.0),
    ]
    # 75 is no share of 0.8 of 100, nor 0.8 itself: the operators' numbers changed since, and only the raise is known.
    assert [one.kind for one in lines_of(proof, shares | {"raise_at": 0.8})] == ["raise"]
    (plain,) = proofs_of([{"measure": "weight", "value": 9.5, "baseline": None, "threshold": 9, "unit": "points"}])
    assert [(one.kind, one.value) for one in lines_of(plain, {"raise_at": 9, "clear_at": 6})] == [
        ("raise", 9.0),
        ("clear", 6.0),
    ]


def test_labels_at_one_place_stand_on_rows_of_their_own() -> None:
    placed = arrange([Mark(50.0, "raises at 75"), Mark(50.0, "critical at 75"), Mark(52.0, "clears at 76")], 0.0, 120.0)
    assert sorted(one.row for one in placed) == [0, 1, 2]
    assert all(one.left >= 0.0 and one.right <= 120.0 for one in placed)
    (alone,) = arrange([Mark(119.0, "raises at 9,000")], 0.0, 120.0)
    assert (alone.row, round(alone.right)) == (0, 120)


def test_a_scale_begins_at_nothing_and_goes_both_ways_where_it_must() -> None:
    scale = spanning([5.0, 10.0], 0.0, 106.0)
    assert (scale(0.0), round(scale(10.0), 6)) == (0.0, 100.0)
    both = spanning([-10.0, 10.0], 0.0, 100.0)
    assert both(0.0) == 50.0
    assert both(-10.0) > 0.0
    assert spanning([0.0], 0.0, 10.0)(0.0) == 0.0
    assert steps(0.0) == [0.0, 1.0]
    assert steps(103.0) == [0.0, 50.0, 100.0, 150.0]


def usage(**more: Any) -> Usage:
    by_day = {TODAY - n * DAY: 10 for n in range(92)}
    return Usage(**({"by_day": by_day, "first": TODAY - 91 * DAY, "today": TODAY} | more))


def bars(chart: Markup, which: int) -> list[ElementTree.Element]:
    found = [one for one in drawings(chart)[which].iter("rect") if one.get("class", "").startswith("bar ")]
    return sorted(found, key=lambda one: float(one.get("x", "0")))


def test_days_are_bars_and_weeks_in_a_narrow_column() -> None:
    window = Span(TODAY - 28 * DAY, TODAY, 280)
    chart = usage_chart("u", usage(window=window))
    assert_readable(chart)
    days, weeks = bars(chart, 0), bars(chart, 1)
    assert len(days) == 92
    # Four whole weeks of the window, then the day that is not over: the bar after the window is hollow.
    assert [one.get("class") for one in weeks[-5:]] == ["bar done now"] * 4 + ["bar unfinished"]
    assert [one.get("class") for one in days[-2:]] == ["bar done now", "bar unfinished"]
    assert sum("now" in one.get("class", "") for one in days) == 28


def test_a_day_that_changed_when_it_was_over_is_dotted_and_said_to_have_changed() -> None:
    changed = TODAY - 10 * DAY
    chart = usage_chart("u", usage(revised={changed}))
    for drawing, bars in zip(drawings(chart), ("day", "week"), strict=True):
        dotted = [one for one in drawing.iter("rect") if "revised" in one.get("class", "").split()]
        assert len(dotted) == 1, bars
        assert any(said == "dotted: changed by what came late" for *_, said in texts(drawing))
    said = [one.get("data-says", "") for one in parsed(chart).iter("rect")]
    assert sum("changed by what came late" in each for each in said) == 2
    assert "20 Mar 2026: " in next(each for each in said if "changed by what came late" in each)
    assert "dotted" not in usage_chart("u", usage())


def test_a_silent_source_is_held_and_never_zero() -> None:
    by_day = {TODAY - n * DAY: 10 for n in range(3, 92)}
    chart = usage_chart("u", usage(by_day=by_day, held=[Held(TODAY - 2 * DAY, TODAY)]))
    said = [one.get("data-says", "") for one in drawings(chart)[0].iter("rect") if one.get("data-says")]
    assert said[-1].endswith("held, its source is silent")
    assert not any(text.endswith(" 0 uses") or "0 uses so far" in text for text in said if "10 uses" not in text)


def test_a_frozen_baseline_stands_as_its_mean_by_day() -> None:
    baseline = Span(TODAY - 60 * DAY, TODAY - 32 * DAY, 1204)
    chart = usage_chart(
        "u", usage(window=Span(TODAY - 28 * DAY, TODAY, 590), baseline=baseline, baseline_a_day=baseline.a_day)
    )
    assert_readable(chart)
    said = [text for _, _, _, text in texts(drawings(chart)[0])]
    assert "baseline 1,204 in 28 d, 43 a day" in said
    assert "now 590 in 28 d, 21.1 a day" in said


def test_health_is_never_drawn_over_days_without_a_score() -> None:
    history = [ScoredDay(TODAY - n * DAY, None if 10 <= n < 20 else 50.0 + n / 2) for n in range(60)]
    chart = health_line("h", history, TODAY)
    assert_readable(chart)
    assert len(list(drawings(chart)[0].iter("polyline"))) == 2
    assert health_line("h", [ScoredDay(TODAY, 50.0)], TODAY) == ""


def test_a_waterfall_ends_where_its_steps_lead() -> None:
    chart = waterfall("w", Level("23 Oct", 79.7), [Step("Adoption", -17.3), Step("Support", 8.4)], Level("now", 70.8))
    assert_readable(chart)
    fallen = [one for one in drawings(chart)[0].iter("rect") if one.get("class", "").startswith("fall")]
    begin, down, up, end = (
        (float(o.get("x", "0")), float(o.get("x", "0")) + float(o.get("width", "0"))) for o in fallen
    )
    assert begin[1] == pytest.approx(down[1], abs=0.1)
    assert down[0] == pytest.approx(up[0], abs=0.1)
    assert up[1] == pytest.approx(end[1], abs=0.1)
    said = [text for _, _, _, text in texts(drawings(chart)[0])]
    assert {"−17.3", "+8.4", "79.7", "70.8"} <= set(said)


def test_points_and_possible_points_share_one_scale() -> None:
    whole, half = (ElementTree.fromstring(str(parts_bar(points, 20.0, 40.0))) for points in (20.0, 10.0))
    widths = [[float(one.get("width", "0")) for one in bar.iter("rect")] for bar in (whole, half)]
    assert widths[0][0] == widths[0][1] == widths[1][0]
    assert widths[1][1] == pytest.approx(widths[1][0] / 2)
    missing = ElementTree.fromstring(str(parts_bar(None, 20.0, 40.0)))
    assert [one.get("class") for one in missing.iter("rect")] == ["part missing"]


def test_numbers_are_written_as_they_are_read() -> None:
    assert [number(value) for value in (1204, 43.0, 21.07, 0.0571, -3, 1234.5)] == [
        "1,204",
        "43",
        "21.1",
        "0.057",
        "−3",
        "1,234" if number(1234.5) == "1,234" else "1,235",
    ]
    assert [signed(value) for value in (3.25, -9, 0, -0.01)] == ["+3.2", "−9", "0", "0"]
