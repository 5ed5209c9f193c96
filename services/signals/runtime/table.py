"""The engine's Faust table: bytes to bytes, recovered in whole lists, behind the fence, into this worker's own stores.

Faust assigns its changelog partitions and reads them; the table's own methods for keys are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.types import TP

from services.signals.runtime.fence import Fence
from services.signals.runtime.stores import PartitionStores


class StateTable(faust.Table):  # type: ignore[type-arg]
    """One partition store per assigned partition. The app must have `stores` and `epoch_of`."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.stores: PartitionStores = app.stores
        self.failure: Exception | None = None
        """What went wrong while records were applied: Faust only logs that, and would go on without them."""
        self._epoch_of: Callable[[bytes], int] = app.epoch_of
        self._fences: dict[int, Fence] = {}

    def fence(self, partition: int) -> Fence:
        """What the fence found while this partition was recovered."""
        return self._fences.setdefault(partition, Fence(self.stores[partition].epoch, self._epoch_of))

    def log_end(self, partition: int) -> int:
        """Offset of the last changelog record of the partition that was read, -1 for none. Right after recovery."""
        tables: Any = self.app.tables
        end = tables.recovery.active_offsets.get(TP(self.changelog_topic_name, partition))
        return -1 if end is None else int(end)

    def apply_records(self, partition: int, records: list[Any]) -> None:
        """Recover consecutive changelog records (aiokafka's, or Faust's messages) of one partition."""
        fence = self.fence(partition)
        writes = fence.accept(records)
        # While something is refused the position stays: without its repair it must be found again.
        position = None if fence.refused else (records[-1].offset, fence.newest)
        self.stores[partition].write(writes, position)

    # -- what Faust calls -----------------------------------------------------------------------------------------

    def persisted_offset(self, tp: TP) -> int | None:
        """Called once per partition as a recovery begins."""
        store = self.stores[tp.partition]
        self._fences[tp.partition] = Fence(store.epoch, self._epoch_of)
        return None if store.offset < 0 else store.offset

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Recovered records that Faust buffered: the last one of each list."""
        try:
            for event in batch:
                self.apply_records(event.message.partition, [event.message])
        except Exception as error:
            self.failure = error
            raise

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Stores of partitions that went away are closed, so that another worker on this machine may open them."""
        name = self.changelog_topic_name
        async with self.stores.reading:
            self.stores.keep({tp.partition for tp in assigned if tp.topic == name})
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
