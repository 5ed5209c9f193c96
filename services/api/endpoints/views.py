"""`/v1/views`: lists that are asked for by name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from schemas import priority as weights
from schemas.priority import NEAR
from services.api import handled, queue_answers, queue_queries
from services.api.answers import answer, page
from services.api.auth import require
from services.api.database import Connection
from services.api.endpoints.queue import SIGNALS_SHOWN, Lines
from services.api.parameters import Parameters, ViewFilter
from services.api.paths import SEGMENT
from services.api.queue_queries import Wanted
from services.api.views import VIEWS, View
from services.common.problems import FieldError, bad_parameter, not_found

router = APIRouter(prefix="/v1/views", tags=["queue"], dependencies=[Depends(require("read"))])


@router.get("", responses={200: {"model": queue_answers.ViewList}})
async def list_views(parameters: Annotated[Parameters, Query()]) -> Response:
    """The saved views, what each means and what may be asked of it."""
    return answer(page([_described(view) for view in VIEWS.values()], None))


@router.get(f"/{{name:{SEGMENT}}}", responses={200: {"model": queue_answers.ViewPage}})
async def get_view(
    request: Request,
    name: Annotated[str, Path(description="name of the view")],
    wanted: Annotated[ViewFilter, Query()],
) -> Response:
    """The accounts of a view, in its order."""
    view = VIEWS.get(name)
    if view is None:
        raise not_found(f"no view {name!r}; there are {', '.join(VIEWS)}")
    if view.signals is not None and wanted.feature is not None:
        raise bad_parameter(FieldError("feature", f"the view {name} is about no feature; leave it out"))
    if view.signals is None and wanted.include:
        raise bad_parameter(FieldError("include", f"the view {name} is not about signals; leave it out"))
    async with Connection(request) as connection:
        if view.signals is None:
            release, items, cursor = await _untried(connection, view, wanted)
        else:
            release = None
            items, cursor = await _with_signals(connection, view, view.signals, wanted)
    head = {"view": view.name, "title": view.title, "meaning": view.meaning, "release": release}
    return answer(head | page(items, cursor))


def _described(view: View) -> dict[str, Any]:
    return {
        "name": view.name,
        "title": view.title,
        "meaning": view.meaning,
        "order": view.order,
        "source": view.source,
        "signals": view.signals,
        "parameters": view.parameters,
        "path": f"/v1/views/{view.name}",
    }


def _order(view: View) -> str:
    return f"view {view.name}"


async def _with_signals(
    connection: AsyncConnection, view: View, signals: tuple[str, ...], wanted: ViewFilter
) -> tuple[list[dict[str, Any]], str | None]:
    asked = Wanted(signals=signals, some_first=view.some_first, statuses=handled.WORK | wanted.include)
    places, cursor = await queue_queries.places(connection, asked, wanted, _order(view))
    ids = [place.account_id for place in places]
    lines = await Lines.read(connection, ids, signals_shown=SIGNALS_SHOWN, statuses=asked.statuses)
    tops = await lines.tops(connection, places)
    items = [
        lines.place(place, tops[place.episode_id])
        | _view_members(lines, place.account_id, first=view.some_first and place.precedence >= NEAR)
        for place in places
    ]
    return items, cursor


async def _untried(
    connection: AsyncConnection, view: View, wanted: ViewFilter
) -> tuple[dict[str, Any] | None, list[dict[str, Any]], str | None]:
    release = await queue_queries.release(connection, wanted.feature)
    if release is None:
        if wanted.feature is not None:
            raise bad_parameter(FieldError("feature", f"no feature {wanted.feature!r} was released"))
        return None, [], None
    ids, cursor = await queue_queries.accounts_without(connection, release[0], wanted, _order(view))
    lines = await Lines.read(connection, ids, signals_shown=SIGNALS_SHOWN)
    items = []
    for account_id in ids:
        top = next(iter(lines.signals[account_id]), None)
        items.append(
            lines.of(account_id)
            | _view_members(lines, account_id, first=False)
            | {
                "rank": None if top is None else float(top[1]),
                "because": None if top is None else top[0].episode.episode_id,
                "parts": queue_answers.parts_shown(lines.weight(account_id)),
            }
        )
    return {"feature": release[0], "released_at": release[1]}, items, cursor


def _view_members(lines: Lines, account_id: str, *, first: bool) -> dict[str, Any]:
    return {
        "first": first,
        "weight": float(weights.product(lines.weight(account_id))),
        "usage_seen": lines.usage_seen(account_id),
    }
