"""Who looks: a browser that signed in with a key, or a person whom a trusted proxy names.

A session is a random cookie of which the database keeps the hash. It ends with its key, `IDLE` after its last use or
`LONGEST` after its start, whichever comes first.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from msgspec import Struct
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response

from schemas.db.people import ConsoleSession, User
from schemas.db.tables import ApiKey
from services.api.console import timing
from services.api.console.freshness import FreshnessReader
from services.common.db import UNREACHABLE
from services.common.keys import Key, within
from services.common.problems import Problem, unavailable

IDLE: Final = dt.timedelta(hours=12)
LONGEST: Final = dt.timedelta(days=7)
PROLONGED_AFTER: Final = dt.timedelta(hours=1)
COOKIE: Final = "ebbtide"
FORM_COOKIE: Final = "ebbtide_form"
ZONE_COOKIE: Final = "ebbtide_zone"
SIGN_IN: Final = "/sign-in"
LONGEST_COOKIE: Final = 256
TRUSTED_S: Final = 5.0
REMEMBERED_AT_MOST: Final = 10_000

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Viewer(Struct, frozen=True):
    """Who looks at a page. `actor` is the name that acts are kept under, `user_id` None where the key is nobody's.

    `form_secret` is what the tokens of this browser's forms are made from; `session` is None behind a proxy.
    """

    actor: str
    name: str
    user_id: str | None
    scopes: frozenset[str]
    form_secret: str
    key_id: str | None = None
    session: bytes | None = None

    def allows(self, scope: str) -> bool:
        """Whether they may do what needs `scope`. `operate` reads too; `admin` does all."""
        return Key("", None, self.scopes, None).allows(scope)


class SignInNeeded(Exception):
    """Nobody is signed in. `why` is shown where they were."""

    def __init__(self, why: str | None = None) -> None:
        super().__init__(why)
        self.why = why


class Proxies:
    """The proxies whose word on who the user is counts: `header` as they set it, from one of `networks` only."""

    def __init__(self, header: str | None, networks: Sequence[Network]) -> None:
        self.header = header
        self._networks = networks

    def trusts(self, request: Request) -> bool:
        """Whether the peer of this connection is one of them."""
        if request.client is None:
            return False
        try:
            peer = ipaddress.ip_address(request.client.host)
        except ValueError:
            return False
        return any(peer in network for network in self._networks)

    def user_of(self, request: Request) -> str | None:
        """The user that a trusted proxy names, None where none does."""
        if self.header is None or not self.trusts(request):
            return None
        return request.headers.get(self.header) or None


def is_https(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to a proxy before us. Believed of anybody: it only hardens cookies."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").lower() == "https"


# --- reading -------------------------------------------------------------------------------------------------------


async def viewer_of(request: Request) -> Viewer:
    """Who looks. Raises SignInNeeded; a Problem where the proxy's user is refused or the database is away."""
    proxies: Proxies = request.app.state.console.proxies
    engine: AsyncEngine = request.app.state.engine
    named = proxies.user_of(request)
    try:
        if named is not None:
            return await _person(engine, named, form_secret(request))
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or len(cookie) > LONGEST_COOKIE:
            raise SignInNeeded
        sessions: Sessions = request.app.state.console.sessions
        return await sessions.of(engine, cookie)
    except UNREACHABLE as error:
        raise unavailable("the database does not answer, so nobody can be signed in; try again") from error


async def _person(engine: AsyncEngine, user_id: str, secret: str) -> Viewer:
    statement = select(User.name, User.scopes).where(User.user_id == user_id, User.disabled_at.is_(None))
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    if row is None:
        detail = f"the proxy names {user_id!r}, who is no user here or is disabled; an operator adds users"
        raise Problem(403, "unknown-user", "You are not known here", detail)
    return Viewer(user_id, row.name or user_id, user_id, frozenset(row.scopes), secret)


