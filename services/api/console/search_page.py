"""Finding an account by its name or id, from the top bar of every page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from services.api import queries
from services.api.console.render import link, render, segment
from services.api.console.session import reader
from services.api.database import Connection
from services.api.parameters import AccountFilter

router = APIRouter(include_in_schema=False, dependencies=[Depends(reader)])


@router.get("/search")
async def get_search(request: Request, wanted: Annotated[AccountFilter, Query()]) -> Response:
    """Accounts that match; the account's own page where only one does."""
    async with Connection(request) as connection:
        found, cursor = await queries.accounts(connection, wanted)
    if len(found) == 1 and wanted.cursor is None and wanted.q:
        return RedirectResponse(f"/accounts/{segment(found[0].account_id)}", 303)
    onward = None if cursor is None else link("/search", q=wanted.q, cursor=cursor)
    return render(request, "search.html", found=found, q=wanted.q, next=onward)
