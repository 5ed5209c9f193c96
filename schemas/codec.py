"""Bytes to typed events, or a refusal from the closed set of reasons that names the field and says what to do.

The fast path is one msgspec decode of envelope and data together. Only a failure pays for finding out why.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from schemas.dead_letters import Reason
from schemas.envelope import (
    EPOCH,
    MAX_EVENT_BYTES,
    SUBJECT_PATTERN,
    SUBJECT_RULE,
    Currency,
    Decimal,
    Event,
    EventType,
)
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.events.control import TICK
from schemas.events.engagement import SCORE_RANGE

ANY_TOPIC: Final = "*"
LAST_INSTANT: Final = dt.datetime(2106, 1, 1, tzinfo=dt.UTC)
"""Event times are from 1970 on and before this: there a microsecond is exact and every arithmetic on time is safe."""
MAX_DETAIL: Final = 300
"""Most characters of a refusal's detail."""


class Refusal(Struct, frozen=True):
    """Why a record was not accepted. `field` is a path such as `data.amount`, empty where the whole record is meant."""

    reason: Reason
    field: str
    detail: str


def _decoder(types: list[EventType]) -> msgspec.json.Decoder[Event]:
    union: Any = types[0].event
    for kind in types[1:]:
        union = union | kind.event
    return msgspec.json.Decoder(union)


_DECODERS: Final[dict[str, msgspec.json.Decoder[Event]]] = {
    topic: _decoder([t for t in EVENT_TYPES.values() if t.topic in (topic, ANY_TOPIC)]) for topic in INPUT_TOPICS
}
_ANY: Final = _decoder(list(EVENT_TYPES.values()))
# A number too large for a float is valid JSON: it is refused at its field, not as malformed.
_RAW: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(float_hook=lambda text: text)
_ENCODER: Final = msgspec.json.Encoder()
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")
_SUBJECT: Final = re.compile(SUBJECT_PATTERN)


def decode(topic: str, key: bytes | None, value: bytes | None) -> Event | Refusal:
    """Decode one Kafka record of an input topic.

    `topic` is an input topic, or `*` where events of every type are welcome. `key` must be the UTF-8 bytes of the
    subject, and null for a broadcast; pass the subject's bytes where there is no Kafka key. Never raises.
    """
    if value is None:
        return Refusal("malformed", "", "the record has no value; send a CloudEvents JSON object")
    if len(value) > MAX_EVENT_BYTES:
        return Refusal("too_large", "", f"{len(value)} bytes; an event may have {MAX_EVENT_BYTES}")
    try:
        event = _DECODERS[topic].decode(value) if topic != ANY_TOPIC else _ANY.decode(value)
        if not value.isascii():
            value.decode()  # ignored members too: whoever reads the record after us may look at them
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return explain(topic, value, error)
    refusal = check(event)
    if refusal is not None:
        return refusal
    if event.subject is None:
        if key is not None:
            return Refusal("invalid", "key", "a broadcast has a null key and goes to every partition")
    elif key is None or key != event.subject.encode():
        return Refusal("invalid", "key", "the record's key must be the subject as UTF-8 bytes")
    return event


def decode_any(value: bytes) -> Event | Refusal:
    """Decode an event of any type that did not come from Kafka (a file, an HTTP body): there is no key to compare."""
    if len(value) > MAX_EVENT_BYTES:
        return Refusal("too_large", "", f"{len(value)} bytes; an event may have {MAX_EVENT_BYTES}")
    try:
        event = _ANY.decode(value)
        if not value.isascii():
            value.decode()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return explain(ANY_TOPIC, value, error)
    return check(event) or event


