"""The account page: what to know and say before a call. And the list of accounts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Final, get_args

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from services.api import acts, coverage, queries, queue_answers, queue_queries, standing
from services.api.console import account, account_queries, session
from services.api.console import history as acts_told
from services.api.console.account_queries import Show
from services.api.console.act_forms import OUTCOME_NAMES, SNOOZES
from services.api.console.charts import Level, SignalFacts, health_line, usage_chart, waterfall
from services.api.console.charts.health import ScoredDay
from services.api.console.charts.signal import usage_of
from services.api.console.charts.usage import SHOWN_DAYS, Usage
from services.api.console.charts.words import day
from services.api.console.panels import Panel, panel
from services.api.console.render import clock_of, link, render, segment
from services.api.console.session import Viewer
from services.api.console.shown import at_minute
from services.api.console.told import told
from services.api.database import Connection
from services.api.endpoints.accounts import unknown
from services.api.endpoints.brief import brief_of
from services.api.endpoints.catalogue import entries
from services.api.parameters import AccountFilter, Parameters
from services.api.paths import SEGMENT
from services.api.queries import AccountRecord, SignalRecord

router = APIRouter(include_in_schema=False)

Reader = Annotated[Viewer, Depends(session.reader)]
AccountId = Annotated[str, Path()]

LONGEST_BASELINE_D: Final = 31 * 7
"""How far back the furthest baseline of a signal reaches."""
NO_SIGNAL: Final = "none"

_decode: Final = msgspec.json.decode


class AccountView(Parameters):
    """What of an account is shown: which signal's windows in the usage chart, which part of the history, from where."""

    usage: str | None = None
    show: Show = "all"
    cursor: str | None = None


# --- the list ------------------------------------------------------------------------------------------------------


@router.get("/accounts")
async def get_accounts(request: Request, wanted: Annotated[AccountFilter, Query()], viewer: Reader) -> Response:
    """Accounts by name, or by what they are worth, their renewal, or when they were last seen."""
    async with Connection(request) as connection:
        found, cursor = await queries.accounts(connection, wanted)
        counts = await queries.open_counts(connection, [one.account_id for one in found])
    chosen = {"q": wanted.q, "tier": wanted.tier, "csm": wanted.csm, "sort": wanted.sort}
    return render(
        request,
        "accounts.html",
        found=found,
        counts=counts,
        wanted=wanted,
        arr=arr,
        sorted_by=lambda name: link("/accounts", **(chosen | {"sort": name})),
        first=None if wanted.cursor is None else link("/accounts", **chosen),
        next=None if cursor is None else link("/accounts", **chosen, cursor=cursor),
    )


# --- one account ---------------------------------------------------------------------------------------------------


@router.get(f"/accounts/{{account_id:{SEGMENT}}}")
async def get_account(
    request: Request, account_id: AccountId, wanted: Annotated[AccountView, Query()], viewer: Reader
) -> Response:
    """One account: open signals and the brief first, history last."""
    async with Connection(request) as connection:
        found = await queries.account(connection, account_id)
        if found is None:
            raise unknown(account_id)
        signals = await queries.open_signals(connection, account_id)
        ranked = await queries.ranked_signals(connection, [account_id], queries.OPEN_SHOWN)
        directory = await request.app.state.console.directory.read(connection)
        said = await acts.histories(connection, [one.episode.episode_id for one in signals if one.handling.version])
    record: dict[str, Any] = _decode(found.body)
    ordered = _in_order(signals, [one.episode.episode_id for one, _ in ranked])
    open_now = [one for one in ordered if one.status != "closed"]
    clock = clock_of(request)

    def stands(one: SignalRecord) -> str | None:
        return standing.in_words(
            one.status, one.handling, one.now, name=directory.name, when=lambda at: at_minute(at, clock)
        )

    def noted(one: SignalRecord) -> dict[str, str] | None:
        note = standing.last_note(said.get(one.episode.episode_id, []))
        return None if note is None else {"text": note.text, "said": standing.noted(note, one.now, name=directory.name)}

    return render(
        request,
        "account.html",
        account=found,
        record=record,
        profile=record.get("profile") or {},
        arr=arr(found),
        signals=open_now,
        closed=[one for one in ordered if one.status == "closed"],
        next_step=next((one for one in open_now if one.status != "snoozed"), None),
        stands=stands,
        noted=noted,
        titles={entry["id"]: entry["title"] for entry in entries()},
        actions={one.episode.episode_id: _decode(one.last.action) for one in ordered},
        would=account.would_change(record),
        directory=directory,
        snoozes=SNOOZES,
        outcomes=OUTCOME_NAMES,
        health=await panel(request, lambda c: _health(c, found, record)),
        brief=await panel(request, lambda c: brief_of(c, found)),
        usage=await _usage(request, found, open_now, wanted),
        blind=_blind(found),
        history=await _history(request, found, wanted),
        wanted=wanted,
        at=_address(account_id),
    )


def arr(found: AccountRecord) -> Decimal | None:
    """What an account pays a year."""
    return None if found.mrr is None else found.mrr * 12


def _address(account_id: str) -> str:
    return f"/accounts/{segment(account_id)}"


def _in_order(signals: list[SignalRecord], ranked: list[str]) -> list[SignalRecord]:
    """By rank; those without one (just opened) first, what somebody put off last."""
    place = {episode_id: n for n, episode_id in enumerate(ranked, 1)}
    return sorted(signals, key=lambda one: (one.status == "snoozed", place.get(one.episode.episode_id, 0)))


