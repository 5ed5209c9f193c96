"""`/v1/accounts/{id}/brief`: the account on one page, as JSON or as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from services.api import acts, brief, brief_text, priority, queries, queue_queries, standing
from services.api.answers import answer
from services.api.auth import require
from services.api.brief import Event, Known, OpenSignal
from services.api.database import Connection
from services.api.endpoints.accounts import AccountId, unknown
from services.api.lifecycle import Act
from services.api.parameters import Parameters
from services.api.paths import SEGMENT
from services.api.queries import AccountRecord, SignalRecord
from services.common import people

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], dependencies=[Depends(require("read"))])

MARKDOWN: Final = "text/markdown"
SIGNALS_MOST: Final = 20
EVENTS_MOST: Final = 2000
WEEKS: Final = 12

_decode: Final = msgspec.json.decode


@router.get(
    f"/{{account_id:{SEGMENT}}}/brief",
    responses={200: {"content": {"application/json": {}, MARKDOWN: {}}}},
)
async def get_brief(request: Request, account_id: AccountId, parameters: Annotated[Parameters, Query()]) -> Response:
    """What to know before a call; one page of text with `Accept: text/markdown`."""
    async with Connection(request) as connection:
        account = await queries.account(connection, account_id)
        if account is None:
            raise unknown(account_id)
        found = await brief_of(connection, account)
    if wants_markdown(request.headers.get("accept", "")):
        response = Response(brief_text.markdown(found), media_type=f"{MARKDOWN}; charset=utf-8")
    else:
        response = answer(found)
    response.headers["vary"] = "Accept"
    return response


async def brief_of(connection: AsyncConnection, account: AccountRecord) -> dict[str, Any]:
    """The brief of an account, from its newest events."""
    rows = await queries.newest_events(connection, account.account_id, brief.TYPES, EVENTS_MOST + 1)
    known = await _known(connection, account)
    events = [Event(row.time, row.type, _decode(row.data)) for row in rows[:EVENTS_MOST][::-1]]
    # History and health are recorded apart: what came a moment ago may be in one of them only.
    now = max([account.health.as_of, *(event.time for event in events[-1:])])
    return brief.brief(known, events, now, complete=len(rows) <= EVENTS_MOST)


def wants_markdown(accept: str) -> bool:
    """Whether a client asks for Markdown, and not for JSON rather."""
    weights: dict[str, float] = {}
    for entry in accept.split(","):
        kind, *given = (part.strip().lower() for part in entry.split(";"))
        quality = next((text[2:] for text in given if text.startswith("q=")), "1")
        try:
            weights[kind] = float(quality)
        except ValueError:
            weights[kind] = 0.0
    asked = weights.get(MARKDOWN, 0.0)
    return asked > 0 and asked >= weights.get("application/json", 0.0)


async def _known(connection: AsyncConnection, account: AccountRecord) -> Known:
    account_id, as_of = account.account_id, account.health.as_of
    ranked = await queries.ranked_signals(connection, [account_id], SIGNALS_MOST, standing.UNFINISHED)
    handled = [one.episode.episode_id for one, _ in ranked if one.handling.version]
    said = await acts.histories(connection, handled) if handled else {}
    names = {one.user_id: one.name or one.user_id for one in await people.users(connection)} if handled else {}
    open_now = (await queue_queries.open_at(connection, [account_id]))[account_id]
    first = as_of.date() - min(dt.timedelta(weeks=WEEKS, days=-1), as_of.date() - dt.date.min)
    days = await queries.usage(connection, account_id, first, as_of.date())
    weeks = [0] * WEEKS
    for day, row in days.items():
        weeks[WEEKS - 1 - (as_of.date() - day).days // 7] += row.usage
    profile: dict[str, Any] = _decode(account.health.profile)
    return Known(
        account_id=account_id,
        health=_decode(account.body),
        profile=profile,
        first_event_at=account.health.first_event_at,
        signals=[_open(one, float(rank), said.get(one.episode.episode_id, []), names) for one, rank in ranked],
        open_count=sum(open_now.statuses.get(status, 0) for status in standing.UNFINISHED),
        closed_count=open_now.statuses.get("closed", 0),
        rank=float(ranked[0][1]) if ranked else None,
        parts=priority.parts(account, ranked[0][0], open_now.judged) if ranked else priority.weight(account),
        usage_weeks=weeks,
    )


def _open(found: SignalRecord, rank: float, said: Sequence[Act], names: Mapping[str, str]) -> OpenSignal:
    row = found.episode

    def name(actor: str | None) -> str:
        return "nobody" if actor is None else names.get(actor, actor)

    note = standing.last_note(said)
    return OpenSignal(
        episode_id=row.episode_id,
        signal=row.signal,
        kind=row.kind,
        severity=row.severity,
        reason=found.last.reason,
        opened_at=row.opened_at,
        rank=rank,
        user=row.user,
        about=found.last.about,
        action=_decode(found.last.action),
        status=found.status,
        stands=standing.in_words(found.status, found.handling, found.now, name=name, when=_minute),
        note=None
        if note is None
        else {"text": note.text, "by": note.by, "at": note.at, "said": standing.noted(note, found.now, name=name)},
    )


def _minute(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
