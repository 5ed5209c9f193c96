"""What Faust logs and nobody can act on is left out. (What libraries repeat, every process holds back.)"""

from __future__ import annotations

import logging
from typing import Final

from services.common.repeats import LIBRARIES

SERVICES: Final = tuple(
    f"services.signals.runtime.{module}" for module in ("app", "source", "chunked", "guarded", "table")
)
"""Modules whose classes are Faust services: Faust logs their starting and stopping under these names."""


POINTLESS: Final = ("is overlapping", "woke up too")
"""Faust's remarks on its own timers: busy is not late, and nobody can act on it."""


class Pointless(logging.Filter):
    """Leaves out `POINTLESS` lines and, without `tracebacks`, the tracebacks of client libraries and Faust's services."""

    def __init__(self, *, tracebacks: bool = False) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if not record.name.startswith((*LIBRARIES, *SERVICES)):
            return True
        if record.exc_info and not self._tracebacks:
            # Faust says of one crash at each level that it passes; the process says it once, with its traceback.
            record.exc_info = record.exc_text = None
        return not any(words in str(record.msg) for words in POINTLESS)


def install() -> None:
    """Filter what every root handler shows of the client libraries."""
    for name in SERVICES:
        logging.getLogger(name).setLevel(max(logging.getLogger().level, logging.WARNING))
    pointless = Pointless(tracebacks=logging.getLogger().level <= logging.DEBUG)
    for handler in logging.getLogger().handlers:
        handler.addFilter(pointless)
