"""The sentence of an operators' signal: text with the names of numbers in braces."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.signals.operators.conditions import Leaf
from services.signals.operators.reading import Node, nearest


@dataclass(frozen=True)
class Reason:
    """Pieces of text, each followed by a number's name: the label of its condition and the name there. Empty: none given."""

    pieces: tuple[tuple[str, tuple[str, str] | None], ...] = ()

    @property
    def given(self) -> bool:
        """Whether the file has one."""
        return bool(self.pieces)

    def told(self, values: Mapping[str, Mapping[str, Any]]) -> str:
        """The sentence with the numbers in it."""
        return "".join(text + ("" if name is None else str(values[name[0]][name[1]])) for text, name in self.pieces)


def read(node: Node, parts: Sequence[Leaf]) -> Reason | None:
    """The sentence, with every name in it checked. None after saying what is wrong."""
    text = node.text()
    if text is None:
        return None
    known = {f"{leaf.label}.{name}": (leaf.label, name) for leaf in parts for name in leaf.numbers}
    if len(parts) == 1:
        known |= {name: (parts[0].label, name) for name in parts[0].numbers}
    pieces: list[tuple[str, tuple[str, str] | None]] = []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            if name is not None and (spec or conversion):
                node.say(f"{{{name}}} has a format after its name", "Write the name alone.")
                return None
            if name is not None and name not in known:
                node.say(f"there is no number {{{name}}}", nearest(name, known))
                return None
            pieces.append((literal, None if name is None else known[name]))
    except ValueError:
        node.say("its braces do not match", "Write names as {name}, and a brace that is meant as such twice.")
        return None
    return Reason(tuple(pieces))
