"""Acts on signals, carried out: each in one transaction, so that an act is kept whole or not at all.

The effects, in order (docs/delivery.md says what a crash costs): the episode is locked, so that acts on it and its
escalations come one after the other; the act is inserted, under the next version; the handling is replaced by the fold of
all acts; an entry is appended to the feed, last, under its lock. The judgement is `services.api.lifecycle`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import func, select, text, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.db.feed import APPEND_LOCK, FeedEntry
from schemas.db.people import Act as ActRow
from schemas.db.people import Handling as HandlingRow
from schemas.db.tables import Account, Episode, QueueEntry
from services.api.answers import acts_shown
from services.api.database import writing
from services.api.handled import among
from services.api.lifecycle import (
    EVENT_TYPES,
    Act,
    ActName,
    Assign,
    Content,
    Handling,
    Status,
    Undo,
    changed_since,
    fold,
    recorded,
    refusal,
    shown,
)
from services.api.lifecycle import Episode as Facts
from services.common import people
from services.common.people import PersonRefused
from services.common.problems import FieldError, Problem, bad_parameter, not_found

SOURCE: Final = "ebbtide/api"

_plain: Final = msgspec.to_builtins


class Wanted(Struct, frozen=True, kw_only=True):
    """One act that is asked for.

    `version` is the handling's version that whoever acts has seen, 0 where there is none. `seen`, if given, is the
    ordinal of the signal's last change that they have seen: an escalation since then is a conflict too. `request_id`
    is the client's own name for the request: sent again by the same actor, it is the same act.
    """

    act: ActName
    content: Content
    version: int
    seen: int | None = None
    request_id: str | None = None


class Done(Struct, frozen=True):
    """An act that is kept, among all acts on the signal, and how it stands now.

    `repeated`: it was kept before, under the same `request_id`.
    """

    act: Act
    acts: list[Act]
    status: Status
    repeated: bool


def conflict(detail: str, facts: Facts, handling: Handling, now: dt.datetime, since: list[dict[str, Any]]) -> Problem:
    """409: others were quicker. What they did is told in words (`detail`) and in members."""
    current = {
        "version": handling.version,
        "status": _status(facts, handling, now),
        "severity": facts.severity,
        "ordinal": facts.ordinal,
    }
    members: dict[str, object] = {"current": current, "acts": since}
    return Problem(409, "conflict", "The signal has changed", detail, members=members)


def _status(facts: Facts, handling: Handling, now: dt.datetime) -> Status:
    return shown(cleared=facts.cleared, ordinal=facts.ordinal, handling=handling, now=now)


def not_possible(detail: str) -> Problem:
    """409: the act is right in itself and not possible as the signal stands."""
    return Problem(409, "not-possible", "Not possible as the signal stands", detail)


async def act(engine: AsyncEngine, actor: str, episode_id: str, wanted: Wanted) -> Done:
    """Do one act. Raises Problem: 404 no such signal, 409 it has changed or stands otherwise, 400 by field."""
    async with writing(engine) as connection:
        return await act_within(connection, actor, episode_id, wanted)


async def act_within(connection: AsyncConnection, actor: str, episode_id: str, wanted: Wanted) -> Done:
    """As `act`, in the caller's transaction, which must end right after: the feed's lock is held."""
    episode = await _lock(connection, episode_id)
    if episode is None:
        raise not_found(f"no signal episode {episode_id!r}")
    acts = await history(connection, episode_id)
    # Read after the lock was had, so that times rise with versions.
    now: dt.datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    facts = Facts(episode.severity, episode.last_ordinal, episode.cleared_at is not None)
    handling = fold(acts)
    again = next((a for a in acts if wanted.request_id and (a.actor, a.request_id) == (actor, wanted.request_id)), None)
    if again is not None:
        _check_same(again, wanted)
        return Done(again, acts, _status(facts, handling, now), repeated=True)
    if wanted.version != handling.version:
        raise _changed(facts, handling, acts, wanted.version, now)
    if wanted.seen is not None and wanted.seen < facts.ordinal and not facts.cleared:
        raise _escalated(facts, handling, now)
    refused = refusal(wanted.content, episode=facts, handling=handling, acts=acts, now=now)
    if refused is not None:
        raise (
            not_possible(refused.detail)
            if refused.field is None
            else bad_parameter(FieldError(refused.field, refused.detail))
        )
    new = Act(
        version=handling.version + 1,
        act=wanted.act,
        actor=actor,
        at=now,
        severity=facts.severity,
        ordinal=facts.ordinal,
        data=recorded(wanted.content, given_to=await _given_to(connection, wanted.content)),
        undoes=(wanted.content.undoes or handling.version) if isinstance(wanted.content, Undo) else None,
        request_id=wanted.request_id,
    )
    await connection.execute(
        plain_insert(ActRow).values(episode_id=episode_id, account_id=episode.account_id, **asdict(new))
    )
    acts.append(new)
    after = fold(acts)
    row = {"account_id": episode.account_id, "updated_at": now, **asdict(after)}
    upsert = insert(HandlingRow).values(episode_id=episode_id, **row)
    await connection.execute(upsert.on_conflict_do_update(index_elements=[HandlingRow.episode_id], set_=row))
    unhandled = update(QueueEntry).where(QueueEntry.episode_id == episode_id, ~QueueEntry.handled)
    await connection.execute(unhandled.values(handled=True))
    status = _status(facts, after, now)
    entry = _entry(episode, new, status)
    await connection.execute(text(APPEND_LOCK))
    await connection.execute(plain_insert(FeedEntry).values(entry))
    return Done(new, acts, status, repeated=False)


async def _lock(connection: AsyncConnection, episode_id: str) -> Any:
    """The episode with its account, locked against other acts, escalations and erasure until the transaction ends."""
    statement = (
        select(
            Episode.episode_id,
            Episode.account_id,
            Episode.signal,
            Episode.kind,
            Episode.severity,
            Episode.scope,
            Episode.pages,
            Episode.tier,
            Episode.csm,
            Episode.opened_at,
            Episode.cleared_at,
            Episode.last_ordinal,
            Account.name,
            Account.mrr,
            Account.currency,
            Account.renewal_date,
        )
        .outerjoin(Account, Account.account_id == Episode.account_id)
        .where(Episode.episode_id == episode_id)
        .with_for_update(key_share=True, of=Episode)
    )
    return (await connection.execute(statement)).one_or_none()


async def history(connection: AsyncConnection, episode_id: str) -> list[Act]:
    """All acts on an episode, first to last."""
    columns = [ActRow.__table__.columns[name] for name in Act.__slots__]
    found = await connection.execute(select(*columns).where(ActRow.episode_id == episode_id).order_by(ActRow.version))
    return [Act(**row._mapping) for row in found]


async def histories(connection: AsyncConnection, episode_ids: Sequence[str]) -> dict[str, list[Act]]:
    """All acts on each of these episodes, first to last; those without any are left out."""
    columns = [ActRow.__table__.columns[name] for name in Act.__slots__]
    statement = select(ActRow.episode_id, *columns).where(ActRow.episode_id == among(episode_ids))
    found: dict[str, list[Act]] = {}
    for episode_id, *members in await connection.execute(statement.order_by(ActRow.episode_id, ActRow.version)):
        found.setdefault(episode_id, []).append(Act(**dict(zip(Act.__slots__, members, strict=True))))
    return found


async def _given_to(connection: AsyncConnection, content: Content) -> str | None:
    """Whom an assignment gives the signal to. Raises a 400 problem for who is no user or may not act."""
    if not isinstance(content, Assign):
        return None
    try:
        if content.pool is not None:
            return await people.next_of(connection, content.pool)
        if content.to is not None:
            await people.check_assignable(connection, content.to)
    except PersonRefused as error:
        raise bad_parameter(FieldError(error.field, error.detail)) from error
    return content.to


def _check_same(kept: Act, wanted: Wanted) -> None:
    """Raises a 400 problem where a request that was made before asks for another act now."""
    content = wanted.content
    asked = recorded(content)
    if isinstance(content, Assign) and content.pool is not None:
        asked["to"] = kept.data["to"]
    # Without `undoes` the latest act is meant: the one before the undo.
    undoes = (content.undoes or kept.version - 1) if isinstance(content, Undo) else None
    if (wanted.act, asked, undoes) != (kept.act, kept.data, kept.undoes):
        detail = f"was used for another act on this signal (version {kept.version}); take a new one for each act"
        raise bad_parameter(FieldError("request_id", detail))


def _changed(facts: Facts, handling: Handling, acts: list[Act], version: int, now: dt.datetime) -> Problem:
    words = changed_since(version, acts, now)
    detail = f"{words}. Nothing was done. To act all the same, send version {handling.version}"
    return conflict(detail, facts, handling, now, acts_shown(acts, now)[version:])


def _escalated(facts: Facts, handling: Handling, now: dt.datetime) -> Problem:
    detail = (
        f"it has escalated since you saw it, and is {facts.severity} now. Nothing was done. "
        f"To act all the same, send seen {facts.ordinal}"
    )
    return conflict(detail, facts, handling, now, [])


def _entry(episode: Any, act: Act, status: str) -> dict[str, Any]:
    """The row of the feed that tells of an act."""
    data = {
        "episode_id": episode.episode_id,
        "version": act.version,
        "act": act.act,
        "actor": act.actor,
        **act.data,
        "undoes": act.undoes,
        "status": status,
        "signal": episode.signal,
        "kind": episode.kind,
        "severity": act.severity,
        "scope": episode.scope,
        "pages": episode.pages,
        "opened_at": episode.opened_at,
        "account": {
            "name": episode.name,
            "tier": episode.tier,
            "mrr": episode.mrr,
            "currency": episode.currency,
            "csm": episode.csm,
            "renewal_date": episode.renewal_date,
        },
    }
    body = {
        "specversion": "1.0",
        "id": f"{episode.episode_id}:v{act.version}",
        "source": SOURCE,
        "type": EVENT_TYPES[act.act],
        "subject": episode.account_id,
        "time": act.at,
        "datacontenttype": "application/json",
        "data": data,
    }
    return {
        "at": act.at,
        "type": EVENT_TYPES[act.act],
        "account_id": episode.account_id,
        "episode_id": episode.episode_id,
        "position": act.version,
        "signal": episode.signal,
        "kind": episode.kind,
        "severity": act.severity,
        "tier": episode.tier,
        "csm": episode.csm,
        "pages": episode.pages,
        "body": _plain(body),
    }
