"""What the file says of built-in things: signals switched off, thresholds per tier, weights of health, features that are core."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from services.signals.core.measures import Feature
from services.signals.core.score import WEIGHTS
from services.signals.core.signal import SEVERITY_RANK, Signal
from services.signals.operators.reading import DEFAULT, TIERS, Node, nearest, shown

WHOLE_WEIGHT = 100
MAX_FEATURES = 5000


def signal(built_in: Signal, node: Node) -> tuple[bool, dict[str, dict[str, Any]]]:
    """Whether a built-in signal is judged at all, and per tier the thresholds in force that are not its own."""
    parts = node.members(("enabled", "thresholds"))
    enabled = parts["enabled"].flag() if "enabled" in parts else True
    changed = _thresholds(built_in, parts["thresholds"]) if "thresholds" in parts else {}
    return enabled is not False, changed


def _thresholds(built_in: Signal, node: Node) -> dict[str, dict[str, Any]]:
    before = len(node.mistakes)
    own = {tier: built_in.parameters(tier) for tier in TIERS}
    values = [item for tier in TIERS for item in own[tier].items()]
    examples = dict(values) | {name: value for name, value in values if value is not None}
    optional = {name for name, value in values if value is None}
    given: dict[str, dict[str, Any]] = {}
    for tier, part in node.members((DEFAULT, *TIERS)).items():
        given[tier] = {}
        for name, value in part.named("thresholds").items():
            if name not in examples:
                value.say(f"{built_in.id} has no such threshold", nearest(name, examples))
            elif (value.value is None and name in optional) or _same_shape(value, examples[name]):
                given[tier][name] = value.value
    if len(node.mistakes) > before:
        return {}
    changed: dict[str, dict[str, Any]] = {}
    refused: dict[str, list[str]] = {}
    for tier in TIERS:
        # Cell by cell over what is built in: a tier that has a threshold of its own keeps it, whatever the default becomes.
        default = {**built_in.thresholds.get(DEFAULT, {}), **given.get(DEFAULT, {})}
        new = {**default, **built_in.thresholds.get(tier, {}), **given.get(tier, {})}
        for why in [*_crossed(own[tier], new), *filter(None, [built_in.refuses(new)])]:
            refused.setdefault(why, []).append(tier)
        differing = {name: value for name, value in new.items() if own[tier].get(name) != value}
        if differing:
            changed[tier] = differing
    for why, tiers in refused.items():
        node.say(
            f"{why} ({', '.join(tiers)} touch)", "Change the thresholds together, so that it can be judged by them."
        )
    return {} if refused else changed


def _same_shape(node: Node, example: Any) -> bool:
    """Whether a value is of the kind of the built-in one: no sign, whole number or list of another kind."""
    if isinstance(example, list | tuple):
        return _same_list(node, example)
    if isinstance(example, dict):
        known = tuple(map(str, example))
        like = next((one for one in example.values() if isinstance(one, float)), None)
        parts = node.members(known, known)
        fits = [_same_shape(part, example[name] if like is None else like) for name, part in parts.items()]
        return len(fits) == len(known) and all(fits)
    if isinstance(example, bool):
        return node.flag() is not None
    if example in SEVERITY_RANK:
        return node.choice(tuple(SEVERITY_RANK)) is not None
    if isinstance(example, str):
        return node.text() is not None
    least = 0 if example >= 0 else -1e12
    if isinstance(example, int):
        return node.whole(int(least), 10**12) is not None
    return node.number(least, 1e12) is not None


def _same_list(node: Node, example: Sequence[Any]) -> bool:
    """A list of rows that are alike, or of plain values that are: as many as one likes."""
    fits = []
    for part in node.items(50, "values"):
        row = example[0]
        if not isinstance(row, list | tuple):
            fits.append(_same_shape(part, row))
        elif not isinstance(part.value, list) or len(part.value) != len(row):
            part.say(f"{shown(part.value)} is no list of {len(row)}", f"Give one such as {list(row)!r}.")
            fits.append(False)
        else:
            fits += [_same_shape(cell, like) for cell, like in zip(part.items(50, "values"), row, strict=True)]
    return bool(fits) and all(fits)


def _crossed(own: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """`clear_x` must stay on its side of `raise_x`, or of `x`, the side on which it is built in: else why not."""
    for clears in new:
        what = clears.removeprefix("clear_")
        name = next((one for one in (f"raise_{what}", what) if one in new), "")
        numbers = (own.get(clears), own.get(name), new[clears], new.get(name))
        if what == clears or not all(isinstance(number, int | float) for number in numbers):
            continue
        built_in, now = own[clears] - own[name], new[clears] - new[name]
        if built_in and math.copysign(1, built_in) * now <= 0:
            side = "above" if built_in > 0 else "below"
            yield f"{clears} ({new[clears]}) must stay {side} {name} ({new[name]}), or it clears while it holds"


def weights(node: Node) -> dict[str, dict[str, Decimal]]:
    """The weights of health's components per tier, where they are not the built-in ones. Each tier's sum is 100."""
    parts = node.members(("weights",))
    found: dict[str, dict[str, Decimal]] = {}
    if "weights" not in parts:
        return found
    before = len(node.mistakes)
    for tier, part in parts["weights"].members((DEFAULT, *TIERS)).items():
        given = {
            name: value.number(0, WHOLE_WEIGHT) for name, value in part.members(tuple(WEIGHTS), tuple(WEIGHTS)).items()
        }
        found[tier] = {name: Decimal(str(given[name])) for name in WEIGHTS if given.get(name) is not None}
        total = sum(found[tier].values())
        if len(found[tier]) == len(WEIGHTS) and total != WHOLE_WEIGHT:
            part.say(f"the weights sum to {total}", f"Make them sum to {WHOLE_WEIGHT}.")
    if len(node.mistakes) > before:
        return {}
    built_in = {name: Decimal(str(weight)) for name, weight in WEIGHTS.items()}
    chosen = {tier: found.get(tier, found.get(DEFAULT, built_in)) for tier in TIERS}
    return {tier: mine for tier, mine in chosen.items() if mine != built_in}


def features(node: Node) -> dict[str, Feature]:
    """What is said of features: core, advanced, or not."""
    found = {}
    nodes = node.named("features")
    if len(nodes) > MAX_FEATURES:
        node.say(f"there are {len(nodes)}", f"At most {MAX_FEATURES} are allowed.")
        return {}
    for name, part in nodes.items():
        flags = {flag: value.flag() for flag, value in part.members(("core", "advanced")).items()}
        if isinstance(part.value, dict) and not part.value:
            part.say("nothing is said of it", "Give `core`, `advanced` or both.")
        found[name] = Feature(flags.get("core"), flags.get("advanced"))
    return found
