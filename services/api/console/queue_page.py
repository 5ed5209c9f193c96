"""The queue: what is open, in the order in which to work on it; mine first."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from msgspec import Struct
from pydantic import Field, model_validator
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from schemas.db.people import Handling as HandlingRow
from schemas.db.tables import Account, Episode, QueueEntry
from schemas.lifecycle import Status
from services.api import acts, handled, queue_queries, sse
from services.api.console import rows
from services.api.console.act_forms import OUTCOME_NAMES, SNOOZES
from services.api.console.directory import Directory, DirectoryReader
from services.api.console.history import told
from services.api.console.managers import LISTED_MOST, Managers, people
from services.api.console.render import clock_of, link, render, row_id, segment
from services.api.console.rows import Row
from services.api.console.session import Viewer, reader
from services.api.database import Connection
from services.api.endpoints.catalogue import entries
from services.api.feed_queries import Entry
from services.api.parameters import Kind, Parameters, RenewalWindow, Severity, Text, Tier, Word
from services.api.paths import SEGMENT
from services.api.queue_queries import COUNTED_MOST, Wanted
from services.api.sse import Event
from services.api.stream import Gap, Item, Mark, Tail
from services.api.stream import Wanted as Watched
from services.common.problems import FieldError, bad_parameter, not_found

router = APIRouter(include_in_schema=False)

LIMIT: Final = 50
MINE, OTHERS = "m.", "o."
"""Begin the cursors of the two parts of a queue that has mine first."""
STATUSES: Final[dict[str, frozenset[Status]]] = {
    "open": frozenset({"open"}),
    "acknowledged": frozenset({"acknowledged"}),
    "snoozed": frozenset({"snoozed"}),
    "closed": frozenset({"closed"}),
    "all": handled.UNCLEARED,
}

Reader = Annotated[Viewer, Depends(reader)]
EpisodeId = Annotated[str, Path()]


class QueueQuery(Parameters):
    """Filters of the queue as they stand in its URL. What is empty does not matter, as a form sends it."""

    whose: Annotated[Text | None, Field(None)]
    severity: Annotated[Severity | None, Field(None)]
    kind: Annotated[Kind | None, Field(None)]
    family: Annotated[Word | None, Field(None)]
    signal: Annotated[Word | None, Field(None)]
    tier: Annotated[Tier | None, Field(None)]
    renewal: Annotated[Literal["past", "30", "60", "90", "180"] | None, Field(None)]
    status: Annotated[Literal["open", "acknowledged", "snoozed", "closed", "all"] | None, Field(None)]
    cursor: Annotated[str | None, Field(None)]
    did: Annotated[Text | None, Field(None)]

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, dict) else given

    def filters(self) -> dict[str, str]:
        """What is asked for, apart from the place in the list."""
        return {name: str(value) for name, value in self if value is not None and name not in ("cursor", "did")}


class Found(Struct, frozen=True):
    """What the heading says: rows on this page, and accounts in all, which are counted up to `COUNTED_MOST`."""

    shown: int
    total: int

    @property
    def words(self) -> str:
        """ "12", "50 of 1,234", "50 of 1,000+"."""
        if self.total > COUNTED_MOST:
            return f"{self.shown} of {COUNTED_MOST:,}+"
        return f"{self.shown}" if self.shown == self.total else f"{self.shown} of {self.total:,}"


class Section(Struct, frozen=True):
    """Rows under one heading, None where there is only one list."""

    heading: str | None
    rows: list[Row]


class Nothing(Struct, frozen=True):
    """Why the queue is empty. `open` counts what is open in all, up to `COUNTED_MOST`."""

    open: int
    snoozed: int
    wakes_at: dt.datetime | None


@router.get("/queue")
async def get_queue(request: Request, asked: Annotated[QueueQuery, Query()], viewer: Reader) -> Response:
    """The queue's page."""
    users: DirectoryReader = request.app.state.console.directory
    named: Managers = request.app.state.console.managers
    today = clock_of(request).now.date()
    async with Connection(request) as connection:
        wanted = await _wanted(connection, asked, viewer)
        sections, cursor = await _sections(connection, asked, wanted, viewer, today)
        shown = sum(len(section.rows) for section in sections)
        total = shown
        if asked.cursor is not None or cursor is not None:
            total = await queue_queries.accounts_found(connection, wanted, _window(asked, None, LIMIT, today))
        directory = await users.read(connection)
        who = people(await named.read(connection), directory)
        empty = None if shown else await _nothing(connection)
        done = None if asked.did is None else await _done(connection, asked.did, directory, request)
    filters = asked.filters()
    return render(
        request,
        "queue.html",
        sections=sections,
        found=Found(shown, total),
        people=who,
        listed=len(who) <= LISTED_MOST,
        empty=empty,
        asked=asked,
        filters=filters,
        families=sorted({entry["family"] for entry in entries()}),
        directory=directory,
        snoozes=SNOOZES,
        outcomes=OUTCOME_NAMES,
        tomorrow=(clock_of(request).now + dt.timedelta(days=1)).date(),
        done=done,
        first=link("/queue", **filters) if asked.cursor else None,
        next=None if cursor is None else link("/queue", **filters, cursor=cursor),
        stream=link("/queue/stream", **{name: filters.get(name) for name in ("kind", "severity", "signal", "tier")}),
        back=link("/queue", **filters, cursor=asked.cursor),
    )


