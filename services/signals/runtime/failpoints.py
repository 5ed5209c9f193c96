"""Named places where a test can end, stop or crash the process: before and after each numbered effect.

`FAILPOINT_OF_TEST=name:n:action` acts when the place `name` is reached for the n-th time. Actions: `kill` (as a power
cut), `stop` (as a machine that is paused) and `raise`. Unset in production; then reaching a place costs a comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "FAILPOINT_OF_TEST"

PLACES: Final = (
    "before-dead-letters",
    "after-dead-letters",
    "state-sent",
    "state-acknowledged",
    "state-stored",
    "signals-sent",
    "signals-acknowledged",
    "applied",
)
"""In the order in which one effect passes them."""

ACTIONS: Final = ("kill", "stop", "raise")


class FailpointReached(Exception):
    """The action `raise`."""


class Failpoints:
    """Counts how often places are reached, and acts at the one that was asked for."""

    def __init__(self, wanted: str | None = None) -> None:
        self._place = ""
        self._left = 0
        self._action = ""
        if wanted:
            place, count, action = (*wanted.split(":"), "1", "kill")[:3]
            if place not in PLACES or action not in ACTIONS or not count.isdigit() or count == "0":
                raise ValueError(f"{VARIABLE}={wanted!r}: want place:n:action, places {PLACES}, actions {ACTIONS}")
            self._place, self._left, self._action = place, int(count), action

    @classmethod
    def from_environment(cls) -> Failpoints:
        """As the environment asks."""
        return cls(os.environ.get(VARIABLE))

    def reach(self, place: str) -> None:
        """Act, if this is the place and the time."""
        if place != self._place:
            return
        self._left -= 1
        if self._left:
            return
        if self._action == "raise":
            raise FailpointReached(place)
        os.kill(os.getpid(), signal.SIGKILL if self._action == "kill" else signal.SIGSTOP)
