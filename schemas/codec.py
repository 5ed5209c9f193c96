"""Bytes to typed events, or a refusal from the closed set of reasons that names the field and says what to do.

The fast path is one msgspec decode of envelope and data together. Only a failure pays for finding out why.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.dead_letters import Reason
from schemas.envelope import MAX_EVENT_BYTES, Event, EventType
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.events.control import TICK
from schemas.events.engagement import SCORE_RANGE

ANY_TOPIC: Final = "*"


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
_RAW: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()
_ENCODER: Final = msgspec.json.Encoder()
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")


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
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return explain(topic, value, error)
    if event.subject is None:
        if key is not None:
            return Refusal("invalid", "key", "a broadcast has a null key and goes to every partition")
    elif key is None or key != event.subject.encode():
        return Refusal("invalid", "key", "the record's key must be the subject as UTF-8 bytes")
    return check(event) or event


def decode_any(value: bytes) -> Event | Refusal:
    """Decode an event of any type that did not come from Kafka (a file, an HTTP body): there is no key to compare."""
    if len(value) > MAX_EVENT_BYTES:
        return Refusal("too_large", "", f"{len(value)} bytes; an event may have {MAX_EVENT_BYTES}")
    try:
        event = _ANY.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return explain(ANY_TOPIC, value, error)
    return check(event) or event


def check(event: Event) -> Refusal | None:
    """The rules that hold between fields, which a schema of single fields cannot say."""
    data = event.data
    kind = SCORE_RANGE.get(getattr(data, "kind", None) or "") if event.type.startswith("survey.") else None
    if kind is not None and data.score is not None and not kind[0] <= data.score <= kind[1]:
        return Refusal("invalid", "data.score", f"{data.score} is outside {kind[0]}-{kind[1]} of a {data.kind} survey")
    if event.type == "survey.answered" and data.kind == "nps" and data.score is None:
        return Refusal("invalid", "data.score", "an answered nps survey needs its score, 0-10")
    return None


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
    return Refusal("invalid", field, _PATH.sub("", text))


def encode(event: Event) -> bytes:
    """The event as CloudEvents JSON. Members at their default are written too."""
    return _ENCODER.encode(event)
