"""What was sent, without what it says: names and kinds of members stay, values go. They may be about people."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

ENVELOPE: Final = frozenset(
    {"specversion", "id", "source", "type", "time", "datacontenttype", "dataschema"}
    | {"event", "messageId", "timestamp", "sentAt", "originalTimestamp", "receivedAt"}
)
"""Members at the top that say what kind of message it is and when, never about whom."""
MEMBERS: Final = 50
LONGEST: Final = 128
DEEPEST: Final = 8


def _number(text: str) -> float | str:
    """A number that no float holds is legal JSON: it stays as it was written."""
    found = float(text)
    return found if math.isfinite(found) else text


_RAW: Final = msgspec.json.Decoder(float_hook=_number)


def decoded(value: bytes) -> tuple[bool, Any]:
    """Whether it is JSON, and what it says."""
    try:
        return True, _RAW.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False, None


def revealed(value: bytes) -> tuple[Any, str | None]:
    """The message as it was sent: its JSON, or else its text."""
    is_json, found = decoded(value)
    return (found, None) if is_json else (None, value.decode("utf-8", "replace"))


def masked(value: bytes) -> Any:
    """The message with each value replaced by its kind, the envelope's kept. What is no JSON is told by its size."""
    is_json, found = decoded(value)
    if not is_json:
        return f"<{len(value)} bytes that are not JSON>"
    if not isinstance(found, dict):
        return _masked(found, 0)
    kept = {"subject"} | ENVELOPE if "specversion" in found else ENVELOPE
    return {
        name: item if name in kept and isinstance(item, str) and len(item) <= LONGEST else _masked(item, 1)
        for name, item in _members(found)
    }


def _masked(value: Any, depth: int) -> Any:
    if depth > DEEPEST and isinstance(value, dict | list):
        return "<nested deeper>"
    match value:
        case dict():
            return {name: _masked(item, depth + 1) for name, item in _members(value)}
        case list():
            return [_masked(item, depth + 1) for item in value[:MEMBERS]]
        case bool() | None:
            return value
        case str():
            return f"<text, {len(value)} characters>"
    return "<number>"


def _members(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name[:LONGEST], item) for name, item in list(found.items())[:MEMBERS]]
