"""The portfolio page: where revenue leaks, who is overloaded, what acting came to.

At a hundred thousand accounts a sum takes seconds: the page comes at once, and each panel is read by a request of its own,
so that one that fails leaves the others. Without scripts, `whole=true` has all panels in the page.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Depends, Query, Request
from msgspec import Struct
from pydantic import model_validator
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import RedirectResponse, Response

from services.api import portfolio_answers as answers
from services.api import portfolio_list_queries as lists
from services.api import portfolio_queries as queries
from services.api import portfolio_report_queries as reports
from services.api.console import portfolio, session
from services.api.console.panels import Panel, panel
from services.api.console.render import is_fragment, link, render
from services.api.console.session import Viewer
from services.api.endpoints.portfolio import read as read_portfolio
from services.api.endpoints.portfolio import read_reports
from services.api.portfolio.period import PeriodError, resolve
from services.api.portfolio_list_queries import Of
from services.api.portfolio_parameters import FILTERS, GroupBy, PortfolioFilter
from services.api.portfolio_queries import Asked
from services.common.problems import FieldError, bad_parameter
from services.common.settings import settings

router = APIRouter(include_in_schema=False)

Reader = Annotated[Viewer, Depends(session.reader)]
PANELS: Final = {
    "measures": "Retention, revenue and renewals",
    "managers": "Customer success managers",
    "outcomes": "Signals and what acting came to",
    "reports": "Reports",
}
GROUPS: Final = get_args(GroupBy)
OF_NAMES: Final[dict[Of, str]] = {
    "opening": "Customers at the start",
    "lost": "Lost customers",
    "expanded": "Customers that pay more",
    "contracted": "Customers that pay less",
    "at_risk": "At risk",
    "at_critical_risk": "At critical risk",
    "due_30": "Renewals within 30 days",
    "due_60": "Renewals within 60 days",
    "due_90": "Renewals within 90 days",
}


class _Form(PortfolioFilter):
    """What is asked of `/v1/portfolio`. A form sends every field; one that was left empty is not asked for."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, dict) else given


class PortfolioView(_Form):
    """What is asked, and whether the page has its panels in it."""

    whole: bool = False


class ListView(_Form):
    """Which accounts behind a number, from where."""

    of: Of
    currency: str | None = None
    cursor: str | None = None


View = Annotated[PortfolioView, Query()]
Wanted = Annotated[ListView, Query()]


class _Question(Struct):
    """What is asked, resolved at one instant."""

    asked: Asked
    wanted: PortfolioFilter
    as_of: dt.datetime


@router.get("/portfolio")
async def get_portfolio(request: Request, wanted: View, viewer: Reader) -> Response:
    """The page: at once, with its panels on their way, or with all of them where it is asked for whole."""
    question = _question(wanted)
    found = {name: await _read(request, name, question) for name in PANELS} if wanted.whole else {}
    return render(request, "portfolio.html", panels=PANELS, found=found, whole=wanted.whole, **_context(question))


@router.get("/portfolio/accounts")
async def get_accounts(request: Request, wanted: Wanted, viewer: Reader) -> Response:
    """The accounts that a number is made of."""
    question = _question(wanted)
    found = await panel(request, lambda c: lists.listed(c, question.asked, wanted.of, wanted.currency, wanted.cursor))
    context = _context(question)
    chosen = context["chosen"] | {"of": wanted.of, "currency": wanted.currency}
    cursor = None if found.found is None else found.found[1]
    return render(
        request,
        "portfolio_accounts.html",
        of=wanted.of,
        of_name=OF_NAMES[wanted.of],
        currency=wanted.currency,
        failed=found.failed,
        found=[] if found.found is None else found.found[0],
        first=None if wanted.cursor is None else link("/portfolio/accounts", **chosen),
        next=None if cursor is None else link("/portfolio/accounts", **chosen, cursor=cursor),
        **context,
    )


