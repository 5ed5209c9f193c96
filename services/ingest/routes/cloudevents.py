"""`POST /v1/events`: CloudEvents, structured, batched, binary, or as a plain JSON array; a result for each."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.answers import Refused, json_answer
from services.ingest.service import Service, service_of
from services.ingest.translate import Unparsable
from services.ingest.translate.cloudevents import accept, from_binary, split
from services.ingest.write_keys import from_authorization

BODY_LIMIT: Final = 1024 * 1024
EVENTS_LIMIT: Final = 1000
BATCH: Final = "application/cloudevents-batch+json"
STRUCTURED: Final = "application/cloudevents+json"


async def events(request: Request) -> Response:
    """Accept events from a holder of a write key."""
    service = service_of(request)
    await service.keys.source_of(from_authorization(request.headers.get("authorization")))
    return await take(service, request, "events")


async def take(service: Service, request: Request, family: str, body: bytes | None = None) -> Response:
    """Accept the events of a request that is authenticated already; `body` where it has been read already."""
    if body is None:
        async with service.body(request, BODY_LIMIT) as body:
            return await _answer(service, request, family, body)
    return await _answer(service, request, family, body)


async def _answer(service: Service, request: Request, family: str, body: bytes) -> Response:
    binary = _is_binary(request)
    try:
        raws = [from_binary(request.headers.raw, body)] if binary else split(body)
    except Unparsable as error:
        raise Refused(400, "unparsable", str(error)) from None
    if len(raws) > EVENTS_LIMIT:
        raise Refused(413, "too_many", f"{len(raws)} events; one request may have {EVENTS_LIMIT}")
    service.refuse_unless_ready()
    now = service.now()
    outcomes = [accept(raw, now) for raw in raws]
    return json_answer({"results": await service.intake.keep_each(outcomes, family)})


def _is_binary(request: Request) -> bool:
    """Tell the mode by content type and headers. Raises Refused 415."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Refused(415, "unsupported_media_type", f"charset {charset} is not supported; send UTF-8")
    if kind in (BATCH, STRUCTURED):
        return False
    binary = "ce-specversion" in request.headers or "ce-id" in request.headers
    if kind in ("", "application/json") or (
        binary and kind.endswith("+json") and not kind.startswith("application/cloudevents")
    ):
        return binary
    wanted = f"{STRUCTURED}, {BATCH}, application/json"
    raise Refused(415, "unsupported_media_type", f"Content-Type {kind!r} is not supported; send {wanted}")


ROUTES: Final = [Route("/v1/events", events, methods=["POST"])]
