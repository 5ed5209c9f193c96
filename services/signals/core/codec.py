"""State to bytes and back. Each record has a fixed header (version, kind, epoch, effect, next due) and a msgpack body.

The header is read without the body: by the fence (epoch), and at recovery (effect, next due). A record of an older
version is decoded by that version's reader; of a newer one, or of none, it is refused with what to do.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec
from msgspec import Struct

from services.signals.core.days import DAY_US, NEVER, week_of
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.state import Account, Hot
from services.signals.core.windows import DAYS, MEASURES, WEEKS, Windows

VERSION: Final = 1
HEADER: Final = struct.Struct("<BBIQq")

PARTITION: Final = b"p"
ACCOUNT: Final = b"a"
HISTORY: Final = b"h"
USER: Final = b"u"
TICKET: Final = b"t"
INVOICE: Final = b"i"
IDS: Final = b"d"

_pack: Final = msgspec.msgpack.Encoder().encode


class StateError(RuntimeError):
    """A state record cannot be used. The message says which, why, and what to do."""


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


class History(Struct, array_like=True):
    """Buckets of days and weeks per measure."""

    today: int
    days: list[list[int]]
    weeks: list[list[int]]


_hot: Final = msgspec.msgpack.Decoder(Hot).decode
_history: Final = msgspec.msgpack.Decoder(History).decode
_partition: Final = msgspec.msgpack.Decoder(PartitionState).decode
_user: Final = msgspec.msgpack.Decoder(User).decode
_ticket: Final = msgspec.msgpack.Decoder(Ticket).decode
_invoice: Final = msgspec.msgpack.Decoder(Invoice).decode
_ids: Final = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


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
    """Epoch, effect number and next due of any state record."""
    _, _, epoch, effect, due = HEADER.unpack_from(value)
    return epoch, effect, due


def _encode(kind: bytes, epoch: int, effect: int, due: int, body: Any) -> bytes:
    return HEADER.pack(VERSION, kind[0], epoch, effect, due) + _pack(body)


def body_of(key: bytes, value: bytes) -> memoryview:
    """The body of a record that this code can read. Raises StateError for any other."""
    if len(value) < HEADER.size:
        raise StateError(f"state record {key!r} has {len(value)} bytes: it is cut off; restore the changelog topic")
    version = value[0]
    if version != VERSION:
        raise StateError(
            f"state record {key!r} has format {version}, this program reads up to {VERSION}: "
            "run the newer program, or rebuild the state by a replay"
        )
    return memoryview(value)[HEADER.size :]


def _read(decoder: Any, key: bytes, value: bytes) -> Any:
    try:
        return decoder(body_of(key, value))
    except msgspec.MsgspecError as error:
        raise StateError(f"state record {key!r} cannot be read ({error}): rebuild the state by a replay") from error


def encode_partition(state: PartitionState, epoch: int) -> bytes:
    """The partition's own record."""
    return _encode(PARTITION, epoch, state.effect, NEVER, state)


def decode_partition(key: bytes, value: bytes) -> PartitionState:
    """Read the partition's own record."""
    state: PartitionState = _read(_partition, key, value)
    return state


def encode_account(account: Account, epoch: int, effect: int, due_now: bool = False) -> bytes:
    """The account's hot record: windows' sums and running buckets are taken from the live windows."""
    hot, windows = account.hot, account.windows
    hot.windows_today = windows.today
    hot.window_sums = windows.sums
    week = week_of(windows.today) % WEEKS
    hot.bucket_today = [ring[windows.today % DAYS] for ring in windows.days]
    hot.bucket_week = [ring[week] for ring in windows.weeks]
    return _encode(ACCOUNT, epoch, effect, 0 if due_now else account.own_due(), hot)


def encode_history(account: Account, epoch: int, effect: int) -> bytes:
    """The account's buckets."""
    windows = account.windows
    return _encode(HISTORY, epoch, effect, NEVER, History(windows.today, windows.days, windows.weeks))


def decode_account(
    key: bytes, value: bytes, history: bytes | None, user_heap: list[tuple[int, str]], topics: int
) -> Account:
    """Put an account together from its hot record and its history."""
    hot: Hot = _read(_hot, key, value)
    windows = Windows(hot.windows_today)
    if history is not None:
        past: History = _read(_history, key, history)
        windows.today = past.today
        windows.days[: len(past.days)] = past.days
        windows.weeks[: len(past.weeks)] = past.weeks
        windows.advance(hot.windows_today)
        windows.stale_history = False
    if hot.window_sums:
        windows.sums[: len(hot.window_sums)] = hot.window_sums
        today, week = hot.windows_today % DAYS, week_of(hot.windows_today) % WEEKS
        for measure in range(min(len(MEASURES), len(hot.bucket_today))):
            windows.days[measure][today] = hot.bucket_today[measure]
            windows.weeks[measure][week] = hot.bucket_week[measure]
    hot.offsets.extend([-1] * (topics - len(hot.offsets)))
    if not hot.activity.last_active:
        hot.activity.last_active = [0] * 92
        hot.activity.today = hot.clock // DAY_US
    return Account(key[1:], hot, windows, user_heap)


def encode_user(user: User, epoch: int, effect: int) -> bytes:
    """A user's record; its header tells when time alone may change the user next."""
    return _encode(USER, epoch, effect, user.next_due() or NEVER, user)


def decode_user(key: bytes, value: bytes) -> User:
    """Read a user's record."""
    user: User = _read(_user, key, value)
    return user


def encode_ticket(ticket: Ticket, epoch: int, effect: int) -> bytes:
    """The record of a ticket that is not open."""
    return _encode(TICKET, epoch, effect, NEVER, ticket)


def decode_ticket(key: bytes, value: bytes) -> Ticket:
    """Read a ticket's record."""
    ticket: Ticket = _read(_ticket, key, value)
    return ticket


def encode_invoice(invoice: Invoice, epoch: int, effect: int) -> bytes:
    """The record of an invoice that is not open."""
    return _encode(INVOICE, epoch, effect, NEVER, invoice)


def decode_invoice(key: bytes, value: bytes) -> Invoice:
    """Read an invoice's record."""
    invoice: Invoice = _read(_invoice, key, value)
    return invoice


def encode_ids(ids: list[tuple[int, int]], epoch: int, effect: int) -> bytes:
    """A chunk of event ids with their hours."""
    return _encode(IDS, epoch, effect, NEVER, ids)


def decode_ids(key: bytes, value: bytes) -> list[tuple[int, int]]:
    """Read a chunk of event ids."""
    ids: list[tuple[int, int]] = _read(_ids, key, value)
    return ids