@router.get(f"/queue/rows/{{episode_id:{SEGMENT}}}")
async def get_row(request: Request, episode_id: EpisodeId, viewer: Reader, back: str = "/queue") -> Response:
    """One row as it is now, for a list that stays where it is."""
    return await row_answer(request, episode_id, back=back)


@router.get("/queue/stream")
async def get_stream(request: Request, asked: Annotated[QueueQuery, Query()], viewer: Reader) -> Response:
    """Which signals have changed, as server-sent events: what to read again, not what it says now."""
    tail: Tail = request.app.state.tail
    wanted = Watched(kind=asked.kind, severity=asked.severity, signal=asked.signal, tier=asked.tier)
    last = request.headers.get("last-event-id", "")
    watcher = await tail.subscribe(wanted, int(last) if last.isascii() and last.isdigit() and len(last) < 19 else None)
    return sse.EventStream(_events(watcher.items()), watcher.ended)


async def _events(items: AsyncGenerator[Item]) -> AsyncGenerator[Event]:
    try:
        async for item in items:
            match item:
                case Entry():
                    yield Event(msgspec.json.encode(_change(item)).decode(), "signal", str(item.id))
                case Gap() | Mark():
                    yield Event(None, id=str(item.position))
    finally:
        await items.aclose()


def _change(entry: Entry) -> dict[str, Any]:
    """What a list has to know of a change: which row it is, and whether the row shows it already."""
    data: dict[str, Any] = msgspec.json.decode(entry.body)["data"]
    return {
        "row": row_id(entry.episode_id),
        "path": f"/queue/rows/{segment(entry.episode_id)}",
        "type": entry.type.removeprefix("signal."),
        "family": entry.signal.partition(".")[0],
        "version": data["version"] if "act" in data else None,
    }


# --- one row -------------------------------------------------------------------------------------------------------


async def row_answer(request: Request, episode_id: str, *, back: str, did: int | None = None) -> Response:
    """A row after an act, or as it is now. `did` is the version of the act that was just done, which may be undone.

    What is out of the queue now becomes a line that says so, and the account's next signal comes up.
    """
    console = request.app.state.console
    async with Connection(request) as connection:
        row = await rows.read_one(connection, episode_id)
        if row is None:
            raise not_found(f"no signal {episode_id!r} in the queue")
        directory = await console.directory.read(connection)
        history = [] if did is None else await acts.history(connection, episode_id)
        gone = row.status not in handled.WORK
        after = await rows.highest(connection, row.account_id) if gone and did is not None else None
        following = None if after is None else await rows.read_one(connection, after)
    last = next((act for act in history if act.version == did), None)
    clock = clock_of(request)
    return render(
        request,
        "parts/row_answer.html",
        row=row,
        gone=gone,
        following=following,
        did=last,
        did_what=None if last is None else told(last, directory, clock),
        directory=directory,
        outcomes=OUTCOME_NAMES,
        back=back,
    )


# --- which rows ----------------------------------------------------------------------------------------------------


async def _wanted(connection: AsyncConnection, asked: QueueQuery, viewer: Viewer) -> Wanted:
    """Which signals the page is about: with mine first, everybody's."""
    wanted = Wanted(
        signals=() if asked.signal is None else (asked.signal,),
        kind=asked.kind,
        severity=asked.severity,
        family=asked.family,
        statuses=handled.WORK if asked.status is None else STATUSES[asked.status],
    )
    if asked.whose in (None, "first", "all"):
        return wanted
    return await _of_owner(connection, wanted, asked.whose or "", viewer)


