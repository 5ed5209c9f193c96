"""`/v1/accounts`: who there is, how they are, what happened to them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from services.api import answers, erasure, queries, queue_answers, queue_queries
from services.api.answers import answer, page
from services.api.auth import require
from services.api.database import Connection, writing
from services.api.parameters import (
    DAYS_MOST,
    AccountFilter,
    Parameters,
    SignalsOfAccount,
    TimelineFilter,
    UsageRange,
)
from services.api.paths import SEGMENT
from services.common import audit
from services.common.keys import Key
from services.common.problems import FieldError, Problem, bad_parameter, not_found

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], dependencies=[Depends(require("read"))])

Administrator = Annotated[Key, Depends(require("admin"))]
AccountId = Annotated[str, Path(description="account id, percent-encoded: a slash in it is %2F")]
SHOWN_DAYS = 92

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def unknown(account_id: str) -> Problem:
    """404 for an account that is not recorded."""
    return not_found(f"no account {account_id!r}; a slash in an id is sent as %2F")


@router.get("", responses={200: {"model": answers.AccountPage}})
async def list_accounts(request: Request, wanted: Annotated[AccountFilter, Query()]) -> Response:
    """Accounts, by name unless sorted otherwise."""
    async with Connection(request) as connection:
        found, cursor = await queries.accounts(connection, wanted)
        counts = await queries.open_counts(connection, [account.account_id for account in found])
    return answer(page([answers.account_item(account, counts[account.account_id]) for account in found], cursor))


@router.get(f"/{{account_id:{SEGMENT}}}", responses={200: {"model": answers.AccountDetail}})
async def get_account(request: Request, account_id: AccountId, parameters: Annotated[Parameters, Query()]) -> Response:
    """One account: profile, headline windows, open signals with their reasons."""
    async with Connection(request) as connection:
        found = await queries.account(connection, account_id)
        if found is None:
            raise unknown(account_id)
        counts = await queries.open_counts(connection, [account_id])
        signals = await queries.open_signals(connection, account_id)
    return answer(answers.account_detail(found, counts[account_id], signals))


@router.get(f"/{{account_id:{SEGMENT}}}/health", responses={200: {"content": {"application/json": {}}}})
async def get_health(request: Request, account_id: AccountId, wanted: Annotated[UsageRange, Query()]) -> Response:
    """The latest health record as it was published, with scores by day (92 unless asked otherwise) and its cohort."""
    async with Connection(request) as connection:
        found = await queries.account(connection, account_id)
        if found is None:
            raise unknown(account_id)
        first, last = _days(wanted, found.health.as_of.date())
        scores = await queue_queries.scores(connection, account_id, first, last)
        cohort = await queue_queries.cohort(connection, account_id)
    record = _members(found.body)
    record.pop("score_days", None)
    history = [dict(row._mapping) for row in scores]
    return answer(record | {"history": history, "cohort": queue_answers.cohort_place(cohort)})


@router.get(f"/{{account_id:{SEGMENT}}}/signals", responses={200: {"model": answers.SignalPage}})
async def list_signals_of_account(
    request: Request, account_id: AccountId, wanted: Annotated[SignalsOfAccount, Query()]
) -> Response:
    """Signals of one account, open and cleared, newest `opened_at` first."""
    async with Connection(request) as connection:
        found, cursor = await queries.signals(connection, wanted, account_id)
        if not found and await queries.account(connection, account_id) is None:
            raise unknown(account_id)
    return answer(page([answers.signal_item(signal) for signal in found], cursor))


@router.get(f"/{{account_id:{SEGMENT}}}/timeline", responses={200: {"model": answers.TimelinePage}})
async def get_timeline(request: Request, account_id: AccountId, wanted: Annotated[TimelineFilter, Query()]) -> Response:
    """What happened, newest first: tickets, invoices, surveys, touchpoints, profile changes, value reached."""
    async with Connection(request) as connection:
        found, cursor = await queries.timeline(connection, account_id, wanted)
        if not found and await queries.account(connection, account_id) is None:
            raise unknown(account_id)
    return answer(page([answers.timeline_item(row) for row in found], cursor))


@router.get(f"/{{account_id:{SEGMENT}}}/usage", responses={200: {"model": answers.Usage}})
async def get_usage(request: Request, account_id: AccountId, wanted: Annotated[UsageRange, Query()]) -> Response:
    """Usage by UTC day, oldest first, days without usage as 0."""
    async with Connection(request) as connection:
        found = await queries.account(connection, account_id)
        if found is None:
            raise unknown(account_id)
        first, last = _days(wanted, found.health.as_of.date())
        rows = await queries.usage(connection, account_id, first, last)
    items = answers.usage_items(rows, first, last)
    return answer({"account_id": account_id, "items": items, "next_cursor": None})


@router.delete(
    f"/{{account_id:{SEGMENT}}}",
    status_code=202,
    responses={202: {"model": answers.Erasing, "description": "The erasure is sent, and done within seconds"}},
)
async def erase_account(request: Request, account_id: AccountId, key: Administrator) -> Response:
    """Erase everything that is held of an account: history, state, signals, what people did. It cannot be undone.

    `account.erased` is sent like any event; engine, recorder and attribution delete what they hold when they read it.
    """
    engine: AsyncEngine = request.app.state.engine
    async with writing(engine) as connection:
        if not await erasure.is_known(connection, account_id):
            raise unknown(account_id)
        event_id, value = erasure.erased(account_id, dt.datetime.now(dt.UTC))
        # Kept before it is sent: what was erased must not be without a trace of who asked.
        await audit.record(connection, key.actor, "account.erased", account_id, {"event_id": event_id})
    await erasure.send(request.app.state.settings, account_id, value)
    return answer({"account_id": account_id, "event_id": event_id}, status=202)


def _days(wanted: UsageRange, today: dt.date) -> tuple[dt.date, dt.date]:
    """The first and last day that are asked for. Raises a 400 problem."""
    last = wanted.to or today
    first = wanted.from_ or last - min(dt.timedelta(days=SHOWN_DAYS - 1), last - dt.date.min)
    if first > last:
        raise bad_parameter(FieldError("from", f"{first} is after the last day, {last}"))
    if (last - first).days >= DAYS_MOST:
        raise bad_parameter(FieldError("from", f"{DAYS_MOST} days at most; the last day is {last}"))
    return first, last
