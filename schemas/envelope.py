"""The CloudEvents 1.0 envelope that every event and every signal travels in, and the field types they share.

An event class is made per `type` by `event_type`: one decode reads envelope and data together, with the `type` member
as the tag.
Sizes and patterns here are the contract; `schemas/generated/` publishes them.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import Meta, Struct

MAX_EVENT_BYTES = 32 * 1024
"""Largest event, in bytes of JSON, that is accepted on any path."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# `$(?!\n)`: Python's `$` also matches before a final newline, ECMA's (JSON Schema) does not.
SUBJECT_PATTERN: Final = r"^(?!\s)[^\u0000-\u001f\u007f-\u009f]+(?<!\s)$(?!\n)"
SUBJECT_RULE: Final = "account id: 1-128 characters, no control characters, no space at either end"
Subject = Annotated[str, Meta(min_length=1, max_length=128, pattern=SUBJECT_PATTERN, description=SUBJECT_RULE)]
# In an event the pattern is published here and held by `codec.check`, which needs a tenth of the time for it.
_EventSubject = Annotated[
    str, Meta(min_length=1, max_length=128, description=SUBJECT_RULE, extra_json_schema={"pattern": SUBJECT_PATTERN})
]
Text = Annotated[str, Meta(min_length=1, max_length=1024)]
LongText = Annotated[str, Meta(max_length=16_384)]
Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
Instant = Annotated[dt.datetime, Meta(tz=True, description="RFC 3339 with zone")]
Decimal = Annotated[
    str, Meta(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$(?!\n)", description='decimal as a string, such as "12.50"')
]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217 code such as EUR, XXX for none")]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Number = float | Decimal


class Event(Struct, kw_only=True, tag_field="type", tag="event"):
    """One input event. `type` is the tag of the class; `data` is typed by the subclass made for that type."""

    specversion: Literal["1.0"]
    id: Identifier
    source: Annotated[str, Meta(min_length=1, max_length=512)]
    time: Instant
    subject: _EventSubject | None = None
    data: Any = None

    @property
    def type(self) -> str:
        """The CloudEvents `type`, for example `usage.feature_used`."""
        return str(self.__struct_config__.tag)

    @property
    def time_us(self) -> int:
        """Event time in microseconds since 1970-01-01 UTC (float seconds tell microseconds apart until 2106)."""
        return round(self.time.timestamp() * 1e6)


class EventType(Struct, frozen=True):
    """What one `type` is: its topic, its event class, its data class, and whether it goes to every partition."""

    name: str
    topic: str
    event: type[Event]
    data: type[Struct]
    broadcast: bool = False


def event_type(topic: str, name: str, data: type[Struct], *, broadcast: bool = False) -> EventType:
    """Make the event class of one type. Keyed types require a subject; broadcast ones forbid it."""
    class_name = "".join(part.capitalize() for part in name.replace("_", ".").split(".")) + "Event"
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("subject", None, None) if broadcast else ("subject", _EventSubject),
        # Where there is nothing to say, CloudEvents lets `data` be absent.
        ("data", data) if data.__struct_fields__ else ("data", data, msgspec.field(default_factory=data)),
    ]
    event = msgspec.defstruct(class_name, fields, bases=(Event,), kw_only=True, tag_field="type", tag=name)
    return EventType(name, topic, cast(type[Event], event), data, broadcast)


def from_us(us: int) -> dt.datetime:
    """The aware UTC datetime of `us` microseconds since 1970."""
    return EPOCH + dt.timedelta(0, 0, us)
