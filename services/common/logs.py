"""Logs: one line an event on standard error, as text for people or JSON for machines; libraries' lines look the same."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Any

import structlog
from structlog.types import EventDict, Processor

from services.common import metrics
from services.common.repeats import OncePer
from services.common.settings import settings

# They tell of every fetch, heartbeat and request on the level `info`.
CHATTY = ("aiokafka", "faust", "mode", "uvicorn.access", "asyncio", "httpx", "urllib3")


def configure(process: str) -> None:
    """Set up structlog and the standard library's logging for the process named `process` (as in `ebbtide serve`).

    Level and format come from the settings. Call once, before anything logs.
    """
    config = settings()
    metrics.PROCESS.labels(process, version("ebbtide")).set(1)

    def named(logger: Any, method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        named,
        _counted,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Processor]
    if config.log_format == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain: the default one prints local variables, and with them passwords, keys and customers' events.
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    handler.addFilter(OncePer())
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # uvicorn brings handlers of its own, which would print each line a second time.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)


def _counted(logger: Any, method: str, event: EventDict) -> EventDict:
    metrics.LOG_LINES.labels(event["level"]).inc()
    return event
