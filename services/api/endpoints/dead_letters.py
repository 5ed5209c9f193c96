"""`/v1/dead-letters`: what was refused and why, and sending it again once the cause is mended."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from services.api import cursors
from services.api import dead_letter_answers as shapes
from services.api.answers import ProblemDetails, answer, page
from services.api.auth import require
from services.api.cursors import ByOffset
from services.api.database import writing
from services.api.dead_letter_answers import ReplayRequest
from services.api.dead_letters import SAMPLE, Chosen, DeadLetters, Found, Replayed
from services.api.parameters import DeadLetterFilter, Parameters
from services.common import audit
from services.common.dead_letter_pages import Wanted
from services.common.dead_letters import Identity
from services.common.keys import Key
from services.common.problems import FieldError, bad_parameter, forbidden, not_found

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

ORDER: Final = "dead letters"
MOST_NAMED: Final = 200


@router.get("", responses={200: {"model": shapes.DeadLetterPage}})
async def list_dead_letters(
    request: Request, wanted: Annotated[DeadLetterFilter, Query()], key: Annotated[Key, Depends(require("read"))]
) -> Response:
    """Dead letters, newest first, their values masked. `reveal` shows them to `admin` and is audited."""
    if wanted.reveal and not key.allows("admin"):
        raise forbidden("admin")
    items, found = await shown(request, wanted, key.actor)
    looked = {"letters": found.read, "since": found.since}
    return answer(page(items, cursor_of(found)) | {"looked": looked})


@router.get("/groups", responses={200: {"model": shapes.DeadLetterGroups}}, dependencies=[Depends(require("read"))])
async def group_dead_letters(request: Request, parameters: Annotated[Parameters, Query()]) -> Response:
    """The newest 20,000 dead letters counted by reason, source and field."""
    held: DeadLetters = request.app.state.dead_letters
    return answer(shapes.groups(await held.groups()))


@router.post(
    "/replay",
    responses={
        200: {"model": shapes.ReplayAnswer},
        404: {"model": ProblemDetails, "description": "There is no such dead letter"},
    },
)
async def replay_dead_letters(
    request: Request,
    asked: ReplayRequest,
    parameters: Annotated[Parameters, Query()],
    key: Annotated[Key, Depends(require("operate"))],
) -> Response:
    """Send dead letters to their source again, each once, at most 1,000 a call; or preview that."""
    chosen, replayed = await replay(request, asked, key.actor)
    found = shapes.replay(chosen, replayed, SAMPLE, _cursor(chosen.before))
    return answer(found | {"preview": asked.preview})


async def shown(request: Request, wanted: DeadLetterFilter, actor: str) -> tuple[list[dict[str, Any]], Found]:
    """The items of a page, and what they were made of. What is revealed is kept in the audit trail."""
    held: DeadLetters = request.app.state.dead_letters
    found = await held.page(_filter(wanted), wanted.limit, _place(wanted.cursor))
    if wanted.reveal and found.letters:
        named = [str(one.letter.identity) for one in found.letters]
        async with writing(request.app.state.engine) as connection:
            await audit.record(connection, actor, "dead_letter.revealed", named[0], {"ids": named})
    items = [
        shapes.dead_letter(one, found.sent.get(one.letter.identity), reveal=wanted.reveal) for one in found.letters
    ]
    return items, found


def cursor_of(found: Found) -> str | None:
    """The cursor of the page that follows."""
    return _cursor(found.before)


async def replay(request: Request, asked: ReplayRequest, actor: str) -> tuple[Chosen, Replayed | None]:
    """Do what is asked, or only choose where it is a preview or there is nothing to send. Kept in the audit trail."""
    held: DeadLetters = request.app.state.dead_letters
    chosen = await choose(held, asked)
    if asked.preview or not chosen.letters:
        return chosen, None
    async with writing(request.app.state.engine) as connection:
        await audit.record(connection, actor, "dead_letter.replayed", *told(asked, chosen))
    return chosen, await held.replay([one.letter for one in reversed(chosen.letters)], again=asked.again)


async def choose(held: DeadLetters, asked: ReplayRequest) -> Chosen:
    """What a replay would send. Raises Problem 400 for one that names nothing, 404 for an id that is not found."""
    named = asked.model_dump(exclude_none=True, exclude={"again", "preview", "cursor"})
    if not named:
        raise bad_parameter(FieldError("id", "say which: an id, or reason, topic, source, field, key, since, until"))
    if asked.id is None:
        return await held.choose(_filter(asked), _place(asked.cursor), again=asked.again)
    if len(named) > 1:
        raise bad_parameter(FieldError("id", "an id names one dead letter: leave the others out"))
    try:
        identity = Identity.parse(asked.id)
    except ValueError:
        raise bad_parameter(FieldError("id", "topic/partition/offset, as the list shows it")) from None
    chosen = await held.choose_one(identity, again=asked.again)
    if chosen is None:
        raise not_found(f"no dead letter {asked.id} among the newest; its `place` from the list finds older ones too")
    return chosen


def told(asked: ReplayRequest, chosen: Chosen) -> tuple[str, dict[str, Any]]:
    """Subject and detail of the audit entry of a replay."""
    names = [str(one.letter.identity) for one in chosen.letters]
    detail = asked.model_dump(mode="json", exclude_none=True, exclude={"preview", "cursor"})
    return asked.id or f"{len(names)} dead letters", detail | {"count": len(names), "ids": names[:MOST_NAMED]}


def _filter(asked: DeadLetterFilter | ReplayRequest) -> Wanted:
    return Wanted(
        reason=asked.reason,
        topic=asked.topic,
        source=asked.source,
        field=asked.field,
        key=asked.key,
        since=asked.since,
        until=asked.until,
    )


def _place(cursor: str | None) -> dict[int, int] | None:
    return None if cursor is None else cursors.decode(cursor, ByOffset, ORDER).before


def _cursor(before: dict[int, int] | None) -> str | None:
    return None if before is None else cursors.encode(ByOffset(ORDER, before))
