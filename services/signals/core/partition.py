"""One partition of accounts: records in, numbered effects out. Live engine, backtest and tests drive this same class.

It decides everything and does nothing: the shell reads records, hands them over in merged order, and carries out what
`take` returns, in the order in which `Effects` lists it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Protocol

import msgspec

from schemas.codec import Refusal
from schemas.envelope import Event
from schemas.signals import Transition
from services.signals.core import codec, transitions
from services.signals.core.codec import PartitionState, StateError
from services.signals.core.days import HOUR_US, NEVER, day_of, week_of
from services.signals.core.engine import Engine
from services.signals.core.health import health
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.signal import Catalogue
from services.signals.core.state import Account, IdChunk, fresh_account
from services.signals.core.windows import WEEKS

OWN_KEY: Final = codec.PARTITION
HEALTH_EVERY_S: Final = 5.0
IDS_INLINE: Final = 64
CHUNKS_MERGED: Final = 16
CACHED_ACCOUNTS: Final = 20_000
CACHED_USERS: Final = 2_000
TICK: Final = "clock.tick"

_encode_json: Final = msgspec.json.Encoder().encode


class StateStore(Protocol):
    """The local copy of this partition's state."""

    def get(self, key: bytes) -> bytes | None:
        """The stored record, or None."""

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Every record of this partition, in any order."""


@dataclass(slots=True)
class DeadLetter:
    """A refused record: where it was, its bytes, and why."""

    topic: int
    offset: int
    key: bytes | None
    value: bytes | None
    refusal: Refusal


@dataclass(slots=True)
class Effects:
    """What one effect does, in this order: dead letters, state, signals and health; then positions may be committed.

    `state` is appended as one record batch: (key, value or None to delete), the partition's own record last.
    """

    dead_letters: list[DeadLetter] = field(default_factory=list)
    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    signals: list[tuple[str, bytes, bytes, int]] = field(default_factory=list)
    health: list[tuple[bytes, bytes | None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.dead_letters or self.state or self.signals or self.health)


class PartitionEngine:
    """The accounts of one partition and the partition's own record."""

    def __init__(
        self,
        partition: int,
        topics: tuple[str, ...],
        catalogue: Catalogue,
        store: StateStore,
        *,
        partitions: int,
        dedupe_hours: int = 24,
        with_health: bool = True,
        sequence_after: int = 0,
    ) -> None:
        """`sequence_after`: accounts' sequence numbers go on above it, or above what the state says if that is more."""
        self.partition = partition
        self.topics = topics
        self.store = store
        self.partitions = partitions
        self.with_health = with_health
        self.transitions: list[Transition] = []
        self.keep_transitions = False
        self._dedupe_us = dedupe_hours * HOUR_US
        self._sequence_after = sequence_after
        self._engine = Engine(catalogue, self, self._emit)
        n = len(topics)
        self.state = PartitionState(
            partitions,
            applied=[-1] * n,
            clocks=[0] * n,
            historical=[False] * n,
            records=[0] * n,
            ticks=[0] * n,
            applied_count=[0] * n,
            duplicate=[0] * n,
            dead=[0] * n,
            unchecked=[0] * n,
        )
        self.clock = 0
        self._bucketed = topics.index("usage")
        self._known: dict[bytes, None] = {}
        self._accounts: dict[bytes, Account] = {}
        self._dirty: dict[bytes, Account] = {}
        self._removed: list[bytes] = []
        self._gone: list[bytes] = []
        self._resend: list[Account] = []
        self._dead: list[DeadLetter] = []
        self._signals: dict[bytes, list[tuple[str, bytes]]] = {}
        self._touched = False
        self._due: list[tuple[int, bytes]] = []
        self._queued: dict[bytes, int] = {}
        self._unqueued: dict[bytes, Account] = {}
        self._user_heaps: dict[bytes, list[tuple[int, str]]] = {}
        self._health_waiting: dict[bytes, None] = {}
        self._health_at: dict[bytes, float] = {}
        self._rolled_day = 0
        self.pending_bytes = 0

    # -- positions ------------------------------------------------------------------------------------------------

    @property
    def applied(self) -> list[int]:
        """Last applied offset per topic, -1 for none."""
        return self.state.applied

    @property
    def historical(self) -> list[bool]:
        """Per topic, whether the last tick consumed there was historical."""
        return self.state.historical

    @property
    def counters(self) -> dict[str, list[int]]:
        """Conservation per topic: records − ticks = applied + duplicate + dead."""
        s = self.state
        return {
            "records": s.records,
            "ticks": s.ticks,
            "applied": s.applied_count,
            "duplicate": s.duplicate,
            "dead": s.dead,
            "dedupe_unchecked": s.unchecked,
        }

    @property
    def dead_by_reason(self) -> dict[str, int]:
        """Dead letters per reason, over all topics."""
        return self.state.dead_by_reason

    def restore(self) -> None:
        """Read the stored state: the own record, the due index, and what the last effect may not have published.

        Raises StateError where the state was written for another number of partitions or cannot be read.
        """
        raw = self.store.get(OWN_KEY)
        if raw is None:
            return
        own = codec.decode_partition(OWN_KEY, raw)
        if own.partitions != self.partitions:
            raise StateError(
                f"the state was written for {own.partitions} partitions and the topics have {self.partitions}: "
                "accounts would be in two places. Use the old topics, or make new ones and replay into a new app id"
            )
        self.state = own
        n = len(self.topics)
        for counts in (own.records, own.ticks, own.applied_count, own.duplicate, own.dead, own.unchecked, own.clocks):
            counts.extend([0] * (n - len(counts)))
        own.applied.extend([-1] * (n - len(own.applied)))
        own.historical.extend([False] * (n - len(own.historical)))
        self.clock = min(own.clocks)
        self._rolled_day = day_of(self.clock)
        self._engine.historical = any(own.historical)
        self._engine.historical_until = own.historical_until
        last: list[bytes] = []
        for key, value in self.store.items():
            kind = key[:1]
            if kind == codec.ACCOUNT:
                _, effect, due = codec.header_of(value)
                self._known[key[1:]] = None
                if due < NEVER:
                    self._queue(key[1:], due)
                if effect == own.effect:
                    last.append(key[1:])
            elif kind == codec.USER:
                due = codec.header_of(value)[2]
                if due < NEVER:
                    account, user = codec.split_sub_key(key)
                    heapq.heappush(self._user_heaps.setdefault(account, []), (due, user))
                    self._queue(account, due)
        for account_key in sorted(last):
            self._touch(self._account(account_key))
            self._unqueued[account_key] = self._accounts[account_key]

    # -- records --------------------------------------------------------------------------------------------------

    def apply(
        self,
        topic: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        event: Event | Refusal,
        not_after: int,
    ) -> None:
        """Apply one record. `not_after` (µs) is the latest event time that is not in the future."""
        state = self.state
        if offset <= state.applied[topic]:
            self._reread(key)
            return
        self._touched = True
        if isinstance(event, Refusal):
            self._refuse(topic, offset, key, value, event)
        elif event.type == TICK:
            now = round(event.data.now.timestamp() * 1e6)
            if now > not_after:  # a forged or mad clock would age every account of the partition
                detail = f"the tick says {event.data.now.isoformat()}, more than 24 h after it was appended"
                self._refuse(topic, offset, key, value, Refusal("future", "data.now", detail))
            else:
                state.ticks[topic] += 1
                self.tick(topic, now, event.data.historical)
        elif event.time_us > not_after:
            detail = f"{event.time.isoformat()} is more than 24 h after it was appended; correct the sender's clock"
            self._refuse(topic, offset, key, value, Refusal("future", "time", detail))
        elif key is None:
            state.applied_count[topic] += 1
        else:
            self._keyed(topic, offset, key, value, event)
        state.records[topic] += 1
        state.applied[topic] = offset

    def _keyed(self, topic: int, offset: int, key: bytes, value: bytes | None, event: Event) -> None:
        state = self.state
        account = self._account(key)
        hot = account.hot
        self._touch(account)
        self._unqueued[key] = account
        if offset <= hot.offsets[topic]:
            state.applied_count[topic] += 1  # the account's record is newer than the partition's: it was applied before
            return
        self._engine.advance(account, self.clock)
        at = event.time_us
        clock = hot.clock
        if topic == self._bucketed and week_of(day_of(clock)) - week_of(day_of(at)) >= WEEKS:
            detail = f"{event.time.isoformat()} is more than {WEEKS} weeks before the account's clock"
            self._refuse(topic, offset, key, value, Refusal("too_old", "time", detail))
            return
        identity = int.from_bytes(blake2b(f"{event.source}\0{event.id}".encode(), digest_size=8).digest(), "big")
        if clock - at > self._dedupe_us:
            state.unchecked[topic] += 1
        elif self._seen(account, identity, clock):
            state.duplicate[topic] += 1
            hot.offsets[topic] = offset
            return
        else:
            hour = at // HOUR_US
            self._ids(account)[identity] = hour
            account.new_ids.append((identity, hour))
        if at > clock:
            self._engine.advance(account, at)
        hot.offsets[topic] = offset
        if event.type == "account.erased":
            self._erase(account)
        else:
            self._engine.apply(account, event, at)
        state.applied_count[topic] += 1

    def _reread(self, key: bytes | None) -> None:
        """A record that the state already has: what was concluded from it may not have been published."""
        if key is not None and self.store.get(codec.ACCOUNT + key) is not None:
            self._touch(self._account(key))

    def _refuse(self, topic: int, offset: int, key: bytes | None, value: bytes | None, refusal: Refusal) -> None:
        state = self.state
        state.dead[topic] += 1
        state.dead_by_reason[refusal.reason] = state.dead_by_reason.get(refusal.reason, 0) + 1
        self._dead.append(DeadLetter(topic, offset, key, value, refusal))

    def refusals(self) -> list[DeadLetter]:
        """The dead letters since the last call, for a run that has nowhere to send them."""
        letters, self._dead = self._dead, []
        return letters

    def poison(self, topic: int, offset: int, key: bytes | None, value: bytes | None, detail: str) -> None:
        """Count a record as a dead letter that cannot be applied without failing, and go past it."""
        if offset <= self.state.applied[topic]:
            return
        self._touched = True
        self._refuse(topic, offset, key, value, Refusal("poison", "", detail))
        self.state.records[topic] += 1
        self.state.applied[topic] = offset

    # -- time -----------------------------------------------------------------------------------------------------

    def tick(self, topic: int, now: int, historical: bool) -> None:
        """Everything appended to this topic before is older than `now` (µs). Wakes nobody: `work` does."""
        self._touched = True
        state = self.state
        state.clocks[topic] = max(state.clocks[topic], now)
        was = self._engine.historical
        state.historical[topic] = historical
        self._engine.historical = any(state.historical)
        self.clock = max(self.clock, min(state.clocks))
        if self._engine.historical:
            state.historical_until = self._engine.historical_until = max(state.historical_until, self.clock)
        if not self._engine.historical and (was or day_of(self.clock) > self._rolled_day):
            for key in self._known:
                self._queue(key, 0)
        self._rolled_day = day_of(self.clock)

    def work(self, limit: int) -> bool:
        """Wake up to `limit` accounts whose deadline the partition clock has reached. True when more wait."""
        self._queue_touched()
        while limit and self._due and self._due[0][0] <= self.clock:
            due, key = heapq.heappop(self._due)
            if self._queued.get(key) != due:
                continue
            del self._queued[key]
            account = self._account(key)
            if account.hot.erased:
                continue
            if due == 0 or account.next_due() <= self.clock:
                self._touch(account)
                account.health_urgent |= due == 0
                self._engine.advance(account, self.clock)
            self._queue(key, account.next_due())
            limit -= 1
        return bool(self._due) and self._due[0][0] <= self.clock

    def _queue_touched(self) -> None:
        for key, account in self._unqueued.items():
            self._queue(key, account.next_due())
        self._unqueued = {}

    def _queue(self, key: bytes, due: int) -> None:
        if due < self._queued.get(key, NEVER):
            self._queued[key] = due
            heapq.heappush(self._due, (due, key))

    # -- accounts -------------------------------------------------------------------------------------------------

    def _account(self, key: bytes) -> Account:
        account = self._accounts.get(key)
        if account is None:
            raw = self.store.get(codec.ACCOUNT + key)
            heap = self._user_heaps.setdefault(key, [])
            if raw is None:
                account = fresh_account(key, self.clock, len(self.topics))
                account.user_heap = heap
            else:
                history = self.store.get(codec.HISTORY + key)
                account = codec.decode_account(codec.ACCOUNT + key, raw, history, heap, len(self.topics))
                account.fresh = True
            self._accounts[key] = account
            self._known[key] = None
        return account

    def _touch(self, account: Account) -> None:
        """Mark an account as part of this effect. What its last effect concluded is published again after a restart."""
        if account.key in self._dirty:
            return
        self._dirty[account.key] = account
        self._touched = True
        hot = account.hot
        self.pending_bytes += 1500
        if account.fresh:
            account.fresh = False
            if hot.outbox:
                self._resend.append(account)
            account.health_urgent = True
        else:
            hot.outbox = []
            if account.health_published:
                hot.changed_days = []

    def user(self, account: Account, user_id: str) -> User:
        """The user's record, a new one if there is none. It will be stored."""
        user = account.users.get(user_id)
        if user is None:
            key = codec.sub_key(codec.USER, account.key, user_id)
            raw = self.store.get(key)
            user = User() if raw is None else codec.decode_user(key, raw)
            account.users[user_id] = user
        if user_id not in account.dirty_users:
            account.dirty_users.add(user_id)
            self.pending_bytes += 150
        return user

    def ticket(self, account: Account, ticket_id: str) -> Ticket | None:
        """The ticket, open or not."""
        found = account.hot.tickets.get(ticket_id) or account.tickets.get(ticket_id)
        if found is None:
            key = codec.sub_key(codec.TICKET, account.key, ticket_id)
            raw = self.store.get(key)
            if raw is not None:
                found = account.tickets[ticket_id] = codec.decode_ticket(key, raw)
        return found

    def invoice(self, account: Account, invoice_id: str) -> Invoice | None:
        """The invoice, open or not."""
        found = account.hot.invoices.get(invoice_id) or account.invoices.get(invoice_id)
        if found is None:
            key = codec.sub_key(codec.INVOICE, account.key, invoice_id)
            raw = self.store.get(key)
            if raw is not None:
                found = account.invoices[invoice_id] = codec.decode_invoice(key, raw)
        return found

    def _erase(self, account: Account) -> None:
        """Delete everything held of the account, but for offsets and the number of erasures."""
        self._engine.clear_all(account, "erased")
        key, hot = account.key, account.hot
        # An account's own and history key end in its name; sub-records are found by their prefix.
        prefix = len(key).to_bytes(2, "big") + key
        for stored, _ in self.store.items():  # noqa: PERF102  # a StateStore has no keys()
            if stored == codec.HISTORY + key or (stored[1:].startswith(prefix) and stored[:1] in SUB_KINDS):
                self._removed.append(stored)
        blank = fresh_account(key, hot.clock, len(self.topics))
        self._unqueued[key] = blank
        blank.hot.offsets = hot.offsets
        blank.hot.outbox = hot.outbox
        blank.hot.sequence = hot.sequence
        blank.hot.generation = hot.generation + 1
        blank.hot.erased = True
        self._accounts[key] = self._dirty[key] = blank
        self._user_heaps[key] = blank.user_heap
        self._gone.append(key)
        self._health_waiting.pop(key, None)

    # -- ids ------------------------------------------------------------------------------------------------------

    def _ids(self, account: Account) -> dict[int, int]:
        if account.ids is None:
            ids: dict[int, int] = {}
            for chunk in account.hot.id_chunks:
                key = codec.sub_key(codec.IDS, account.key, str(chunk.number))
                raw = self.store.get(key)
                if raw is not None:
                    ids.update(codec.decode_ids(key, raw))
            ids.update(account.hot.ids_recent)
            account.ids = ids
        return account.ids

    def _seen(self, account: Account, identity: int, clock: int) -> bool:
        hour = self._ids(account).get(identity)
        return hour is not None and hour >= (clock - self._dedupe_us) // HOUR_US

    def _store_ids(self, account: Account, epoch: int) -> list[tuple[bytes, bytes | None]]:
        """Keep new ids with the account until they fill a chunk; chunks are written once, merged, and expire by the hour."""
        hot = account.hot
        oldest = (hot.clock - self._dedupe_us) // HOUR_US
        writes: list[tuple[bytes, bytes | None]] = []

        def key_of(chunk: IdChunk) -> bytes:
            return codec.sub_key(codec.IDS, account.key, str(chunk.number))

        def write(ids: list[tuple[int, int]]) -> None:
            chunk = IdChunk(hot.next_chunk, len(ids), max(hour for _, hour in ids))
            hot.next_chunk += 1
            hot.id_chunks.append(chunk)
            writes.append((key_of(chunk), codec.encode_ids(ids, epoch, self.state.effect)))

        expired = [chunk for chunk in hot.id_chunks if chunk.newest_hour < oldest]
        if expired:
            writes += [(key_of(chunk), None) for chunk in expired]
            hot.id_chunks = [chunk for chunk in hot.id_chunks if chunk.newest_hour >= oldest]
            if account.ids is not None:
                account.ids = {identity: hour for identity, hour in account.ids.items() if hour >= oldest}
        hot.ids_recent = [entry for entry in (*hot.ids_recent, *account.new_ids) if entry[1] >= oldest]
        account.new_ids = []
        if len(hot.ids_recent) > IDS_INLINE:
            write(hot.ids_recent)
            hot.ids_recent = []
        small = [chunk for chunk in hot.id_chunks if chunk.size < IDS_INLINE * CHUNKS_MERGED]
        if len(small) >= CHUNKS_MERGED:
            numbers = {chunk.number for chunk in small}
            merged: list[tuple[int, int]] = []
            pending = dict(writes)
            for chunk in small:
                key = key_of(chunk)
                raw = pending.get(key) or self.store.get(key)
                if raw is not None:
                    merged += [entry for entry in codec.decode_ids(key, raw) if entry[1] >= oldest]
                writes.append((key, None))
            hot.id_chunks = [chunk for chunk in hot.id_chunks if chunk.number not in numbers]
            if merged:
                write(merged)
        return list(dict(writes).items())

    # -- effects --------------------------------------------------------------------------------------------------

    def _emit(self, account: Account, topic: str, change: Transition) -> None:
        if self.keep_transitions:
            self.transitions.append(change)
            return
        value = transitions.encode(change)
        account.hot.outbox = [*account.hot.outbox, (topic, value)]
        self._signals.setdefault(account.key, []).append((topic, value))
        self.pending_bytes += len(value)

    def health_due(self) -> bool:
        """Whether health records wait for their account's turn."""
        return bool(self._health_waiting)

    def take(self, epoch: int, now_s: float) -> Effects:
        """End one effect: everything that changed since the last one, encoded. `now_s` is monotonic seconds."""
        effects = Effects()
        if not self._touched and not self._health_waiting:
            return effects
        state = self.state
        live = not self._engine.historical
        if self._touched:
            state.effect += 1
        self._queue_touched()
        effects.dead_letters = self._dead
        effects.health += [(key, None) for key in self._gone]
        for account in self._dirty.values():
            hot = account.hot
            hot.sequence = max(hot.sequence, self._sequence_after) + 1
            writes = [] if hot.erased else self._store_ids(account, epoch)
            if self.with_health and not hot.erased:
                turn = self._health_at.get(account.key, -HEALTH_EVERY_S) + HEALTH_EVERY_S <= now_s
                if account.health_urgent or (live and turn):
                    self._publish_health(effects, account, now_s)
                else:
                    self._health_waiting[account.key] = None
                    account.health_published = False
            effects.state += self._records_of(account, epoch, writes)
            key = account.key
            effects.signals += [(topic, key, value, hot.sequence) for topic, value in self._signals.get(key, [])]
            if len(account.users) > CACHED_USERS:
                account.users = {}
        for account in self._resend:
            new = len(self._signals.get(account.key, []))
            kept = account.hot.outbox[: len(account.hot.outbox) - new]
            effects.signals[:0] = [(topic, account.key, value, account.hot.sequence) for topic, value in kept]
        if self._health_waiting and live:
            self._publish_waiting(effects, now_s)
        written = {key for key, _ in effects.state}
        effects.state += [(key, None) for key in self._removed if key not in written]
        if self._touched:
            effects.state.append((OWN_KEY, codec.encode_partition(state, epoch)))
        self._dirty, self._dead, self._signals = {}, [], {}
        self._resend, self._removed, self._gone = [], [], []
        self._touched = False
        self.pending_bytes = 0
        self._trim()
        return effects

    def _records_of(
        self, account: Account, epoch: int, ids: list[tuple[bytes, bytes | None]]
    ) -> list[tuple[bytes, bytes | None]]:
        """The account's changed records, its own last."""
        key, effect = account.key, self.state.effect
        records: list[tuple[bytes, bytes | None]] = [*ids]
        for user_id in sorted(account.dirty_users):
            value = codec.encode_user(account.users[user_id], epoch, effect)
            records.append((codec.sub_key(codec.USER, key, user_id), value))
        for ticket_id in sorted(account.dirty_tickets):
            value = codec.encode_ticket(account.tickets[ticket_id], epoch, effect)
            records.append((codec.sub_key(codec.TICKET, key, ticket_id), value))
        for invoice_id in sorted(account.dirty_invoices):
            value = codec.encode_invoice(account.invoices[invoice_id], epoch, effect)
            records.append((codec.sub_key(codec.INVOICE, key, invoice_id), value))
        if account.windows.stale_history:
            records.append((codec.HISTORY + key, codec.encode_history(account, epoch, effect)))
            account.windows.stale_history = False
        waiting = key in self._health_waiting  # due at once after a restart: its health was not published
        records.append((codec.ACCOUNT + key, codec.encode_account(account, epoch, effect, waiting)))
        account.dirty_users, account.dirty_tickets, account.dirty_invoices = set(), set(), set()
        account.tickets, account.invoices = {}, {}
        return records

    def _publish_health(self, effects: Effects, account: Account, now_s: float) -> None:
        historical = self._engine.historical
        record = health(account, historical=historical, all_days=account.health_urgent and not historical)
        effects.health.append((account.key, _encode_json(record)))
        account.health_urgent = False
        account.health_published = True
        self._health_at[account.key] = now_s
        self._health_waiting.pop(account.key, None)

    def _publish_waiting(self, effects: Effects, now_s: float) -> None:
        for key in list(self._health_waiting):
            if self._health_at.get(key, -HEALTH_EVERY_S) + HEALTH_EVERY_S <= now_s:
                self._publish_health(effects, self._account(key), now_s)

    def _trim(self) -> None:
        """Forget decoded accounts beyond the cache's size, the longest held first. Their records are in the store."""
        for key in list(self._accounts)[: max(0, len(self._accounts) - CACHED_ACCOUNTS)]:
            del self._accounts[key]


SUB_KINDS: Final = (codec.USER, codec.TICKET, codec.INVOICE, codec.IDS)
epoch_of = codec.epoch_of

__all__ = ["DeadLetter", "Effects", "PartitionEngine", "StateError", "StateStore", "epoch_of"]