async def _sections(
    connection: AsyncConnection, asked: QueueQuery, wanted: Wanted, viewer: Viewer, today: dt.date
) -> tuple[list[Section], str | None]:
    """The rows of one page under their headings, and the cursor of the next page."""
    mine_first = asked.whose in (None, "first")
    if mine_first and viewer.user_id is not None:
        return await _mine_first(connection, asked, wanted, viewer, today)
    order = "console all" if mine_first else f"console {asked.whose}"
    places, cursor = await queue_queries.places(connection, wanted, _window(asked, asked.cursor, LIMIT, today), order)
    return [Section(None, await rows.read(connection, places, wanted.statuses))], cursor


async def _mine_first(
    connection: AsyncConnection, asked: QueueQuery, wanted: Wanted, viewer: Viewer, today: dt.date
) -> tuple[list[Section], str | None]:
    """My rows in their order, then the others' in theirs."""
    mine = await _of_owner(connection, wanted, "me", viewer)
    cursor = asked.cursor or MINE
    found: list[queue_queries.Place] = []
    onward: str | None = None
    if cursor.startswith(MINE):
        window = _window(asked, cursor.removeprefix(MINE) or None, LIMIT, today)
        found, onward = await queue_queries.places(connection, mine, window, "console me")
        if onward is not None:
            return [Section("Yours", await rows.read(connection, found, wanted.statuses))], MINE + onward
    elif not cursor.startswith(OTHERS):
        raise bad_parameter(FieldError("cursor", "not a place in this list; leave it out to start at the first page"))
    left = LIMIT - len(found)
    others: list[queue_queries.Place] = []
    if left > 0:
        after = cursor.removeprefix(OTHERS) if cursor.startswith(OTHERS) else None
        others, onward = await queue_queries.places(
            connection, wanted, _window(asked, after, left, today), "console all"
        )
    accounts = {place.account_id for place in found}
    # In one go: a page costs the same however it is divided.
    both = [*found, *(place for place in others if place.account_id not in accounts)]
    read = await rows.read(connection, both, wanted.statuses)
    yours = [row for row in read if row.account_id in accounts]
    # On later pages, what was listed among mine already.
    rest = [
        row for row in read if row.account_id not in accounts and (row.handling.assignee or row.csm) != viewer.user_id
    ]
    if cursor != MINE:
        return [Section(None, [*yours, *rest])], None if onward is None else OTHERS + onward
    return [Section("Yours", yours), Section("Everybody’s", rest)], None if onward is None else OTHERS + onward


async def _of_owner(connection: AsyncConnection, wanted: Wanted, whose: str, viewer: Viewer) -> Wanted:
    owner = await handled.owner(connection, handled.person(whose, viewer.user_id or ""))
    return msgspec.structs.replace(wanted, owner=owner)


def _window(asked: QueueQuery, cursor: str | None, limit: int, today: dt.date) -> RenewalWindow:
    first: dt.date | None = None
    last: dt.date | None = None
    if asked.renewal == "past":
        last = today - dt.timedelta(days=1)
    elif asked.renewal is not None:
        first, last = today, today + dt.timedelta(days=int(asked.renewal))
    return RenewalWindow(limit=limit, cursor=cursor, tier=asked.tier, csm=None, renewal_from=first, renewal_to=last)


async def _nothing(connection: AsyncConnection) -> Nothing:
    some = select(QueueEntry.episode_id).limit(COUNTED_MOST).subquery()
    sleeping = (
        select(func.count(), func.min(HandlingRow.snoozed_until))
        .join(QueueEntry, QueueEntry.episode_id == HandlingRow.episode_id)
        .where(HandlingRow.snoozed_until > func.now())
    )
    count, wakes_at = (await connection.execute(sleeping)).one()
    found = (await connection.execute(select(func.count()).select_from(some))).scalar_one()
    return Nothing(found, count, wakes_at)


async def _done(connection: AsyncConnection, did: str, directory: Directory, request: Request) -> dict[str, Any] | None:
    """The act that a page without scripts comes back from, with what undoes it."""
    episode_id, _, version = did.rpartition(":")
    history = await acts.history(connection, episode_id)
    act = next((act for act in history if str(act.version) == version), None)
    if act is None:
        return None
    name = (
        select(Account.name)
        .join(Episode, Episode.account_id == Account.account_id)
        .where(Episode.episode_id == episode_id)
    )
    account = (await connection.execute(name)).scalar_one_or_none()
    latest = history[-1].version
    return {
        "episode_id": episode_id,
        "what": told(act, directory, clock_of(request)),
        "account": account or "a signal",
        "version": latest,
        "undoes": act.version if act.version == latest and act.act != "undo" else None,
    }
