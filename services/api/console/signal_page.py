"""One signal: is it true, why, what now; and what was done about it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Final, get_args

import msgspec
from fastapi import APIRouter, Depends, Path, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from schemas.lifecycle import Cause, ChurnReason
from services.api import acts, answers, queries
from services.api.console import account_queries, history
from services.api.console import told as events_told
from services.api.console.act_forms import OUTCOME_NAMES, SNOOZES
from services.api.console.charts.signal import Moment, SignalFacts, chart_input, signal_chart
from services.api.console.history import told
from services.api.console.render import clock_of, render
from services.api.console.session import Viewer, reader
from services.api.database import Connection
from services.api.endpoints.catalogue import entries
from services.api.lifecycle import Act, taken_back
from services.api.parameters import TimelineFilter
from services.api.paths import SEGMENT
from services.api.queries import AccountRecord, SignalRecord
from services.common.problems import not_found

router = APIRouter(include_in_schema=False)

USAGE_DAYS: Final = 260
MOMENTS_MOST: Final = 200
TIMELINE_OF: Final = {"tickets": "ticket", "touchpoints": "touchpoint"}

Reader = Annotated[Viewer, Depends(reader)]
EpisodeId = Annotated[str, Path()]


@router.get(f"/signals/{{episode_id:{SEGMENT}}}")
async def get_signal(request: Request, episode_id: EpisodeId, viewer: Reader) -> Response:
    """The signal's page."""
    return await signal_answer(request, episode_id)


async def signal_answer(request: Request, episode_id: str, *, did: int | None = None) -> Response:
    """The signal, as page or, for a script, as its part of the page. `did` is the version of the act just done."""
    console = request.app.state.console
    async with Connection(request) as connection:
        found = await queries.signal(connection, episode_id)
        if found is None:
            raise not_found(f"no signal {episode_id!r}; it may have been erased with its account")
        changes = [msgspec.json.decode(text) for text in await queries.transitions(connection, episode_id)]
        done = await acts.history(connection, episode_id)
        account = await queries.account(connection, found.episode.account_id)
        directory = await console.directory.read(connection)
        facts = await _facts(connection, found, account)
    clock = clock_of(request)
    entry = next((each for each in entries() if each["id"] == found.episode.signal), None)
    item = answers.signal_item(found)
    evidence = msgspec.json.decode(found.last.evidence)
    chart = signal_chart(item | {"evidence": evidence}, changes, entry, facts, caption=False)
    last = next((act for act in done if act.version == did), None)
    return render(
        request,
        "parts/signal.html" if did is not None else "signal.html",
        signal=item,
        action=msgspec.json.decode(found.last.action),
        evidence=evidence,
        entry=entry,
        chart=chart,
        handling=found.handling,
        account=item["account"],
        health=None if account is None else account.health,
        story=history.entries(changes, done, directory, clock),
        directory=directory,
        version=found.handling.version,
        latest=_latest(done),
        did=last,
        did_what=None if last is None else told(last, directory, clock),
        snoozes=SNOOZES,
        outcomes=OUTCOME_NAMES,
        reasons=get_args(ChurnReason),
        causes=get_args(Cause),
        closing=request.query_params.get("close"),
        tomorrow=(clock.now + dt.timedelta(days=1)).date(),
        back=f"/signals/{request.path_params['episode_id']}",
    )


def _latest(done: list[Act]) -> Act | None:
    """The latest act that is in force, which is the one that Undo takes back."""
    gone = taken_back(done)
    return next((act for act in reversed(done) if act.version not in gone and act.act not in ("undo", "comment")), None)


async def _facts(connection: AsyncConnection, found: SignalRecord, account: AccountRecord | None) -> SignalFacts:
    """What the chart of this signal is drawn from, besides its evidence."""
    wanted = chart_input(found.episode.signal, found.last.evidence)
    if wanted is None or account is None:
        return SignalFacts()
    today = account.health.as_of.astimezone(dt.UTC).date()
    known = account.health.first_event_at
    since = None if known is None else known.astimezone(dt.UTC).date()
    if wanted == "usage":
        first = today - dt.timedelta(days=USAGE_DAYS)
        used = await account_queries.usage(connection, account.account_id, first, today)
        held = await account_queries.held(connection, "usage", today)
        return SignalFacts(
            today=today, known_since=since, usage=used.uses, core=used.core, held=held, revised=used.revised
        )
    asked = TimelineFilter(limit=MOMENTS_MOST, cursor=None, type=TIMELINE_OF[wanted], since=None, until=None)
    rows, _ = await queries.timeline(connection, account.account_id, asked)
    moments = [Moment(row.time, events_told.told(row.type, _data(row.data))) for row in rows if _begins(row.type)]
    return SignalFacts(today=today, known_since=since, moments=moments)


def _data(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = msgspec.json.decode(text)
    return found


def _begins(type_: str) -> bool:
    """Whether an event is one that a burst counts, and not a later change of the same ticket."""
    return type_ == "ticket.opened" or type_.startswith("touchpoint.")
