"""The Segment tracking API, as SDKs speak it: exactly 200 with JSON, or an error with `code` and `message`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.answers import Refused, json_answer
from services.ingest.service import Service, service_of
from services.ingest.translate import segment
from services.ingest.write_keys import from_authorization

BODY_LIMIT: Final = 8 * 1024 * 1024
CALLS_LIMIT: Final = 10_000
FAMILY: Final = "segment"
# The browser's SDK sends to the short paths, from any page; it reads no answer that a page may not read.
CORS: Final = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, content-encoding",
    "access-control-max-age": "86400",
}
SHORT: Final = {"t": "track", "i": "identify", "g": "group", "p": "page", "s": "screen", "a": "alias", "b": "batch"}

_ENVELOPE: Final = msgspec.json.Decoder(segment.Envelope)


class _Single(msgspec.Struct):
    """The members of a single call's body that are not the call's own."""

    writeKey: str | None = None


_SINGLE: Final = msgspec.json.Decoder(_Single)


def _endpoint(kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204)
        service = service_of(request)
        secret = from_authorization(request.headers.get("authorization"))
        if secret is not None:
            # Known before the body is read: who has no key cannot make us read 8 MiB.
            await service.keys.source_of(secret)
        async with service.body(request, BODY_LIMIT) as body:
            await _take(service, kind, secret, body)
        return json_answer({"success": True})

    return endpoint


async def _take(service: Service, kind: str, secret: str | None, body: bytes) -> None:
    sent_at: Any = None
    try:
        if kind == "batch":
            envelope = _ENVELOPE.decode(body)
            items, body_key, sent_at = [bytes(raw) for raw in envelope.batch], envelope.writeKey, envelope.sentAt
        else:
            items, body_key = [body], _SINGLE.decode(body).writeKey
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        wanted = '{"batch": […]}' if kind == "batch" else "one call as a JSON object"
        raise Refused(400, "unparsable", f"{error}; {wanted} is expected") from None
    source = await service.keys.source_of(secret or body_key)
    if len(items) > CALLS_LIMIT:
        raise Refused(413, "too_many", f"{len(items)} calls; one request may have {CALLS_LIMIT}")
    service.refuse_unless_ready()
    received_at = service.now()
    request = segment.Request(source, received_at, segment.instant(sent_at), "" if kind == "batch" else kind)
    translation = await service.intake.translate_known(
        lambda known: segment.translate(items, request, service.mapping, known)
    )
    await service.intake.keep(translation, FAMILY, source, received_at, request.sent_at)


ROUTES: Final = [
    Route(f"/v1/{path}", _endpoint(kind), methods=["POST", "OPTIONS"])
    for kind in (*sorted(segment.CALLS), "batch")
    for path in (kind, *(short for short, long in SHORT.items() if long == kind))
]
PATHS: Final = frozenset(route.path for route in ROUTES)
