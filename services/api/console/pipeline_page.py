"""The pipeline: is data arriving, may silence be believed, what was refused, and the latest events as they come."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, ValidationError
from starlette.responses import RedirectResponse, Response

from services.api import sse
from services.api.console import forms, session
from services.api.console.render import render, text
from services.api.console.session import Viewer
from services.api.dead_letter_answers import ReplayRequest
from services.api.dead_letters import DeadLetters, Groups
from services.api.endpoints import dead_letters as letters
from services.api.endpoints.live import Events
from services.api.live import Flow, Judged, Seen, Tail, Told, Wanted
from services.api.masking import masked
from services.api.parameters import DeadLetterFilter, LiveFilter, Parameters
from services.api.pipeline import Pipeline, by_topic
from services.api.silence import belief
from services.common.dead_letters import Identity
from services.common.problems import FieldError, Problem, bad_parameter, forbidden

router = APIRouter(include_in_schema=False)

Reader = Annotated[Viewer, Depends(session.reader)]
Operator = Annotated[Viewer, Depends(session.operator)]

GROUP: Final = ("reason", "source", "field", "topic")
LETTERS: Final = "/pipeline/dead-letters"
FILTERED: Final = (*GROUP, "key", "since", "until")
VERDICTS: Final = {"waiting": "waiting", "applied": "applied", "dead_letter": "dead letter"}


class Watched(Parameters):
    """Which events the live view shows, as its form sends them: empty is all."""

    source: Annotated[str, Field("", max_length=512)]
    type: Annotated[str, Field("", max_length=128)]
    account: Annotated[str, Field("", max_length=128)]


class LettersShown(DeadLetterFilter):
    """Which letters, and what a replay from this page came to."""

    sent: Annotated[int | None, Field(None, ge=0)]
    fixed: Annotated[int, Field(0, ge=0)]
    failed: Annotated[int, Field(0, ge=0)]
    waiting: Annotated[int, Field(0, ge=0)]
    refused: Annotated[int, Field(0, ge=0)]
    left_out: Annotated[int, Field(0, ge=0)]


@router.get("/pipeline")
async def get_pipeline(request: Request, viewer: Reader, watched: Annotated[Watched, Query()]) -> Response:
    """Everything at once; what cannot be read is told in its own panel."""
    pipeline: Pipeline = request.app.state.pipeline
    facts = await pipeline.facts()
    groups, trouble = await _groups(request)
    return render(
        request,
        "pipeline.html",
        facts=facts,
        belief=belief(facts),
        topics=by_topic(facts.flow.positions) if facts.flow else {},
        groups=groups,
        groups_trouble=trouble,
        group_query=group_query,
        watched=watched,
        live_url=_with_query("/pipeline/live", {k: v for k, v in watched.model_dump().items() if v}),
    )


async def _groups(request: Request) -> tuple[Groups | None, str | None]:
    held: DeadLetters = request.app.state.dead_letters
    try:
        return await held.groups(), None
    except Problem as problem:
        return None, str(problem)


def group_query(group: Any) -> str:
    """The query that names a group. Empty values stay: they mean that there is none."""
    return urlencode({name: getattr(group, name) for name in GROUP})


@router.get(LETTERS)
async def get_letters(request: Request, viewer: Reader, shown: Annotated[LettersShown, Query()]) -> Response:
    """Dead letters one by one, what a replay of all of them would send, and what the last one came to."""
    if shown.reveal and not viewer.allows("admin"):
        raise forbidden("admin")
    named = shown.model_dump(mode="json", exclude_none=True, include=set(FILTERED))
    items, found = await letters.shown(request, shown, viewer.actor)
    cursor = letters.cursor_of(found)
    preview = None
    if named and shown.cursor is None:
        held: DeadLetters = request.app.state.dead_letters
        # A page that is not full is all that a reading reaches: a second one would reach no further.
        full = len(items) == shown.limit
        preview = await letters.choose(held, ReplayRequest.model_validate(named)) if full else found.chosen()
    query = urlencode(named)
    return render(
        request,
        "pipeline_letters.html",
        items=items,
        looked=found,
        named=named,
        filter=query,
        preview=preview,
        done=shown if shown.sent is not None else None,
        revealed=shown.reveal,
        pretty=_pretty,
        reveal=_with_query(LETTERS, named | {"reveal": "true"}),
        next=None if cursor is None else _with_query(LETTERS, named | {"cursor": cursor}),
        first=None if shown.cursor is None else _with_query(LETTERS, named),
    )


@router.post(f"{LETTERS}/replay")
async def post_replay(request: Request, viewer: Operator) -> Response:
    """Send letters again, and say on their page what became of them."""
    form = await forms.posted(request, viewer.form_secret)
    named = dict(parse_qsl(form.get("filter") or "", keep_blank_values=True))
    back = {name: value for name, value in named.items() if name in FILTERED}
    asked: dict[str, Any] = back | {"again": form.get("again") == "yes"}
    if (one := form.get("id")) is not None:
        asked = {"id": one, "again": asked["again"]}
    try:
        chosen, replayed = await letters.replay(request, ReplayRequest.model_validate(asked), viewer.actor)
    except ValidationError as error:
        first = error.errors()[0]
        raise bad_parameter(FieldError(".".join(str(part) for part in first["loc"]), first["msg"])) from None
    result = {"sent": 0, "left_out": chosen.left_out}
    if replayed is not None:
        done = replayed.done
        result |= {"sent": len(done.sent), "left_out": chosen.left_out + done.taken, "refused": done.refused}
        result |= {"fixed": replayed.fixed, "failed": replayed.failed_again, "waiting": replayed.waiting}
    return RedirectResponse(_with_query(LETTERS, back | result), 303)


@router.get("/pipeline/live")
async def get_live(request: Request, viewer: Reader, watched: Annotated[Watched, Query()]) -> Response:
    """The latest events as rows of the page, as server-sent events."""
    given = {name: value.strip() for name, value in watched.model_dump().items() if value.strip()}
    try:
        wanted = LiveFilter.model_validate(given)
    except ValidationError as error:
        raise bad_parameter(*(FieldError(str(one["loc"][0]), one["msg"]) for one in error.errors())) from None
    tail: Tail = request.app.state.live
    watcher = await tail.watch(Wanted(source=wanted.source, type=wanted.type, account=wanted.account))
    return sse.EventStream(Events(watcher, lambda told: _event(request, told)), sse.stopping(request))


def _event(request: Request, told: Told) -> sse.Event:
    match told:
        case Seen():
            payload = _pretty(masked(told.value))
            body = text(
                request, "parts/live_row.html", seen=told, row=row_of(told.place), payload=payload, verdicts=VERDICTS
            )
            return sse.Event(body.strip(), event="row")
        case Judged():
            said = VERDICTS[told.verdict] + (f": {told.reason} {told.field}".rstrip() if told.reason else "")
            found = {"row": row_of(told.place), "verdict": told.verdict, "said": said}
            return sse.Event(json.dumps(found), event="verdict")
        case Flow():
            per_s = told.matched / told.seconds
            said = f"{per_s:.1f} events/s" if told.matched else "no event in the last seconds"
            if told.one_in > 1:
                said += f", 1 in {told.one_in:,} shown"
            return sse.Event(json.dumps({"said": said}), event="flow")


def _pretty(payload: Any) -> str:
    return json.dumps(payload, ensure_ascii=False, indent=2)


def row_of(place: Identity) -> str:
    """The id of an event's row on the page."""
    return f"live-{place.topic}-{place.partition}-{place.offset}"


def _with_query(path: str, parameters: dict[str, Any]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path
