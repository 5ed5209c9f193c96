"""Signals of an operators' file: each condition raised, kept and cleared at its edges, both ways, by the engine itself.

Days count from Monday 2024-01-01, as `D0`. A count is one use of the feature `export`, at ten in the morning unless told.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, ClassVar

import pytest

from schemas.signals import Transition
from services.signals.backtest.run import run
from services.signals.catalogue import load
from services.signals.core.signal import Catalogue
from services.signals.operators.file import understand
from tests.oracle.build import RUN_START, Events, at, date, day, event, numbered, profile
from tests.oracle.records import us

BUILT_IN = load()
MEASURES: dict[str, Any] = {
    "exports": {"event": "usage.feature_used", "where": {"feature": "export"}},
    "minutes": {"event": "usage.feature_used", "sum": "duration_s", "unit": "minutes"},
    "clicks": {"event": "usage.feature_used", "sum": "count"},
    "everywhere": {"event": "usage.feature_used", "where": {"environment": ["production", "trial", None]}},
    "bad_ratings": {"event": "ticket.rated", "where": {"score": {"at_most": 2}}},
    "paid_eur": {"event": "invoice.paid", "sum": "amount", "where": {"currency": "EUR"}},
}


def signal(when: Any, **more: Any) -> dict[str, Any]:
    """A signal in plain data."""
    return {"kind": "risk", "title": "T", "action": "A", "owner": "csm", "when": when, **more}


def catalogue(raw: dict[str, Any]) -> Catalogue:
    """Own signals alone: what others say is not looked at."""
    operators = understand({"measures": MEASURES, **raw}, BUILT_IN.by_id)
    whole = operators.over(BUILT_IN)
    return Catalogue(
        [one for one in whole.signals if one.id.startswith("own.")],
        whole.digest,
        measures=whole.measures,
        features=operators.features,
        off=whole.off.values(),
    )


def changes(raw: dict[str, Any], events: Events, until: int) -> list[Transition]:
    """All transitions up to the end of a day."""
    lines = [json.dumps(one).encode() for one in numbered(events)]
    return list(run(lines, until=dt.date.fromisoformat(date(until)), run_start_us=RUN_START, catalogue=catalogue(raw)))


def told(when: Any, events: Events, until: int, **more: Any) -> list[str]:
    """What one signal says: instant, change, severity, and why it cleared."""
    found = []
    for one in changes({"signals": {"own.s": signal(when, **more)}}, events, until):
        because = one.data.cleared_because if isinstance(one.data.cleared_because, str) else ""
        words = (day(us(one.time.isoformat())), one.type.removeprefix("signal."), one.data.severity, because)
        found.append(" ".join(word for word in words if word))
    return found


def export(*days: int, clock: str = "10:00:00", count: int = 1) -> Events:
    """One export on each of these days."""
    return [event("usage.feature_used", at(n, clock), feature="export", count=count) for n in days]


def exports(first: int, last: int, each: int = 1) -> Events:
    """So many on each day from the first to the last."""
    return export(*(n for n in range(first, last + 1) for _ in range(each)))


FIRST = [event("usage.logged_in", at(0, "00:00:00"), user="ann")]


class TestCount:
    when: ClassVar = {"count": "exports", "at_least": 3, "days": 7}

    def test_the_third_in_seven_days_the_running_one_included(self) -> None:
        assert told(self.when, export(4, 9, 10), 10)[0] == "D10 10:00 raised warning"

    def test_the_first_was_seven_days_ago(self) -> None:
        assert told(self.when, export(3, 9, 10), 10) == []

    def test_one_too_few(self) -> None:
        assert told(self.when, export(9, 10), 40) == []

    def test_clears_at_the_midnight_at_which_the_first_leaves(self) -> None:
        assert told(self.when, export(4, 9, 10), 20) == ["D10 10:00 raised warning", "D11 cleared warning recovered"]

    def test_clear_below_keeps_it_longer(self) -> None:
        # D10 has three; D11 to D15 two; D16 one, of D10; D17 none.
        found = told({**self.when, "clear_below": 2}, export(4, 9, 10), 30)
        assert found == ["D10 10:00 raised warning", "D16 cleared warning recovered"]

    def test_a_late_one_completes_it_at_the_clock(self) -> None:
        assert told(self.when, export(9, 10, 8), 10) == ["D10 10:00 raised warning"]

    def test_a_late_one_that_is_too_old_does_not(self) -> None:
        assert told(self.when, export(9, 10, 3), 10) == []

    def test_cleared_and_raised_on_one_day_waits_for_the_next(self) -> None:
        found = told(self.when, [*export(4, 9, 10), *export(11)], 11)
        assert found == ["D10 10:00 raised warning", "D11 cleared warning recovered", "D12 raised warning"]

    def test_another_limit_per_tier(self) -> None:
        when = {**self.when, "at_least": {"default": 3, "high": 2}}
        assert told(when, export(9, 10), 10) == []
        assert told(when, [profile(at(1), tier="high"), *export(9, 10)], 10) == ["D10 10:00 raised warning"]

    def test_a_change_of_tier_is_judged_at_once(self) -> None:
        when = {**self.when, "at_least": {"default": 3, "high": 2}}
        found = told(when, [*export(9, 10), profile(at(10, "12:00:00"), tier="high")], 10)
        assert found == ["D10 12:00 raised warning"]


class TestWhatIsCounted:
    def test_events_or_their_numbers(self) -> None:
        events = export(5, count=10)
        assert told({"count": "exports", "at_least": 2, "days": 2}, events, 5) == []
        assert told({"count": "clicks", "at_least": 10, "days": 2}, events, 5) == ["D5 10:00 raised warning"]
        assert told({"count": "clicks", "at_least": 11, "days": 2}, events, 5) == []

    def test_production_alone_unless_told(self) -> None:
        events = [event("usage.feature_used", at(5), feature="export", environment="trial")]
        assert told({"count": "clicks", "at_least": 1, "days": 2}, events, 5) == []
        assert told({"count": "everywhere", "at_least": 1, "days": 2}, events, 5) == ["D5 10:00 raised warning"]

    def test_fractions_are_exact(self) -> None:
        events = [event("usage.feature_used", at(5), feature="x", duration_s=0.1) for _ in range(3)]
        assert told({"count": "minutes", "at_least": 0.3, "days": 2}, events, 5) == ["D5 10:00 raised warning"]
        assert told({"count": "minutes", "at_least": 0.3001, "days": 2}, events, 5) == []

    def test_money_is_a_decimal_in_one_currency(self) -> None:
        paid = [
            event("invoice.paid", at(5), invoice_id="a", amount="10.10", currency="EUR"),
            event("invoice.paid", at(5, "11:00:00"), invoice_id="b", amount="99.00", currency="USD"),
            event("invoice.paid", at(5, "12:00:00"), invoice_id="c", amount="-5", currency="EUR"),
            event("invoice.paid", at(5, "13:00:00"), invoice_id="d", amount="10.15", currency="EUR"),
        ]
        raw = {"signals": {"own.s": signal({"count": "paid_eur", "at_least": 20.25, "days": 2})}}
        raised = changes(raw, paid, 5)[0]
        assert raised.time.hour == 13
        assert raised.data.evidence[0].value == "20.25"
        assert raised.data.reason == "Paid eur: 20.25 in 2 days, the limit is 20.25."

    def test_limits_of_a_number(self) -> None:
        rated = [event("ticket.rated", at(5), ticket_id="t", score=score) for score in (1, 2, 3, 5)]
        assert told({"count": "bad_ratings", "at_least": 2, "days": 2}, rated, 5) == ["D5 10:00 raised warning"]
        assert told({"count": "bad_ratings", "at_least": 3, "days": 2}, rated, 5) == []

    def test_a_built_in_measure(self) -> None:
        assert told({"count": "usage", "at_least": 5, "days": 2}, export(5, count=5), 5) == ["D5 10:00 raised warning"]
        assert told({"count": "core", "at_least": 1, "days": 2}, export(5, count=5), 5) == []

    def test_a_feature_that_the_file_calls_core(self) -> None:
        when = {"count": "core", "at_least": 5, "days": 2}
        raw = {"signals": {"own.s": signal(when)}, "features": {"export": {"core": True}}}
        assert [one.type for one in changes(raw, export(5, count=5), 5)] == ["signal.raised"]

    def test_a_feature_that_the_file_calls_not_core(self) -> None:
        when = {"count": "core", "at_least": 1, "days": 2}
        events = [event("usage.feature_used", at(5), feature="export", core=True)]
        raw = {"signals": {"own.s": signal(when)}}
        assert len(changes(raw, events, 5)) == 1
        assert changes({**raw, "features": {"export": {"core": False}}}, events, 5) == []
        assert len(changes({**raw, "features": {"export": {"advanced": True}}}, events, 5)) == 1


class TestDropped:
    when: ClassVar = {"dropped": "exports", "percent": 50, "days": 7, "baseline": 10}

    def test_half_of_the_seven_days_before(self) -> None:
        # At D14 the days D0 to D6 hold 10 and D7 to D13 hold 5; before that the last 7 days hold the ten as well.
        assert told(self.when, [*exports(6, 6, 10), *export(7, 8, 9, 10, 11)], 14) == ["D14 raised warning"]

    def test_one_more_than_half(self) -> None:
        assert told(self.when, [*exports(6, 6, 10), *exports(7, 12)], 13) == []

    def test_a_baseline_of_nine_is_too_small(self) -> None:
        assert told(self.when, exports(0, 8), 60) == []

    def test_clears_at_the_share_of_the_frozen_baseline(self) -> None:
        # Raised at D14: 5 against 10. 30 % down is 7: at D15 the days D8 to D14 hold 4 and what D14 brings.
        events = [*exports(6, 6, 10), *export(7, 8, 9, 10, 11)]
        raised = "D14 raised warning"
        assert told(self.when, [*events, *exports(14, 14, 2)], 14) == [raised]
        assert told(self.when, [*events, *exports(14, 14, 3)], 14) == [raised, "D15 cleared warning recovered"]

    def test_clear_percent_is_configurable(self) -> None:
        events = [*exports(6, 6, 10), *export(7, 8, 9, 10, 11), *exports(14, 14, 2)]
        found = told({**self.when, "clear_percent": 40}, events, 14)
        assert found == ["D14 raised warning", "D15 cleared warning recovered"]

    def test_without_any_use_it_lasts_until_it_is_the_new_normal(self) -> None:
        found = told({**self.when, "new_normal_days": 20}, exports(6, 6, 10), 60)
        assert found == ["D14 raised warning", "D34 cleared warning expired"]

    def test_a_late_use_clears_it(self) -> None:
        events = [*exports(6, 6, 10), *export(7, 8, 9, 10, 11), *export(14), *exports(9, 9, 2)]
        assert told(self.when, events, 14) == ["D14 raised warning", "D14 10:00 cleared warning late_event"]

    def test_a_worse_part_escalates(self) -> None:
        when = {"any_of": [self.when, {**self.when, "percent": 100, "severity": "critical"}]}
        # At D14 one of 10. At D20 one of D13 still; at D21 none, against that one: too small a baseline to get worse.
        found = told(when, [*exports(6, 6, 10), *export(13)], 30)
        assert found == ["D14 raised warning"]
        # At D15 the days before are D1 to D7, with ten: still one. At D14 to D16 the last days hold the one of D9.
        found = told(when, [*exports(8, 8, 10), *export(9)], 30)
        assert found == ["D16 raised warning", "D17 escalated critical"]


class TestSilent:
    when: ClassVar = {"silent": "exports", "days": 10}

    def test_after_ten_complete_days(self) -> None:
        assert told(self.when, export(5), 15) == ["D16 raised warning"]
        assert told(self.when, export(5), 14) == []

    def test_the_next_clears_it(self) -> None:
        found = told(self.when, [*export(5), *export(20)], 20)
        assert found == ["D16 raised warning", "D20 10:00 cleared warning recovered"]

    def test_used_again_on_the_last_day(self) -> None:
        assert told(self.when, export(5, 15), 20) == []

    def test_never_used_is_not_silent(self) -> None:
        assert told(self.when, FIRST, 60) == []

    def test_not_used_on_enough_days(self) -> None:
        when = {**self.when, "used_days": 3}
        assert told(when, export(3, 4, 4, 5, 5), 30) == ["D16 raised warning"]
        assert told(when, export(4, 4, 5, 5), 30) == []

    def test_it_stays_when_the_use_is_forgotten(self) -> None:
        assert told(self.when, export(5), 200) == ["D16 raised warning"]

    def test_a_late_use_clears_it(self) -> None:
        events = [*export(5), event("usage.logged_in", at(17), user="ann"), *export(12)]
        assert told(self.when, events, 17) == ["D16 raised warning", "D17 10:00 cleared warning late_event"]

    def test_per_tier(self) -> None:
        when = {**self.when, "days": {"default": 10, "high": 4}}
        assert told(when, [profile(at(1), tier="high"), *export(5)], 9) == ["D10 raised warning"]


class TestChanged:
    when: ClassVar = {"changed": "plan", "to": ["free", "starter"]}

    def test_to_one_of_them(self) -> None:
        events = [profile(at(1), plan="pro"), profile(at(5), plan="free")]
        assert told(self.when, events, 60) == ["D5 10:00 raised warning"]

    def test_the_first_value_is_no_change(self) -> None:
        assert told(self.when, [profile(at(1), plan="free")], 60) == []

    def test_the_same_again_is_no_change(self) -> None:
        assert told(self.when, [profile(at(1), plan="free"), profile(at(5), plan="free")], 60) == []

    def test_to_another(self) -> None:
        assert told(self.when, [profile(at(1), plan="pro"), profile(at(5), plan="max")], 60) == []

    def test_back_again_clears(self) -> None:
        events = [profile(at(1), plan="pro"), profile(at(5), plan="free"), profile(at(9), plan="pro")]
        assert told(self.when, events, 60) == ["D5 10:00 raised warning", "D9 10:00 cleared warning recovered"]

    def test_from_another(self) -> None:
        when = {**self.when, "from": "pro"}
        assert told(when, [profile(at(1), plan="max"), profile(at(5), plan="free")], 60) == []
        assert told(when, [profile(at(1), plan="pro"), profile(at(5), plan="free")], 5) == ["D5 10:00 raised warning"]

    def test_for_some_days(self) -> None:
        events = [profile(at(1), plan="pro"), profile(at(5), plan="free")]
        found = told({**self.when, "days": 30}, events, 60)
        assert found == ["D5 10:00 raised warning", "D35 10:00 cleared warning expired"]

    def test_an_older_statement_changes_nothing(self) -> None:
        events = [profile(at(1), plan="pro"), profile(at(5), plan="max"), profile(at(3), plan="free")]
        assert told(self.when, events, 60) == []

    def test_whole_numbers_and_flags(self) -> None:
        events = [profile(at(1), seats=10, auto_renew=True), profile(at(5), seats=5, auto_renew=False)]
        assert told({"changed": "seats", "to": 5}, events, 60) == ["D5 10:00 raised warning"]
        assert told({"changed": "auto_renew", "to": False}, events, 60) == ["D5 10:00 raised warning"]


class TestParts:
    downgraded: ClassVar = {"changed": "plan", "to": "free", "days": 30}
    used: ClassVar = {"count": "exports", "at_least": 2, "days": 7}

    def test_all_of_them(self) -> None:
        plans = [profile(at(1), plan="pro"), profile(at(5), plan="free")]
        when = {"all_of": [self.downgraded, self.used]}
        assert told(when, plans, 60) == []
        assert told(when, [*plans[:1], *export(3, 4), *plans[1:]], 5) == ["D5 10:00 raised warning"]
        assert told(when, [*plans, *export(8, 9)], 9) == ["D9 10:00 raised warning"]
        assert told(when, [*plans, *export(34, 35)], 60) == []

    def test_all_of_them_ends_with_the_first_that_ends(self) -> None:
        plans = [profile(at(1), plan="pro"), profile(at(5), plan="free")]
        found = told({"all_of": [self.downgraded, self.used]}, [*plans, *export(8, 9)], 60)
        assert found == ["D9 10:00 raised warning", "D15 cleared warning recovered"]

    def test_any_of_them_ends_with_the_last(self) -> None:
        plans = [profile(at(1), plan="pro"), profile(at(5), plan="free")]
        found = told({"any_of": [self.downgraded, self.used]}, [*plans, *export(33, 34)], 60)
        assert found == ["D5 10:00 raised warning", "D40 cleared warning expired"]

    def test_a_part_takes_over_the_severity_of_the_whole(self) -> None:
        when = {
            "any_of": [{"all_of": [self.used], "severity": "critical"}, {"count": "exports", "at_least": 1, "days": 2}]
        }
        found = told(when, export(5, 6), 6, severity="info")
        assert found == ["D5 10:00 raised info", "D6 10:00 escalated critical"]

    def test_a_part_that_waits_for_its_first_use(self) -> None:
        """One part names a deadline; the other's first use comes meanwhile, and is missed all the same."""
        silent = {"silent": "exports", "days": 5}
        drop = {"dropped": "clicks", "percent": 100, "days": 45, "baseline": 1}
        events = [event("usage.feature_used", at(0), feature="other"), *export(20)]
        assert told({"any_of": [silent, drop]}, events, 26)[0] == "D26 raised warning"


