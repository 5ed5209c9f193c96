"""Who asks: the key of a request, looked up in the database and remembered for a few seconds."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from services.common.db import UNREACHABLE
from services.common.keys import Key, hash_secret
from services.common.problems import forbidden, unauthenticated, unavailable

TRUSTED_S = 10.0
REMEMBERED_AT_MOST = 10_000
LONGEST_SECRET = 512


class Keys:
    """Looks a key up at most once per `TRUSTED_S`; one that was revoked stops working within that time."""

    def __init__(
        self, lookup: Callable[[str], Awaitable[Key | None]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Key | None, float]] = OrderedDict()

    async def of(self, authorization: str | None) -> Key:
        """The key in an Authorization header. Raises Problem: 401, or 503 while keys cannot be looked up."""
        scheme, _, secret = (authorization or "").strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise unauthenticated(
                "send `Authorization: Bearer KEY`; make a key with `ebbtide keys create --scope read`"
            )
        key = None if len(secret) > LONGEST_SECRET else await self._find(secret)
        if key is None:
            raise unauthenticated(
                "this key is not known or was revoked; make one with `ebbtide keys create --scope read`"
            )
        return key

    async def _find(self, secret: str) -> Key | None:
        digest = hash_secret(secret)
        known = self._known.get(digest)
        if known is not None and self._clock() < known[1]:
            return known[0]
        try:
            key = await self._lookup(secret)
        except UNREACHABLE as error:
            raise unavailable("the database does not answer, so keys cannot be checked; try again") from error
        self._known[digest] = (key, self._clock() + TRUSTED_S)
        self._known.move_to_end(digest)
        while len(self._known) > REMEMBERED_AT_MOST:
            self._known.popitem(last=False)
        return key


def require(scope: str) -> Callable[[Request], Awaitable[Key]]:
    """A dependency that lets only keys with `scope` pass, and is the key."""

    async def check(request: Request) -> Key:
        keys: Keys = request.app.state.keys
        key = await keys.of(request.headers.get("authorization"))
        if not key.allows(scope):
            raise forbidden(scope)
        return key

    return check
