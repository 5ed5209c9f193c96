"""The whole file: read once, every mistake told at once, and laid over the built-in catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from services.signals.core.measures import Feature
from services.signals.core.signal import Catalogue, Signal
from services.signals.operators import measures, overrides, signals
from services.signals.operators.measures import Own
from services.signals.operators.reading import CatalogueFileError, Mistake, Node, nearest, parse, text_of
from services.signals.operators.rule import Rule

MEMBERS: Final = ("features", "health", "measures", "signals")


@dataclass(frozen=True)
class Operators:
    """What a file means: built-in signals off or with other thresholds, and what it adds."""

    disabled: frozenset[str]
    thresholds: Mapping[str, Mapping[str, Mapping[str, Any]]]
    weights: Mapping[str, Mapping[str, Decimal]]
    features: Mapping[str, Feature]
    measures: Mapping[str, Own]
    signals: tuple[Signal, ...]

    def over(self, built_in: Catalogue) -> Catalogue:
        """The catalogue in force. Its digest covers what the file means, not how it is written."""
        found = [self._overridden(signal) for signal in [*built_in.signals, *self.signals]]
        meaning = json.dumps(self.meaning(), sort_keys=True)
        digest = built_in.digest
        if any(self.meaning().values()):
            digest = hashlib.sha256(f"{digest}\0{meaning}".encode()).hexdigest()[:16]
        return Catalogue(
            [signal for signal in found if signal.id not in self.disabled],
            digest,
            off=[signal for signal in found if signal.id in self.disabled],
            measures=[own.core for own in self.measures.values()],
            features=self.features,
            weights=self.weights,
        )

    def _overridden(self, signal: Signal) -> Signal:
        changed = self.thresholds.get(signal.id)
        if not changed:
            return signal
        tiers = {**signal.thresholds}
        for tier, values in changed.items():
            tiers[tier] = {**tiers.get(tier, {}), **values}
        return msgspec.structs.replace(signal, thresholds=tiers)

    def meaning(self) -> dict[str, Any]:
        """All of it as plain data: two files that mean the same give the same."""
        return {
            "disabled": sorted(self.disabled),
            "thresholds": self.thresholds,
            "weights": {tier: {n: str(w.normalize()) for n, w in of.items()} for tier, of in self.weights.items()},
            "features": {name: list(feature) for name, feature in self.features.items()},
            "measures": {
                name: {"title": own.title, "unit": own.unit, **own.meaning} for name, own in self.measures.items()
            },
            "signals": {signal.id: _plain(signal) for signal in self.signals},
        }


def _plain(signal: Signal) -> dict[str, Any]:
    rule: Rule = signal.raises.__self__  # type: ignore[attr-defined]  # own signals are methods of their rule
    said = ("version", "kind", "title", "severity", "pages", "meaning", "family", "thresholds")
    return {
        **{name: getattr(signal, name) for name in said},
        "when": rule.condition.plain(),
        "reason": rule.reason.pieces,
        "action": msgspec.to_builtins(signal.action),
    }


def read(file: Path, built_in: Mapping[str, Signal]) -> Operators:
    """A file of the operators, by the signals that are built in. Raises CatalogueFileError naming every mistake."""
    try:
        return understand(parse(text_of(file)), built_in)
    except CatalogueFileError as error:
        raise CatalogueFileError(str(file), error.mistakes) from None


def understand(raw: Any, built_in: Mapping[str, Signal]) -> Operators:
    """The same of plain data."""
    mistakes: list[Mistake] = []
    parts = Node({} if raw is None else raw, "", mistakes).members(MEMBERS)
    nothing = Node(None, "", mistakes)
    own = measures.read(parts.get("measures", nothing))
    known = measures.counted(own)
    families = sorted({signal.family for signal in built_in.values()})
    disabled: set[str] = set()
    thresholds: dict[str, dict[str, dict[str, Any]]] = {}
    defined: list[Signal] = []
    nodes = parts.get("signals", nothing).named("signals")
    for name, node in nodes.items():
        if name in built_in:
            enabled, changed = overrides.signal(built_in[name], node)
            if not enabled:
                disabled.add(name)
            elif changed:
                thresholds[name] = changed
        elif name.startswith(signals.PREFIX):
            one, enabled = signals.read(name, node, known, families)
            if one is not None:
                defined.append(one)
            if not enabled:
                disabled.add(name)
        else:
            node.say(
                "there is no such signal",
                f"{nearest(name, built_in)} An own signal's id begins with {signals.PREFIX}",
            )
    if sum(name.startswith(signals.PREFIX) for name in nodes) > signals.MAX_SIGNALS:
        parts["signals"].say("there are too many own signals", f"At most {signals.MAX_SIGNALS} are allowed.")
    weights = overrides.weights(parts["health"]) if "health" in parts else {}
    features = overrides.features(parts["features"]) if "features" in parts else {}
    if mistakes:
        raise CatalogueFileError("catalogue file", mistakes)
    defined.sort(key=lambda signal: signal.id)
    return Operators(frozenset(disabled), thresholds, weights, features, own, tuple(defined))
