"""Operators' measures: what the file says of each, checked against the event types, and the functions that count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import inspect

from schemas.envelope import EventType
from schemas.events import EVENT_TYPES
from services.signals.core.apply import SEEN
from services.signals.core.measures import MAX_MEASURES, Measure
from services.signals.core.signal import Fact
from services.signals.core.windows import MEASURES
from services.signals.operators.reading import Node, names, nearest, shown

SCALE: Final = 10_000
"""Amounts that may have a fraction are kept in ten-thousandths: buckets are whole numbers, so that sums are exact."""
MOST: Final = 10**10
"""What one event may add at most, in whole units."""
BUILT_IN_UNITS: Final = {"usage": "uses", "core": "core uses"}
MAX_VALUES: Final = 50

Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Counted:
    """A measure as conditions see it: its slot in the windows, and how its amounts are shown.

    `counted` and `late` are the facts that an amount on the running day, or on an earlier one, changes.
    """

    name: str
    title: str
    unit: str
    slot: int
    scale: int
    inputs: tuple[str, ...]
    counted: int
    late: int

    def amount(self, number: float) -> int:
        """A threshold as an amount of the windows."""
        return round(number * self.scale)

    def shown(self, amount: int) -> int | str:
        """An amount of the windows in the measure's own unit: a whole number, or a decimal as a string."""
        if self.scale == 1 or not amount % self.scale:
            return amount // self.scale
        return format(Decimal(amount) / self.scale, "f").rstrip("0")


@dataclass(frozen=True)
class Own:
    """A measure of the file: what it is called, and what it means in plain data."""

    name: str
    title: str
    unit: str
    scale: int
    meaning: Mapping[str, Any]
    amount: Callable[[Any], int]

    @property
    def core(self) -> Measure:
        """The measure as the core counts it."""
        digest = hashlib.sha256(json.dumps(self.meaning, sort_keys=True).encode()).hexdigest()[:12]
        return Measure(f"{self.name}:{digest}", EVENT_TYPES[self.meaning["event"]].event, self.amount)


def built_in() -> dict[str, Counted]:
    """The measures that every catalogue has."""
    return {
        name: Counted(
            name,
            BUILT_IN_UNITS.get(name, name.replace("_", " ")),
            BUILT_IN_UNITS.get(name, "events"),
            slot,
            1,
            ("usage.feature_used",),
            Fact.USAGE,
            Fact.LATE_USAGE,
        )
        for slot, name in enumerate(MEASURES)
        if name in BUILT_IN_UNITS
    }


def counted(own: Mapping[str, Own]) -> dict[str, Counted]:
    """Every measure that a condition may name. `own` are in the order in which the core has them."""
    return built_in() | {
        measure.name: Counted(
            measure.name,
            measure.title,
            measure.unit,
            len(MEASURES) + place,
            measure.scale,
            (measure.meaning["event"],),
            Fact.COUNTED,
            Fact.LATE_COUNTED,
        )
        for place, measure in enumerate(own.values())
    }


def read(node: Node) -> dict[str, Own]:
    """The file's measures by name, in the order of their names."""
    nodes = node.named("measures")
    if len(nodes) > MAX_MEASURES:
        node.say(f"there are {len(nodes)}", f"At most {MAX_MEASURES} are allowed: each takes room in every account.")
    found = {}
    for name, part in sorted(names(nodes)):
        if name in built_in():
            part.say("it is the name of a built-in measure", "Choose another name.")
            continue
        measure = _measure(name, part)
        if measure is not None:
            found[name] = measure
    return found


def _measure(name: str, node: Node) -> Own | None:
    before = len(node.mistakes)
    parts = node.members(("event", "where", "sum", "title", "unit"), ("event",))
    if "event" not in parts:
        return None
    event = parts["event"].choice(SEEN)
    title = parts["title"].text(100) if "title" in parts else name.replace("_", " ")
    unit = parts["unit"].text(40) if "unit" in parts else None
    if event is None:
        return None
    kind = EVENT_TYPES[event]
    members = _members(kind)
    where: dict[str, Any] = {}
    tests: list[Test] = []
    for field, part in (parts["where"].named("members of data") if "where" in parts else {}).items():
        if field not in members:
            part.say(f"{event} has no such member", nearest(field, members))
            continue
        tested = _where(field, members[field], part)
        if tested is not None:
            where[field], test = tested
            tests.append(test)
    if event == "usage.feature_used" and "environment" not in where:
        tests.append(lambda data: data.environment is None or data.environment == "production")
    summed = parts["sum"].text() if "sum" in parts else None
    scale = 1
    if summed is not None:
        found = _summed(summed, members, where, event, parts["sum"])
        if found is None:
            return None
        scale = found
    if len(node.mistakes) > before or title is None:
        return None
    meaning = {"event": event, "where": where, "sum": summed}
    return Own(name, title, unit or summed or "events", scale, meaning, _amount(tests, summed, scale))


# -- what an event type has -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A member of an event's data: the plain kinds that it may be, and the words where it is one of a few."""

    kinds: frozenset[str]
    words: tuple[Any, ...] = ()


def _members(kind: EventType) -> dict[str, Member]:
    return {field.encode_name: _member(field.type) for field in msgspec.structs.fields(kind.data)}


