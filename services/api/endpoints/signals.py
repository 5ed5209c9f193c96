"""`/v1/signals`: what is wrong, or promising, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from services.api import acts, answers, queries
from services.api.answers import answer, page
from services.api.auth import require
from services.api.database import Connection
from services.api.parameters import Parameters, SignalFilter
from services.api.paths import SEGMENT
from services.common.keys import Key
from services.common.problems import not_found

router = APIRouter(prefix="/v1/signals", tags=["signals"], dependencies=[Depends(require("read"))])

Reader = Annotated[Key, Depends(require("read"))]


@router.get("", responses={200: {"model": answers.SignalPage}})
async def list_signals(request: Request, wanted: Annotated[SignalFilter, Query()], key: Reader) -> Response:
    """Signals of all accounts, however they stand unless `status` says, newest `opened_at` first."""
    async with Connection(request) as connection:
        found, cursor = await queries.signals(connection, wanted, me=key.actor)
    return answer(page([answers.signal_item(signal) for signal in found], cursor))


@router.get(f"/{{episode_id:{SEGMENT}}}", responses={200: {"model": answers.SignalDetail}})
async def get_signal(
    request: Request,
    episode_id: Annotated[str, Path(description="episode id")],
    parameters: Annotated[Parameters, Query()],
) -> Response:
    """One signal with each of its changes, and what people did."""
    async with Connection(request) as connection:
        found = await queries.signal(connection, episode_id)
        if found is None:
            raise not_found(f"no signal episode {episode_id!r}")
        changes = await queries.transitions(connection, episode_id)
        done = await acts.history(connection, episode_id)
    return answer(answers.signal_detail(found, changes, done))
