"""The broadcasts that the guards send, as bytes: the same fact gives the same bytes whoever says it, so repeats are harmless."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec

from schemas.envelope import from_us
from schemas.events.accounts import PortfolioMeasured, SourceState
from services.signals.core.days import day_of_date, midnight
from services.signals.core.sources import Told

SOURCE: Final = "ebbtide/guards"
TOPIC: Final = "accounts"

_encode: Final = msgspec.json.Encoder().encode


def measured(told: PortfolioMeasured) -> bytes:
    """`portfolio.measured`, at the midnight that ended its day."""
    at = midnight(day_of_date(told.day) + 1)
    return _event(f"portfolio-measured-{told.day.isoformat()}", "portfolio.measured", at, told)


def source_told(told: Told) -> bytes:
    """`source.stale` or `source.fresh`, at the instant at which that was known."""
    which = blake2b(f"{told.topic}\0{told.source}".encode(), digest_size=8).hexdigest()
    state = SourceState(source=told.source, topic=told.topic, since=from_us(told.since))
    return _event(f"source-{told.what}-{which}-{told.since}", f"source.{told.what}", told.at, state)


def _event(event_id: str, type_: str, at: int, data: Any) -> bytes:
    time = from_us(at).isoformat().replace("+00:00", "Z")
    members = {"specversion": "1.0", "id": event_id, "source": SOURCE, "type": type_, "time": time, "data": data}
    return _encode(members)
