"""The topics of one partition merged by time. Pure: no clock, no I/O, no Kafka client.

Conditions read several topics, so a backlog on one must not be judged against a later moment of another. Each topic has
a queue of decoded records with a key each, sorted because a key never falls below the one before it:

* a record whose effect is in the state already: `REREAD`, before everything, never waited for;
* in historical mode (from a historical tick to the next live one): `HISTORICAL` + its place in the replayed file, or the
  key before it where it has none;
* live: twice the event's time and one, twice a tick's `now`, or for a record that could not be decoded the key before it.
  So a late record, which is keyed by the tick that it came after, follows that tick on every topic, however the records
  were fetched.

`take` pops what may be applied now. A queue that is empty holds everything back while it is historical or has records on
the broker that are not here yet; a queue that is not empty but will need more is a bound with its last key.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from schemas.codec import Refusal
from services.signals.runtime.records import Item, Sequences, tick_of

REREAD: Final = -(1 << 63)
HISTORICAL: Final = -(1 << 62)
LIVE: Final = -(1 << 61)
"""Keys below this are re-reads or historical; event times (µs since 1970, year 1 and later) are above it."""


class TopicQueue:
    """Records of one topic, oldest first, with their sorted keys."""

    __slots__ = ("historical", "items", "keys")

    def __init__(self, historical: bool) -> None:
        self.keys: list[int] = []
        self.items: list[Item] = []
        self.historical = historical
        """Mode behind the last queued record: what the next one is keyed by."""

    def push(self, sequences: Sequences, items: list[Item], applied: int) -> None:
        """Queue records in offset order. Those at or below the offset `applied` are re-reads."""
        keys = self.keys
        add = keys.append
        top = keys[-1] if keys else REREAD
        for place, item in enumerate(items):
            event = item[4]
            if self.historical or item[2] is None or event.__class__ is Refusal or item[1] <= applied:
                if item[1] > applied:
                    top = max(top, self._key(None if sequences is None else sequences[place], item, top))
            else:
                key = 2 * event.time_us + 1  # type: ignore[union-attr]  # not a refusal
                if key > top:
                    top = key
                elif not top & 1:
                    top += 1  # late: behind the tick that it came after
            add(top)
        self.items += items

    def _key(self, sequence: int | None, item: Item, previous: int) -> int:
        event = item[4]
        tick = tick_of(item) if item[2] is None else None
        if tick is not None:
            self.historical = tick.historical
            if not tick.historical:
                return 2 * round(tick.now.timestamp() * 1e6)
        if self.historical:
            return max(previous, HISTORICAL) if sequence is None else HISTORICAL + sequence
        return previous if isinstance(event, Refusal) else 2 * event.time_us + 1

    def cut(self, count: int) -> list[Item]:
        """Remove and return the first `count` records."""
        if count == len(self.items):
            head, self.items, self.keys = self.items, [], []
            return head
        head = self.items[:count]
        del self.items[:count]
        del self.keys[:count]
        return head


class PartitionMerge:
    """The queues of one partition.

    `applied` and `historical` are per topic index, as the partition's state has them when it is opened. `order` lists the
    topic indices in the order in which records of equal keys are applied.
    """

    def __init__(self, applied: Sequence[int], historical: Sequence[bool], order: Sequence[int]) -> None:
        assert sorted(order) == list(range(len(applied)))
        self._applied = list(applied)
        self.historical = list(historical)
        """Per topic, whether the last tick taken there was historical."""
        self._order = tuple(order)
        self._queues = [TopicQueue(mode) for mode in historical]

    def push(self, topic: int, sequences: Sequences, items: list[Item]) -> None:
        """Queue fetched records of a topic, in offset order."""
        self._queues[topic].push(sequences, items, self._applied[topic])

    @property
    def queued(self) -> int:
        """Records queued over all topics."""
        return sum(len(queue.keys) for queue in self._queues)

    @property
    def is_historical(self) -> bool:
        """Whether a replay is under way on any topic, as far as it has been fetched."""
        return any(self.historical) or any(queue.historical for queue in self._queues)

    def take(self, limit: int, behind: Callable[[int], bool]) -> list[Item]:
        """Pop at most `limit` records that may be applied now, in the order to apply them.

        `behind(topic)` says that the broker has records of the topic that are not queued, or that this is not known.
        """
        taken: list[Item] = []
        for topic in self._order:
            queue = self._queues[topic]
            if queue.keys and queue.keys[0] == REREAD:
                taken += queue.cut(min(limit - len(taken), bisect_right(queue.keys, REREAD)))
        room = limit - len(taken)
        if room > 0:
            replaying = any(queue.keys and queue.keys[0] < LIVE for queue in self._queues)
            ready = self._ready(replaying, behind)
            if ready:
                popped = self._pop(ready, room)
                if replaying or self.is_historical:
                    self._follow(popped)
                taken += popped
        return taken

    def _ready(self, replaying: bool, behind: Callable[[int], bool]) -> list[tuple[int, int]]:
        """(topic, how many of its first records are due) in the order of topics; empty when something must be awaited."""
        queues = self._queues
        bound: tuple[int, int] | None = None  # last key of a queue that will need more, and its rank
        for rank, topic in enumerate(self._order):
            keys = queues[topic].keys
            if keys:
                if (bound is None or keys[-1] < bound[0]) and (keys[-1] < LIVE or behind(topic)):
                    bound = (keys[-1], rank)
            elif replaying or self.historical[topic] or behind(topic):
                return []
        ready: list[tuple[int, int]] = []
        for rank, topic in enumerate(self._order):
            keys = queues[topic].keys
            count = len(keys)
            if count and bound is not None:
                count = bisect_right(keys, bound[0]) if rank <= bound[1] else bisect_left(keys, bound[0])
            if count:
                ready.append((topic, count))
        return ready

    def _pop(self, ready: list[tuple[int, int]], room: int) -> list[Item]:
        if len(ready) == 1:
            topic, count = ready[0]
            popped = self._queues[topic].cut(min(count, room))
        else:
            keys: list[int] = []
            items: list[Item] = []
            for topic, count in ready:
                keys += self._queues[topic].keys[:count]
                items += self._queues[topic].items[:count]
            # Stable: equal keys stay in the order of topics. The runs are sorted, so timsort only merges them.
            popped = [items[i] for i in sorted(range(len(keys)), key=keys.__getitem__)[:room]]
            counts = [0] * len(self._queues)
            for item in popped:
                counts[item[0]] += 1
            for topic, _ in ready:
                self._queues[topic].cut(counts[topic])
        return popped

    def _follow(self, popped: list[Item]) -> None:
        """Modes change with the ticks that were taken."""
        for item in popped:
            if item[2] is None:
                tick = tick_of(item)
                if tick is not None:
                    self.historical[item[0]] = tick.historical
