"""Foreign calls to events: pure functions of bytes, a receive time and the known links. They read no clock and send nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.codec import Refusal, decode_any
from schemas.dead_letters import Reason
from schemas.envelope import Event, Subject
from schemas.events import EVENT_TYPES
from services.ingest.names import Link, Name

# An event's class stands for its type, and is found in a third of the time that the type's name takes.
_TOPICS: Final = {kind.event: kind.topic for kind in EVENT_TYPES.values()}

FUTURE = dt.timedelta(hours=24)
"""An event whose time is further than this past its arrival is refused."""

_ENCODER = msgspec.json.Encoder()


class Unparsable(ValueError):
    """A body as a whole cannot be read."""


class Ready(Struct, frozen=True):
    """An event that can be produced as it is. `value` is CloudEvents JSON."""

    event: Event
    value: bytes

    @property
    def topic(self) -> str:
        """The input topic of its type."""
        return _TOPICS[self.event.__class__]


class Unusable(Struct, frozen=True):
    """An item that makes no event: a dead letter. `value` is the item's bytes, `names` who it would be attributed by."""

    reason: Reason
    field: str
    detail: str
    value: bytes
    kind: str
    names: tuple[Name, ...] = ()


class Translation(Struct):
    """What became of the items of one request. Every item is counted once in `ready` (first events), `unusable` or `ignored`."""

    ready: list[Ready]
    unusable: list[Unusable]
    links: dict[Name, Link]
    ignored: int = 0


class _Made(Struct):
    """An event to encode: a struct is written in half the time that a dict takes."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: dt.datetime
    data: dict[str, Any]


def make_event(
    *,
    type_name: str,
    event_id: str,
    source: str,
    subject: str,
    time: dt.datetime,
    data: dict[str, Any],
    now: dt.datetime,
) -> Ready | Refusal:
    """Build one event and hold it against the contract, and against `now` (the arrival) for its time."""
    value = _ENCODER.encode(_Made("1.0", event_id, source, type_name, subject, time, data))
    event = decode_any(value)
    if isinstance(event, Refusal):
        return event
    return too_far_ahead(event, now) or Ready(event, value)


def too_far_ahead(event: Event, now: dt.datetime) -> Refusal | None:
    """The refusal of an event from the future, or None."""
    if event.time - now > FUTURE:
        return Refusal(
            "future", "time", f"{event.time.isoformat()} is more than 24 h ahead; correct the sender's clock"
        )
    return None


def account_mistake(account: str) -> str:
    """What is wrong with an account id, or an empty text."""
    # Printable text has no control character and no space but the ASCII one: nearly every id passes here.
    if 0 < len(account) <= 128 and account.isprintable() and account[0] != " " != account[-1]:
        return ""
    try:
        msgspec.convert(account, Subject)
    except msgspec.ValidationError:
        return f"{account[:140]!r} is no account id: 1-128 characters, no control characters, no space at either end"
    return ""
