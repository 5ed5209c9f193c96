"""What the routes work with: one object for a process, made by `main` (or by a test)."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request

from services.common import metrics
from services.ingest.answers import OVERLOAD_RETRY_S, Refused, unavailable
from services.ingest.attribution import Attribution
from services.ingest.body import read_body
from services.ingest.collector import Collector
from services.ingest.intake import Intake
from services.ingest.mapping import Mapping
from services.ingest.write_keys import WriteKeys

BODIES_AT_MOST: Final = 128 * 1024 * 1024
"""Bytes of decoded bodies that are held at once; a request past that is told to come back."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Signing secrets of the webhooks. None, or a missing name: that webhook does not exist here."""

    stripe: str | None = None
    zendesk: str | None = None
    generic: dict[str, str] = field(default_factory=dict)


def utc_now() -> dt.datetime:
    """The arrival time of a request."""
    return dt.datetime.now(dt.UTC)


@dataclass(slots=True)
class Service:
    """The parts of one ingest process."""

    collector: Collector
    attribution: Attribution
    keys: WriteKeys
    mapping: Mapping
    secrets: Secrets
    now: Callable[[], dt.datetime] = utc_now
    intake: Intake = field(init=False)
    held: int = 0

    def __post_init__(self) -> None:
        self.intake = Intake(self.collector, self.attribution)

    def ready(self) -> tuple[bool, str]:
        """Whether requests can be served, and why not."""
        if not self.collector.acknowledging:
            return False, "Kafka does not acknowledge"
        if not self.attribution.ready:
            return False, "the attribution topic is being read"
        return True, "ready"

    def refuse_unless_ready(self) -> None:
        """Raise Refused 503 while nothing could be kept or attributed."""
        if not (self.collector.connected and self.attribution.ready):
            raise unavailable(f"{self.ready()[1]}; send it again")

    @asynccontextmanager
    async def body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """The request's body, counted while it is held. Raises Refused: see `read_body`; 429 when too much is held."""
        if self.held > BODIES_AT_MOST:
            raise Refused(429, "overloaded", "too many requests at once; send it again", retry_after=OVERLOAD_RETRY_S)
        body = await read_body(request, limit)
        self.held += len(body)
        metrics.INGEST_BODY_BYTES.set(self.held)
        try:
            yield body
        finally:
            self.held -= len(body)
            metrics.INGEST_BODY_BYTES.set(self.held)


def service_of(request: Request) -> Service:
    """The service that the request came to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
