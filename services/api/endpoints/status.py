"""`/livez` and `/readyz`: is the process alive, and can it answer. Neither needs a key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.api.answers import answer
from services.api.database import Readiness
from services.api.parameters import Parameters

router = APIRouter(tags=["status"])


@router.get("/livez", responses={200: {"content": {"application/json": {}}}})
async def livez(parameters: Annotated[Parameters, Query()]) -> Response:
    """200 as long as the process answers at all."""
    return answer({"alive": True})


@router.get(
    "/readyz",
    responses={200: {"content": {"application/json": {}}}, 503: {"content": {"application/json": {}}}},
)
async def readyz(request: Request, parameters: Annotated[Parameters, Query()]) -> Response:
    """200 when the database answers and is migrated, else 503 with the reason."""
    readiness: Readiness = request.app.state.readiness
    ready, detail = await readiness.check()
    found = answer({"ready": ready, "detail": detail})
    found.status_code = 200 if ready else 503
    return found
