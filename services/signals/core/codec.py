"""State to bytes and back. Each record has a fixed header (version, kind, epoch, effect, next due) and a msgpack body.

The header is read without the body: by the fence (epoch), and at recovery (effect, next due). A record of an older
version is decoded by that version's reader; of a newer one, or of none, it is refused with what to do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Struct, field

from services.signals.core import codec_1
from services.signals.core.contacts import Contacts
from services.signals.core.contract import Profile
from services.signals.core.days import DAY_US, NEVER
from services.signals.core.dossier import Dossier
from services.signals.core.episodes import Episode, Past
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.state import Account, Hot
from services.signals.core.windows import MEASURES, Windows
from services.signals.core.world import World

VERSION: Final = 4
DAYS_BELOW: Final = 1_000_000
"""A stored deadline below this is a day since 1970, any other an instant in µs: no account's clock is in 1970's first second."""
OLDEST: Final = 1
"""The oldest format that is read."""
TOLD_APART: Final = 4
"""The first format with records of their own for the profile and for episodes."""
ID_BYTES: Final = 8
HEADER: Final = struct.Struct("<BBIQq")

PARTITION: Final = b"p"
ACCOUNT: Final = b"a"
HISTORY: Final = b"h"
USER: Final = b"u"
TICKET: Final = b"t"
INVOICE: Final = b"i"
IDS: Final = b"d"
DOSSIER: Final = b"o"
COLD: Final = b"c"
TOLD: Final = b"e"

_pack: Final = msgspec.msgpack.Encoder().encode


class StateError(RuntimeError):
    """A state record cannot be used. The message says which, why, and what to do."""


class Broadcast(Struct, array_like=True):
    """Something said to every account: its number, the event's time in µs, and the facts that signals must look at again."""

    number: int
    at: int
    facts: int


class Numbered(Struct, array_like=True):
    """An operators' measure as state knows it: a number that is never used again, and the clock in µs it is counted from."""

    number: int
    since: int


class Midway(Struct, array_like=True):
    """Where an effect was cut within records that were being applied account by account.

    Of the records up to the offsets `ends` (per topic) those of accounts whose key is below `key` are applied, and of `key`
    itself those up to the offsets `reached`.
    """

    ends: list[int]
    key: bytes
    reached: list[int]

    def has(self, topic: int, offset: int, key: bytes) -> bool:
        """Whether a record is among those that are applied."""
        return offset <= self.ends[topic] and (key < self.key or (key == self.key and offset <= self.reached[topic]))


class PartitionState(Struct, array_like=True):
    """The partition's own record: positions, clocks and counts, written last in each effect."""

    partitions: int
    effect: int = 0
    applied: list[int] = []
    clocks: list[int] = []
    historical: list[bool] = []
    records: list[int] = []
    ticks: list[int] = []
    applied_count: list[int] = []
    duplicate: list[int] = []
    dead: list[int] = []
    unchecked: list[int] = []
    dead_by_reason: dict[str, int] = {}
    historical_until: int = 0  # the clock that historical ticks reached
    catalogue: str = ""  # the rules that every account's deadlines were named by
    broadcasts: int = 0  # how many were applied
    pending: list[Broadcast] = []  # the last of them: accounts that have not heard them yet do so when next touched
    hearing: int = -1  # the time of the last broadcast while not every account was woken for it
    world: World = field(default_factory=World)
    measures: dict[str, Numbered] = {}  # operators' measures by their meaning
    measures_ever: int = 0
    midways: list[Midway] = []  # what is applied beyond `applied`
    over_cap: int = 0  # what was turned away because an account had as much as is kept


class History(Struct, array_like=True):
    """Buckets of complete days, and weeks, per measure; None where nothing was counted."""

    today: int
    days: list[list[int] | None]
    weeks: list[list[int] | None]
    own: list[int] = []  # numbers of the operators' measures, whose rings follow the built-in ones


class Cold(Struct, array_like=True):
    """Of the account, what seldom changes. Until format 3 it stood in the hot record."""

    profile: Profile = field(default_factory=Profile)
    contacts: Contacts = field(default_factory=Contacts)


