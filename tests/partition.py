"""One partition of the core over a store in memory that survives restarts: records in, effects out, no shell."""

from __future__ import annotations

from schemas.codec import decode
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import load
from services.signals.core.partition import Effects, PartitionEngine

NEVER_FUTURE = 1 << 62


class Partition:
    """What it is given is applied at once; `take` ends an effect and keeps its state, and nothing else is done with it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.restart()

    def restart(self) -> None:
        """Go on from what the store has, as after a crash."""
        self.engine = PartitionEngine(0, INPUT_TOPICS, load(), self.store, partitions=1)
        self.engine.restore()

    def put(self, value: bytes, account: bytes = b"acme") -> None:
        """Apply a good event of an account as the next record of its topic."""
        event = decode("*", account, value)
        assert isinstance(event, Event), event
        topic = INPUT_TOPICS.index(EVENT_TYPES[event.type].topic)
        self.engine.apply(topic, self.engine.applied[topic] + 1, account, value, event, NEVER_FUTURE)

    def take(self, now_s: float = 0.0, *, behind: bool = False) -> Effects:
        """End an effect at `now_s` (monotonic seconds)."""
        effects = self.engine.take(1, now_s, behind=behind)
        for key, value in effects.state:
            if value is None:
                self.store.pop(key, None)
            else:
                self.store[key] = value
        return effects
