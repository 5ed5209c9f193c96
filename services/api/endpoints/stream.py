"""`/v1/stream`: transitions and acts as they happen."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from services.api import sse
from services.api.auth import require
from services.api.feed_queries import Entry
from services.api.parameters import LAST_EVENT_MOST, StreamFilter
from services.api.stream import Gap, Item, Mark, Tail, Wanted

router = APIRouter(prefix="/v1/stream", tags=["stream"], dependencies=[Depends(require("read"))])

RESYNC: Final = "/v1/signals?status=open,acknowledged,snoozed,closed"

_encode: Final = msgspec.json.Encoder().encode


@router.get("", status_code=200, response_class=sse.EventStream)
async def get_stream(
    request: Request,
    wanted: Annotated[StreamFilter, Query()],
    resumes: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=LAST_EVENT_MOST)] = None,
) -> Response:
    """Server-sent events: what is new, or everything since `Last-Event-ID` and then what is new.

    The stream ends after 15 minutes: come back with the last id. `event: gap` says that some are not kept any more.
    """
    tail: Tail = request.app.state.tail
    after = wanted.last_event_id if resumes is None else resumes
    watcher = await tail.subscribe(
        Wanted(wanted.kind, wanted.severity, wanted.signal, wanted.tier, wanted.csm, wanted.account), after
    )
    return sse.EventStream(_events(watcher.items()), watcher.ended)


async def _events(items: AsyncGenerator[Item]) -> AsyncGenerator[sse.Event]:
    try:
        async for item in items:
            yield event_of(item)
    finally:
        await items.aclose()


def event_of(item: Item) -> sse.Event:
    """An item of the feed as it is sent."""
    match item:
        case Entry():
            # Columns of type json keep a document as it was written, line breaks included.
            body = item.body if "\n" not in item.body else msgspec.json.format(item.body, indent=-1)
            return sse.Event(body, event=item.type, id=str(item.id))
        case Gap():
            told = {"asked": item.asked, "continues_after": item.position, "kept_since": item.kept_since}
            return sse.Event(_encode(told | {"resync": RESYNC}).decode(), event="gap", id=str(item.position))
        case Mark():
            return sse.Event(None, id=str(item.position))
