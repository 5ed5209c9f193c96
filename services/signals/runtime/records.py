"""One Kafka record as the engine takes it: decoded once, with its place in a replay and the latest time it may carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from schemas.codec import Refusal, decode
from schemas.envelope import Event
from schemas.events.control import Tick

FUTURE_US: Final = 24 * 3600 * 1_000_000
"""An event may be this much later than its append before it counts as from the future."""

Item = tuple[int, int, bytes | None, bytes | None, Event | Refusal, int]
"""Topic index, offset, key, value, decoded event or refusal, latest event time (µs) that is not in the future."""

Sequences = Sequence[int | None] | None
"""Of records in order, each one's place in a replay; None where no record has one."""


class RecordError(Exception):
    """A record could not even be prepared. `position` is (topic, partition, offset)."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(f"could not prepare {topic}-{partition} at {offset}")
        self.position = (topic, partition, offset)


def prepare(
    index: int, topic: str, partition: int, records: Sequence[Any], poison: frozenset[int] = frozenset()
) -> tuple[Sequences, list[Item]]:
    """Decode consecutive aiokafka ConsumerRecords of a partition of the input topic `topic`, whose index is `index`.

    Offsets in `poison` are refused unread. What a record holds raises nothing; a bug in decoding raises RecordError.
    """
    sequences: list[int | None] | None = None
    items: list[Item] = []
    add = items.append
    record: Any = None
    try:
        for record in records:
            not_after = record.timestamp * 1000 + FUTURE_US
            if record.headers:
                sequence, run_start = _headers(record.headers)
                if sequence is not None:
                    if sequences is None:
                        sequences = [None] * len(records)
                    sequences[len(items)] = sequence
                if run_start is not None:
                    not_after = run_start + FUTURE_US
            offset, key, value = record.offset, record.key, record.value
            if poison and offset in poison:
                add((index, offset, key, value, _POISON, not_after))
            else:
                add((index, offset, key, value, decode(topic, key, value), not_after))
    except Exception as error:
        raise RecordError(topic, partition, record.offset) from error
    return sequences, items


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


_POISON: Final = Refusal("poison", "", "the engine failed on this record each time it tried; report it with its bytes")
