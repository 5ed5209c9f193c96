"""Rows of the queue: an account where its highest signal stands, with that signal, its acts so far and what is beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.lifecycle import Handling, Status
from schemas.priority import Part
from services.api import handled, priority, queries, queue_queries
from services.api.queries import AccountRecord, SignalRecord
from services.api.queue_queries import Place

BESIDE_SHOWN: Final = 4
"""How many signals of an account are read for its row; the account's page has them all."""


class Beside(Struct, frozen=True):
    """Another open signal of the account."""

    episode_id: str
    signal: str
    kind: str
    severity: str
    reason: str


class Row(Struct, frozen=True, kw_only=True):
    """One row. `more` counts the account's other open signals, of which `beside` are the highest.

    `ordinal` and `version` are what an act on the signal has to have seen. `arr` is MRR × 12.
    """

    episode_id: str
    account_id: str
    account_name: str
    tier: str | None
    csm: str | None
    arr: Decimal | None
    currency: str | None
    renewal: dt.date | None
    score: float | None
    band: str | None
    signal: str
    kind: str
    severity: str
    user: str | None
    about: str | None
    reason: str
    opened_at: dt.datetime
    action_owner: str
    action_title: str
    status: Status
    handling: Handling
    ordinal: int
    rank: Decimal
    parts: list[Part]
    more: int
    beside: tuple[Beside, ...]

    @property
    def version(self) -> int:
        """How many acts there are."""
        return self.handling.version

    @property
    def acknowledged_at(self) -> dt.datetime | None:
        """Since when it is acknowledged, None where it is not (any more)."""
        return self.handling.acknowledged_at if self.status == "acknowledged" else None


async def read(
    connection: AsyncConnection, places: Sequence[Place], statuses: frozenset[Status] = handled.WORK
) -> list[Row]:
    """The rows of these places, in their order."""
    ids = list(dict.fromkeys(place.account_id for place in places))
    if not ids:
        return []
    accounts = await queries.accounts_by_id(connection, ids)
    open_at = await queue_queries.open_at(connection, ids)
    ranked: dict[str, list[SignalRecord]] = {account_id: [] for account_id in ids}
    for signal, _ in await queries.ranked_signals(connection, ids, BESIDE_SHOWN, statuses):
        ranked[signal.episode.account_id].append(signal)
    known = {signal.episode.episode_id: signal for signals in ranked.values() for signal in signals}
    missing = [place.episode_id for place in places if place.episode_id not in known]
    if missing:
        known |= await queries.signals_by_id(connection, missing)
    return [
        _row(
            place,
            known[place.episode_id],
            accounts.get(place.account_id),
            open_at[place.account_id],
            ranked[place.account_id],
        )
        for place in places
        if place.episode_id in known
    ]


async def read_one(connection: AsyncConnection, episode_id: str) -> Row | None:
    """The row of one signal, wherever it stands; None for one that is unknown, or the portfolio's."""
    signal = await queries.signal(connection, episode_id)
    if signal is None or signal.episode.scope == "portfolio":
        return None
    account_id = signal.episode.account_id
    accounts = await queries.accounts_by_id(connection, [account_id])
    open_at = await queue_queries.open_at(connection, [account_id])
    ranked = await queries.ranked_signals(connection, [account_id], BESIDE_SHOWN, handled.WORK)
    rank = next((rank for beside, rank in ranked if beside.episode.episode_id == episode_id), Decimal(0))
    place = Place(account_id, episode_id, rank, 0)
    return _row(place, signal, accounts.get(account_id), open_at[account_id], [beside for beside, _ in ranked])


async def highest(connection: AsyncConnection, account_id: str) -> str | None:
    """The episode that gives the account its place in the queue now."""
    ranked = await queries.ranked_signals(connection, [account_id], 1, handled.WORK)
    return ranked[0][0].episode.episode_id if ranked else None


def _row(
    place: Place,
    signal: SignalRecord,
    account: AccountRecord | None,
    at: queue_queries.Open,
    ranked: Sequence[SignalRecord],
) -> Row:
    row, last = signal.episode, signal.last
    action: Mapping[str, Any] = msgspec.json.decode(last.action)
    beside = [other for other in ranked if other.episode.episode_id != row.episode_id]
    then = last.account
    return Row(
        episode_id=row.episode_id,
        account_id=row.account_id,
        account_name=str((then.get("name") if account is None else account.name) or row.account_id),
        tier=then.get("tier") if account is None else account.tier,
        csm=then.get("csm") if account is None else account.csm,
        arr=None if account is None or account.mrr is None else account.mrr * 12,
        currency=None if account is None else account.currency,
        renewal=None if account is None else account.renewal_date,
        score=None if account is None else account.health.score,
        band=None if account is None else account.health.band,
        signal=row.signal,
        kind=row.kind,
        severity=row.severity,
        user=row.user,
        about=last.about,
        reason=last.reason,
        opened_at=row.opened_at,
        action_owner=str(action.get("owner", "")),
        action_title=str(action.get("title", "")),
        status=signal.status,
        handling=signal.handling,
        ordinal=row.last_ordinal,
        rank=place.rank,
        parts=priority.parts(account, signal, at.judged),
        more=max(0, sum(at.counts.values()) - 1) if row.cleared_at is None else len(beside),
        beside=tuple(
            Beside(
                other.episode.episode_id,
                other.episode.signal,
                other.episode.kind,
                other.episode.severity,
                other.last.reason,
            )
            for other in beside[: BESIDE_SHOWN - 1]
        ),
    )