class _Health(Struct):
    """The panel of the score."""

    rows: list[account.PartRow]
    wanted: dt.date
    compared: account.Compared | None
    waterfall: Any
    line: Any
    cohort: dict[str, Any] | None


async def _health(connection: AsyncConnection, found: AccountRecord, record: dict[str, Any]) -> _Health:
    today = found.health.as_of.astimezone(dt.UTC).date()
    wanted = today - dt.timedelta(days=account.CHANGE_D)
    change, score = record.get("change_30d"), found.health.score
    before = None if change is None or score is None else score - change
    kept = await account_queries.parts_of(connection, found.account_id, wanted, today)
    then = account.nearest(kept, wanted, before)
    first = today - dt.timedelta(days=SHOWN_DAYS - 1)
    scores = await queue_queries.scores(connection, found.account_id, first, today)
    history = [ScoredDay(row.day, row.score) for row in scores if row.day < today]
    history.append(ScoredDay(today, found.health.score))
    fell = account.fall(record, then)
    steps = (
        waterfall("fall", Level(day(fell.then.day, today), fell.then.total), fell.steps, Level("now", fell.score))
        if fell
        else None
    )
    return _Health(
        rows=account.part_rows(record, then),
        wanted=wanted,
        compared=None if then is None else account.Compared(then, wanted, (today - then.day).days),
        waterfall=steps,
        line=health_line("health", history, today),
        cohort=queue_answers.cohort_place(await queue_queries.cohort(connection, found.account_id)),
    )


class _UsageChoice(Struct):
    """A signal whose windows may be drawn into the usage chart."""

    episode_id: str
    signal: str
    chosen: bool


class _Usage(Struct):
    """The panel of use: the chart, what it says, and the signals to choose from."""

    chart: Any
    said: str | None
    choices: list[_UsageChoice]
    plain: bool
    last_seen: dt.datetime | None
    ever: bool


async def _usage(
    request: Request, found: AccountRecord, signals: list[SignalRecord], wanted: AccountView
) -> Panel[_Usage]:
    countable = [one for one in signals if _counts_use(one)]
    chosen = next((one for one in countable if one.episode.episode_id == wanted.usage), None)
    if chosen is None and wanted.usage != NO_SIGNAL:
        chosen = countable[0] if countable else None

    async def read(connection: AsyncConnection) -> _Usage:
        today = found.health.as_of.astimezone(dt.UTC).date()
        back = LONGEST_BASELINE_D if chosen is not None else SHOWN_DAYS - 1
        used = await account_queries.usage(connection, found.account_id, today - dt.timedelta(days=back), today)
        silent = await account_queries.held(connection, "usage", today)
        known = found.health.first_event_at
        since = None if known is None else known.astimezone(dt.UTC).date()
        shown = None
        if chosen is not None:
            changes = await queries.transitions(connection, chosen.episode.episode_id)
            facts = SignalFacts(
                today=today, known_since=since, usage=used.uses, core=used.core, held=silent, revised=used.revised
            )
            shown = usage_of(chosen.episode.signal, chosen.last.evidence, changes, facts)
        first = max(today - dt.timedelta(days=SHOWN_DAYS - 1), since or dt.date.min)
        plain = Usage(by_day=used.uses, first=first, today=today, held=silent, revised=used.revised)
        ever = bool(used.uses) or found.health.windows.last_seen is not None
        return _Usage(
            chart=usage_chart("usage", shown or plain) if ever else None,
            said=chosen.last.reason if chosen is not None and shown is not None else None,
            choices=[
                _UsageChoice(one.episode.episode_id, one.episode.signal, shown is not None and one is chosen)
                for one in countable
            ],
            plain=shown is None,
            last_seen=found.health.windows.last_seen,
            ever=ever,
        )

    return await panel(request, read)


def _counts_use(one: SignalRecord) -> bool:
    """Whether windows of use can be drawn for a signal."""
    anything = {dt.date.min: 1}
    facts = SignalFacts(today=dt.date.max, usage=anything, core=anything)
    return usage_of(one.episode.signal, one.last.evidence, (), facts) is not None


def _blind(found: AccountRecord) -> account.Blind:
    states = coverage.coverage(coverage.record_of(found.body), entries())
    return account.blind(states, coverage.summary(states))


class _Line(Struct):
    """One line of the history."""

    at: dt.datetime
    said: str
    note: str | None
    by: str
    act: bool
    episode_id: str
    signal: str
    family: str


class _History(Struct):
    """The panel of the history."""

    lines: list[_Line]
    shows: tuple[str, ...]
    first: str | None
    next: str | None


async def _history(request: Request, found: AccountRecord, wanted: AccountView) -> Panel[_History]:
    clock = clock_of(request)

    async def read(connection: AsyncConnection) -> _History:
        names = await request.app.state.console.directory.read(connection)
        rows, cursor = await account_queries.history(connection, found.account_id, wanted.show, wanted.cursor)
        return _History(
            lines=[
                _Line(
                    at=row.time,
                    said=told(row.what, row.data) if row.act is None else acts_told.told(row.act, names, clock),
                    note=None if row.act is None else row.act.data.get("comment"),
                    by=row.by if row.act is None else names.name(row.by),
                    act=row.act is not None,
                    episode_id=row.episode_id,
                    signal=row.signal,
                    family=row.what.partition(".")[0] if row.act is None else "act",
                )
                for row in rows
            ],
            shows=get_args(Show),
            first=None if wanted.cursor is None else f"?show={wanted.show}",
            next=None if cursor is None else link("", show=wanted.show, cursor=cursor),
        )

    return await panel(request, read)
