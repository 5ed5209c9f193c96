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
from sqlalchemy import func, select, text
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.db.feed import APPEND_LOCK, FeedEntry
from schemas.db.people import Act as ActRow
from schemas.db.people import Handling as HandlingRow
from schemas.db.tables import Account, Episode
from services.api.database import writing
from services.api.lifecycle import (
    EVENT_TYPES,
    UNHANDLED,
    Act,
    ActName,
    Assign,
    Content,
    Handling,
    Undo,
    changed_since,
    fold,
    in_words,
    recorded,
    refusal,
    shown,
    taken_back,
)
from services.api.lifecycle import Episode as Facts
from services.common import people
from services.common.people import PersonRefused
from services.common.problems import FieldError, Problem, bad_parameter, not_found

SOURCE: Final = "ebbtide/api"
HANDLING_COLUMNS: Final = tuple(HandlingRow.__table__.columns[name] for name in Handling.__slots__)

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
    """An act that is kept. `repeated`: it was kept before, under the same `request_id`."""

    act: Act
    repeated: bool


def conflict(
    detail: str, *, version: int, status: str, since: list[dict[str, Any]], severity: str, ordinal: int
) -> Problem:
    """409: others were quicker. What they did is told in words (`detail`) and in members."""
    members = {"version": version, "status": status, "severity": severity, "ordinal": ordinal, "acts": since}
    return Problem(409, "conflict", "The signal has changed", detail, members=members)


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
    acts, now = await _history(connection, episode_id)
    again = next((a for a in acts if wanted.request_id and (a.actor, a.request_id) == (actor, wanted.request_id)), None)
    if again is not None:
        return _same(again, wanted)
    facts = Facts(episode.severity, episode.last_ordinal, episode.cleared_at is not None)
    handling = fold(acts)
    if wanted.version != handling.version:
        raise _changed(facts, handling, acts, wanted.version, now)
    if wanted.seen is not None and wanted.seen < facts.ordinal and not facts.cleared:
        raise _escalated(facts, handling, wanted.seen)
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
    after = fold([*acts, new])
    row = {"account_id": episode.account_id, "updated_at": now, **asdict(after)}
    upsert = insert(HandlingRow).values(episode_id=episode_id, **row)
    await connection.execute(upsert.on_conflict_do_update(index_elements=[HandlingRow.episode_id], set_=row))
    status = shown(cleared=facts.cleared, ordinal=facts.ordinal, handling=after, now=now)
    entry = _entry(episode, new, status)
    await connection.execute(text(APPEND_LOCK))
    await connection.execute(plain_insert(FeedEntry).values(entry))
    return Done(new, repeated=False)


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
    return (await _history(connection, episode_id))[0]


async def _history(connection: AsyncConnection, episode_id: str) -> tuple[list[Act], dt.datetime]:
    """All acts on an episode, and the time: read after the lock, so that times rise with versions."""
    columns = [ActRow.__table__.columns[name] for name in Act.__slots__]
    found = await connection.execute(select(*columns).where(ActRow.episode_id == episode_id).order_by(ActRow.version))
    acts = [Act(**row._mapping) for row in found]
    now: dt.datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return acts, now


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


def _same(before: Act, wanted: Wanted) -> Done:
    """The act that this request made when it was sent first. Raises a 400 problem where it asks for another one."""
    asked, kept = recorded(wanted.content), dict(before.data)
    if isinstance(wanted.content, Assign) and wanted.content.pool is not None:
        asked["to"] = kept["to"]
    undone = before.undoes if isinstance(wanted.content, Undo) and wanted.content.undoes is None else None
    other = (wanted.act, asked) != (before.act, kept) or (
        isinstance(wanted.content, Undo) and (wanted.content.undoes or undone) != before.undoes
    )
    if other:
        detail = f"was used for another act on this signal (version {before.version}); take a new one for each act"
        raise bad_parameter(FieldError("request_id", detail))
    return Done(before, repeated=True)


def _changed(facts: Facts, handling: Handling, acts: Sequence[Act], version: int, now: dt.datetime) -> Problem:
    gone = taken_back(acts)
    return conflict(
        f"{changed_since(version, acts, now)}. Nothing was done. To act all the same, send version {handling.version}",
        version=handling.version,
        status=shown(cleared=facts.cleared, ordinal=facts.ordinal, handling=handling, now=now),
        severity=facts.severity,
        ordinal=facts.ordinal,
        since=[act_shown(act, gone, now) for act in acts if act.version > version],
    )


def _escalated(facts: Facts, handling: Handling, seen: int) -> Problem:
    return conflict(
        f"it has escalated since you saw it, and is {facts.severity} now. Nothing was done. "
        f"To act all the same, send seen {facts.ordinal}",
        version=handling.version,
        status="open",
        severity=facts.severity,
        ordinal=facts.ordinal,
        since=[],
    )


def act_shown(act: Act, gone: dict[int, int], now: dt.datetime) -> dict[str, Any]:
    """An `ActShown`. `gone` is `taken_back` of the episode's acts."""
    return {
        "version": act.version,
        "act": act.act,
        "actor": act.actor,
        "at": act.at,
        "severity": act.severity,
        "data": act.data,
        "undoes": act.undoes,
        "undone_by": gone.get(act.version),
        "words": in_words(act, now),
    }


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


def handling_of(row: Any) -> Handling:
    """The handling in a row that was outer-joined with it, under the names `handling_NAME`."""
    if row.handling_version is None:
        return UNHANDLED
    return Handling(**{name: getattr(row, f"handling_{name}") for name in Handling.__slots__})
