"""Cursors of pages: the place of the last item, opaque to the client, checked when it comes back."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from services.common.problems import FieldError, bad_parameter

LONGEST: Final = 4096

# U+0000 cannot be in any key, and PostgreSQL refuses to compare with it.
Id = Annotated[str, Meta(pattern="^[^\\x00]*$", max_length=1024)]
Instant = Annotated[dt.datetime, Meta(tz=True)]


class Place(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """After which item the next page begins. `order` names the order that it is a place in."""

    order: str


class ByOpened(Place, frozen=True):
    """In signals, newest `opened_at` first."""

    opened_at: Instant
    episode_id: Id


class ByTime(Place, frozen=True):
    """In a timeline, newest first."""

    time: Instant
    entry: Annotated[str, Meta(pattern="^[0-9a-f]{1,64}$")]


class ByText(Place, frozen=True):
    """In accounts by name."""

    value: Id
    account_id: Id


class ByNumber(Place, frozen=True):
    """In accounts by money."""

    value: Annotated[Decimal, Meta()]
    account_id: Id


class ByDate(Place, frozen=True):
    """In accounts by renewal date."""

    value: dt.date
    account_id: Id


class ByInstant(Place, frozen=True):
    """In accounts by when they were last seen."""

    value: Instant
    account_id: Id


class ByRank(Place, frozen=True):
    """In the queue, highest rank first. `precedence` is 0 in orders that do not begin with it."""

    precedence: Annotated[int, Meta(ge=0, le=9)]
    rank: Annotated[Decimal, Meta()]
    account_id: Id
    episode_id: Id


class ByOffset(Place, frozen=True):
    """In dead letters, newest first: what is still before, by partition."""

    before: dict[Annotated[int, Meta(ge=0, le=1_000_000)], Annotated[int, Meta(ge=0, le=2**63 - 1)]]


class ByDelivery(Place, frozen=True):
    """In the log of a webhook, newest first."""

    delivery_id: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class ByEntry(Place, frozen=True):
    """In the audit trail, newest first."""

    entry: Annotated[int, Meta(ge=0, le=2**63 - 1)]


def encode(place: Place) -> str:
    """The cursor of a place."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def decode[P: Place](cursor: str, kind: type[P], order: str) -> P:
    """The place of a cursor. Raises a 400 problem that names `cursor` when it is not one of this list in this order."""
    try:
        if len(cursor) > LONGEST:
            raise ValueError("too long")
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=kind)
        _within_years(place)
        if place.order != order:
            raise ValueError("of another order")
    except (binascii.Error, msgspec.MsgspecError, ValueError, OverflowError):
        raise bad_parameter(
            FieldError(
                "cursor", "not a next_cursor of this list in this order; leave it out to start at the first page"
            )
        ) from None
    return place


def _within_years(place: Place) -> None:
    for value in msgspec.structs.astuple(place):
        if isinstance(value, dt.datetime):
            value.astimezone(dt.UTC)  # OverflowError at the edges of the calendar
        elif isinstance(value, Decimal) and (not value.is_finite() or abs(value.adjusted()) > 100):
            raise ValueError("no amount")
