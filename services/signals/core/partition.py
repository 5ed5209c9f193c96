"""One partition of accounts: records in, numbered effects out. Live engine, backtest and tests drive this same class.

It decides everything and does nothing: the shell reads records, hands them over in merged order, and carries out what
`take` returns, in the order in which `Effects` lists it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import islice
from operator import gt, itemgetter
from typing import Final, Protocol

import msgspec

from schemas.codec import Refusal
from schemas.envelope import Event, from_us
from schemas.events import EVENT_TYPES
from schemas.signals import Transition
from services.signals.core import codec, transitions
from services.signals.core.caps import Near, near
from services.signals.core.codec import Broadcast, Midway, Numbered, PartitionState, StateError
from services.signals.core.days import DAY_US, HOUR_US, NEVER, day_of, week_of
from services.signals.core.dossier import Dossier
from services.signals.core.engine import Engine
from services.signals.core.health import health
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.signal import Catalogue, Fact
from services.signals.core.state import PORTFOLIO_KEY, Account, IdChunk, fresh_account
from services.signals.core.windows import WEEKS

OWN_KEY: Final = codec.PARTITION
HEALTH_EVERY_S: Final = 5.0
HEALTH_BEHIND_S: Final = 30.0
"""While a backlog is worked off: what is said of an account then is old the next moment, and costs as much as ten events."""
IDS_INLINE: Final = 64
CHUNKS_MERGED: Final = 16
CACHED_ACCOUNTS: Final = 32_000
CACHED_USERS: Final = 20_000
USERS_INLINE: Final = 16
HOT_BYTES: Final = 1000
"""An account's hot record has at most so much where it is enough for that that the days of its users wait elsewhere. One that
is larger by what is open is written once, and keeps them."""
DAY_BYTES: Final = 4
"""What a user's day takes there beside the user's id, at least."""
WEEKS_US: Final = (WEEKS - 1) * 7 * DAY_US
ERASED: Final = EVENT_TYPES["account.erased"].event
RELEASED: Final = EVENT_TYPES["feature.released"].event
BROADCASTS_KEPT: Final = 64
MEASURED: Final = EVENT_TYPES["portfolio.measured"].event
STALE: Final = EVENT_TYPES["source.stale"].event
FRESH: Final = EVENT_TYPES["source.fresh"].event
FEEDS_OF_ACCOUNT: Final = 16
SOURCES_REMEMBERED: Final = 1000
TICK: Final = EVENT_TYPES["clock.tick"].event
ID_MODULUS: Final = (1 << 64) - 59
"""The largest prime of 64 bits: an id is the residue of its bytes, so ids that differ in one place only never meet."""

Item = tuple[int, int, bytes | None, bytes | None, Event | Refusal, int]
"""One record, as `PartitionEngine.apply` takes it."""

_key_of: Final = itemgetter(2)
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
    near_cap: list[Near] = field(default_factory=list)
    """Nothing to do: accounts that have come near to a cap with this effect, for the shell to tell."""

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
            catalogue=catalogue.digest,
        )
        self._engine.world = self.state.world
        self._own: tuple[int, ...] = ()
        self._counted_since: dict[str, dt.datetime] = {}
        self._number_measures(0)
        self.clock = 0
        self._bucketed = topics.index("usage")
        self._known: dict[bytes, None] = {}
        self._accounts: dict[bytes, Account] = {}
        self._dirty: dict[bytes, Account] = {}
        self._removed: set[bytes] = set()
        self._gone: list[bytes] = []
        self._resend: list[Account] = []
        self._dead: list[DeadLetter] = []
        self._signals: dict[bytes, list[tuple[str, bytes]]] = {}
        self._touched = False
        self._midway: Midway | None = None
        self._due: list[tuple[int, bytes]] = []
        self._queued: dict[bytes, int] = {}
        self._user_heaps: dict[bytes, list[tuple[int, str]]] = {}
        self._health_waiting: dict[bytes, float] = {}  # each one's turn
        self._health_at: dict[bytes, float] = {}
        self._health_turns: list[tuple[float, bytes]] = []
        self._rolled_day = 0
        self._feeds: list[dict[str, int]] = [{} for _ in topics]
        self._cached_users = 0
        self._near_cap: dict[bytes, set[str]] = {}
        self._arming = False  # the rules are others than those that deadlines were named by: each account is woken once
        self.pending_bytes = 0

    @property
    def judge_everything(self) -> bool:
        """Whether every signal is judged after every event and at every midnight: slow, and the same transitions."""
        return self._engine.naive

    @judge_everything.setter
    def judge_everything(self, everything: bool) -> None:
        self._engine.naive = everything

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

    @property
    def over_cap(self) -> int:
        """How often something of an account was not kept because it had as much as is kept."""
        return self.state.over_cap

    @property
    def near_cap(self) -> dict[str, int]:
        """Accounts that are near to a cap, or at it, by collection; of those that were touched since the restart."""
        return dict(Counter(name for names in self._near_cap.values() for name in names))

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
        self._engine.world = own.world
        n = len(self.topics)
        for counts in (own.records, own.ticks, own.applied_count, own.duplicate, own.dead, own.unchecked, own.clocks):
            counts.extend([0] * (n - len(counts)))
        own.applied.extend([-1] * (n - len(own.applied)))
        own.historical.extend([False] * (n - len(own.historical)))
        for cut in own.midways:
            for offsets in (cut.ends, cut.reached):
                offsets.extend([-1] * (n - len(offsets)))
        self.clock = min(own.clocks)
        self._number_measures(self.clock)
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
                    heappush(self._user_heaps.setdefault(account, []), (due, user))
                    self._queue(account, due)
        if own.catalogue != self._engine.catalogue.digest:
            self._arming = True
            for key in self._known:
                self._queue(key, 0)
        if own.hearing >= 0:
            for key in self._known:
                self._queue(key, own.hearing)
        for account_key in sorted(last):
            self._touch(self._account(account_key))

    def _number_measures(self, since: int) -> None:
        """Give each operators' measure the number that its counts are stored under. A new one is counted from `since` (µs) on.

        One that was taken out of the file, or means something else now, is another: its counts would have a hole.
        """
        state, known = self.state, self.state.measures
        state.measures = {}
        for measure in self._engine.catalogue.measures:
            numbered = known.get(measure.key)
            if numbered is None:
                state.measures_ever += 1
                numbered = Numbered(state.measures_ever, since)
            state.measures[measure.key] = numbered
        self._own = tuple(numbered.number for numbered in state.measures.values())
        since_of = {key.partition(":")[0]: numbered.since for key, numbered in state.measures.items()}
        self._counted_since = {name: from_us(at) for name, at in since_of.items() if at}

    # -- records --------------------------------------------------------------------------------------------------

    def in_turn(self, items: Sequence[Item]) -> Iterator[Item]:
        """Consecutive records in the order in which they cost least: between two broadcasts, account by account.

        Accounts do not look at one another, so only the order within each matters. Each record is to be applied before the
        next is asked for. What an account needs is then in the processor's cache for all of its records: of 16,000 records
        of 5,000 accounts each costs a third less. `applied` moves on when such a run ends; an effect that is taken within
        one says where it stands (`Midway`).
        """
        first = 0
        for place, item in enumerate(items):
            if item[2] is None:
                yield from self._by_account(items[first:place])
                yield item
                first = place + 1
        yield from self._by_account(items[first:])

    def _by_account(self, items: Sequence[Item]) -> Iterator[Item]:
        if not items:
            return
        state = self.state
        ends = [*state.applied]
        for topic, offset, *_ in items:
            ends[topic] = max(ends[topic], offset)
        midway = self._midway = Midway(ends, b"", [])
        for item in sorted(items, key=_key_of):
            if item[2] != midway.key or not midway.reached:
                midway.key, midway.reached = item[2] or b"", [-1] * len(ends)
            midway.reached[item[0]] = item[1]
            yield item
        self._midway = None
        state.applied = ends
        state.midways = [cut for cut in state.midways if any(map(gt, cut.ends, ends))]

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
        if offset <= state.applied[topic] or (state.midways and self._was_applied(topic, offset, key)):
            self._reread(key)
            return
        self._touched = True
        if isinstance(event, Refusal):
            self._refuse(topic, offset, key, value, event)
        elif event.__class__ is TICK:
            now = round(event.data.now.timestamp() * 1e6)
            if now > not_after:  # a forged or mad clock would age every account of the partition
                detail = f"the tick says {event.data.now.isoformat()}, more than 24 h after it was appended"
                self._refuse(topic, offset, key, value, Refusal("future", "data.now", detail))
            else:
                state.ticks[topic] += 1
                self.tick(topic, now, event.data.historical)
        elif (at := event.time_us) > not_after:
            detail = f"{event.time.isoformat()} is more than 24 h after it was appended; correct the sender's clock"
            self._refuse(topic, offset, key, value, Refusal("future", "time", detail))
        elif key is None:
            self._broadcast(event, at)
            state.applied_count[topic] += 1
        else:
            self._keyed(topic, offset, key, value, event, at)
        state.records[topic] += 1
        if self._midway is None:
            state.applied[topic] = offset

    def _was_applied(self, topic: int, offset: int, key: bytes | None) -> bool:
        """Whether an effect that was cut before a restart has this record already."""
        return key is not None and any(cut.has(topic, offset, key) for cut in self.state.midways)

    def _keyed(self, topic: int, offset: int, key: bytes, value: bytes | None, event: Event, at: int) -> None:
        state = self.state
        account = self._accounts.get(key) or self._account(key)
        hot = account.hot
        if not account.dirty:
            self._touch(account)
        if offset <= hot.offsets[topic]:
            state.applied_count[topic] += 1  # the account's record is newer than the partition's: it was applied before
            return
        clock = hot.clock
        if hot.heard != state.broadcasts:
            self._hear(account)
            clock = hot.clock
        if self.clock > clock:
            self._engine.advance(account, self.clock)
            clock = hot.clock
        if clock - at > WEEKS_US and topic == self._bucketed and week_of(day_of(clock)) - week_of(day_of(at)) >= WEEKS:
            detail = f"{event.time.isoformat()} is more than {WEEKS} weeks before the account's clock"
            self._refuse(topic, offset, key, value, Refusal("too_old", "time", detail))
            return
        if clock - at > self._dedupe_us:
            state.unchecked[topic] += 1
        else:
            # The terminator keeps an id apart from the same one with zero bytes behind it.
            text = f"{event.source}\0{event.id}\1".encode()
            identity = (int.from_bytes(text, "little") % ID_MODULUS).to_bytes(8, "little")
            ids = account.ids
            if ids is None:
                ids = self._ids(account)
            if (identity in ids or hot.ids_1) and self._seen(account, event, identity, clock):
                state.duplicate[topic] += 1
                hot.offsets[topic] = offset
                return
            hour = at // HOUR_US
            ids[identity] = hour
            new = account.new_ids.get(hour)
            if new is None:
                account.new_ids[hour] = bytearray(identity)
            else:
                new += identity
        if at > clock:
            if at >= account.wake or at >= account.tomorrow:
                self._engine.advance(account, at)
            else:
                hot.clock = at
        hot.offsets[topic] = offset
        feed = self._feeds[topic].get(event.source)
        if feed is None or not account.fed_today >> feed & 1:
            self._fed(account, topic, event.source, at)
        if event.__class__ is ERASED:
            self._erase(account)
        else:
            self._engine.apply(account, event, at)
        state.applied_count[topic] += 1

    def _fed(self, account: Account, topic: int, source: str, at: int) -> None:
        """Note that a source sent something of an account."""
        known = self._feeds[topic]
        feed = known.get(source)
        if feed is None:
            if len(known) >= SOURCES_REMEMBERED:
                known.clear()
            feed = known[source] = self.state.world.feed(self.topics[topic], source)
        fed, day = account.hot.fed, at // DAY_US
        if fed.get(feed, -1) < day:
            fed[feed] = day
            if len(fed) > FEEDS_OF_ACCOUNT:
                del fed[min(fed, key=fed.__getitem__)]
        if day >= account.windows.today:
            account.fed_today |= 1 << feed

    def _broadcast(self, event: Event, at: int) -> None:
        """Keep what was said to every account. What it changes for the portfolio, and for every account, is judged."""
        world = self.state.world
        kind = event.__class__
        if kind is RELEASED:
            if world.release(event.data.feature, at, advanced=event.data.advanced):
                self._tell_accounts(max(at, self.clock), Fact.RELEASES)
        elif kind is MEASURED:
            at = max(at, self.clock)
            news, benchmarks = world.measured(event.data, at)
            if news:
                self._tell_portfolio(at, Fact.PORTFOLIO)
            if benchmarks and any(self._engine.catalogue.reading(Fact.PORTFOLIO)):
                self._tell_accounts(at, Fact.PORTFOLIO)
        elif kind is STALE or kind is FRESH:
            # Deadlines up to the clock may have been judged, or not: they are judged as if nobody had been told yet.
            known = max(at, self.clock + 1)
            data = event.data
            if PORTFOLIO_KEY in self._known:
                self._tell_portfolio(max(at, self.clock), 0)
            if kind is FRESH:
                told = world.fresh(data.topic, data.source, known)
            else:
                told = world.stale(data.topic, data.source, round(data.since.timestamp() * 1e6), known)
            if told:
                self._tell_portfolio(max(at, self.clock), Fact.SOURCES)

    def _tell_portfolio(self, at: int, facts: int) -> None:
        """Judge the signals of the portfolio: every partition is told, and one says it."""
        if self.partition == 0 and self._engine.catalogue.portfolio_scope:
            account = self._account(PORTFOLIO_KEY)
            self._touch(account)
            self._engine.hear(account, at, facts)

    def _tell_accounts(self, at: int, facts: int) -> None:
        """Each account hears it before anything later happens to it: all are woken, in slices."""
        state = self.state
        state.broadcasts += 1
        state.hearing = max(state.hearing, at)
        state.pending.append(Broadcast(state.broadcasts, at, facts))
        del state.pending[:-BROADCASTS_KEPT]
        for key in self._known:
            self._queue(key, at)

    def _hear(self, account: Account) -> None:
        """Apply the broadcasts that this account has not heard yet, in their order."""
        hot = account.hot
        heard = hot.heard
        hot.heard = self.state.broadcasts
        for said in self.state.pending:
            if said.number > heard:
                self._engine.hear(account, said.at, said.facts)

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
            due, key = heappop(self._due)
            if self._queued.get(key) != due:
                continue
            del self._queued[key]
            account = self._account(key)
            if account.hot.erased:
                continue
            if due == 0 or account.wake <= self.clock or account.hot.heard != self.state.broadcasts:
                self._touch(account)
                if account.hot.heard != self.state.broadcasts:
                    self._hear(account)
                if due == 0:
                    account.health_urgent = account.health_whole = True
                self._engine.advance(account, self.clock)
            self._queue(key, account.next_due())
            limit -= 1
        if self._arming and not (self._due and self._due[0][0] == 0):
            self._arming = False
            self.state.catalogue = self._engine.catalogue.digest
            self._touched = True
        if self.state.hearing >= 0 and not (self._due and self._due[0][0] <= self.state.hearing):
            self.state.hearing = -1
            self._touched = True
        return bool(self._due) and self._due[0][0] <= self.clock

    def _queue_touched(self) -> None:
        for key, account in self._dirty.items():
            if account.wake < self._queued.get(key, NEVER) and not account.hot.erased:
                self._queue(key, account.wake)

    def _queue(self, key: bytes, due: int) -> None:
        if due < self._queued.get(key, NEVER):
            self._queued[key] = due
            heappush(self._due, (due, key))

    # -- accounts -------------------------------------------------------------------------------------------------

    def _account(self, key: bytes) -> Account:
        account = self._accounts.get(key)
        if account is None:
            raw = self.store.get(codec.ACCOUNT + key)
            heap = self._user_heaps.setdefault(key, [])
            if raw is None:
                account = fresh_account(key, self.clock, len(self.topics), self._own)
                account.user_heap = heap
                account.ids = {}
                account.hot.heard = self.state.broadcasts
                account.cold, account.told = codec.NO_COLD, codec.NO_TOLD
            else:
                read, topics, own = self.store.get, len(self.topics), self._own
                account = codec.decode_account(codec.ACCOUNT + key, raw, read, heap, topics, self._dossier, own)
                account.fresh = True
                if account.hot.catalogue != self._engine.catalogue.digest and not account.hot.erased:
                    self._engine.arm(account)
            self._accounts[key] = account
            self._known[key] = None
        return account

    def _dossier(self, key: bytes) -> Dossier:
        """An account's dossier, a new one if there is none."""
        raw = self._stored(codec.DOSSIER + key)
        return Dossier() if raw is None else codec.decode_dossier(codec.DOSSIER + key, raw)

    def _stored(self, key: bytes) -> bytes | None:
        """A stored sub-record. What an erasure of this effect removes is gone, although the store has it still."""
        return None if key in self._removed else self.store.get(key)

    def _touch(self, account: Account) -> None:
        """Mark an account as part of this effect. What its last effect concluded is published again after a restart."""
        if account.dirty:
            return
        account.dirty = True
        self._dirty[account.key] = account
        self._touched = True
        hot = account.hot
        self.pending_bytes += 1500
        if account.fresh:
            account.fresh = False
            if hot.outbox:
                self._resend.append(account)
            account.health_urgent = account.health_whole = True
        else:
            hot.outbox = []
            if account.health_published:
                hot.changed_days = []

    def user(self, account: Account, user_id: str) -> User:
        """The user's record, a new one if there is none."""
        user = account.users.get(user_id)
        if user is None:
            key = codec.sub_key(codec.USER, account.key, user_id)
            raw = self._stored(key)
            user = User() if raw is None else codec.decode_user(key, raw)
            account.users[user_id] = user
            self._cached_users += 1
        return user

    def changed(self, account: Account, user_id: str) -> None:
        """The user's record was changed: it will be stored."""
        if user_id not in account.dirty_users:
            account.dirty_users[user_id] = None
            self.pending_bytes += 150

    def active(self, account: Account, user_id: str, day: int) -> int:
        """Note that a user was active on a day. The user's last active day before, -1 for none; `day` may be older.

        The last few users' days wait in the account's own record, so that a day of a small team writes one record.
        """
        waiting = account.hot.users_active
        before = waiting.get(user_id)
        if before is None:
            before = account.seen_users.get(user_id)
            if before is None:
                before = self.user(account, user_id).last_active_day
        if day <= before:
            account.seen_users[user_id] = before
            return before
        if len(waiting) >= USERS_INLINE and user_id not in waiting:
            self._spill_users(account)
            waiting = account.hot.users_active
        waiting[user_id] = day
        return before

    def _spill_users(self, account: Account) -> None:
        """The days that wait in the account's own record go to their users' records."""
        for user_id, day in account.hot.users_active.items():
            self.user(account, user_id).last_active_day = day
            self.changed(account, user_id)
            account.seen_users[user_id] = day
            self._cached_users += 1
        account.hot.users_active = {}

    def ticket(self, account: Account, ticket_id: str) -> Ticket | None:
        """The ticket, open or not."""
        found = account.hot.tickets.get(ticket_id) or account.tickets.get(ticket_id)
        if found is None:
            key = codec.sub_key(codec.TICKET, account.key, ticket_id)
            raw = self._stored(key)
            if raw is not None:
                found = account.tickets[ticket_id] = codec.decode_ticket(key, raw)
        return found

    def invoice(self, account: Account, invoice_id: str) -> Invoice | None:
        """The invoice, open or not."""
        found = account.hot.invoices.get(invoice_id) or account.invoices.get(invoice_id)
        if found is None:
            key = codec.sub_key(codec.INVOICE, account.key, invoice_id)
            raw = self._stored(key)
            if raw is not None:
                found = account.invoices[invoice_id] = codec.decode_invoice(key, raw)
        return found

    def _erase(self, account: Account) -> None:
        """Delete everything held of the account, but for offsets and the number of erasures."""
        self._engine.clear_all(account, "erased")
        key, hot = account.key, account.hot
        # An account's own and history key end in its name; sub-records are found by their prefix.
        prefix = len(key).to_bytes(2, "big") + key
        own = (codec.HISTORY + key, codec.DOSSIER + key)
        for stored, _ in self.store.items():  # noqa: PERF102  # a StateStore has no keys()
            if stored in own or (stored[1:].startswith(prefix) and stored[:1] in SUB_KINDS):
                self._removed.add(stored)
        blank = fresh_account(key, hot.clock, len(self.topics), self._own)
        blank.dirty = True
        blank.ids = {}
        blank.hot.offsets = hot.offsets
        blank.hot.outbox = hot.outbox
        blank.hot.sequence = hot.sequence
        blank.hot.generation = hot.generation + 1
        blank.hot.erased = True
        blank.hot.heard = self.state.broadcasts
        self._accounts[key] = self._dirty[key] = blank
        self._user_heaps[key] = blank.user_heap
        self._gone.append(key)
        self._health_waiting.pop(key, None)

    # -- ids ------------------------------------------------------------------------------------------------------

    def _ids(self, account: Account) -> dict[bytes | int, int]:
        """The ids of the last 24 h and their hours, read once."""
        ids: dict[bytes | int, int] = {}
        for chunk in account.hot.id_chunks:
            key = codec.sub_key(codec.IDS, account.key, str(chunk.number))
            raw = self._stored(key)
            if raw is not None:
                ids.update(codec.decode_ids(key, raw))
        ids.update(account.hot.ids_1)
        ids.update(codec.ids_of(account.hot.ids))
        account.ids = ids
        return ids

    def _seen(self, account: Account, event: Event, identity: bytes, clock: int) -> bool:
        ids = account.ids or {}
        hour = ids.get(identity)
        if hour is None and account.hot.ids_1:
            digest = blake2b(f"{event.source}\0{event.id}".encode(), digest_size=8).digest()
            hour = ids.get(int.from_bytes(digest, "big"))
        return hour is not None and hour >= (clock - self._dedupe_us) // HOUR_US

    def _store_ids(self, account: Account, epoch: int) -> list[tuple[bytes, bytes | None]]:
        """Keep new ids with the account until they fill a chunk; chunks are written once, merged, and expire by the hour."""
        hot = account.hot
        oldest = (hot.clock - self._dedupe_us) // HOUR_US
        inline = hot.ids
        if inline and min(inline) < oldest:
            for hour in [hour for hour in inline if hour < oldest]:
                self._forget(account, inline.pop(hour), oldest)
        for hour, new in account.new_ids.items():
            if hour >= oldest:
                inline[hour] = inline.get(hour, b"") + new
        account.new_ids.clear()
        if hot.ids_1:
            hot.ids_1 = [entry for entry in hot.ids_1 if entry[1] >= oldest]
        if not hot.id_chunks and sum(map(len, inline.values())) <= IDS_INLINE * codec.ID_BYTES:
            return []
        return self._chunks(account, epoch, oldest)

    @staticmethod
    def _forget(account: Account, blob: bytes, oldest: int) -> None:
        """Forget expired ids, but for those that came once more since."""
        ids = account.ids
        if ids is not None:
            for at in range(0, len(blob), codec.ID_BYTES):
                identity = blob[at : at + codec.ID_BYTES]
                if ids.get(identity, oldest) < oldest:
                    del ids[identity]

    def _chunks(self, account: Account, epoch: int, oldest: int) -> list[tuple[bytes, bytes | None]]:
        """Records of ids to write and to delete."""
        hot = account.hot
        writes: dict[bytes, bytes | None] = {}

        def key_of(chunk: IdChunk) -> bytes:
            return codec.sub_key(codec.IDS, account.key, str(chunk.number))

        def write(ids: dict[int, bytes]) -> None:
            size = sum(map(len, ids.values())) // codec.ID_BYTES
            chunk = IdChunk(hot.next_chunk, size, max(ids), codec.VERSION)
            hot.next_chunk += 1
            hot.id_chunks.append(chunk)
            writes[key_of(chunk)] = codec.encode_ids(ids, epoch, self.state.effect)

        expired = [chunk for chunk in hot.id_chunks if chunk.newest_hour < oldest]
        if expired:
            writes.update((key_of(chunk), None) for chunk in expired)
            hot.id_chunks = [chunk for chunk in hot.id_chunks if chunk.newest_hour >= oldest]
            if account.ids is not None:
                account.ids = {identity: hour for identity, hour in account.ids.items() if hour >= oldest}
        if sum(map(len, hot.ids.values())) > IDS_INLINE * codec.ID_BYTES:
            write(hot.ids)
            hot.ids = {}
        small = [c for c in hot.id_chunks if c.size < IDS_INLINE * CHUNKS_MERGED and c.version > 1]
        if len(small) >= CHUNKS_MERGED:
            numbers = {chunk.number for chunk in small}
            merged: dict[int, bytes] = {}
            for chunk in small:
                key = key_of(chunk)
                raw = writes.get(key) or self.store.get(key)
                for hour, blob in (codec.decode_id_hours(key, raw) if raw is not None else {}).items():
                    if hour >= oldest:
                        merged[hour] = merged.get(hour, b"") + blob
                writes[key] = None
            hot.id_chunks = [chunk for chunk in hot.id_chunks if chunk.number not in numbers]
            if merged:
                write(merged)
        return list(writes.items())

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

    def take(self, epoch: int, now_s: float, *, behind: bool = False) -> Effects:
        """End one effect: everything that changed since the last one, encoded. `now_s` is monotonic seconds.

        Health is told at once where an episode, the band or the profile changed, else at most every 5 s an account, and every
        30 while it is `behind`: more waits than a batch.
        """
        effects = Effects()
        if not self._touched and not self._health_waiting:
            return effects
        state = self.state
        if self._touched:
            state.effect += 1
        self._queue_touched()
        every = HEALTH_BEHIND_S if behind else HEALTH_EVERY_S
        effects.dead_letters = self._dead
        effects.health += [(key, None) for key in self._gone]
        for account in self._dirty.values():
            hot = account.hot
            hot.sequence = max(hot.sequence, self._sequence_after) + 1
            if not hot.erased and (account.new_ids or hot.ids or hot.id_chunks):
                effects.state += self._store_ids(account, epoch)
            if self.with_health and not hot.erased and not account.portfolio:
                turn = self._health_at.get(account.key, now_s - every) + every
                if account.health_urgent or turn <= now_s:
                    self._publish_health(effects, account, now_s)
                else:
                    if account.key not in self._health_waiting:
                        self._health_waiting[account.key] = turn
                        heappush(self._health_turns, (turn, account.key))
                    account.health_published = False
            self._records_of(account, epoch, effects.state)
            if hot.over_cap != account.over_cap_counted:
                state.over_cap += hot.over_cap - account.over_cap_counted
                account.over_cap_counted = hot.over_cap
            full = near(account)
            if full or account.key in self._near_cap:
                known = self._near_cap.pop(account.key, set())
                effects.near_cap += [one for one in full if one.collection not in known]
                if full:
                    self._near_cap[account.key] = {one.collection for one in full}
            if account.key in self._signals:
                key = account.id.encode()
                said = self._signals[account.key]
                effects.signals += [(topic, key, value, hot.sequence) for topic, value in said]
            account.dirty = False
        for account in self._resend:
            new = len(self._signals.get(account.key, []))
            kept = account.hot.outbox[: len(account.hot.outbox) - new]
            key, sequence = account.id.encode(), account.hot.sequence
            effects.signals[:0] = [(topic, key, value, sequence) for topic, value in kept]
        if self._health_waiting:
            self._publish_waiting(effects, now_s)
        written = {key for key, _ in effects.state}
        effects.state += [(key, None) for key in sorted(self._removed - written)]
        if self._touched:
            effects.state.append((OWN_KEY, codec.encode_partition(state, epoch, self._midway)))
        self._dirty, self._dead, self._signals = {}, [], {}
        self._resend, self._removed, self._gone = [], set(), []
        self._touched = False
        self.pending_bytes = 0
        self._trim()
        return effects

    def _records_of(self, account: Account, epoch: int, records: list[tuple[bytes, bytes | None]]) -> None:
        """Add the account's changed records, its own last."""
        key, effect = account.key, self.state.effect
        if account.windows.stale:
            records.append((codec.HISTORY + key, codec.encode_history(account, epoch, effect)))
            account.windows.stale = False
            account.windows.changed = {}
        waiting = key in self._health_waiting  # due at once after a restart: its health was not published
        hot = codec.encode_account(account, epoch, effect, waiting)
        waits = sum(map(len, account.hot.users_active)) + DAY_BYTES * len(account.hot.users_active)
        if 0 < len(hot) - HOT_BYTES <= waits:
            self._spill_users(account)
            hot = codec.encode_account(account, epoch, effect, waiting)
        if account.dirty_users:
            prefix = codec.sub_key(codec.USER, key, "")
            users = account.users
            for user_id in sorted(account.dirty_users):
                records.append((prefix + user_id.encode(), codec.encode_user(users[user_id], epoch, effect)))
            account.dirty_users.clear()
        if account.dirty_tickets:
            for ticket_id in sorted(account.dirty_tickets):
                value = codec.encode_ticket(account.tickets[ticket_id], epoch, effect)
                records.append((codec.sub_key(codec.TICKET, key, ticket_id), value))
            account.dirty_tickets.clear()
        if account.dirty_invoices:
            for invoice_id in sorted(account.dirty_invoices):
                value = codec.encode_invoice(account.invoices[invoice_id], epoch, effect)
                records.append((codec.sub_key(codec.INVOICE, key, invoice_id), value))
            account.dirty_invoices.clear()
        if account.tickets:
            account.tickets.clear()
        if account.invoices:
            account.invoices.clear()
        if account.dirty_dossier:
            records.append((codec.DOSSIER + key, codec.encode_dossier(account.dossier, epoch, effect)))
            account.dirty_dossier = False
        records += codec.encode_others(account, epoch, effect)
        records.append((codec.ACCOUNT + key, hot))

    def _publish_health(self, effects: Effects, account: Account, now_s: float) -> None:
        state, historical = self.state, self._engine.historical
        weights = self._engine.catalogue.weights[account.hot.profile.tier]
        all_days = account.health_whole and not historical
        record = health(account, state.world, weights, historical=historical, all_days=all_days)
        if self._counted_since:
            record.counted_since = self._counted_since
        account.hot.scores_told = day_of(account.hot.clock) - 1
        effects.health.append((account.key, _encode_json(record)))
        account.health_urgent = account.health_whole = False
        account.health_published = True
        self._health_at[account.key] = now_s
        self._health_waiting.pop(account.key, None)

    def _publish_waiting(self, effects: Effects, now_s: float) -> None:
        turns = self._health_turns
        while turns and turns[0][0] <= now_s:
            turn, key = heappop(turns)
            if self._health_waiting.get(key) == turn:
                self._publish_health(effects, self._account(key), now_s)

    def _trim(self) -> None:
        """Forget decoded accounts beyond the cache's size, the longest held first. Their records are in the store."""
        over = len(self._accounts) - CACHED_ACCOUNTS
        if over > 0:
            for key in list(islice(self._accounts, over)):
                del self._accounts[key]
        if self._cached_users > CACHED_USERS:
            self._cached_users = 0
            for account in self._accounts.values():
                account.users.clear()
                account.seen_users.clear()


SUB_KINDS: Final = (codec.USER, codec.TICKET, codec.INVOICE, codec.IDS)
epoch_of = codec.epoch_of

__all__ = ["DeadLetter", "Effects", "PartitionEngine", "StateError", "StateStore", "epoch_of"]