class Told(Struct, array_like=True):
    """Of the account, its episodes, and what the effect that wrote this published. Until format 3 it stood in the hot record."""

    episodes: dict[str, Episode] = {}
    past: dict[str, Past] = {}
    outbox: list[tuple[str, bytes]] = []


_hot: Final = msgspec.msgpack.Decoder(Hot).decode
_cold: Final = msgspec.msgpack.Decoder(Cold).decode
_told: Final = msgspec.msgpack.Decoder(Told).decode
_PROFILE: Final = Profile()
_CONTACTS: Final = Contacts()
NO_COLD: Final = _pack(Cold())
NO_TOLD: Final = _pack(Told())
_history: Final = msgspec.msgpack.Decoder(History).decode
_PARTITION: Final = (msgspec.msgpack.Decoder(PartitionState).decode,)
_USER: Final = (msgspec.msgpack.Decoder(User).decode,)
_TICKET: Final = (msgspec.msgpack.Decoder(Ticket).decode,)
_INVOICE: Final = (msgspec.msgpack.Decoder(Invoice).decode,)
_DOSSIER: Final = (msgspec.msgpack.Decoder(Dossier).decode,)
_IDS: Final = (codec_1.read_ids, msgspec.msgpack.Decoder(dict[int, bytes]).decode)


def sub_key(kind: bytes, account: bytes, name: str) -> bytes:
    """Key of a sub-record. The account's length comes first, so that no two accounts' keys can be alike."""
    return kind + len(account).to_bytes(2, "big") + account + name.encode()


def split_sub_key(key: bytes) -> tuple[bytes, str]:
    """Account key and name of a sub-record's key."""
    end = 3 + int.from_bytes(key[1:3], "big")
    return key[3:end], key[end:].decode()


def epoch_of(value: bytes) -> int:
    """The writer's epoch, from any state record."""
    return int(HEADER.unpack_from(value)[2])


def header_of(value: bytes) -> tuple[int, int, int]:
    """Epoch, effect number and next due of any state record. Raises StateError for one that is cut off."""
    if len(value) < HEADER.size:
        raise StateError(f"a state record has {len(value)} bytes: it is cut off; restore the changelog topic")
    _, _, epoch, effect, due = HEADER.unpack_from(value)
    return epoch, effect, due


def _header(kind: bytes, epoch: int, effect: int, due: int = NEVER) -> bytes:
    return HEADER.pack(VERSION, kind[0], epoch, effect, due)


def _encode(kind: bytes, epoch: int, effect: int, due: int, body: Any) -> bytes:
    return _header(kind, epoch, effect, due) + _pack(body)


def body_of(key: bytes, value: bytes) -> tuple[int, memoryview]:
    """Format and body of a record that this code can read. Raises StateError for any other."""
    if len(value) < HEADER.size:
        raise StateError(f"state record {key!r} has {len(value)} bytes: it is cut off; restore the changelog topic")
    version = value[0]
    if not OLDEST <= version <= VERSION:
        raise StateError(
            f"state record {key!r} has format {version}, this program reads {OLDEST} to {VERSION}: "
            "run the newer program, or rebuild the state by a replay"
        )
    return version, memoryview(value)[HEADER.size :]


