"""The operators' file, read: for each gate one file that it refuses, with the path, the reason and what to do."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from services.signals.catalogue import load
from services.signals.operators import CatalogueFileError
from services.signals.operators.file import understand
from services.signals.operators.reading import parse

DOCS = Path(__file__).parents[2] / "docs" / "catalogue-file.md"
BUILT_IN = load().by_id
WEIGHTS = {
    "adoption": 35,
    "support": 15,
    "payment": 15,
    "survey": 10,
    "contract_growth": 10,
    "self_sufficiency": 5,
    "executive_relationship": 5,
    "marketing_engagement": 3,
    "advocacy": 1,
    "community": 1,
}


def example() -> Any:
    """The example of the documentation, as plain data."""
    block = re.search(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert block is not None
    return parse(block[1])


def mistakes(raw: Any) -> list[str]:
    """Every mistake of a file, a line each."""
    with pytest.raises(CatalogueFileError) as caught:
        understand(raw, BUILT_IN)
    return [str(mistake) for mistake in caught.value.mistakes]


def own(when: Any, **more: Any) -> dict[str, Any]:
    """A file with two measures and one signal."""
    signal = {"kind": "risk", "title": "T", "action": "A", "owner": "csm", "when": when, **more}
    measures = {
        "exports": {"event": "usage.feature_used", "where": {"feature": "export"}},
        "minutes": {"event": "usage.feature_used", "sum": "duration_s"},
    }
    return {"measures": measures, "signals": {"own.s": {k: v for k, v in signal.items() if v is not ...}}}


COUNT = {"count": "exports", "at_least": 5, "days": 7}
DROPPED = {"dropped": "exports", "percent": 50, "days": 14, "baseline": 20}


def test_the_documented_example_is_understood() -> None:
    found = understand(example(), BUILT_IN).over(load())
    assert {"own.report_silence", "own.unhappy_downgrade"} <= set(found.by_id)
    assert "survey.detractor" not in found.by_id
    assert found.by_id["usage.decline"].parameters("high")["raise_at"] == 0.7
    assert found.by_id["usage.decline"].parameters("high")["baseline_min"] == 50
    assert found.by_id["usage.decline"].parameters("tech")["baseline_min"] == 20
    assert found.weights["tech"]["adoption"] == 45
    assert found.weights["high"]["adoption"] == 35
    assert len(found.measures) == 3


REFUSED: list[tuple[str, Any, str]] = [
    # the file
    ("no mapping", ["signals"], "the file: ['signals'] is no mapping"),
    ("unknown member", {"signal": {}}, "signal: it is unknown. Did you mean signals?"),
    ("a name that is no text", {"signals": {404: {}}}, "signals.404: the name 404 is not text"),
    # built-in signals
    (
        "unknown signal",
        {"signals": {"usage.declin": {}}},
        "signals.usage.declin: there is no such signal. Did you mean usage.decline?",
    ),
    (
        "enabled is no flag",
        {"signals": {"usage.decline": {"enabled": "no"}}},
        "signals.usage.decline.enabled: 'no' is neither true nor false",
    ),
    (
        "unknown member of a signal",
        {"signals": {"usage.decline": {"enable": True}}},
        "signals.usage.decline.enable: it is unknown. Did you mean enabled?",
    ),
    (
        "unknown tier",
        {"signals": {"usage.decline": {"thresholds": {"hi": {"raise_at": 0.5}}}}},
        "signals.usage.decline.thresholds.hi: it is unknown. Did you mean high?",
    ),
    (
        "unknown threshold",
        {"signals": {"usage.decline": {"thresholds": {"default": {"rais_at": 0.5}}}}},
        "signals.usage.decline.thresholds.default.rais_at: usage.decline has no such threshold. Did you mean raise_at?",
    ),
    (
        "a threshold of another kind",
        {"signals": {"usage.decline": {"thresholds": {"default": {"raise_at": "most"}}}}},
        "signals.usage.decline.thresholds.default.raise_at: 'most' is no number",
    ),
    (
        "a fraction where whole numbers are",
        {"signals": {"usage.decline": {"thresholds": {"high": {"new_normal_days": 1.5}}}}},
        "signals.usage.decline.thresholds.high.new_normal_days: 1.5 cannot be used. Give a whole number",
    ),
    (
        "below 0",
        {"signals": {"usage.decline": {"thresholds": {"high": {"baseline_min": -1}}}}},
        "signals.usage.decline.thresholds.high.baseline_min: -1 cannot be used",
    ),
    (
        "not a number at all",
        {"signals": {"usage.decline": {"thresholds": {"high": {"raise_at": float("nan")}}}}},
        "signals.usage.decline.thresholds.high.raise_at: nan is no number",
    ),
    (
        "clear crosses raise",
        {"signals": {"usage.decline": {"thresholds": {"high": {"raise_at": 0.9}}}}},
        "signals.usage.decline.thresholds: clear_at (0.85) must stay above raise_at (0.9), or it clears",
    ),
    (
        "a list of another shape",
        {"signals": {"support.burst": {"thresholds": {"default": {"pairs": [[5, 7, 9]]}}}}},
        "signals.support.burst.thresholds.default.pairs[0]: [5, 7, 9] is no list of 2",
    ),
    (
        "no list",
        {"signals": {"support.burst": {"thresholds": {"default": {"pairs": 5}}}}},
        "signals.support.burst.thresholds.default.pairs: 5 is no list",
    ),
    (
        "a list with another kind in it",
        {"signals": {"support.burst": {"thresholds": {"default": {"pairs": [[5, "7"]]}}}}},
        "signals.support.burst.thresholds.default.pairs[0][1]: '7' cannot be used",
    ),
    (
        "a word of a severity",
        {"signals": {"billing.overdue": {"thresholds": {"default": {"steps": [[1, "info"], [15, "urgent"]]}}}}},
        "signals.billing.overdue.thresholds.default.steps[1][1]: 'urgent' is unknown",
    ),
    (
        "a mapping in part",
        {"signals": {"critical.compound": {"thresholds": {"default": {"weights": {"info": 1, "warning": 2}}}}}},
        "signals.critical.compound.thresholds.default.weights.critical: it is missing",
    ),
    (
        "nothing where something is needed",
        {"signals": {"usage.decline": {"thresholds": {"default": {"raise_at": None}}}}},
        "signals.usage.decline.thresholds.default.raise_at: nothing is no number",
    ),
    (
        "days that are not remembered",
        {"signals": {"health.drop": {"thresholds": {"default": {"days": 32}}}}},
        "signals.health.drop.thresholds: days is 32, and no more than 31 is remembered (high, low, tech touch)",
    ),
    (
        "longer than is remembered",
        {"signals": {"support.burst": {"thresholds": {"low": {"pairs": [[5, 31]]}}}}},
        "signals.support.burst.thresholds: pairs ask for 31 days, and no more than 30 is remembered (low touch)",
    ),
    # weights
    (
        "weights do not sum to 100",
        {"health": {"weights": {"high": {**WEIGHTS, "adoption": 34}}}},
        "health.weights.high: the weights sum to 99. Make them sum to 100",
    ),
    (
        "a weight is missing",
        {"health": {"weights": {"high": {k: v for k, v in WEIGHTS.items() if k != "support"}}}},
        "health.weights.high.support: it is missing",
    ),
    (
        "unknown component",
        {"health": {"weights": {"default": {**WEIGHTS, "adopton": 0}}}},
        "health.weights.default.adopton: it is unknown. Did you mean adoption?",
    ),
    (
        "a weight below 0",
        {"health": {"weights": {"default": {**WEIGHTS, "advocacy": -1}}}},
        "health.weights.default.advocacy: -1 is out of range",
    ),
    ("unknown member of health", {"health": {"weight": {}}}, "health.weight: it is unknown. Did you mean weights?"),
    # features
    (
        "a feature's flag",
        {"features": {"export": {"core": "yes"}}},
        "features.export.core: 'yes' is neither true nor false",
    ),
    ("nothing said of a feature", {"features": {"export": {}}}, "features.export: nothing is said of it"),
    ("unknown flag", {"features": {"export": {"cor": True}}}, "features.export.cor: it is unknown. Did you mean core?"),
    # measures
    ("no event", {"measures": {"m": {"sum": "count"}}}, "measures.m.event: it is missing"),
    (
        "unknown event",
        {"measures": {"m": {"event": "usage.feature_use"}}},
        "measures.m.event: 'usage.feature_use' is unknown. Did you mean usage.feature_used?",
    ),
    (
        "a broadcast cannot be counted",
        {"measures": {"m": {"event": "feature.released"}}},
        "measures.m.event: 'feature.released' is unknown",
    ),
    ("no name", {"measures": {"My exports": {"event": "usage.logged_in"}}}, "measures.My exports: it is no name"),
    (
        "the name of a built-in measure",
        {"measures": {"usage": {"event": "usage.logged_in"}}},
        "measures.usage: it is the name of a built-in measure",
    ),
    (
        "too many",
        {"measures": {f"m{n}": {"event": "usage.logged_in"} for n in range(17)}},
        "measures: there are 17. At most 16 are allowed",
    ),
    (
        "unknown member of data",
        {"measures": {"m": {"event": "ticket.opened", "where": {"priorty": "P1"}}}},
        "measures.m.where.priorty: ticket.opened has no such member. Did you mean priority?",
    ),
    (
        "a word that cannot be",
        {"measures": {"m": {"event": "ticket.opened", "where": {"priority": ["P1", "P5"]}}}},
        "measures.m.where.priority[1]: 'P5' is nothing that priority can be. Give 'P1', 'P2', 'P3', 'P4'",
    ),
    (
        "text for a flag",
        {"measures": {"m": {"event": "usage.feature_used", "where": {"core": "true"}}}},
        "measures.m.where.core: 'true' is nothing that core can be. Give true or false",
    ),
    (
        "a flag for text",
        {"measures": {"m": {"event": "usage.feature_used", "where": {"feature": True}}}},
        "measures.m.where.feature: true is nothing that feature can be",
    ),
    (
        "what cannot be compared",
        {"measures": {"m": {"event": "invoice.issued", "where": {"due": "2026-01-01"}}}},
        "measures.m.where.due: it cannot be compared",
    ),
    (
        "money cannot be compared",
        {"measures": {"m": {"event": "invoice.paid", "where": {"amount": "1.00"}}}},
        "measures.m.where.amount: it cannot be compared",
    ),
    (
        "an empty list",
        {"measures": {"m": {"event": "ticket.opened", "where": {"priority": []}}}},
        "measures.m.where.priority: [] is no list with something in it",
    ),
    (
        "limits of text",
        {"measures": {"m": {"event": "ticket.opened", "where": {"topic": {"at_least": 1}}}}},
        "measures.m.where.topic: it is no number, so it has no limits",
    ),
    (
        "no limit",
        {"measures": {"m": {"event": "ticket.rated", "where": {"score": {}}}}},
        "measures.m.where.score: it has no limit",
    ),
    (
        "limits exchanged",
        {"measures": {"m": {"event": "ticket.rated", "where": {"score": {"at_least": 3, "at_most": 2}}}}},
        "measures.m.where.score: at_least is more than at_most",
    ),
    (
        "sum of an unknown member",
        {"measures": {"m": {"event": "usage.feature_used", "sum": "counts"}}},
        "measures.m.sum: usage.feature_used has no member 'counts'. Did you mean count?",
    ),
    (
        "sum of text",
        {"measures": {"m": {"event": "usage.feature_used", "sum": "feature"}}},
        "measures.m.sum: feature is no number",
    ),
    (
        "sum of flags",
        {"measures": {"m": {"event": "usage.feature_used", "sum": "core"}}},
        "measures.m.sum: core is no number",
    ),
    (
        "sum of several currencies",
        {"measures": {"m": {"event": "invoice.paid", "sum": "amount"}}},
        "measures.m.sum: amounts in different currencies cannot be added. Add one currency",
    ),
    (
        "sum of two currencies",
        {"measures": {"m": {"event": "invoice.paid", "sum": "amount", "where": {"currency": ["EUR", "USD"]}}}},
        "measures.m.sum: amounts in different currencies cannot be added",
    ),
    (
        "sum without any currency",
        {"measures": {"m": {"event": "invoice.credited", "sum": "amount"}}},
        "measures.m.sum: invoice.credited does not say the currency of amount",
    ),
    # own signals
    (
        "no id",
        {"signals": {"own.My signal": own(COUNT)["signals"]["own.s"]}, "measures": own(COUNT)["measures"]},
        "signals.own.My signal: 'own.My signal' is no id of an own signal",
    ),
    ("no condition", own(...), "signals.own.s.when: it is missing"),
    ("no kind", own(COUNT, kind=...), "signals.own.s.kind: it is missing"),
    ("no action", own(COUNT, action=...), "signals.own.s.action: it is missing"),
    ("no owner", own(COUNT, owner=...), "signals.own.s.owner: it is missing"),
    ("unknown owner", own(COUNT, owner="sale"), "signals.own.s.owner: 'sale' is unknown. Did you mean sales?"),
    ("unknown severity", own(COUNT, severity="high"), "signals.own.s.severity: 'high' is unknown"),
    ("unknown family", own(COUNT, family="usages"), "signals.own.s.family: 'usages' is unknown. Did you mean usage?"),
    (
        "unknown member of an own signal",
        own(COUNT, page=True),
        "signals.own.s.page: it is unknown. Did you mean pages?",
    ),
    ("a title of nothing", own(COUNT, title=" "), "signals.own.s.title: ' ' is not text"),
    ("a version that is none", own(COUNT, version=0), "signals.own.s.version: 0 cannot be used"),
    # conditions
    (
        "no condition at all",
        own("exports"),
        "signals.own.s.when: 'exports' is no condition. Give a mapping with one of count",
    ),
    (
        "no kind of condition",
        own({"drop": "exports", "days": 3}),
        "signals.own.s.when: it says nothing that can hold, and a condition is exactly one. Did you mean dropped?",
    ),
    (
        "two kinds",
        own({**COUNT, "silent": "exports"}),
        "signals.own.s.when: it has count and silent, and a condition is exactly one",
    ),
    (
        "unknown measure",
        own({**COUNT, "count": "export"}),
        "signals.own.s.when.count: there is no measure 'export'. Did you mean exports?",
    ),
    (
        "unknown member of a condition",
        own({**COUNT, "atleast": 3}),
        "signals.own.s.when.atleast: it is unknown. Did you mean at_least?",
    ),
    ("a member of another condition", own({**COUNT, "percent": 3}), "signals.own.s.when.percent: it is unknown"),
    ("no window", own({"count": "exports", "at_least": 5}), "signals.own.s.when.days: it is missing"),
    ("no limit in a count", own({"count": "exports", "days": 5}), "signals.own.s.when.at_least: it is missing"),
    (
        "longer than the days that are kept",
        own({**COUNT, "days": 91}),
        "signals.own.s.when.days: 91 cannot be used. Give a whole number from 1 to 90",
    ),
    (
        "two windows longer than the days that are kept",
        own({**DROPPED, "days": 46}),
        "signals.own.s.when.days: 46 cannot be used. Give a whole number from 1 to 45",
    ),
    ("a fraction of a count", own({**COUNT, "at_least": 1.5}), "signals.own.s.when.at_least: 1.5 cannot be used"),
    (
        "no amount at all",
        own({"count": "minutes", "at_least": 0, "days": 1}),
        "signals.own.s.when.at_least: 0 is out of range",
    ),
    (
        "clears while it holds",
        own({**COUNT, "clear_below": 6}),
        "signals.own.s.when.clear_below: 6 must be at most at_least, which is 5",
    ),
    ("a drop by more than all", own({**DROPPED, "percent": 101}), "signals.own.s.when.percent: 101 cannot be used"),
    (
        "a drop that clears while it holds",
        own({**DROPPED, "clear_percent": 50}),
        "signals.own.s.when.clear_percent: 50 must be less than percent, which is 50",
    ),
    (
        "no baseline",
        own({k: v for k, v in DROPPED.items() if k != "baseline"}),
        "signals.own.s.when.baseline: it is missing",
    ),
    (
        "no room to have been used",
        own({"silent": "exports", "days": 88, "used_days": 4}),
        "signals.own.s.when.used_days: of 91 days, 88 are to be silent. At most 3",
    ),
    (
        "unknown tier of a number",
        own({**COUNT, "days": {"default": 3, "hgh": 2}}),
        "signals.own.s.when.days.hgh: it is unknown. Did you mean high?",
    ),
    (
        "tiers without a number",
        own({**COUNT, "days": {"high": 3}}),
        "signals.own.s.when.days: nothing is said for low and tech",
    ),
    (
        "a bad number of one tier",
        own({**COUNT, "days": {"default": 3, "high": 0}}),
        "signals.own.s.when.days.high: 0 cannot be used",
    ),
    (
        "an unknown field",
        own({"changed": "plann", "to": "free"}),
        "signals.own.s.when.changed: 'plann' is unknown. Did you mean plan?",
    ),
    (
        "a field whose changes are not kept",
        own({"changed": "mrr", "to": "0"}),
        "signals.own.s.when.changed: 'mrr' is unknown",
    ),
    ("changed to nothing", own({"changed": "plan"}), "signals.own.s.when.to: it is missing"),
    (
        "changed to what cannot be",
        own({"changed": "tier", "to": ["low", "medium"]}),
        "signals.own.s.when.to[1]: 'medium' is nothing that tier can be",
    ),
    (
        "changed to what YAML reads otherwise",
        own({"changed": "plan", "to": False}),
        "signals.own.s.when.to: false is nothing that plan can be",
    ),
    (
        "changed from what it changed to",
        own({"changed": "plan", "to": "a", "from": ["a", "b"]}),
        "signals.own.s.when.from: a value is in `to` as well",
    ),
    ("no parts", own({"any_of": []}), "signals.own.s.when.any_of: [] is no list with something in it"),
    (
        "parts that are no list",
        own({"all_of": COUNT}),
        "signals.own.s.when.all_of: {'count': 'exports', 'at_least': 5, 'days': 7} is no list",
    ),
    (
        "a bad part",
        own({"any_of": [DROPPED, {**COUNT, "days": 0}]}),
        "signals.own.s.when.any_of[1].days: 0 cannot be used",
    ),
    (
        "too many parts",
        own({"any_of": [{"any_of": [COUNT] * 5}, {"any_of": [COUNT] * 4}]}),
        "signals.own.s.when.any_of: there are 9 conditions. At most 8",
    ),
    (
        "nested too deeply",
        own({"any_of": [{"any_of": [{"any_of": [{"any_of": [{"any_of": [COUNT]}]}]}]}]}),
        "signals.own.s.when.any_of[0].any_of[0].any_of[0].any_of[0].any_of: conditions are nested more than 4 deep",
    ),
    (
        "two of one name",
        own({"any_of": [{**COUNT, "name": "a"}, {**DROPPED, "name": "a"}]}),
        "signals.own.s.when.any_of[1].name: another condition of this signal has this name",
    ),
    ("a name that is none", own({**COUNT, "name": "The count"}), "signals.own.s.when.name: it is no name"),
    # reasons
    (
        "an unknown number",
        own(COUNT, reason="{valu} exports"),
        "signals.own.s.reason: there is no number {valu}. Did you mean value?",
    ),
    (
        "a number that has to be told apart",
        own({"all_of": [COUNT, DROPPED]}, reason="{value}"),
        "signals.own.s.reason: there is no number {value}",
    ),
    ("a format", own(COUNT, reason="{value:>10}"), "signals.own.s.reason: {value} has a format after its name"),
    ("braces that do not match", own(COUNT, reason="{value"), "signals.own.s.reason: its braces do not match"),
]


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_each_mistake_is_explained_at_its_path(raw: Any, expected: str) -> None:
    found = mistakes(raw)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_thresholds_of_every_shape_can_be_set() -> None:
    """Rows with words, mappings, nothing where a tier has nothing, a fraction in a mapping that has one."""
    means = {"nps": 7, "csat": 4.25, "ces": 4, "onboarding": 4, "goals": 4}
    raw = {
        "billing.overdue": {"thresholds": {"high": {"steps": [[1, "warning"], [10, "critical"]]}}},
        "survey.below_average": {"thresholds": {"default": {"means": means}, "low": {"health_below": None}}},
        "critical.compound": {"thresholds": {"default": {"weights": {"info": 0, "warning": 2, "critical": 5}}}},
    }
    found = understand({"signals": raw}, BUILT_IN).over(load()).by_id
    assert found["billing.overdue"].parameters("high")["steps"] == [[1, "warning"], [10, "critical"]]
    assert found["survey.below_average"].parameters("low")["health_below"] is None
    assert found["survey.below_average"].parameters("tech")["means"]["csat"] == 4.25
    assert found["critical.compound"].parameters("tech")["weights"]["warning"] == 2


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_signal_takes_its_own_thresholds_as_they_are_shown(name: str) -> None:
    """What `ebbtide catalogue show` says can be put into a file, and changes nothing."""
    shown = {tier: dict(values) for tier, values in BUILT_IN[name].thresholds.items()}
    assert digest({"signals": {name: {"thresholds": json.loads(json.dumps(shown))}}}) == load().digest


def test_all_mistakes_are_told_at_once() -> None:
    raw = deepcopy(example())
    raw["signals"]["usage.decline"]["thresholds"]["low"] = {"rais_at": 1}
    raw["signals"]["own.report_silence"]["when"]["any_of"][1]["days"] = 100
    raw["signals"]["own.report_silence"]["owner"] = "nobody"
    raw["measures"]["exports"]["event"] = "usage.used"
    raw["health"]["weights"]["tech"]["adoption"] = 100
    paths = [line.split(": ")[0] for line in mistakes(raw)]
    assert paths == [
        "measures.exports.event",
        "signals.usage.decline.thresholds.low.rais_at",
        "signals.own.report_silence.owner",
        "signals.own.report_silence.when.any_of[0].silent",
        "signals.own.report_silence.when.any_of[1].dropped",
        "signals.own.report_silence.when.any_of[1].days",
        "health.weights.tech",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("signals: [", "line 1: "),
        ("signals: {}\nsignals: {}", "the file: 'signals' is there twice, again in line 2"),
        ("x: !!python/object:os.system {}", "line 1: could not determine a constructor"),
        ("&a [*a]", "the file: "),
    ],
)
def test_what_is_no_file_at_all(text: str, expected: str) -> None:
    with pytest.raises(CatalogueFileError) as caught:
        understand(parse(text), BUILT_IN)
    assert str(caught.value.mistakes[0]).startswith(expected)


# -- what two files that mean the same have in common ---------------------------------------------------------------


def digest(raw: Any) -> str:
    return understand(raw, BUILT_IN).over(load()).digest


def test_the_hash_is_of_the_meaning() -> None:
    raw = example()
    turned = {name: dict(reversed(part.items())) for name, part in reversed(raw.items())}
    assert digest(turned) == digest(raw)
    spelled = deepcopy(raw)
    spelled["signals"]["own.report_silence"]["when"]["any_of"][0]["days"] = {"high": 10, "low": 21, "tech": 21}
    spelled["signals"]["usage.silence"] = {"enabled": True, "thresholds": {"high": {"days": 14}}}
    assert digest(spelled) == digest(raw)


def test_a_file_that_says_nothing_changes_nothing() -> None:
    assert digest(None) == digest({}) == digest({"signals": {"usage.decline": {}}}) == load().digest
    assert digest({"health": {"weights": {"default": WEIGHTS}}}) == load().digest


CHANGES: list[tuple[str, Any]] = [
    ("measures.exports.sum", "duration_s"),
    ("measures.exports.where.feature", ["export"]),
    ("signals.own.report_silence.when.any_of.0.days", 22),
    ("signals.own.report_silence.when.any_of.1.severity", "info"),
    ("signals.own.report_silence.reason", "Nothing."),
    ("signals.own.report_silence.action", "Nothing"),
    ("signals.usage.decline.thresholds.high.baseline_min", 51),
    ("signals.survey.detractor.enabled", True),
    ("features.forecast.core", False),
]


@pytest.mark.parametrize(("path", "value"), CHANGES, ids=[path for path, _ in CHANGES])
def test_every_change_of_meaning_changes_the_hash(path: str, value: Any) -> None:
    raw = example()
    part = raw
    for name in _names(path)[:-1]:
        part = part[int(name) if name.isdecimal() else name]
    part[_names(path)[-1]] = value
    assert digest(raw) != digest(example())


def _names(path: str) -> list[str]:
    """Ids of signals have a dot in them."""
    return re.sub(r"^signals\.(\w+)\.(\w+)", r"signals.\1~\2", path).replace(".", "\0").replace("~", ".").split("\0")
