"""Signing in with a key, signing out, and what a browser prefers."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from services.api.auth import LONGEST_SECRET
from services.api.console import forms, session
from services.api.console.render import KEYS_COOKIE, THEME_COOKIE, THEMES, UTC_COOKIE, render
from services.api.console.session import SIGN_IN, Viewer, reader
from services.common import keys
from services.common.db import UNREACHABLE
from services.common.problems import unavailable

FAILURES_MOST: Final = 10
FAILURES_WITHIN_S: Final = 300.0
REMEMBERED_AT_MOST: Final = 10_000
YEAR_S: Final = 365 * 86_400

router = APIRouter(include_in_schema=False)

Reader = Annotated[Viewer, Depends(reader)]


class Failures:
    """Sign-ins that failed lately, by address: so many of them, and the address has to wait."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long until the address may try again, in seconds; 0 where it may now."""
        recent = self._recent(address)
        return 0.0 if len(recent) < FAILURES_MOST else recent[0] + FAILURES_WITHIN_S - self._clock()

    def add(self, address: str) -> None:
        """One more failed."""
        self._of[address] = [*self._recent(address), self._clock()][-FAILURES_MOST:]
        self._of.move_to_end(address)
        while len(self._of) > REMEMBERED_AT_MOST:
            self._of.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - FAILURES_WITHIN_S
        return [at for at in self._of.get(address, ()) if at > since]


@router.get(SIGN_IN)
async def get_sign_in(request: Request, next: str | None = None) -> Response:
    """Where a key is pasted."""
    return _form(request, next)


@router.post(SIGN_IN)
async def post_sign_in(request: Request) -> Response:
    """Begin a session with the key of the form."""
    form = await forms.posted(request, session.form_secret(request))
    failures: Failures = request.app.state.console.failures
    address = _address(request)
    wait_s = failures.wait_s(address)
    if wait_s > 0:
        refused = f"Too many keys were not known. Try again in {int(wait_s) // 60 + 1} min."
        headers = {"retry-after": str(int(wait_s) + 1)}
        return _form(request, form.get("next"), refused=refused, status=429, headers=headers)
    secret = form.get("key") or ""
    try:
        key = None if len(secret) > LONGEST_SECRET else await keys.lookup(request.app.state.engine, secret)
        if key is None:
            failures.add(address)
            refused = "This key is not known, or was revoked. Paste it whole: it begins with eb_."
            return _form(request, form.get("next"), refused=refused, status=403)
        if not key.allows("read"):
            refused = "This key is for sending events only. Sign in with one that has the scope read or operate."
            return _form(request, form.get("next"), refused=refused, status=403)
        cookie = await session.begin(request.app.state.engine, key.id)
    except UNREACHABLE as error:
        raise unavailable("the database does not answer, so keys cannot be checked; try again") from error
    response = RedirectResponse(session.safe_next(form.get("next")), 303)
    session.set_cookie(request, response, cookie)
    return response


def _form(
    request: Request,
    onward: str | None,
    *,
    refused: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    return render(
        request,
        "sign_in.html",
        status=status,
        headers=headers,
        next=session.safe_next(onward),
        refused=refused,
        why="Sign in to go on." if onward else None,
    )


def _address(request: Request) -> str:
    """Whose failures are counted together: the peer, or the one before it where the peer is a proxy of ours."""
    peer = "" if request.client is None else request.client.host
    proxies: session.Proxies = request.app.state.console.proxies
    if proxies.trusts(request):
        return request.headers.get("x-forwarded-for", peer).rpartition(",")[2].strip() or peer
    return peer


@router.post("/sign-out")
async def post_sign_out(request: Request, viewer: Reader) -> Response:
    """End the session, here and in the database."""
    await forms.posted(request, viewer.form_secret)
    if viewer.session is not None:
        await session.end(request.app.state.engine, viewer.session)
        request.app.state.console.sessions.forget(viewer.session)
    # Pages that Back would show are forgotten too.
    response = RedirectResponse(SIGN_IN, 303, {"clear-site-data": '"cache"'})
    session.clear_cookie(request, response)
    return response


@router.get("/preferences")
async def get_preferences(request: Request, viewer: Reader) -> Response:
    """Zone, theme, keys; who is signed in."""
    return render(request, "preferences.html")


@router.post("/preferences")
async def post_preferences(request: Request, viewer: Reader) -> Response:
    """Keep them in this browser."""
    form = await forms.posted(request, viewer.form_secret)
    theme = form.get("theme")
    chosen = {
        UTC_COOKIE: "1" if form.get("zone") == "utc" else None,
        THEME_COOKIE: theme if theme in THEMES else None,
        KEYS_COOKIE: "off" if form.get("keys") == "off" else None,
    }
    response = RedirectResponse("/preferences", 303)
    for name, value in chosen.items():
        if value is None:
            response.delete_cookie(name)
        else:
            response.set_cookie(name, value, max_age=YEAR_S, samesite="lax", secure=session.is_https(request))
    return response


@router.get("/help")
async def get_help(request: Request, viewer: Reader) -> Response:
    """The pages and the keys."""
    return render(request, "help.html")