def _read(decoders: tuple[Any, ...], key: bytes, value: bytes) -> Any:
    """Decode with the decoder of the record's format, the oldest first; the last one holds for all later formats."""
    version, body = body_of(key, value)
    try:
        return decoders[min(version - OLDEST, len(decoders) - 1)](body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _unreadable(key, error) from error


def _unreadable(key: bytes, error: Exception) -> StateError:
    return StateError(f"state record {key!r} cannot be read ({error}): rebuild the state by a replay")


def encode_partition(state: PartitionState, epoch: int, midway: Midway | None = None) -> bytes:
    """The partition's own record, with where it stands within an effect that is cut."""
    if midway is not None:
        state = msgspec.structs.replace(state, midways=[*state.midways, midway])
    return _encode(PARTITION, epoch, state.effect, NEVER, state)


def decode_partition(key: bytes, value: bytes) -> PartitionState:
    """Read the partition's own record."""
    state: PartitionState = _read(_PARTITION, key, value)
    return state


def encode_others(account: Account, epoch: int, effect: int) -> list[tuple[bytes, bytes]]:
    """What changed of the account's records beside the hot one: profile and contacts, episodes with the outbox."""
    hot = account.hot
    records: list[tuple[bytes, bytes]] = []
    # Compared as bytes: whoever changes a profile or an episode need not think of saying so.
    cold = _pack(Cold(hot.profile, hot.contacts))
    if cold != account.cold:
        account.cold = cold
        records.append((COLD + account.key, _header(COLD, epoch, effect) + cold))
    told = _pack(Told(hot.episodes, hot.past))
    if told != account.told or hot.outbox:
        account.told = told
        body = _pack(Told(hot.episodes, hot.past, hot.outbox)) if hot.outbox else told
        records.append((TOLD + account.key, _header(TOLD, epoch, effect) + body))
    return records


def encode_account(account: Account, epoch: int, effect: int, due_now: bool = False) -> bytes:
    """The account's hot record; its header tells when time alone may change the account next."""
    hot, windows = account.hot, account.windows
    hot.counts_today = windows.now
    hot.counts_changed = windows.changed
    hot.own_measures = [*windows.own]
    profile, contacts, episodes, past, outbox = hot.profile, hot.contacts, hot.episodes, hot.past, hot.outbox
    due = hot.due
    soonest = 0 if due_now else account.own_due()
    hot.profile, hot.contacts, hot.episodes, hot.past, hot.outbox = _PROFILE, _CONTACTS, {}, {}, []
    # Nearly all deadlines are midnights: as days they take a third of the room.
    hot.due = {rank: at // DAY_US if at % DAY_US == 0 else at for rank, at in due.items()}
    try:
        body = _pack(hot)
    finally:
        hot.profile, hot.contacts, hot.episodes, hot.past, hot.outbox = profile, contacts, episodes, past, outbox
        hot.due = due
    return _header(ACCOUNT, epoch, effect, soonest) + body


def encode_history(account: Account, epoch: int, effect: int) -> bytes:
    """The account's buckets up to yesterday."""
    windows = account.windows
    return _encode(HISTORY, epoch, effect, NEVER, History(windows.today, windows.days, windows.weeks, [*windows.own]))


def decode_account(
    key: bytes,
    value: bytes,
    read: Callable[[bytes], bytes | None],
    user_heap: list[tuple[int, str]],
    topics: int,
    read_dossier: Callable[[bytes], Dossier] | None = None,
    own: Sequence[int] = (),
) -> Account:
    """Put an account together from its hot record and the others, which `read` gives by key, None where there is none.

    `own` numbers the operators' measures in force.
    """
    name = key[1:]
    version, body = body_of(key, value)
    history = read(HISTORY + name)
    past = None if history is None else body_of(HISTORY + name, history)[1]
    try:
        hot, windows = codec_1.read_account(body, past, own) if version == 1 else _account(body, past, own)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _unreadable(key, error) from error
    hot.offsets.extend([-1] * (topics - len(hot.offsets)))
    if version < TOLD_APART:
        account = Account(name, hot, windows, user_heap, read_dossier)
        account.cold = account.told = b""  # both are to be written
        return account
    cold, told = read(COLD + name), read(TOLD + name)
    if cold is not None:
        facts: Cold = _read((_cold,), COLD + name, cold)
        hot.profile, hot.contacts = facts.profile, facts.contacts
    if told is not None:
        said: Told = _read((_told,), TOLD + name, told)
        hot.episodes, hot.past = said.episodes, said.past
        if header_of(told)[1] == header_of(value)[1]:
            hot.outbox = said.outbox
    account = Account(name, hot, windows, user_heap, read_dossier)
    account.cold = NO_COLD if cold is None else cold[HEADER.size :]
    account.told = _pack(Told(hot.episodes, hot.past))
    return account


def _in_order[T](counts: list[T], had: list[int], own: Sequence[int], nothing: T) -> list[T]:
    """What was stored per measure, in today's order. An operators' measure is found by its number, or begins anew."""
    built_in = counts[: len(counts) - len(had)]
    known = dict(zip(had, counts[len(built_in) :], strict=True))
    return [*built_in, *[nothing] * (len(MEASURES) - len(built_in)), *(known.get(number, nothing) for number in own)]


def _account(body: memoryview, history: memoryview | None, own: Sequence[int]) -> tuple[Hot, Windows]:
    hot = _hot(body)
    hot.due = {rank: at * DAY_US if at < DAYS_BELOW else at for rank, at in hot.due.items()}
    windows = Windows(hot.windows_today, own)
    if history is not None:
        past = _history(history)
        windows.today = past.today
        windows.days = _in_order(past.days, past.own, own, None)
        windows.weeks = _in_order(past.weeks, past.own, own, None)
        windows.age(hot.windows_today)
    had = hot.own_measures
    if hot.counts_today:
        windows.now = _in_order(hot.counts_today, had, own, 0)
    windows.changed = {day: _in_order(counts, had, own, 0) for day, counts in hot.counts_changed.items()}
    for day, counts in windows.changed.items():
        for measure, amount in enumerate(counts):
            if amount:
                windows.put(measure, day, amount)
    return hot, windows


def encode_user(user: User, epoch: int, effect: int) -> bytes:
    """A user's record; its header tells when time alone may change the user next."""
    due = min(user.due.values()) if user.due else NEVER
    return HEADER.pack(VERSION, USER[0], epoch, effect, due) + _pack(user)


def decode_user(key: bytes, value: bytes) -> User:
    """Read a user's record."""
    user: User = _read(_USER, key, value)
    return user


def encode_dossier(dossier: Dossier, epoch: int, effect: int) -> bytes:
    """The account's dossier."""
    return _encode(DOSSIER, epoch, effect, NEVER, dossier)


def decode_dossier(key: bytes, value: bytes) -> Dossier:
    """Read an account's dossier."""
    dossier: Dossier = _read(_DOSSIER, key, value)
    return dossier


def encode_ticket(ticket: Ticket, epoch: int, effect: int) -> bytes:
    """The record of a ticket that is not open."""
    return _encode(TICKET, epoch, effect, NEVER, ticket)


def decode_ticket(key: bytes, value: bytes) -> Ticket:
    """Read a ticket's record."""
    ticket: Ticket = _read(_TICKET, key, value)
    return ticket


def encode_invoice(invoice: Invoice, epoch: int, effect: int) -> bytes:
    """The record of an invoice that is not open."""
    return _encode(INVOICE, epoch, effect, NEVER, invoice)


def decode_invoice(key: bytes, value: bytes) -> Invoice:
    """Read an invoice's record."""
    invoice: Invoice = _read(_INVOICE, key, value)
    return invoice


def encode_ids(ids: dict[int, bytes], epoch: int, effect: int) -> bytes:
    """A chunk of event ids: by hour, 8 bytes each."""
    return _encode(IDS, epoch, effect, NEVER, ids)


def decode_ids(key: bytes, value: bytes) -> dict[bytes | int, int]:
    """Read a chunk of event ids: the hour of each. Those of format 1 are numbers."""
    ids: dict[int, bytes] | dict[bytes | int, int] = _read(_IDS, key, value)
    if value[0] == 1:
        return cast(dict[bytes | int, int], ids)
    return ids_of(cast(dict[int, bytes], ids))


def decode_id_hours(key: bytes, value: bytes) -> dict[int, bytes]:
    """Read a chunk of event ids as it is stored, in today's format."""
    ids: dict[int, bytes] = _read(_IDS, key, value)
    return ids


def ids_of(ids: dict[int, bytes]) -> dict[bytes | int, int]:
    """The hour of each id of a chunk."""
    return {blob[at : at + ID_BYTES]: hour for hour, blob in ids.items() for at in range(0, len(blob), ID_BYTES)}
