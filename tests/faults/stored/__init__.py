"""State as it was written by each format of the codec, with the input it came from: bytes that must stay readable.

`format_N.msgpack.gz` holds a recording, how many of its messages had been sent, and the changelog at that moment. A new
format of the state's codec needs a file of its own: `python -m tests.faults.stored` writes it, and the old ones stay.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Self

import msgspec

from schemas.codec import decode
from schemas.events import INPUT_TOPICS
from services.common.kafka import partition_of
from services.signals.backtest.run import MemoryStore
from services.signals.core.partition import PartitionEngine
from tests.faults.load import Historical, Message
from tests.oracle.engine import counted

FOLDER = Path(__file__).parent
SENT = 700
PARTITIONS = 4
EPOCH = 1
EVERY_ACCOUNT = 1 << 30


class Record(msgspec.Struct, array_like=True):
    """One changelog record."""

    partition: int
    key: bytes
    value: bytes | None
    headers: dict[str, bytes]


class Snapshot(msgspec.Struct):
    """A load (see `load.Load`) and the changelog after its first `sent` messages."""

    headers: list[tuple[str, bytes]]
    sequence: list[Message]
    last: list[Message]
    sent: int
    changelog: list[Record]
    poison: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Self:
        """The snapshot in a file."""
        return msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=cls)

    def messages(self) -> Iterator[Message]:
        """The whole recording."""
        return iter(self.sequence)

    def closing(self) -> Iterator[Message]:
        """What ends it."""
        return iter(self.last)

    def formats(self) -> set[int]:
        """The codec's formats in which its state is written."""
        return {record.value[0] for record in self.changelog if record.value}


class Beginning:
    """The first messages of a load, as a load."""

    def __init__(self, whole: Historical | Snapshot, count: int) -> None:
        self.headers = whole.headers
        self.poison = whole.poison
        self._whole = whole
        self._count = count

    def messages(self) -> Iterator[Message]:
        """The first of them."""
        return islice(self._whole.messages(), self._count)

    def closing(self) -> Iterator[Message]:
        """Nothing: it goes on."""
        return iter(())


def capture() -> Path:
    """Let the core conclude the first part of a recording, and keep the state that it gives to be written."""
    whole = Historical(600, seed=77, days=60)
    catalogue = counted()
    engines = [
        PartitionEngine(number, INPUT_TOPICS, catalogue, MemoryStore(), partitions=PARTITIONS)
        for number in range(PARTITIONS)
    ]
    offsets: Counter[tuple[str, int]] = Counter()
    changelog: list[Record] = []
    for place, message in enumerate(islice(whole.messages(), SENT), 1):
        numbers = range(PARTITIONS) if message.key is None else [partition_of(message.key, PARTITIONS)]
        for number in numbers:
            event = decode(message.topic, message.key, message.value)
            offset = offsets[message.topic, number]
            offsets[message.topic, number] += 1
            topic = INPUT_TOPICS.index(message.topic)
            engines[number].apply(
                topic, offset, message.key, message.value, event, int(dict(whole.headers)["run-start"])
            )
        if place % 50 == 0 or place == SENT:
            for engine in engines:
                engine.work(EVERY_ACCOUNT)
                changelog += taken(engine)
    messages = list(whole.messages())
    snapshot = Snapshot(whole.headers, messages, list(whole.closing()), SENT, changelog)
    (number,) = snapshot.formats()
    path = FOLDER / f"format_{number}.msgpack.gz"
    path.write_bytes(gzip.compress(msgspec.msgpack.encode(snapshot), mtime=0))
    return path


def taken(engine: PartitionEngine) -> list[Record]:
    """What one effect writes to the changelog, done to the engine's store too."""
    found = []
    store = engine.store
    assert isinstance(store, MemoryStore)
    for key, value in engine.take(EPOCH, 0.0).state:
        found.append(Record(engine.partition, key, value, {"epoch": b"%d" % EPOCH} if value is None else {}))
        if value is None:
            store.pop(key, None)
        else:
            store[key] = value
    return found