def check(event: Event) -> Refusal | None:
    """The rules that the decoder's types do not hold: subject, range of time, and those between fields."""
    subject = event.subject
    # Printable text has no control character and no space but the ASCII one: nearly every id passes here.
    if (
        subject is not None
        and not (subject.isprintable() and subject[:1] != " " != subject[-1:])
        and not _SUBJECT.search(subject)
    ):
        return Refusal("invalid", "subject", SUBJECT_RULE)
    if not 1970 < event.time.year < 2105 and not EPOCH <= event.time < LAST_INSTANT:
        return Refusal("invalid", "time", f"{event.time.isoformat()} is outside 1970-2105")
    rule = _RULES.get(event.__class__)
    return None if rule is None else rule(event)


def _survey(event: Event) -> Refusal | None:
    data = event.data
    if data.score is None:
        return None
    lowest, highest = SCORE_RANGE[data.kind]
    if lowest <= data.score <= highest:
        return None
    return Refusal("invalid", "data.score", f"{data.score} is outside {lowest}-{highest} of a {data.kind} survey")


_RULES: Final[dict[type[Event], Callable[[Event], Refusal | None]]] = {
    EVENT_TYPES[name].event: _survey for name in ("survey.sent", "survey.answered")
}


def explain(topic: str, value: bytes, error: Exception) -> Refusal:
    """Find the reason and the field of a decode failure."""
    try:
        raw = _RAW.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        return Refusal("malformed", "", f"not JSON: {problem}")
    if not isinstance(raw, dict):
        return Refusal("malformed", "", "a CloudEvents JSON object is expected")
    name = raw.get("type")
    if not isinstance(name, str):
        return Refusal("invalid", "type", "missing or not a string; name one of the event types")
    known = EVENT_TYPES.get(name)
    if known is None:
        return Refusal("unknown_type", "type", f"{name[:128]!r} is no event type of this service")
    if topic not in (ANY_TOPIC, known.topic) and known is not TICK:
        return Refusal("invalid", "type", f"{name} belongs on topic {known.topic}, not on {topic}")
    if not known.broadcast and raw.get("subject") in (None, ""):
        return Refusal("unattributed", "subject", "no account; set subject to the account id")
    text = str(error)
    path = _PATH.search(text)
    field = path.group(1) if path else ""
    missing = _MISSING.search(text)
    if missing:
        field = f"{field}.{missing.group(1)}" if field else missing.group(1)
    return Refusal("invalid", field, _in_words(_PATH.sub("", text), known, field)[:MAX_DETAIL])


def _in_words(text: str, known: EventType, field: str) -> str:
    """The decoder's message, with what is allowed where it does not say so."""
    if text.startswith("Invalid enum value"):
        return f"{text[: MAX_DETAIL // 2]}; one of: {', '.join(_choices(known.event, field))}"
    return _RULE_OF_MESSAGE.get(text.replace(" | null", ""), text)


def _choices(struct: type[Struct], path: str) -> list[str]:
    """The values allowed at a path such as `data.roles[0]`."""
    found: list[Any] = [struct]
    for name in path.split("."):
        name = name.partition("[")[0]
        found = [
            part
            for kind in found
            if isinstance(kind, type) and issubclass(kind, Struct) and name in kind.__struct_fields__
            for part in _parts(get_type_hints(kind)[name])
        ]
    return [repr(value) for kind in found if get_origin(kind) is Literal for value in get_args(kind)]


def _parts(kind: Any) -> Iterator[Any]:
    """A type and what its unions and containers are made of."""
    yield kind
    if get_origin(kind) is not Literal:
        for part in get_args(kind):
            if part is not NoneType:
                yield from _parts(part)


def _message(kind: Any) -> str:
    try:
        msgspec.convert("\n", kind)
    except msgspec.ValidationError as error:
        return str(error)
    raise AssertionError(f"{kind} has no pattern")


# The decoder names a pattern; people want to know what it means.
_RULE_OF_MESSAGE: Final = {
    _message(kind): str(part.description)
    for kind in (Decimal, Currency)
    for part in get_args(kind)
    if isinstance(part, msgspec.Meta)
}


def encode(event: Event) -> bytes:
    """The event as CloudEvents JSON. Members at their default are written too."""
    return _ENCODER.encode(event)
