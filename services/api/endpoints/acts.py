"""Acts on signals: `POST /v1/signals/{episode_id}/…`, and one act on many at `POST /v1/signals/acts`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Depends, Path, Request
from msgspec import Raw
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from services.api import acts, answers, queries
from services.api.acts import Wanted
from services.api.answers import answer
from services.api.auth import require
from services.api.database import Connection
from services.api.lifecycle import (
    CONTENTS,
    Acknowledge,
    ActName,
    Assign,
    Close,
    Comment,
    Content,
    Snooze,
    Status,
    Undo,
    Why,
)
from services.api.parameters import Text
from services.api.paths import SEGMENT
from services.common.keys import Key
from services.common.problems import Problem, not_found

router = APIRouter(prefix="/v1/signals", tags=["acts"], dependencies=[Depends(require("operate"))])

AT_ONCE: Final = 200
LARGEST: Final = 2**31 - 1

Operator = Annotated[Key, Depends(require("operate"))]
EpisodeId = Annotated[str, Path(description="episode id")]
Count = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
RequestId = Annotated[
    Text | None,
    Field(None, description="your own name for this request: sent again with it, the act is done once", max_length=200),
]

# --- bodies --------------------------------------------------------------------------------------------------------


class Seen(BaseModel):
    """What whoever acts has seen of the signal."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[Count, Field(description="`handling.version` of the signal; 0 where nobody has acted")]
    seen: Annotated[
        Count | None, Field(None, description="`ordinal` of the signal: an escalation since is refused then, too")
    ]


class Single(Seen):
    """What every act on one signal carries."""

    request_id: RequestId


class AcknowledgeOne(Single, Acknowledge):
    """Acknowledge a signal."""


class SnoozeOne(Single, Snooze):
    """Snooze a signal."""


class AssignOne(Single, Assign):
    """Assign a signal."""


class CloseOne(Single, Close):
    """Close a signal."""


class CommentOne(Single, Comment):
    """Comment on a signal."""


class UndoOne(Single, Undo):
    """Take back an act on a signal."""


class Target(Seen):
    """One of many signals."""

    episode_id: Annotated[Text, Field(description="episode id")]


class Many(BaseModel):
    """One act on many signals, which are named once each."""

    model_config = ConfigDict(extra="forbid")

    episodes: Annotated[list[Target], Field(min_length=1, max_length=AT_ONCE)]
    request_id: RequestId


class AcknowledgeMany(Many, Acknowledge):
    """Acknowledge many signals."""

    act: Literal["acknowledge"]


class SnoozeMany(Many, Snooze):
    """Snooze many signals."""

    act: Literal["snooze"]


class AssignMany(Many, Assign):
    """Assign many signals; a pool's turn comes for each."""

    act: Literal["assign"]


class CloseMany(Many, Close):
    """Close many signals."""

    act: Literal["close"]


class CommentMany(Many, Comment):
    """Comment on many signals."""

    act: Literal["comment"]


class UndoMany(Many):
    """Take back the latest act on each of many signals."""

    act: Literal["undo"]
    comment: Why


AnyMany = Annotated[
    AcknowledgeMany | SnoozeMany | AssignMany | CloseMany | CommentMany | UndoMany, Field(discriminator="act")
]

# --- answers -------------------------------------------------------------------------------------------------------


class Acted(BaseModel):
    """An act that is kept, and the signal as it stands now. `repeated`: the act was kept before, for the same request."""

    act: answers.ActShown
    repeated: bool
    signal: answers.Signal


class Row(BaseModel):
    """What became of one of many. `problem` is what the single act would have answered, null where it is done."""

    episode_id: str
    done: bool
    version: int | None
    status: Status | None
    repeated: bool
    problem: dict[str, Any] | None


class ActedOnMany(BaseModel):
    """What became of each, in the order of the request."""

    done: int
    not_done: int
    items: list[Row]


class Current(BaseModel):
    """How a signal stands. Acting on it carries `version`, and `seen` with the value of `ordinal`."""

    version: int
    status: Status
    severity: Literal["info", "warning", "critical"]
    ordinal: int


class Conflict(answers.ProblemDetails):
    """409. Of type `urn:ebbtide:problem:conflict` where others were quicker: `acts` is what they did since the version
    that was sent, `current` how the signal is now. Of type `…:not-possible`, with neither, where it stands otherwise."""

    current: Current | None = None
    acts: list[answers.ActShown] | None = None


# --- endpoints -----------------------------------------------------------------------------------------------------

