"""Events as bytes: the same members in the same order always, so that a generated file is equal byte for byte."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from schemas.envelope import EPOCH

MICROSECOND = dt.timedelta(microseconds=1)
_ENCODER = msgspec.json.Encoder()


class Draft(NamedTuple):
    """An event before it has an id: when it happened, what, and from which part of the vendor's systems."""

    time: dt.datetime
    type: str
    data: Mapping[str, Any]
    source: str


def us(at: dt.datetime) -> int:
    """Microseconds since 1970 of an aware instant, exactly."""
    return (at - EPOCH) // MICROSECOND


def stamp(at: dt.datetime) -> str:
    """RFC 3339 in UTC with `Z`; microseconds only where there are any."""
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def encode(draft: Draft, event_id: str, subject: str | None) -> bytes:
    """The event as one line of CloudEvents JSON, without the line end. No subject: a broadcast."""
    members: dict[str, Any] = {"specversion": "1.0", "id": event_id, "source": draft.source, "type": draft.type}
    if subject is not None:
        members["subject"] = subject
    members["time"] = stamp(draft.time)
    members["data"] = draft.data
    return _ENCODER.encode(members)
