"""Where the canary's accounts leave the common way: nothing of them is kept, their transitions are told to who waits.

The key of every record is its account, so this is decided before anything else looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.canary import CANARY_PREFIX, CHANNEL, Heard
from schemas.health import HEALTH_TOPIC
from schemas.signals import Transition
from services.signals.recorder.records import Record, SignalRow, signal_row

PREFIX: Final = CANARY_PREFIX.encode()
NOTIFY: Final = "SELECT pg_notify($1, $2)"

_transition: Final = msgspec.json.Decoder(Transition).decode
_encode: Final = msgspec.json.Encoder().encode


class CanaryRow(Struct, frozen=True):
    """A transition of one of the canary's accounts."""

    heard: Heard


def is_canary(record: Record) -> bool:
    """Whether a record is of one of the canary's accounts."""
    return record.key is not None and record.key.startswith(PREFIX)


def signal_or_canary_row(record: Record) -> SignalRow | CanaryRow | None:
    """What a record of a signal topic or of `health` says, as `signal_row` has it. Never raises."""
    if not is_canary(record):
        return signal_row(record)
    if record.topic == HEALTH_TOPIC or record.value is None:
        return None
    try:
        change = _transition(record.value)
    except msgspec.MsgspecError:
        return signal_row(record)
    return CanaryRow(Heard(change.subject, change.data.signal, change.type, change.time))


def without_canary[Row](row_of: Callable[[Record], Row | None]) -> Callable[[Record], Row | None]:
    """`row_of`, which does not see records of the canary's accounts."""
    return lambda record: None if is_canary(record) else row_of(record)


async def tell(connection: Any, rows: Iterable[CanaryRow]) -> None:
    """Say what was recorded, to be heard when the caller's transaction is committed."""
    for row in rows:
        await connection.execute(NOTIFY, CHANNEL, _encode(row.heard).decode())