CONFLICT: Final[dict[int | str, dict[str, Any]]] = {409: {"model": Conflict, "description": "The signal has changed"}}
OF_ONE: Final[dict[int | str, dict[str, Any]]] = {200: {"model": Acted}, **CONFLICT}


@router.post("/acts", responses={200: {"model": ActedOnMany}})
async def act_on_many(request: Request, wanted: Annotated[AnyMany, Body()], key: Operator) -> Response:
    """Do one act on up to 200 signals: each by itself, so that one that is refused holds up no other."""
    engine: AsyncEngine = request.app.state.engine
    rows: list[dict[str, Any]] = []
    away: Problem | None = None
    for target in wanted.episodes:
        asked = _asked(wanted.act, wanted, target, wanted.request_id)
        row: dict[str, Any] = {"episode_id": target.episode_id, "done": False, "version": None, "status": None}
        try:
            if away is not None:
                raise away
            done = await acts.act(engine, key.actor, target.episode_id, asked)
            row |= {"done": True, "version": len(done.acts), "status": done.status}
            rows.append(row | {"repeated": done.repeated, "problem": None})
        except Problem as problem:
            # Without the database none of the others could be done either.
            away = problem if problem.status == 503 else None
            rows.append(row | {"repeated": False, "problem": Raw(problem.body())})
    count = sum(row["done"] for row in rows)
    return answer({"done": count, "not_done": len(rows) - count, "items": rows})


@router.post(f"/{{episode_id:{SEGMENT}}}/acknowledge", responses=OF_ONE)
async def acknowledge(request: Request, episode_id: EpisodeId, wanted: AcknowledgeOne, key: Operator) -> Response:
    """Say that you have seen it and are on it."""
    return await _one(request, key, episode_id, "acknowledge", wanted)


@router.post(f"/{{episode_id:{SEGMENT}}}/snooze", responses=OF_ONE)
async def snooze(request: Request, episode_id: EpisodeId, wanted: SnoozeOne, key: Operator) -> Response:
    """Put it off: it shows again at a time, or when it escalates."""
    return await _one(request, key, episode_id, "snooze", wanted)


@router.post(f"/{{episode_id:{SEGMENT}}}/assign", responses=OF_ONE)
async def assign(request: Request, episode_id: EpisodeId, wanted: AssignOne, key: Operator) -> Response:
    """Give it to a person, to the next one of a pool, or to nobody."""
    return await _one(request, key, episode_id, "assign", wanted)


@router.post(f"/{{episode_id:{SEGMENT}}}/close", responses=OF_ONE)
async def close(request: Request, episode_id: EpisodeId, wanted: CloseOne, key: Operator) -> Response:
    """Say how it ended. An escalation, or a new episode, shows it again."""
    return await _one(request, key, episode_id, "close", wanted)


@router.post(f"/{{episode_id:{SEGMENT}}}/comment", responses=OF_ONE)
async def comment(request: Request, episode_id: EpisodeId, wanted: CommentOne, key: Operator) -> Response:
    """Note something for whoever reads its history."""
    return await _one(request, key, episode_id, "comment", wanted)


@router.post(f"/{{episode_id:{SEGMENT}}}/undo", responses=OF_ONE)
async def undo(request: Request, episode_id: EpisodeId, wanted: UndoOne, key: Operator) -> Response:
    """Take back one act, the latest unless said otherwise. Both stay in the history."""
    return await _one(request, key, episode_id, "undo", wanted)


def _asked(name: ActName, said: BaseModel, seen: Seen, request_id: str | None) -> Wanted:
    kind = CONTENTS[name]
    told = {field: getattr(said, field) for field in said.model_fields_set if field in kind.model_fields}
    content: Content = kind.model_construct(set(told), **told)
    return Wanted(act=name, content=content, version=seen.version, seen=seen.seen, request_id=request_id)


async def _one(request: Request, key: Key, episode_id: str, name: ActName, wanted: Single) -> Response:
    asked = _asked(name, wanted, wanted, wanted.request_id)
    done = await acts.act(request.app.state.engine, key.actor, episode_id, asked)
    async with Connection(request) as connection:
        found = await queries.signal(connection, episode_id)
    if found is None:
        raise not_found(f"no signal episode {episode_id!r}: its account was erased just now")
    told = answers.acts_shown(done.acts, found.now)[done.act.version - 1]
    return answer({"act": told, "repeated": done.repeated, "signal": answers.signal_item(found)})
