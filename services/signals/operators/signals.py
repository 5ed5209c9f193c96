"""Signals that the file defines, `own.*`: read, checked, and made into signals like all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from schemas.events import EVENT_TYPES
from schemas.events.accounts import AccountUpdated
from schemas.signals import Action, Kind, Owner, Severity
from services.signals.core.contract import WATCHED
from services.signals.core.signal import Signal
from services.signals.operators import reasons
from services.signals.operators.conditions import (
    MOST_DAYS,
    Both,
    Changed,
    Condition,
    Count,
    Dropped,
    Leaf,
    OnMeasure,
    Silent,
    leaves,
)
from services.signals.operators.measures import Counted, built_in
from services.signals.operators.reading import DEFAULT, NAME, TIERS, Node, nearest, shown
from services.signals.operators.reasons import Reason
from services.signals.operators.rule import SEVERITIES, Rule

PREFIX: Final = "own."
MAX_SIGNALS: Final = 64
MAX_PARTS: Final = 8
MAX_DEPTH: Final = 4
MAX_AMOUNT: Final = 10**12
PORTFOLIO_DAYS: Final = 28
FAMILY: Final = "own"
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
OWNERS: Final[tuple[Owner, ...]] = get_args(Owner)

COMMON: Final = ("severity", "name")
SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "count": ("at_least", "days", "clear_below", *COMMON),
    "dropped": ("percent", "days", "baseline", "clear_percent", "new_normal_days", *COMMON),
    "silent": ("days", "used_days", *COMMON),
    "changed": ("to", "from", "days", *COMMON),
    "all_of": ("severity",),
    "any_of": ("severity",),
}
"""Each condition of the closed set, and the members that it may have beside its own name."""

Thresholds = dict[str, dict[str, Any]]
"""By `label.name`: the value of each tier."""


def read(name: str, node: Node, measures: Mapping[str, Counted], families: Sequence[str]) -> tuple[Signal | None, bool]:
    """One signal of the file, and whether it is to be judged. None after saying what is wrong with it."""
    before = len(node.mistakes)
    if not re.fullmatch(NAME, name.removeprefix(PREFIX)):
        node.say(
            f"{shown(name)} is no id of an own signal",
            "Use `own.` and up to 32 small letters, digits and _, beginning with a letter.",
        )
    parts = node.members(
        (
            "kind",
            "title",
            "meaning",
            "severity",
            "when",
            "reason",
            "action",
            "owner",
            "playbook",
            "runbook",
            "pages",
            "family",
            "version",
            "enabled",
        ),
        ("kind", "title", "when", "action", "owner"),
    )

    def asked[T](member: str, ask: Callable[[Node], T | None], default: T) -> T:
        found = ask(parts[member]) if member in parts else None
        return default if found is None else found

    kind: Kind = asked("kind", lambda part: part.choice(KINDS), "risk")
    usual: Severity = "info" if kind == "opportunity" else "warning"
    severity = asked("severity", _severity, usual)
    title = asked("title", lambda part: part.text(100), "")
    action = Action(
        title=asked("action", lambda part: part.text(200), ""),
        owner=asked("owner", lambda part: part.choice(OWNERS), "csm"),
        playbook=asked("playbook", lambda part: part.text(100), name),
        runbook=asked("runbook", lambda part: part.text(100), name),
    )
    family = asked("family", lambda part: part.choice((*families, FAMILY)), FAMILY)
    version = asked("version", lambda part: part.whole(1, 10**6), 1)
    pages = asked("pages", Node.flag, False)
    enabled = asked("enabled", Node.flag, True)
    reader = _Reader(measures)
    condition = reader.condition(parts["when"], severity, 0) if "when" in parts else None
    reason: Reason | None = Reason()
    if condition is not None and "reason" in parts:
        reason = reasons.read(parts["reason"], tuple(leaves(condition)))
    meaning = asked("meaning", Node.text, "")
    if len(node.mistakes) > before or condition is None or reason is None:
        return None, enabled
    rule = Rule(condition, reason)
    thresholds = _by_tier(reader.thresholds)
    worst = sorted({leaf.severity for leaf in rule.leaves}, key=SEVERITIES.index)
    held_by, hole_days = _held(rule, reader.thresholds)
    made = Signal(
        id=name,
        version=version,
        title=title,
        kind=kind,
        family=family,
        scope="account",
        severity=" or ".join(worst),
        pages=pages,
        meaning=meaning or f"{_words(condition, reader.thresholds)}. Defined by the operators' file.",
        source="the operators' catalogue file",
        reads=rule.reads,
        reads_open=rule.reads_open,
        arms=rule.arms,
        inputs=_inputs(rule),
        needs=tuple(sorted(_needs(condition))),
        measures=_counted_by(rule),
        warming_days=_warming(condition, reader.thresholds),
        held_by=held_by,
        hole_days=hole_days,
        explained=rule.explained if _like_decline(rule, reader.thresholds) else None,
        action=action,
        thresholds=thresholds,
        raises=rule.raises,
        observe=rule.observe,
        clears=rule.clears,
        escalates=rule.escalates,
        due=rule.due,
        describe=rule.describe,
    )
    return made, enabled


def _severity(node: Node) -> Severity | None:
    return node.choice(SEVERITIES)


# -- conditions -----------------------------------------------------------------------------------------------------


class _Reader:
    """Reads the conditions of one signal, and gathers their thresholds and labels."""

    def __init__(self, measures: Mapping[str, Counted]) -> None:
        self.measures = measures
        self.thresholds: Thresholds = {}
        self.labels: set[str] = set()

    def condition(self, node: Node, severity: Severity, depth: int) -> Condition | None:
        """A condition with the severity of what it is part of. None after saying what is wrong."""
        if not isinstance(node.value, dict):
            node.say(f"{shown(node.value)} is no condition", f"Give a mapping with one of {', '.join(SHAPES)}.")
            return None
        kinds = [kind for kind in SHAPES if kind in node.value]
        if len(kinds) != 1:
            why = f"it has {' and '.join(kinds)}" if kinds else "it says nothing that can hold"
            unknown = [str(name) for name in node.value if name not in COMMON]
            near = nearest(unknown[0], SHAPES) if not kinds and unknown else f"Known here: {', '.join(SHAPES)}."
            node.say(f"{why}, and a condition is exactly one", near)
            return None
        kind = kinds[0]
        parts = node.members((kind, *SHAPES[kind]))
        if "severity" in parts:
            severity = _severity(parts["severity"]) or severity
        if kind in ("all_of", "any_of"):
            return self._both(kind, parts[kind], severity, depth)
        if kind == "changed":
            return self._changed(node, parts, severity)
        return self._on_measure(kind, node, parts, severity)

    def _both(self, kind: str, node: Node, severity: Severity, depth: int) -> Condition | None:
        if depth >= MAX_DEPTH:
            node.say(f"conditions are nested more than {MAX_DEPTH} deep", "Write it flatter.")
            return None
        found = [self.condition(part, severity, depth + 1) for part in node.items(MAX_PARTS, "conditions")]
        known = [part for part in found if part is not None]
        if not found or len(known) < len(found):
            return None
        both = Both(tuple(known), kind == "all_of")
        if depth == 0 and len(list(leaves(both))) > MAX_PARTS:
            node.say(f"there are {len(list(leaves(both)))} conditions", f"At most {MAX_PARTS} make one signal.")
            return None
        return both

    def _label(self, parts: Mapping[str, Node], default: str) -> str:
        label = default
        if "name" in parts:
            label = parts["name"].text(32) or default
            if not NAME.fullmatch(label):
                parts["name"].say("it is no name", "Use small letters, digits and _, beginning with a letter.")
            elif label in self.labels:
                parts["name"].say("another condition of this signal has this name", "Choose another.")
        number = 2
        while label in self.labels:
            label, number = f"{default}_{number}", number + 1
        self.labels.add(label)
        return label

    def _ask[T](
        self,
        label: str,
        node: Node,
        parts: Mapping[str, Node],
        name: str,
        ask: Callable[[Node], T | None],
        default: Any,
    ) -> dict[str, T] | None:
        """A threshold of each tier: what the file says, or the default, per tier or for all; `...` where one is needed."""
        if name in parts:
            values = parts[name].per_tier(ask)
        elif default is ...:
            node.say("it is missing", "It is needed here.", at=name)
            values = None
        else:
            values = default if isinstance(default, dict) else dict.fromkeys(TIERS, default)
        if values is not None:
            self.thresholds[f"{label}.{name}"] = values
        return values

    def _on_measure(self, kind: str, node: Node, parts: Mapping[str, Node], severity: Severity) -> Condition | None:
        before = len(node.mistakes)
        name = parts[kind].text(32)
        measure = None if name is None else self.measures.get(name)
        if name is not None and measure is None:
            parts[kind].say(f"there is no measure {shown(name)}", nearest(name, self.measures))
        label = self._label(parts, name or kind)

        def ask(what: str, how: Callable[[Node], Any], default: Any = ...) -> dict[str, Any]:
            return self._ask(label, node, parts, what, how, default) or {}

        def amount(part: Node) -> float | int | None:
            whole = measure is None or measure.scale == 1
            return part.whole(1, MAX_AMOUNT) if whole else part.number(0.0001, MAX_AMOUNT)

        if kind == "count":
            ask("days", lambda part: part.whole(1, MOST_DAYS))
            least = ask("at_least", amount)
            below = ask("clear_below", amount, dict(least))
            _compare(parts, "clear_below", below, "at_least", least, lambda clear, raise_: clear <= raise_, "at most")
        elif kind == "dropped":
            ask("days", lambda part: part.whole(1, MOST_DAYS // 2))
            ask("baseline", amount)
            percent = ask("percent", lambda part: part.whole(1, 100))
            default = {tier: 3 * value // 5 for tier, value in percent.items()}
            clear = ask("clear_percent", lambda part: part.whole(0, 99), default)
            _compare(parts, "clear_percent", clear, "percent", percent, lambda c, r: c < r, "less than")
            ask("new_normal_days", lambda part: part.whole(1, 730), 90)
        else:
            days = ask("days", lambda part: part.whole(1, MOST_DAYS))
            used = ask("used_days", lambda part: part.whole(1, MOST_DAYS), 1)
            for tier in TIERS:
                if tier in days and tier in used and days[tier] + used[tier] > MOST_DAYS + 1:
                    room = MOST_DAYS + 1 - days[tier]
                    parts.get("used_days", node).say(
                        f"of {MOST_DAYS + 1} days, {days[tier]} are to be silent", f"At most {room} can have been used."
                    )
                    break
        if measure is None or len(node.mistakes) > before:
            return None
        made: type[OnMeasure] = {"count": Count, "dropped": Dropped, "silent": Silent}[kind]
        return made(label, severity, measure)

    def _changed(self, node: Node, parts: Mapping[str, Node], severity: Severity) -> Condition | None:
        before = len(node.mistakes)
        field = parts["changed"].choice(WATCHED)
        label = self._label(parts, field or "changed")
        if "days" in parts:
            self._ask(label, node, parts, "days", lambda part: part.whole(1, 730), ...)
        if "to" not in parts:
            node.say("it is missing", "Give the value, or the list of values, that it changed to.", at="to")
        if field is None:
            return None
        to = self._values(field, parts["to"]) if "to" in parts else []
        came_from = self._values(field, parts["from"]) if "from" in parts else []
        if set(to) & set(came_from):
            parts["from"].say("a value is in `to` as well", "A change is from one value to another.")
        if len(node.mistakes) > before:
            return None
        return Changed(label, severity, field, frozenset(to), frozenset(came_from))

    @staticmethod
    def _values(field: str, node: Node) -> list[Any]:
        kind = next(one.type for one in msgspec.structs.fields(AccountUpdated) if one.name == field)
        found = []
        for part in node.items(50, "values") if isinstance(node.value, list) else [node]:
            try:
                if part.value is None:
                    raise ValueError("null is no value")
                found.append(msgspec.convert(part.value, kind))
            except (msgspec.ValidationError, ValueError) as error:
                part.say(f"{shown(part.value)} is nothing that {field} can be", f"{error}.")
        return found


def _compare(
    parts: Mapping[str, Node],
    name: str,
    values: Mapping[str, Any],
    other: str,
    others: Mapping[str, Any],
    right: Callable[[Any, Any], bool],
    words: str,
) -> None:
    for tier in TIERS:
        if tier in values and tier in others and name in parts and not right(values[tier], others[tier]):
            parts[name].say(
                f"{values[tier]} must be {words} {other}, which is {others[tier]} for {tier} touch",
                "It would clear while it holds.",
            )
            return


# -- what follows from them -----------------------------------------------------------------------------------------


def _by_tier(thresholds: Thresholds) -> dict[str, dict[str, Any]]:
    """Thresholds as signals have them: what most tiers share as the default, and what differs per tier."""
    found: dict[str, dict[str, Any]] = {DEFAULT: {}}
    for name, values in thresholds.items():
        found[DEFAULT][name] = values["low"]
        for tier in TIERS:
            if values[tier] != values["low"]:
                found.setdefault(tier, {})[name] = values[tier]
    return found


def _words(condition: Condition, thresholds: Thresholds) -> str:
    """A condition in words, with its thresholds."""
    if isinstance(condition, Both):
        parts = [_words(part, thresholds) for part in condition.parts]
        return f"{'all of' if condition.every else 'any of'} ({'; '.join(parts)})"

    def of(name: str) -> str:
        values = thresholds[f"{condition.label}.{name}"]
        others = [f"{tier} {values[tier]}" for tier in TIERS if values[tier] != values["low"]]
        return f"{values['low']}" + (f" ({', '.join(others)})" if others else "")

    if isinstance(condition, Changed):
        to = " or ".join(map(str, sorted(condition.to, key=repr)))
        since = f" less than {of('days')} days ago" if f"{condition.label}.days" in thresholds else ""
        return f"{condition.field} changed to {to}{since}"
    assert isinstance(condition, OnMeasure)
    title = condition.measure.title
    if isinstance(condition, Count):
        return f"{title}: at least {of('at_least')} in {of('days')} days, until below {of('clear_below')}"
    if isinstance(condition, Silent):
        return f"{title}: none for {of('days')} complete days, after some on {of('used_days')} days"
    return (
        f"{title}: {of('percent')} % or more down over {of('days')} complete days from at least {of('baseline')}, "
        f"until less than {of('clear_percent')} % down or for {of('new_normal_days')} days"
    )


def _inputs(rule: Rule) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for leaf in rule.leaves:
        found.update(dict.fromkeys(_fed_by(leaf)))
    return tuple(found)


def _fed_by(leaf: Leaf) -> tuple[str, ...]:
    return leaf.measure.inputs if isinstance(leaf, OnMeasure) else ("account.updated",)


def _counted_by(rule: Rule) -> tuple[str, ...]:
    """The operators' measures that it counts by."""
    names = {leaf.measure.name for leaf in rule.leaves if isinstance(leaf, OnMeasure)}
    return tuple(sorted(names - built_in().keys()))


