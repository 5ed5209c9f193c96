"""Log lines that an operator can act on: what a client library repeats many times a second is said once in a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 30.0
LIBRARIES: Final = ("aiokafka", "faust", "mode")
SERVICES: Final = tuple(
    f"services.signals.runtime.{module}" for module in ("app", "source", "chunked", "guarded", "table")
)
"""Modules whose classes are Faust services: Faust logs their starting and stopping under these names."""


POINTLESS: Final = ("is overlapping", "woke up too")
"""Faust's remarks on its own timers: busy is not late, and nobody can act on it."""


class OncePer(logging.Filter):
    """Lets one record per logger and message template pass in `every_s` seconds, and says how many it held back.

    Only the client libraries' records; without `tracebacks` theirs are left out.
    """

    def __init__(
        self, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic, *, tracebacks: bool = False
    ) -> None:
        super().__init__()
        self._tracebacks = tracebacks
        self._every_s = every_s
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if not record.name.startswith(LIBRARIES):
            return True
        if any(words in str(record.msg) for words in POINTLESS):
            return False
        if record.exc_info and not self._tracebacks:
            # Faust says of one crash at each level that it passes; the process says it once, with its traceback.
            record.exc_info = record.exc_text = None
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


def install() -> None:
    """Filter what every root handler shows of the client libraries."""
    for name in SERVICES:
        logging.getLogger(name).setLevel(max(logging.getLogger().level, logging.WARNING))
    limit = OncePer(tracebacks=logging.getLogger().level <= logging.DEBUG)
    for handler in logging.getLogger().handlers:
        handler.addFilter(limit)
