"""Log lines that an operator can act on: what a client library repeats many times a second is said once in a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 30.0
LIBRARIES: Final = ("aiokafka", "faust", "mode")
"""A broker that is away makes each of aiokafka's connections log some twenty lines a second."""


class OncePer(logging.Filter):
    """Lets one record per logger and message template of `LIBRARIES` pass in `every_s` seconds, and says how many it
    held back."""

    def __init__(self, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if not record.name.startswith(LIBRARIES):
            return True
        place = (record.name, str(record.msg)[:200])
        now = self._clock()
        last, held = self._seen.get(place, (-self._every_s, 0))
        if now - last < self._every_s:
            self._seen[place] = (last, held + 1)
            return False
        self._seen[place] = (now, 0)
        if held:
            record.msg = f"{record.getMessage()} ({held} more like it since)"
            record.args = ()
        return True
