"""`/v1/accounts/{id}/coverage`: of which signals anything can be said, and of which nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from services.api import coverage, queries, queue_answers
from services.api.answers import answer
from services.api.auth import require
from services.api.database import Connection
from services.api.endpoints.accounts import AccountId, unknown
from services.api.endpoints.catalogue import entries
from services.api.parameters import Parameters
from services.api.paths import SEGMENT

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], dependencies=[Depends(require("read"))])


@router.get(f"/{{account_id:{SEGMENT}}}/coverage", responses={200: {"model": queue_answers.Coverage}})
async def get_coverage(request: Request, account_id: AccountId, parameters: Annotated[Parameters, Query()]) -> Response:
    """Of each signal: open, quiet, starved of inputs that it needs, or warming until its windows are filled."""
    async with Connection(request) as connection:
        body = await queries.health(connection, account_id)
    if body is None:
        raise unknown(account_id)
    record = coverage.record_of(body)
    return answer(queue_answers.coverage_answer(account_id, record.as_of, coverage.coverage(record, entries())))
