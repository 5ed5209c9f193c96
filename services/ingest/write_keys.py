"""Who sends: the write key of a request, looked up in Postgres and remembered, so that an outage stops no ingest."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from services.ingest.answers import Refused, unavailable

LOOKUP_TIMEOUT_S = 2.0
# An outage is asked about again after this long, not by every request.
RETRY_S = 5.0
# A key may be created just after its first use: an unknown one is asked about again soon.
UNKNOWN_S = 2.0
REMEMBERED_AT_MOST = 10_000

log = structlog.get_logger()


class Key(Protocol):
    """What ingest reads of a key (services.common.keys.Key)."""

    @property
    def id(self) -> object: ...
    @property
    def name(self) -> str | None: ...
    @property
    def scopes(self) -> frozenset[str]: ...
    @property
    def source(self) -> str | None: ...


class WriteKeys:
    """Looks keys up, at most once per `trusted_s` seconds each.

    `lookup` gives the key of a secret, None when there is none (or it is revoked), and raises when it cannot tell.
    `clock` is monotonic seconds.
    """

    def __init__(
        self, lookup: Callable[[str], Awaitable[Key | None]], trusted_s: float, clock: Callable[[], float]
    ) -> None:
        self._lookup = lookup
        self._trusted_s = trusted_s
        self._clock = clock
        self._known: dict[bytes, tuple[Key | None, float]] = {}
        self._running: dict[bytes, asyncio.Task[Key | None]] = {}

    async def source_of(self, secret: str | None) -> str:
        """The name of the source that the write key `secret` stands for.

        Raises Refused: 401 without a valid key, 403 without scope `ingest`, 503 when it cannot be looked up.
        """
        if not secret:
            raise Refused(
                401, "unauthorized", "no write key; send it as the HTTP Basic user name or as Authorization: Bearer"
            )
        key = await self._find(secret)
        if key is None:
            raise Refused(401, "unauthorized", "unknown or revoked write key; make one with ebbtide keys create")
        if "ingest" not in key.scopes:
            raise Refused(403, "forbidden", "this key has no scope `ingest`; make one with --scope ingest")
        return key.source or key.name or f"key-{key.id}"

    async def _find(self, secret: str) -> Key | None:
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and self._clock() < known[1]:
            return known[0]
        running = self._running.get(digest)
        if running is None:
            running = asyncio.create_task(self._refresh(digest, secret))
            self._running[digest] = running
            running.add_done_callback(lambda _: self._running.pop(digest, None))
        return await asyncio.shield(running)

    async def _refresh(self, digest: bytes, secret: str) -> Key | None:
        known = self._known.get(digest)
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                key = await self._lookup(secret)
        except Exception as error:
            if known is None or known[0] is None:
                log.warning("write key cannot be looked up", error=repr(error))
                raise unavailable("the write key cannot be checked now; send it again") from None
            log.warning("write key cannot be looked up again; the remembered one is used", error=repr(error))
            self._known[digest] = (known[0], self._clock() + min(self._trusted_s, RETRY_S))
            return known[0]
        if len(self._known) >= REMEMBERED_AT_MOST:
            self._known = {name: entry for name, entry in self._known.items() if entry[0] is not None}
        trusted = self._trusted_s if key is not None else min(self._trusted_s, UNKNOWN_S)
        self._known[digest] = (key, self._clock() + trusted)
        return key


def from_authorization(header: str | None) -> str | None:
    """The secret in an Authorization header: Basic's user part (up to the last colon) or the Bearer token; or None."""
    if not header:
        return None
    scheme, _, rest = header.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return rest or None
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(rest, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, _ = text.rpartition(":")
    return (user if colon else text) or None
