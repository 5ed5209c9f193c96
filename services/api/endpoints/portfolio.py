"""`/v1/portfolio`: revenue, retention, renewals, load, signals and the named reports, over a period."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from services.api import portfolio_answers as answers
from services.api import portfolio_handling_queries as handling
from services.api import portfolio_queries as queries
from services.api import portfolio_report_queries as reports
from services.api.answers import answer
from services.api.auth import require
from services.api.database import Connection
from services.api.portfolio.period import PeriodError, resolve
from services.api.portfolio_parameters import PortfolioFilter
from services.api.portfolio_queries import Asked
from services.common.problems import FieldError, bad_parameter
from services.common.settings import settings

router = APIRouter(prefix="/v1/portfolio", tags=["portfolio"], dependencies=[Depends(require("read"))])


@router.get("", responses={200: {"model": answers.Portfolio}})
async def get_portfolio(request: Request, wanted: Annotated[PortfolioFilter, Query()]) -> Response:
    """The portfolio over a period, as it was known at an instant; whole, and by group where one is asked for."""
    now = dt.datetime.now(dt.UTC)
    try:
        period = resolve(now, wanted.as_of, wanted.from_, wanted.to)
    except PeriodError as error:
        raise bad_parameter(FieldError(error.field, error.detail)) from None
    asked = Asked(period=period, group_by=wanted.group_by, where=wanted.where())
    async with Connection(request) as connection:
        return answer(await read(connection, asked, wanted, wanted.as_of or now))


async def read(
    connection: AsyncConnection, asked: Asked, wanted: PortfolioFilter, as_of: dt.datetime
) -> dict[str, Any]:
    """A `Portfolio`."""
    config = settings()
    targets = answers.retention_targets(config.retention_targets)
    found = await queries.sections(connection, asked)
    whole, groups = answers.parted(found)
    shown = answers.largest(groups)
    sheet_of = asked.where.get("csm")
    counted = await reports.triggered(connection, asked) if sheet_of or "signals" in wanted.include else []
    triggered = counted if "signals" in wanted.include else None
    by_group: dict[str | None, answers.SignalCount] = {}
    if triggered is not None and asked.group_by is not None:
        grouped = await reports.triggered_by_group(connection, asked)
        by_group = {entry.group: answers.signal_count([entry]) for entry in grouped}
    total = None if triggered is None else answers.signal_count(triggered)
    nothing = None if triggered is None else answers.signal_count([])
    return {
        "as_of": as_of,
        "period": answers.period(asked.period),
        "group_by": asked.group_by,
        "filters": asked.where,
        "total": answers.measures(whole, signals=total),
        "groups": [
            {"group": group}
            | answers.measures(
                part,
                signals=by_group.get(group, nothing),
                target=targets.get(group or "") if asked.group_by == "tier" else None,
                by_product=asked.group_by == "product",
            )
            for group, part in shown.items()
        ],
        "groups_left_out": len(groups) - len(shown),
        "churn_reasons": answers.reasons(found.reasons),
        "time_to_value": answers.value_trend(found.value),
        "load": answers.carried(found.carried, wanted.accounts_per_csm or config.accounts_per_csm),
        "signals": None
        if triggered is None
        else answers.signals(
            triggered, await handling.by_signal(connection, asked), await handling.by_person(connection, asked)
        ),
        "sheet": await _sheet(connection, asked, sheet_of, counted) if sheet_of else None,
        "reports": await read_reports(connection, asked, found) if "reports" in wanted.include else None,
    }


async def _sheet(
    connection: AsyncConnection, asked: Asked, csm: str, counted: list[reports.Triggered]
) -> dict[str, Any]:
    return answers.manager_sheet(
        csm,
        await reports.means(connection, asked),
        await reports.renewals_at_risk(connection, asked),
        await reports.upsell(connection, asked),
        await reports.advocacy(connection, asked),
        sum(entry.triggered for entry in counted if entry.kind == "opportunity"),
    )


async def read_reports(connection: AsyncConnection, asked: Asked, found: queries.Sections) -> dict[str, Any]:
    """A `ReportsAnswer`. `found` is what one look at the accounts gave."""
    return {
        "expanding": answers.expanding(found.opening),
        "industries": answers.segments(await reports.industries(connection, asked)),
        "products": answers.segments(await reports.products(connection, asked)),
        "first_renewal_discounts": answers.discounts(await reports.discounts(connection, asked)),
        "feature_requests": answers.feature_requests(*await reports.feature_requests(connection, asked)),
        "look_alikes": [answers.cohort(cohort) for cohort in await reports.look_alikes(connection, asked)],
        "references": await reports.references(connection, asked),
    }
