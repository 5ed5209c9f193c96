"""The HTTP application: routes, answers to errors, and the count of requests."""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common import metrics
from services.ingest.answers import Refused, internal_error, json_answer, refused, routing_error
from services.ingest.routes import cloudevents, segment, webhooks
from services.ingest.service import Service, service_of


async def livez(request: Request) -> Response:
    """The process turns."""
    return json_answer({"alive": True})


async def readyz(request: Request) -> Response:
    """Whether requests can be served."""
    ready, detail = service_of(request).ready()
    return json_answer({"ready": ready, "detail": detail}, 200 if ready else 503)


ROUTES: Final = [
    *cloudevents.ROUTES,
    *segment.ROUTES,
    *webhooks.ROUTES,
    Route("/livez", livez),
    Route("/readyz", readyz),
]
KNOWN_PATHS: Final = frozenset(route.path for route in ROUTES)


class _Counted:
    """Counts answers by route, and lets pages read those of the tracking API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        label = path if path in KNOWN_PATHS else "/v1/webhooks/generic" if path.startswith("/v1/webhooks/") else "other"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics.INGEST_REQUESTS.labels(label, str(message["status"])).inc()
                if path in segment.PATHS:
                    MutableHeaders(scope=message).update(segment.CORS)
            await send(message)

        await self._app(scope, receive, answer)


def make_app(service: Service) -> ASGIApp:
    """The ASGI application of `service`."""
    app = Starlette(
        routes=ROUTES,
        exception_handlers={Refused: refused, HTTPException: routing_error, Exception: internal_error},
    )
    app.state.service = service
    return _Counted(app)
