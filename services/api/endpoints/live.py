"""`/v1/live`: the latest input events, and what became of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from services.api import sse
from services.api.auth import require
from services.api.database import writing
from services.api.live import Flow, Judged, Seen, Tail, Told, Wanted, Watcher
from services.api.masking import masked, revealed
from services.api.parameters import LiveFilter
from services.common import audit
from services.common.keys import Key
from services.common.problems import forbidden

router = APIRouter(prefix="/v1/live", tags=["live"])

_encode: Final = msgspec.json.Encoder().encode


class Events:
    """What a watcher is told, as events. Where the tail fails, the last one says why."""

    def __init__(self, watcher: Watcher, written: Callable[[Told], sse.Event]) -> None:
        self._watcher = watcher
        self._written = written
        self._over = False

    async def __anext__(self) -> sse.Event:
        if self._over:
            raise StopAsyncIteration
        try:
            return self._written(await anext(self._watcher))
        except StopAsyncIteration:
            self._over = True
            if self._watcher.trouble is None:
                raise
            return sse.Event(_encode({"detail": self._watcher.trouble}).decode(), event="trouble")

    async def aclose(self) -> None:
        await self._watcher.aclose()


@router.get("", status_code=200, response_class=sse.EventStream)
async def get_live(
    request: Request, wanted: Annotated[LiveFilter, Query()], key: Annotated[Key, Depends(require("read"))]
) -> Response:
    """Server-sent events: `input` for each event shown, `verdict` once it is known what became of it, `flow` with how
    many of those that matched were shown, `trouble` where Kafka fails. At most five watch at a time; it ends after
    15 minutes. Values are masked; `reveal` shows them to `admin` and is audited.
    """
    if wanted.reveal and not key.allows("admin"):
        raise forbidden("admin")
    tail: Tail = request.app.state.live
    watcher = await tail.watch(Wanted(source=wanted.source, type=wanted.type, account=wanted.account))
    try:
        if wanted.reveal:
            async with writing(request.app.state.engine) as connection:
                await audit.record(connection, key.actor, "live.revealed", wanted.account or "*", _asked(wanted))
    except BaseException:
        await watcher.aclose()
        raise
    return sse.EventStream(Events(watcher, lambda told: _event(told, reveal=wanted.reveal)), sse.stopping(request))


def _asked(wanted: LiveFilter) -> dict[str, Any]:
    return wanted.model_dump(mode="json", exclude_none=True, exclude={"reveal"})


def _event(told: Told, *, reveal: bool) -> sse.Event:
    match told:
        case Seen():
            payload, text = revealed(told.value) if reveal else (masked(told.value), None)
            body: dict[str, Any] = {
                "id": str(told.place),
                "at": told.at,
                "time": told.time,
                "type": told.type,
                "source": told.source,
                "account": told.key,
                "event_id": told.event_id,
                "bytes": len(told.value),
                "verdict": told.verdict,
                "reason": told.reason,
                "field": told.field,
                "masked": not reveal,
                "payload": payload,
                "text": text,
            }
            return sse.Event(_encode(body).decode(), event="input")
        case Judged():
            body = {"id": str(told.place), "verdict": told.verdict, "reason": told.reason, "field": told.field}
            return sse.Event(_encode(body).decode(), event="verdict")
        case Flow():
            body = {"matched": told.matched, "shown": told.shown, "one_in": told.one_in, "seconds": told.seconds}
            return sse.Event(_encode(body).decode(), event="flow")
