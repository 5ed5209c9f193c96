"""The HTTP application: routes, errors as problems, security headers, numbers of each request."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.lifecycle import ACTS
from services.api import sse
from services.api.auth import Keys
from services.api.console import app as console
from services.api.console import errors
from services.api.database import Readiness
from services.api.dead_letters import DeadLetters
from services.api.endpoints import (
    accounts,
    acts,
    audit,
    brief,
    catalogue,
    coverage,
    dead_letters,
    live,
    people,
    portfolio,
    queue,
    signals,
    status,
    stream,
    views,
    webhooks,
)
from services.api.judged_by import JudgedBy
from services.api.live import Tail as LiveTail
from services.api.openapi import describe
from services.api.paths import canonical
from services.api.pipeline import Pipeline
from services.api.signal_records import SignalRecords
from services.api.stream import Tail
from services.common import keys, metrics, problems
from services.common.dead_letter_replay import Prepare, as_they_were
from services.common.problems import FieldError, Problem, bad_parameter
from services.common.settings import Settings

EVENT_STREAM: Final = f"{sse.MEDIA_TYPE}; charset=utf-8".encode()
LARGEST_BODY: Final = 1024 * 1024
HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def make_app(
    engine: AsyncEngine,
    readiness: Readiness,
    config: Settings,
    *,
    stopping: asyncio.Event | None = None,
    prepare: Prepare = as_they_were,
) -> ASGIApp:
    """The application on a database. `stopping` is set once the process is told to stop: open streams end then.

    `prepare` makes records of dead letters that are sent again.
    """
    app = FastAPI(
        title="Ebbtide",
        summary="Which accounts are going quiet, why, and what to do.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.engine = engine
    app.state.settings = config
    app.state.readiness = readiness
    app.state.stopping = stopping or asyncio.Event()
    app.state.tail = Tail(engine, app.state.stopping)
    app.state.pipeline = Pipeline(config, engine)
    app.state.signal_records = SignalRecords(engine)
    app.state.judged_by = JudgedBy(engine)
    app.state.live = LiveTail(config, app.state.stopping)
    app.state.dead_letters = DeadLetters(config, engine, prepare)
    app.state.webhook_allow_private = config.webhook_allow_private
    app.state.keys = Keys(lambda secret: keys.lookup(engine, secret))
    for resource in (
        status,
        accounts,
        coverage,
        brief,
        signals,
        acts,
        people,
        audit,
        stream,
        queue,
        views,
        portfolio,
        catalogue,
        dead_letters,
        live,
        webhooks,
    ):
        app.include_router(resource.router)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _defect)
    console.install(app, engine, config)
    describe(app)
    return Outermost(app)


class Outermost:
    """What holds for every request: the path as it was sent, HEAD as GET without a body, headers, measuring."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        head = scope["method"] == "HEAD"
        inner = dict(scope, path=canonical(scope["raw_path"]), method="GET" if head else scope["method"], head=head)
        status_code = 500
        streams = False

        async def sending(message: Message) -> None:
            nonlocal status_code, streams
            if message["type"] == "http.response.start":
                status_code = message["status"]
                streams = (b"content-type", EVENT_STREAM) in message.get("headers", [])
                # Strict where a response says nothing of its own: the console's pages do.
                own = message.get("headers", [])
                named = {name for name, _ in own}
                message = dict(message, headers=[*own, *(header for header in HEADERS if header[0] not in named)])
            elif head:
                message = dict(message, body=b"")
            await send(message)

        try:
            await self._app(inner, bounded(receive), sending)
        finally:
            # The template, not the path: an account id must never become a label.
            route = getattr(inner.get("route"), "path_format", None) or "none"
            metrics.API_REQUESTS.labels(route, str(status_code)).inc()
            if not streams:  # how long somebody listened says nothing of how fast we are
                metrics.API_SECONDS.labels(route).observe(time.perf_counter() - began)


def bounded(receive: Receive) -> Receive:
    """The body of a request, as long as it is no longer than it may be."""
    held = 0

    async def receiving() -> Message:
        nonlocal held
        message = await receive()
        held += len(message.get("body", b""))
        if held > LARGEST_BODY:
            # Raised where the body is read: before any key is looked at, so that nobody fills the memory.
            raise HTTPException(413, f"the body is too large: {LARGEST_BODY // 1024} KiB are the most")
        return message

    return receiving


def answer(request: Request, problem: Problem) -> Response:
    """A problem as whoever asks can read it: a page for a browser, else JSON."""
    return errors.error_page(request, problem) if errors.for_a_person(request) else respond(problem)


def respond(problem: Problem) -> Response:
    """A problem as JSON."""
    return Response(problem.body(), problem.status, problem.headers, media_type=problems.MEDIA_TYPE)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer(request, bad_parameter(*(_field_error(entry) for entry in error.errors())))


def _field_error(entry: dict[str, Any]) -> FieldError:
    place = entry["loc"][1:]
    if entry["type"] == "json_invalid":
        return FieldError("body", f"no JSON: {entry['ctx']['error']} at character {entry['loc'][1]}")
    if entry["loc"][0] == "body" and place and place[0] in ACTS and place != ("comment",):
        # Of bodies that differ by act, the framework names which one it tried; a comment is a member, too.
        place = place[1:]
    field = ".".join(str(part) for part in place) or str(entry["loc"][0])
    if entry["type"] == "extra_forbidden":
        return FieldError(field, "no such parameter here; /openapi.json lists those that there are")
    return FieldError(field, entry["msg"])


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        possible = sorted({part.strip() for part in (error.headers or {}).get("Allow", "GET").split(",")} - {""})
        headers = {"allow": ", ".join([*possible, "HEAD"] if "GET" in possible else possible)}
        detail = f"{request.method} is not possible here; possible: {headers['allow']}"
        return answer(request, Problem(405, "method-not-allowed", "The method is not allowed", detail, headers=headers))
    if error.status_code == 404:
        return answer(request, problems.not_found("no such path; /openapi.json lists those that there are"))
    return answer(request, Problem(error.status_code, "refused", "The request is refused", str(error.detail)))


async def _defect(request: Request, error: Exception) -> Response:
    # The server logs it with its traceback after this answer is sent.
    return answer(
        request, Problem(500, "internal", "A defect of the service", "this is logged; the request may be sent again")
    )
