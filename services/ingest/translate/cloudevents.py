"""CloudEvents over HTTP to events: structured, batched and binary mode. An event that conforms is passed on byte for byte."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from schemas.codec import Refusal, decode_any
from schemas.envelope import MAX_EVENT_BYTES
from schemas.events.control import TICK
from services.ingest.translate import Ready, Unparsable, too_far_ahead

_ENCODER: Final = msgspec.json.Encoder()
_RAW: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Rejected(Struct, frozen=True):
    """An event that is not accepted: told to the client, not kept. `id` is empty where the event has none."""

    id: str
    refusal: Refusal


def split(body: bytes) -> list[bytes]:
    """The events of a body: each of a JSON array, or the one object. Raises Unparsable."""
    if body.lstrip()[:1] == b"[":
        try:
            return [bytes(raw) for raw in _LIST.decode(body)]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unparsable(f"not a JSON array: {error}") from None
    try:
        found = _RAW.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unparsable(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unparsable("a CloudEvent (JSON object) or an array of them is expected")
    return [body]


def from_binary(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Binary mode to one structured event: `ce-` headers are its attributes, the body is its data.

    Header values may be percent-encoded UTF-8, as the specification wants it, or raw UTF-8. Raises Unparsable.
    """
    event: dict[str, Any] = {}
    for name, value in headers:
        if name.startswith(b"ce-"):
            text = value[1:-1].replace(b'\\"', b'"') if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
            try:
                event[name[3:].decode("ascii")] = unquote_to_bytes(text).decode()
            except UnicodeDecodeError:
                raise Unparsable(f"header {name.decode('latin-1')} is not UTF-8, percent-encoded or raw") from None
    if body:
        try:
            event["data"] = _RAW.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unparsable(f"the data is not JSON: {error}") from None
    return _ENCODER.encode(event)


def accept(raw: bytes, now: dt.datetime) -> Ready | Rejected:
    """Hold one structured event against the contract. `now` is its arrival."""
    event = decode_any(raw)
    if isinstance(event, Refusal) and len(raw) <= MAX_EVENT_BYTES:
        unpacked = _unpack_base64(raw)
        if unpacked is not None:
            raw = unpacked
            event = decode_any(raw)
    if isinstance(event, Refusal):
        return Rejected(_id_of(raw), event)
    if event.__class__ is TICK.event:
        return Rejected(event.id, Refusal("invalid", "type", "ticks are the service's own: send no clock.tick"))
    ahead = too_far_ahead(event, now)
    return Ready(event, raw) if ahead is None else Rejected(event.id, ahead)


def _unpack_base64(raw: bytes) -> bytes | None:
    """The event with `data_base64` turned into `data`; None where there is nothing to turn."""
    try:
        event = _RAW.decode(raw)
        packed = event.pop("data_base64")
        if "data" in event:
            return None
        event["data"] = _RAW.decode(base64.b64decode(packed, validate=True))
    except (msgspec.MsgspecError, ValueError, RecursionError, AttributeError, KeyError, TypeError, binascii.Error):
        return None
    return _ENCODER.encode(event)


def _id_of(raw: bytes) -> str:
    try:
        event = _RAW.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) else ""
