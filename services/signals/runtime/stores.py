"""The local copy of each partition's state: bytes by key, with the changelog offset and the epoch it stands at.

A write carries records, offset and epoch together, and is made after the changelog has acknowledged them: the copy is
never ahead of the changelog, and a copy on disk needs only what was written after its offset.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import rocksdict


class StoreError(Exception):
    """A local copy cannot be read or written. The message names its folder and what to do."""

    def __init__(self, folder: Path, problem: object) -> None:
        super().__init__(
            f"the local copy of the state in {folder} cannot be read or written ({problem}). If the disk is full, free "
            "space or set EBBTIDE_DATA_DIR to a folder with more; if the copy is damaged, delete that folder. Then start "
            "the engine again: nothing is lost, what is missing there is read from the changelog"
        )
        self.folder = folder


class Abandoned(Exception):
    """Nobody wants what is being read any more."""


Write = tuple[bytes, bytes | None]
"""Key and value; None deletes."""

# UTF-8 has no byte 0xff, so no key of the engine can begin with it.
_POSITION: Final = b"\xffposition"
TRUSTED_S: Final = 12 * 3600.0
"""How long a copy may have rested. The changelog keeps a deletion for `delete.retention.ms` (a day): a copy that missed
it would keep what was deleted, an erased account's users among it."""

_MEMTABLE_BYTES: Final = 8 * 1024 * 1024
_CACHE_BYTES: Final = 64 * 1024 * 1024


class PartitionStore(Protocol):
    """One partition. `offset` is that of the last changelog record in it (-1: none), `epoch` its writer's (0: none).

    While `abandoned` is set, `items` raises `Abandoned` at the next record: whoever reads in a thread ends soon.
    """

    offset: int
    epoch: int
    abandoned: bool

    def get(self, key: bytes) -> bytes | None: ...
    def items(self) -> Iterable[tuple[bytes, bytes]]: ...
    def write(self, writes: Iterable[Write], position: tuple[int, int] | None) -> None:
        """Apply `writes` as a whole and move to `position` (offset, epoch), or stay where it stands for None."""

    def close(self) -> None: ...


class MemoryStore:
    """In memory: gone with the process, read again from the changelog's beginning."""

    def __init__(self) -> None:
        self.offset = -1
        self.epoch = 0
        self.abandoned = False
        self._values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._values.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All records; what is written meanwhile does not show."""
        for item in list(self._values.items()):
            if self.abandoned:
                raise Abandoned
            yield item

    def write(self, writes: Iterable[Write], position: tuple[int, int] | None) -> None:
        """See `PartitionStore.write`."""
        values = self._values
        for key, value in writes:
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        if position is not None:
            self.offset, self.epoch = position

    def close(self) -> None:
        """Nothing to do."""


class DiskStore:
    """In RocksDB: survives the process. Not flushed to the disk on each write; after a power cut the end of it is
    missing, position included, and is read from the changelog again. Whatever the disk refuses is a StoreError."""

    def __init__(self, folder: Path, cache: rocksdict.Cache) -> None:
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(_MEMTABLE_BYTES)
        options.set_max_write_buffer_number(3)
        options.set_keep_log_file_num(2)
        options.set_max_open_files(256)
        tables = rocksdict.BlockBasedOptions()
        tables.set_block_cache(cache)
        tables.set_bloom_filter(10, False)
        options.set_block_based_table_factory(tables)
        self._folder = folder
        self.abandoned = False
        try:
            self._db: Any = rocksdict.Rdict(str(folder), options=options)
        except Exception as error:  # rocksdict has no type of its own
            raise StoreError(folder, error) from error
        self.offset, self.epoch, self.written_s = -1, 0, 0
        """`written_s` is when the position was written, in seconds since 1970."""
        stored = self.get(_POSITION)
        if stored is not None:
            # Copies of the first version do not say when: they begin anew.
            self.offset, self.epoch, self.written_s = (*map(int, stored.split()), 0)[:3]

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise StoreError(self._folder, error) from error
        return value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All records; what is written meanwhile does not show."""
        for key, value in self._db.items():
            if self.abandoned:
                raise Abandoned
            if key != _POSITION:
                yield key, value

    def write(self, writes: Iterable[Write], position: tuple[int, int] | None) -> None:
        """See `PartitionStore.write`."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in writes:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if position is not None:
            batch.put(_POSITION, b"%d %d %d" % (*position, time.time()))
        try:
            self._db.write(batch)
        except Exception as error:
            raise StoreError(self._folder, error) from error
        if position is not None:
            self.offset, self.epoch = position

    def close(self) -> None:
        """Release the folder for another process."""
        # After a refused write closing says so once more, over the error that matters.
        with suppress(Exception):
            self._db.close()


class PartitionStores:
    """The stores of the partitions this worker has, opened on first use."""

    def __init__(self, make: Callable[[int], PartitionStore]) -> None:
        self._make = make
        self._open: dict[int, PartitionStore] = {}
        self.reading = asyncio.Lock()
        """Held while a thread reads one of them: meanwhile none may be closed, and no recovery begin to write."""

    def __getitem__(self, partition: int) -> PartitionStore:
        store = self._open.get(partition)
        if store is None:
            store = self._open[partition] = self._make(partition)
        return store

    def keep(self, partitions: Iterable[int]) -> None:
        """Close all stores but those of `partitions`."""
        for number in self._open.keys() - set(partitions):
            self._open.pop(number).close()

    def close(self) -> None:
        """Close them all."""
        self.keep(())


def in_memory() -> PartitionStores:
    """Stores in memory."""
    return PartitionStores(lambda partition: MemoryStore())


def on_disk(folder: Path) -> PartitionStores:
    """Stores in `folder`, one RocksDB each, with one block cache for all. A copy older than `TRUSTED_S` begins anew."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = rocksdict.Cache(_CACHE_BYTES)

    def opened(partition: int) -> DiskStore:
        place = folder / str(partition)
        store = DiskStore(place, cache)
        if store.offset < 0 or time.time() - store.written_s <= TRUSTED_S:
            return store
        store.close()
        shutil.rmtree(place)
        return DiskStore(place, cache)

    return PartitionStores(opened)


def discard_foreign(folder: Path, ends: Mapping[int, int]) -> list[int]:
    """Delete copies that stand past the end of their changelog partition, which therefore is not the one they copied.

    `ends` is the next offset of each changelog partition. Returns the partitions whose copy was deleted.
    """
    gone = []
    for place in sorted(folder.glob("*")):
        if place.name.isdigit() and place.is_dir():
            store = DiskStore(place, rocksdict.Cache(1024 * 1024))
            ahead = store.offset >= ends.get(int(place.name), 0)
            store.close()
            if ahead and store.offset >= 0:
                shutil.rmtree(place)
                gone.append(int(place.name))
    return gone
