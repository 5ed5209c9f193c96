"""One Kafka record as the engine takes it: decoded once, with its place in a replay and the latest time it may carry."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from schemas.codec import Refusal, decode
from schemas.envelope import Event
from schemas.events.control import Tick

FUTURE_US: Final = 24 * 3600 * 1_000_000
"""An event may be this much later than its append before it counts as from the future."""

Item = tuple[int, int, bytes | None, bytes | None, Event | Refusal, int]
"""Topic index, offset, key, value, decoded event or refusal, latest event time (µs) that is not in the future."""

Entry = tuple[int | None, Item]
"""The record's sequence number in a replay, or None; and the record."""


def prepare(index: int, topic: str, record: Any, poison: Container[int] = ()) -> Entry:
    """Decode one aiokafka ConsumerRecord of the input topic `topic`, whose index is `index`.

    An offset in `poison` is refused unread. Never raises for what a record holds.
    """
    sequence, run_start = _headers(record.headers) if record.headers else (None, None)
    not_after = (record.timestamp * 1000 if run_start is None else run_start) + FUTURE_US
    event: Event | Refusal
    if record.offset in poison:
        event = Refusal("poison", "", "the engine failed on this record each time it tried; report it with its bytes")
    else:
        event = decode(topic, record.key, record.value)
    return sequence, (index, record.offset, record.key, record.value, event, not_after)


def tick_of(item: Item) -> Tick | None:
    """The tick that the record is, or None."""
    if item[2] is None:
        data = getattr(item[4], "data", None)
        if isinstance(data, Tick):
            return data
    return None


def _headers(headers: Any) -> tuple[int | None, int | None]:
    """`sequence` and `run-start` of a replayed record; None where missing or not a number."""
    found: dict[str, int] = {}
    for name, value in headers:
        if name in ("sequence", "run-start") and value is not None and value.isdigit() and len(value) <= 18:
            found[name] = int(value)
    return found.get("sequence"), found.get("run-start")