def _member(annotation: Any) -> Member:
    kind = inspect.type_info(annotation)
    kinds: set[str] = set()
    words: list[Any] = []
    for part in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        bare = part.type if isinstance(part, inspect.Metadata) else part
        if isinstance(bare, inspect.LiteralType):
            kinds.add("word")
            words += bare.values
        elif isinstance(bare, inspect.StrType):
            kinds.add("decimal" if bare.pattern and "[0-9]" in bare.pattern else "text")
        elif isinstance(bare, inspect.BoolType):
            kinds.add("flag")
        elif isinstance(bare, inspect.IntType):
            kinds.add("whole")
        elif isinstance(bare, inspect.FloatType):
            kinds.add("number")
        elif not isinstance(bare, inspect.NoneType):
            kinds.add("other")
    return Member(frozenset(kinds), tuple(words))


# -- where ----------------------------------------------------------------------------------------------------------


def _where(field: str, member: Member, node: Node) -> tuple[Any, Test] | None:
    """What a member must be, as plain data, and the test. None after saying what is wrong."""
    if not member.kinds & {"text", "word", "flag", "whole", "number"} or "other" in member.kinds:
        node.say("it cannot be compared", "Text, true and false and numbers can; leave it out.")
        return None
    if isinstance(node.value, dict):
        return _between(field, member, node)
    nodes = node.items(MAX_VALUES, "values") if isinstance(node.value, list) else [node]
    values = []
    for part in nodes:
        if part.value is not None and not _fits(part.value, member):
            known = f"Give {', '.join(map(shown, sorted(member.words)))}." if member.words else _wanted(member)
            part.say(f"{shown(part.value)} is nothing that {field} can be", known)
            return None
        values.append(part.value)
    if not values:
        return None
    wanted, member_of = frozenset(values), attrgetter(field)
    return sorted(values, key=repr), lambda data: member_of(data) in wanted


def _fits(value: Any, member: Member) -> bool:
    if isinstance(value, bool):
        return "flag" in member.kinds
    if isinstance(value, str):
        return "text" in member.kinds or value in member.words
    if isinstance(value, int):
        return bool(member.kinds & {"whole", "number"})
    return isinstance(value, float) and "number" in member.kinds


def _wanted(member: Member) -> str:
    words = {"text": "text (in quotes)", "flag": "true or false", "whole": "a whole number", "number": "a number"}
    return f"Give {' or '.join(words[kind] for kind in sorted(member.kinds & words.keys()))}, or null for none."


def _between(field: str, member: Member, node: Node) -> tuple[Any, Test] | None:
    if not member.kinds & {"whole", "number"}:
        node.say("it is no number, so it has no limits", "Give a value or a list of values.")
        return None
    parts = node.members(("at_least", "at_most"))
    limits = {name: part.number(-1e12, 1e12) for name, part in parts.items()}
    if not limits or None in limits.values():
        if not parts and isinstance(node.value, dict) and not node.value:
            node.say("it has no limit", "Give at_least, at_most or both.")
        return None
    least, most = (None if limits.get(n) is None else Decimal(str(limits[n])) for n in ("at_least", "at_most"))
    if least is not None and most is not None and least > most:
        node.say("at_least is more than at_most", "No number can be both: exchange them.")
        return None

    def test(data: Any) -> bool:
        value = getattr(data, field)
        if value is None:
            return False
        number = Decimal(str(value))
        return (least is None or number >= least) and (most is None or number <= most)

    return {name: str(limit) for name, limit in limits.items()}, test


# -- sum ------------------------------------------------------------------------------------------------------------


def _summed(field: str, members: Mapping[str, Member], where: Mapping[str, Any], event: str, node: Node) -> int | None:
    """The scale to sum a member in. None after saying why it cannot be summed."""
    numeric = {name for name, member in members.items() if member.kinds & {"whole", "number", "decimal"}}
    if field not in members:
        node.say(f"{event} has no member {shown(field)}", nearest(field, numeric))
        return None
    if field not in numeric or "other" in members[field].kinds or "flag" in members[field].kinds:
        node.say(f"{field} is no number", nearest(field, numeric))
        return None
    kinds = members[field].kinds
    if kinds <= {"decimal"}:
        if "currency" not in members:
            node.say(
                f"{event} does not say the currency of {field}", "Sum another type's amounts, or count the events."
            )
            return None
        if len(where.get("currency", ())) != 1 or None in where["currency"]:
            node.say("amounts in different currencies cannot be added", "Add one currency to `where`.")
            return None
    return 1 if kinds == {"whole"} else SCALE


def _amount(tests: list[Test], summed: str | None, scale: int) -> Callable[[Any], int]:
    def count(data: Any) -> int:
        for test in tests:  # `all` over a generator costs three times as much, and this is asked of every event
            if not test(data):
                return 0
        return 1

    if summed is None:
        return count

    def amount(data: Any) -> int:
        value = getattr(data, summed) if count(data) else None
        if value is None:
            return 0
        if scale == 1:
            return min(max(int(value), 0), MOST)
        return min(max(int(Decimal(str(value)) * scale), 0), MOST * scale)

    return amount
