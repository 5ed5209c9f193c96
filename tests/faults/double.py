"""A small stand-in for the engine that notices everything a shell can do wrong, and a process that runs it.

Per account it keeps the number of events, a sum over their ids (any order) and a running hash over ids and partition
clocks (this order only). Every fifth event is a transition whose value says which events came before it. It skips
re-reads by the partition's own record alone, so an effect that were not written as a whole would count wrong.
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    # As `ebbtide serve` does: told to stop while the code is loaded, there is nothing to take down yet.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from schemas.codec import Refusal
from schemas.events.control import Tick
from schemas.signals import RISK_TOPIC
from services.common.settings import Settings
from services.signals.runtime.main import Core, run

OWN = b"\0own"
EVERY = 5
_ACCOUNT = struct.Struct("<IQQQ8sH")
_PARTITION = struct.Struct("<IQ5q5q5?4Q")


class Store(Protocol):
    def get(self, key: bytes) -> bytes | None: ...
    def items(self) -> Iterable[tuple[bytes, bytes]]: ...


@dataclass
class Account:
    effect: int = 0
    count: int = 0
    total: int = 0
    ordered: bytes = bytes(8)
    outbox: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, event_id: str, clock: int) -> None:
        digest = hashlib.blake2b(event_id.encode(), digest_size=8).digest()
        self.count += 1
        self.total = (self.total + int.from_bytes(digest, "little")) % (1 << 64)
        self.ordered = hashlib.blake2b(self.ordered + digest + b"%d" % clock, digest_size=8).digest()

    def encode(self, epoch: int) -> bytes:
        head = _ACCOUNT.pack(epoch, self.effect, self.count, self.total, self.ordered, len(self.outbox))
        return head + b"".join(struct.pack("<Q8s", *entry) for entry in self.outbox)


def decode_account(value: bytes) -> Account:
    _, effect, count, total, ordered, waiting = _ACCOUNT.unpack_from(value)
    outbox = [struct.unpack_from("<Q8s", value, _ACCOUNT.size + 16 * place) for place in range(waiting)]
    return Account(effect, count, total, ordered, outbox)


def epoch_of(value: bytes) -> int:
    return int.from_bytes(value[:4], "little")


@dataclass
class Letter:
    topic: int
    offset: int
    key: bytes | None
    value: bytes | None
    refusal: Refusal


@dataclass
class Taken:
    dead_letters: list[Letter] = field(default_factory=list)
    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    signals: list[tuple[str, bytes, bytes, int]] = field(default_factory=list)
    health: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    near_cap: tuple[()] = ()

    def __bool__(self) -> bool:
        return bool(self.dead_letters or self.state or self.signals or self.health)


class DoubleEngine:
    """The engine's seam over the accounts above. An event whose id begins with `crash` raises."""

    def __init__(self, partition: int, store: Store, topics: int = 5) -> None:
        self.partition = partition
        self.store = store
        self.applied = [-1] * topics
        self.historical = [False] * topics
        self.clocks = [0] * topics
        self.clock = 0
        self.effect = 0
        self.totals = dict.fromkeys(("records", "ticks", "applied", "dead"), 0)
        self.dead_by_reason: dict[str, int] = {}
        self.over_cap = 0
        self.near_cap: dict[str, int] = {}
        self.pending_bytes = 0
        self._accounts: dict[bytes, Account] = {}
        self._dirty: set[bytes] = set()
        self._fresh: set[bytes] = set()
        self._taken = Taken()
        self._touched = False

    @property
    def counters(self) -> dict[str, list[int]]:
        return {name: [total] for name, total in self.totals.items()}

    def restore(self) -> None:
        raw = self.store.get(OWN)
        if raw is None:
            return
        _, self.effect, *rest = _PARTITION.unpack(raw)
        self.applied, self.clocks, self.historical = rest[:5], rest[5:10], [bool(mode) for mode in rest[10:15]]
        self.totals = dict(zip(self.totals, rest[15:], strict=True))
        self.clock = min(self.clocks)
        for key, value in self.store.items():
            if key != OWN and decode_account(value).effect == self.effect:
                self._touch(key)

    def _touch(self, key: bytes) -> Account:
        account = self._accounts.get(key)
        if account is None:
            raw = self.store.get(key)
            account = self._accounts[key] = Account() if raw is None else decode_account(raw)
            if raw is not None:
                self._fresh.add(key)
        if key not in self._dirty:
            self._dirty.add(key)
            self._touched = True
            self.pending_bytes += 100
            if key in self._fresh:
                self._fresh.discard(key)
                self._taken.signals += [self._signal(key, *entry) for entry in account.outbox]
            else:
                account.outbox = []
        return account

    @staticmethod
    def _signal(key: bytes, count: int, ordered: bytes) -> tuple[str, bytes, bytes, int]:
        return RISK_TOPIC, key, b"%s:%d=%s" % (key, count, ordered.hex().encode()), count

    def in_turn(self, items: Iterable[Any]) -> Iterator[Any]:
        return iter(items)

    def apply(
        self, topic: int, offset: int, key: bytes | None, value: bytes | None, event: Any, not_after: int
    ) -> None:
        if offset <= self.applied[topic]:
            if key is not None and self.store.get(key) is not None:
                self._touch(key)
            return
        if not isinstance(event, Refusal) and event.id.startswith("crash"):
            raise ValueError(event.id)
        self._touched = True
        self.applied[topic] = offset
        self.totals["records"] += 1
        if isinstance(event, Refusal):
            self.totals["dead"] += 1
            self._taken.dead_letters.append(Letter(topic, offset, key, value, event))
        elif isinstance(event.data, Tick):
            self.totals["ticks"] += 1
            self.clocks[topic] = max(self.clocks[topic], round(event.data.now.timestamp() * 1e6))
            self.historical[topic] = event.data.historical
            self.clock = min(self.clocks)
        else:
            self.totals["applied"] += 1
            if key is not None:
                account = self._touch(key)
                account.add(event.id, self.clock)
                if account.count % EVERY == 0:
                    account.outbox.append((account.count, account.ordered))
                    self._taken.signals.append(self._signal(key, account.count, account.ordered))

    def work(self, limit: int) -> bool:
        return False

    def health_due(self) -> bool:
        return False

    def take(self, epoch: int, now_s: float, *, behind: bool = False) -> Taken:
        taken, self._taken = self._taken, Taken()
        if self._touched:
            self.effect += 1
            for key in sorted(self._dirty):
                account = self._accounts[key]
                account.effect = self.effect
                taken.state.append((key, account.encode(epoch)))
            own = _PARTITION.pack(
                epoch, self.effect, *self.applied, *self.clocks, *self.historical, *self.totals.values()
            )
            taken.state.append((OWN, own))
        self._dirty.clear()
        self._touched = False
        self.pending_bytes = 0
        return taken


def core(config: Settings) -> Core:
    return Core(lambda partitions: DoubleEngine, epoch_of)


if __name__ == "__main__":
    run(core)
