"""Which changelog records count while a partition is recovered: a paused worker that wakes up writes its old state last.

Each assignment writes under a higher epoch than all before it, so in the order of the log epochs only rise. A record of
a lower epoch than one before it was written by a worker that had lost the partition: it is refused, and its key has to
be written again before compaction drops the good record. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from services.signals.runtime.stores import Write

EPOCH_HEADER: Final = "epoch"
"""Kafka header of changelog records whose value does not say its writer's epoch: deletions and repairs."""


def next_epoch(seen: int, generation: int) -> int:
    """Epoch of a new assignment. The group's generation starts again when the group is forgotten; epochs never do."""
    return max(seen + 1, generation)


class Fence:
    """Judges the changelog records of one partition, in offset order, from a local copy of epoch `newest` on.

    `epoch_of` reads the writer's epoch from a stored value.
    """

    def __init__(self, newest: int, epoch_of: Callable[[bytes], int]) -> None:
        self.newest = newest
        self.refused: dict[bytes, None] = {}
        """Keys whose last record in the log is to be refused, in the order in which they were found."""
        self._epoch_of = epoch_of

    def accept(self, records: Iterable[Any]) -> list[Write]:
        """The writes that count. `records` have `key`, `value` and `headers`, as aiokafka's do."""
        accepted: list[Write] = []
        for record in records:
            epoch = self._epoch(record)
            if epoch < self.newest:
                self.refused[record.key] = None
                continue
            self.newest = epoch
            if self.refused:
                self.refused.pop(record.key, None)
            accepted.append((record.key, record.value))
        return accepted

    def _epoch(self, record: Any) -> int:
        for name, value in record.headers or ():
            if name == EPOCH_HEADER and value:
                return int(value)
        return self.newest if record.value is None else self._epoch_of(record.value)
