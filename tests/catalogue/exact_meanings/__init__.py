"""Hand-written cases of the exact meanings, by family: events, and every transition of one signal that must come of them.

They were written from the text, edges on both sides. `D0` is Monday 2024-01-01.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.oracle.build import Events


@dataclass(frozen=True)
class Case:
    """Events in file order and, for each signal named, every transition it makes up to the end of day `until`."""

    name: str
    events: Events
    expected: dict[str, list[str]]
    until: int = 150