@router.get("/portfolio/panels/{name}")
async def get_panel(request: Request, name: str, wanted: View, viewer: Reader) -> Response:
    """One panel, for a script that puts it in its place; anybody else gets the whole page."""
    question = _question(wanted)
    context = _context(question)
    if name not in PANELS or not is_fragment(request):
        return RedirectResponse(link("/portfolio", **context["chosen"], whole="true"), 303)
    found = {name: await _read(request, name, question)}
    return render(request, "parts/portfolio_panel.html", name=name, title=PANELS[name], found=found, **context)


# --- reading -------------------------------------------------------------------------------------------------------


def _question(wanted: PortfolioFilter) -> _Question:
    now = dt.datetime.now(dt.UTC)
    try:
        period = resolve(now, wanted.as_of, wanted.from_, wanted.to)
    except PeriodError as error:
        raise bad_parameter(FieldError(error.field, error.detail)) from None
    asked = Asked(period=period, group_by=wanted.group_by, where=wanted.where())
    return _Question(asked, wanted, wanted.as_of or now)


def _context(question: _Question) -> dict[str, Any]:
    wanted = question.wanted
    chosen = {
        "from": None if wanted.from_ is None else wanted.from_.isoformat(),
        "to": None if wanted.to is None else wanted.to.isoformat(),
        "as_of": None if wanted.as_of is None else wanted.as_of.isoformat(),
        "group_by": wanted.group_by,
        "accounts_per_csm": wanted.accounts_per_csm,
        **question.asked.where,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return {
        "chosen": given,
        "narrowed_to": lambda name, value: {**given, name: value, "group_by": None},
        "period": question.asked.period,
        "as_of": question.as_of,
        "groups": GROUPS,
        "filters": FILTERS,
        "narrowed": question.asked.where,
    }


async def _read(request: Request, name: str, question: _Question) -> Panel[Any]:
    readers: dict[str, Callable[[AsyncConnection], Awaitable[Any]]] = {
        "measures": lambda c: _measures(c, question),
        "managers": lambda c: _managers(c, question),
        "outcomes": lambda c: _outcomes(c, question),
        "reports": lambda c: _reports(c, question),
    }
    return await panel(request, readers[name])


async def _measures(connection: AsyncConnection, question: _Question) -> dict[str, Any]:
    found = await read_portfolio(connection, question.asked, _without_parts(question.wanted), question.as_of)
    money = found["total"]["money"]
    return found | {
        "rolls": {one["currency"]: portfolio.roll_forward(f"roll-{n}", one) for n, one in enumerate(money)},
        "due_currencies": portfolio.by_currency(found["total"]["renewals_due"]),
    }


async def _managers(connection: AsyncConnection, question: _Question) -> dict[str, Any]:
    asked = question.asked
    most = question.wanted.accounts_per_csm or settings().accounts_per_csm
    load = answers.carried(await lists.carried(connection, asked), most)
    rows = portfolio.managers(
        load["managers"], await lists.manager_means(connection, asked), await lists.acknowledged(connection, asked)
    )
    sheet = None
    if "csm" in asked.where:
        counted = await reports.triggered(connection, asked)
        sheet = answers.manager_sheet(
            asked.where["csm"],
            await reports.means(connection, asked),
            await reports.renewals_at_risk(connection, asked),
            await reports.upsell(connection, asked),
            await reports.advocacy(connection, asked),
            sum(entry.triggered for entry in counted if entry.kind == "opportunity"),
        )
    return {"rows": rows, "most": most, "usual": load["usual"], "sheet": sheet}


async def _outcomes(connection: AsyncConnection, question: _Question) -> dict[str, Any]:
    asked = Asked(period=question.asked.period, group_by=None, where=question.asked.where)
    return {
        "outcomes": portfolio.outcome_rows(await lists.outcomes(connection, asked)),
        "signals": await reports.triggered(connection, asked),
    }


async def _reports(connection: AsyncConnection, question: _Question) -> dict[str, Any]:
    asked = Asked(period=question.asked.period, group_by=None, where=question.asked.where)
    found = await queries.sections(connection, asked)
    return await read_reports(connection, asked, found)


def _without_parts(wanted: PortfolioFilter) -> PortfolioFilter:
    """The same question without the parts that other panels read; what is of one manager is on their sheet."""
    return wanted.model_copy(update={"include": frozenset()})