class Sessions:
    """Looks a session up at most once per `TRUSTED_S`: one whose key was revoked ends within that time."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Viewer, float]] = OrderedDict()

    async def of(self, engine: AsyncEngine, cookie: str) -> Viewer:
        """Whose session it is. Raises SignInNeeded."""
        digest = _hash(cookie)
        known = self._known.get(digest)
        if known is not None and self._clock() < known[1]:
            return known[0]
        self.forget(digest)
        viewer = await _session(engine, cookie)
        self._known[digest] = (viewer, self._clock() + TRUSTED_S)
        while len(self._known) > REMEMBERED_AT_MOST:
            self._known.popitem(last=False)
        return viewer

    def forget(self, session: bytes) -> None:
        """It has ended."""
        self._known.pop(session, None)


async def _session(engine: AsyncEngine, cookie: str) -> Viewer:
    digest = _hash(cookie)
    statement = (
        select(
            ApiKey.key_id,
            ApiKey.name.label("key_name"),
            ApiKey.scopes,
            ApiKey.user_id,
            User.name.label("user_name"),
            User.scopes.label("user_scopes"),
            User.disabled_at,
            ConsoleSession.created_at,
            ConsoleSession.expires_at,
            func.now().label("now"),
        )
        .join(ApiKey, ApiKey.key_id == ConsoleSession.key_id)
        .outerjoin(User, User.user_id == ApiKey.user_id)
        .where(
            ConsoleSession.secret_sha256 == digest,
            ConsoleSession.expires_at > func.now(),
            ApiKey.revoked_at.is_(None),
        )
    )
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    gone = row is None or row.disabled_at is not None or (row.user_id is not None and row.user_scopes is None)
    if row is None or gone:
        raise SignInNeeded("Your session has ended.")
    until = min(row.now + IDLE, row.created_at + LONGEST)
    if until - row.expires_at > PROLONGED_AFTER:
        async with engine.begin() as connection:
            await connection.execute(
                update(ConsoleSession).where(ConsoleSession.secret_sha256 == digest).values(expires_at=until)
            )
    scopes = frozenset(row.scopes) if row.user_id is None else within(row.scopes, row.user_scopes)
    key = Key(row.key_id, row.key_name, scopes, None, row.user_id)
    name = row.user_name or row.user_id or row.key_name or "a key without a name"
    return Viewer(key.actor, name, row.user_id, scopes, cookie, row.key_id, digest)


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode(errors="replace")).digest()


# --- beginning and ending ------------------------------------------------------------------------------------------


async def begin(engine: AsyncEngine, key_id: str) -> str:
    """Begin a session of a key and return its cookie. Sessions that are over go away meanwhile."""
    cookie = secrets.token_urlsafe(32)
    async with engine.begin() as connection:
        await connection.execute(delete(ConsoleSession).where(ConsoleSession.expires_at <= func.now()))
        row = {"secret_sha256": _hash(cookie), "key_id": key_id, "expires_at": func.now() + IDLE}
        await connection.execute(insert(ConsoleSession).values(row))
    return cookie


async def end(engine: AsyncEngine, session: bytes) -> None:
    """End a session; its cookie is worth nothing from now on."""
    async with engine.begin() as connection:
        await connection.execute(delete(ConsoleSession).where(ConsoleSession.secret_sha256 == session))


def set_cookie(request: Request, response: Response, cookie: str) -> None:
    """Give the browser its session. Lax: a link from a chat opens the page signed in; forms have a token besides."""
    response.set_cookie(
        COOKIE, cookie, max_age=int(LONGEST.total_seconds()), httponly=True, samesite="lax", secure=is_https(request)
    )


def clear_cookie(request: Request, response: Response) -> None:
    """Take the session's cookie back."""
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=is_https(request))


def form_secret(request: Request) -> str:
    """What this browser's form tokens are made from while it has no session: a cookie of its own, made when needed."""
    found: str | None = getattr(request.state, "form_secret", None) or request.cookies.get(FORM_COOKIE)
    if not found or len(found) > LONGEST_COOKIE:
        found = secrets.token_urlsafe(32)
    request.state.form_secret = found
    return found


def keep_form_secret(request: Request, response: Response) -> None:
    """Send the cookie of `form_secret` where one was made for this answer."""
    made: str | None = getattr(request.state, "form_secret", None)
    if made is not None and made != request.cookies.get(FORM_COOKIE):
        response.set_cookie(FORM_COOKIE, made, httponly=True, samesite="strict", secure=is_https(request))


# --- dependencies --------------------------------------------------------------------------------------------------


async def reader(request: Request) -> Viewer:
    """A dependency: who looks, with the right to read.

    Leaves on `request.state` what `render` shows of every page: `viewer`, `freshness` and the `cost` of the request.
    """
    request.state.cost = timing.begin()
    viewer = await viewer_of(request)
    request.state.viewer = viewer
    freshness: FreshnessReader = request.app.state.console.freshness
    request.state.freshness = await freshness.read(request.app.state.engine, dt.datetime.now(dt.UTC))
    _need(viewer, "read")
    return viewer


async def operator(request: Request) -> Viewer:
    """A dependency of posts that act: needs the scope `operate`."""
    viewer = await reader(request)
    _need(viewer, "operate")
    return viewer


async def administrator(request: Request) -> Viewer:
    """A dependency of what only the scope `admin` may do."""
    viewer = await reader(request)
    _need(viewer, "admin")
    return viewer


def _need(viewer: Viewer, scope: str) -> None:
    if not viewer.allows(scope):
        detail = f"this needs the scope {scope}, which your sign-in lacks. Nothing was done"
        raise Problem(403, "forbidden", "You may look, and not do this" if scope != "read" else "No access", detail)


def to_sign_in(request: Request) -> str:
    """Where to sign in and come back from."""
    path = request.url.path if request.method == "GET" else "/"
    query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
    return SIGN_IN if path in ("/", SIGN_IN) else f"{SIGN_IN}?next={quote(path + query, safe='/')}"


def safe_next(asked: str | None) -> str:
    """A path of this site to go on to; the queue where none is asked for, or another site is."""
    fallback = "/queue"
    if not asked or not asked.startswith("/") or asked.startswith("//") or "\\" in asked:
        return fallback
    parts = urlsplit(asked)
    if parts.scheme or parts.netloc or any(ord(character) < 0x20 for character in asked):
        return fallback
    return asked
