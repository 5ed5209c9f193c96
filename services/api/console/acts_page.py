"""Acts from pages: one on a signal, or one on many at once. Nothing is called done before the database says so."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request
from msgspec import Struct
from starlette.responses import RedirectResponse, Response

from services.api import acts, queries
from services.api.acts import Wanted
from services.api.console import act_forms, forms, history
from services.api.console.directory import Directory
from services.api.console.forms import Form
from services.api.console.queue_page import row_answer
from services.api.console.render import clock_of, is_fragment, render, segment
from services.api.console.session import Viewer, operator, safe_next
from services.api.console.signal_page import signal_answer
from services.api.database import Connection
from services.api.paths import SEGMENT
from services.common.problems import FieldError, Problem, bad_parameter, not_found

router = APIRouter(include_in_schema=False)

BULK_MOST: Final = 200
ASKED_FROM: Final = 10
"""More signals than these at once, or any critical one, are confirmed first."""

Operator = Annotated[Viewer, Depends(operator)]


class Chosen(Struct, frozen=True):
    """A signal that is chosen in a list, as it was seen there."""

    episode_id: str
    version: int
    seen: int
    severity: str

    @property
    def value(self) -> str:
        """How a form says it."""
        return f"{self.version} {self.seen} {self.severity} {self.episode_id}"


class Result(Struct, frozen=True):
    """What became of one of many. `done` is the version of the act, None where it was not done."""

    episode_id: str
    account: str
    signal: str
    detail: str
    done: int | None = None


@router.post(f"/signals/{{episode_id:{SEGMENT}}}/acts")
async def post_act(request: Request, episode_id: Annotated[str, Path()], viewer: Operator) -> Response:
    """One act on one signal."""
    form = await forms.posted(request, viewer.form_secret)
    console = request.app.state.console
    async with Connection(request) as connection:
        directory = await console.directory.read(connection)
    wanted = act_forms.wanted(form, viewer.user_id, directory, clock_of(request))
    try:
        done = await acts.act(request.app.state.engine, viewer.actor, episode_id, wanted)
    except Problem as problem:
        if problem.status == 409 and problem.code == "conflict":
            return await _conflict(request, episode_id, form, wanted, directory)
        raise
    back = safe_next(form.get("here"))
    if is_fragment(request):
        if form.get("view") == "signal":
            return await signal_answer(request, episode_id, did=done.act.version)
        return await row_answer(request, episode_id, back=back, did=done.act.version)
    return RedirectResponse(_with_done(back, episode_id, done.act.version), 303)


def _with_done(back: str, episode_id: str, version: int) -> str:
    path, _, query = back.partition("?")
    if path != "/queue":
        return back
    kept = [part for part in query.split("&") if part and not part.startswith("did=")]
    return path + "?" + "&".join([*kept, f"did={segment(episode_id)}:{version}"])


async def _conflict(request: Request, episode_id: str, form: Form, wanted: Wanted, directory: Directory) -> Response:
    """Others were quicker: what they did, and the same act once more with what was typed, for one click."""
    async with Connection(request) as connection:
        signal = await queries.signal(connection, episode_id)
        done = await acts.history(connection, episode_id)
    if signal is None:
        raise not_found(f"no signal {episode_id!r}")
    context: dict[str, Any] = {
        "episode_id": episode_id,
        "account": signal.last.account.get("name") or signal.episode.account_id,
        "signal": signal.episode.signal,
        "severity": signal.episode.severity,
        "kind": signal.episode.kind,
        "since": history.since(wanted.version, done, directory, clock_of(request)),
        "escalated": wanted.seen is not None and wanted.seen < signal.episode.last_ordinal,
        "again": act_forms.ACT_NAMES[wanted.act],
        "fields": {name: value for name in act_forms.CARRIED if (value := form.get(name))},
        "version": signal.handling.version,
        "seen": signal.episode.last_ordinal,
        "request_id": secrets.token_hex(8),
        "back": safe_next(form.get("here")),
        "view": form.get("view"),
    }
    template = "parts/conflict.html" if is_fragment(request) else "conflict.html"
    return render(request, template, status=409, **context)


# --- many ----------------------------------------------------------------------------------------------------------


@router.post("/signals/acts")
async def post_acts(request: Request, viewer: Operator) -> Response:
    """One act on each of the chosen signals, each in a transaction of its own; what became of each."""
    form = await forms.posted(request, viewer.form_secret)
    console = request.app.state.console
    chosen = _chosen(form)
    async with Connection(request) as connection:
        directory = await console.directory.read(connection)
    first = act_forms.wanted(form, viewer.user_id, directory, clock_of(request))
    back = safe_next(form.get("here"))
    grave = sum(each.severity == "critical" for each in chosen)
    if form.get("confirmed") is None and (len(chosen) > ASKED_FROM or grave):
        return render(
            request,
            "bulk_confirm.html",
            chosen=chosen,
            grave=grave,
            what=act_forms.ACT_NAMES[first.act],
            do=form.get("do") or "",
            fields={name: value for name in act_forms.CARRIED if (value := form.get(name))},
            back=back,
        )
    results = [await _one(request, viewer, each, form, first) for each in chosen]
    return render(
        request,
        "bulk_result.html",
        results=results,
        done=[result for result in results if result.done is not None],
        what=act_forms.ACT_NAMES[first.act],
        undoable=first.act != "undo",
        back=back,
    )


async def _one(request: Request, viewer: Viewer, each: Chosen, form: Form, first: Wanted) -> Result:
    undoes = first.act == "undo"
    wanted = Wanted(
        act=first.act,
        # Each undo takes back the act that was done last, which is the one that the version names.
        content=first.content,
        version=each.version,
        seen=None if undoes else each.seen,
        request_id=first.request_id,
    )
    async with Connection(request) as connection:
        signal = await queries.signal(connection, each.episode_id)
    name = each.episode_id if signal is None else str(signal.last.account.get("name") or signal.episode.account_id)
    about = "" if signal is None else signal.episode.signal
    try:
        done = await acts.act(request.app.state.engine, viewer.actor, each.episode_id, wanted)
    except Problem as problem:
        return Result(each.episode_id, name, about, problem.detail)
    return Result(each.episode_id, name, about, "", done.act.version)


def _chosen(form: Form) -> list[Chosen]:
    """The signals of a form, each once. Raises a 400 problem where there are none, or too many."""
    found: dict[str, Chosen] = {}
    for value in form.every("e"):
        parts = value.split(" ", 3)
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts[:2]):
            raise bad_parameter(FieldError("e", "not a signal of a list; open the page again"))
        found[parts[3]] = Chosen(parts[3], int(parts[0]), int(parts[1]), parts[2])
    if not found:
        raise bad_parameter(FieldError("e", "choose one signal or more first"))
    if len(found) > BULK_MOST:
        raise bad_parameter(FieldError("e", f"{BULK_MOST} signals at once are the most"))
    return list(found.values())