def _needs(condition: Condition) -> set[str]:
    """What it cannot hold without: of `any_of`, what all parts need."""
    if isinstance(condition, Both):
        parts = [_needs(part) for part in condition.parts]
        return set.union(*parts) if condition.every else set.intersection(*parts)
    return {f"profile.{condition.field}"} if isinstance(condition, Changed) else set(_fed_by(condition))


def _warming(condition: Condition, thresholds: Thresholds) -> int:
    """Days from the first event after which it can hold: of `any_of`, the first part's."""
    if isinstance(condition, Both):
        parts = [_warming(part, thresholds) for part in condition.parts]
        return max(parts) if condition.every else min(parts)
    if not isinstance(condition, Dropped | Silent):
        return 0
    days = max(thresholds[f"{condition.label}.days"].values())
    return int(2 * days + 1 if isinstance(condition, Dropped) else days + 1)


def _like_decline(rule: Rule, thresholds: Thresholds) -> bool:
    """Whether it is a fall of all usage over 28 days, which the portfolio's own fall over 28 days may explain."""
    leaf = rule.leaves[0]
    alone = not rule.compound and isinstance(leaf, Dropped) and leaf.measure.name == "usage"
    return alone and set(thresholds[f"{leaf.label}.days"].values()) == {PORTFOLIO_DAYS}


def _held(rule: Rule, thresholds: Thresholds) -> tuple[tuple[str, ...], int]:
    """Topics whose silence says nothing of the account, and the days that must be whole for it to be judged."""
    topics: dict[str, None] = {}
    longest = 0
    for leaf in rule.leaves:
        if isinstance(leaf, Dropped | Silent):
            topics.update(dict.fromkeys(EVENT_TYPES[name].topic for name in _fed_by(leaf)))
            days = max(thresholds[f"{leaf.label}.days"].values())
            longest = max(longest, int(days))
    return tuple(topics), longest