class TestWhatItSays:
    def test_the_files_sentence(self) -> None:
        when = {"all_of": [{**TestDropped.when, "name": "fall"}, {"changed": "plan", "to": "free"}]}
        events = [profile(at(0), plan="pro"), *exports(6, 6, 10), profile(at(6), plan="free"), *export(7, 8, 9, 10, 11)]
        reason = "{fall.value} in {fall.days} days, {fall.baseline} before ({fall.change} %), {{plan}} {plan.before}."
        raw = {"signals": {"own.s": signal(when, reason=reason, pages=True, family="usage", version=3)}}
        raised = changes(raw, events, 13)[0].data
        assert raised.reason == "5 in 7 days, 10 before (-50 %), {plan} pro."
        assert (raised.pages, raised.version, raised.signal) == (True, 3, "own.s")
        assert [(e.measure, e.value, e.baseline, e.threshold) for e in raised.evidence] == [
            ("exports", 5, 10, 5),
            ("profile.plan", "free", "pro", None),
        ]
        assert raised.evidence[0].window_start == dt.datetime(2024, 1, 8, tzinfo=dt.UTC)
        assert raised.evidence[0].window_end == dt.datetime(2024, 1, 15, tzinfo=dt.UTC)

    def test_a_sentence_of_its_own(self) -> None:
        raw = {"signals": {"own.s": signal({"any_of": [TestSilent.when, TestCount.when]})}}
        said = [one.data.reason for one in changes(raw, export(5), 16)]
        assert said == ["Exports: none for 10 complete days, last on 2024-01-06; the limit is 10."]

    def test_kinds_go_to_their_topics(self) -> None:
        raised = changes({"signals": {"own.s": signal(TestCount.when, kind="opportunity")}}, export(4, 9, 10), 10)[0]
        assert (raised.data.kind, raised.data.severity) == ("opportunity", "info")

    def test_one_that_is_off_says_nothing(self) -> None:
        assert changes({"signals": {"own.s": signal(TestCount.when, enabled=False)}}, export(4, 9, 10), 10) == []


@pytest.mark.parametrize("share", [0.7, 0.75])
def test_an_override_moves_the_edge(share: float) -> None:
    """100 uses, then 75: 75 % is low enough as it is built in, and not at 70 %."""
    raw = {"signals": {"usage.decline": {"thresholds": {"default": {"raise_at": share}}}}}
    in_force = understand(raw, BUILT_IN.by_id).over(BUILT_IN)
    lines = [json.dumps(one).encode() for one in numbered([*export(4, count=100), *export(29, count=75)])]
    found = run(lines, until=dt.date(2024, 2, 3), run_start_us=RUN_START, catalogue=in_force)
    raised = [one for one in found if one.data.signal == "usage.decline"]
    assert len(raised) == (share == 0.75)
