"""The feed as it grows, to everybody who listens.

One tail in each process asks the database for what is new, while somebody listens, and hands it to all. Whoever comes
back with an id first gets what was missed from the database, at its own pace, and joins the others where they are. Each
has a bounded buffer: one who reads too slowly is cut off, and loses nothing by coming back with the last id.

Filters are applied here and nowhere else, so that what is missed and what is new are chosen alike.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator
from typing import Final

import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.db.tables import KEY_CHARACTERS
from services.api import feed_queries
from services.api.feed_queries import Bounds, Entry
from services.common import metrics
from services.common.db import UNREACHABLE
from services.common.problems import unavailable

log = structlog.get_logger()

WATCHERS_MOST: Final = 200
BUFFERED_MOST: Final = 2000
"""Entries that wait for one watcher, each kept once for all of them."""
PAGE: Final = 500
POLL_S: Final = 0.2
PAUSE_S: Final = 1.0
MARK_S: Final = 10.0
"""How often a watcher whom nothing concerns is told how far the feed is."""
CATCHING_UP_MOST: Final = 2
ADMITTED_WITHIN_S: Final = 5.0
FULL_RETRY_S: Final = 30


class Wanted(Struct, frozen=True):
    """Which entries. What is None does not matter. `tier` and `csm` are those of the account when it happened."""

    kind: str | None = None
    severity: str | None = None
    signal: str | None = None
    tier: str | None = None
    csm: str | None = None
    account: str | None = None

    def has(self, entry: Entry) -> bool:
        """Whether the entry is wanted."""
        return (
            self.kind in (None, entry.kind)
            and self.severity in (None, entry.severity)
            and self.signal in (None, entry.signal)
            and self.tier in (None, entry.tier)
            and (self.csm is None or self.csm[:KEY_CHARACTERS] == entry.csm)
            and self.account in (None, entry.account_id)
        )


class Gap(Struct, frozen=True):
    """Entries between `asked` and `position` may be missing: not kept any more, or `asked` is of another database."""

    asked: int
    position: int
    kept_since: dt.datetime | None


class Mark(Struct, frozen=True):
    """Everything up to this id was looked at."""

    position: int


Item = Entry | Gap | Mark


def resume(after: int | None, bounds: Bounds) -> tuple[int, Gap | None]:
    """The id after which to go on, for one who saw everything up to `after` (None: nothing, and asks for what is new)."""
    if after is None:
        return bounds.newest, None
    if after > bounds.given:
        return bounds.newest, Gap(after, bounds.newest, bounds.since)
    kept_after = bounds.given if bounds.oldest is None else bounds.oldest - 1
    if after < kept_after:
        return kept_after, Gap(after, kept_after, bounds.since)
    return after, None


class Tail:
    """Hands the feed to watchers. `stopping` ends all of them."""

    def __init__(
        self,
        engine: AsyncEngine,
        stopping: asyncio.Event,
        *,
        watchers_most: int = WATCHERS_MOST,
        buffered_most: int = BUFFERED_MOST,
    ) -> None:
        self.engine = engine
        self.catching_up = asyncio.Semaphore(CATCHING_UP_MOST)
        self.position: int | None = None
        """Everything up to here was handed to those who listen; None while nobody does."""
        self.started = asyncio.Event()
        self._stopping = stopping
        self._watchers_most = watchers_most
        self._buffered_most = buffered_most
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None

    async def subscribe(self, wanted: Wanted, after: int | None = None) -> Watcher:
        """Somebody who wants what comes after an id (None: what is new). It counts from its first `items`.

        Raises Problem: 503 where there are too many, or while the database does not answer.
        """
        self._refuse_too_many()
        try:
            # All who were cut off come back at once: in turn, so that they leave connections for others.
            async with asyncio.timeout(ADMITTED_WITHIN_S), self.catching_up:
                bounds = await feed_queries.bounds(self.engine)
        except UNREACHABLE as error:
            raise unavailable(f"the database does not answer ({type(error).__name__}); try again") from error
        return Watcher(self, wanted, *resume(after, bounds), buffered_most=self._buffered_most)

    def _refuse_too_many(self) -> None:
        if len(self._watchers) >= self._watchers_most:
            raise unavailable(
                f"{self._watchers_most} streams are open, which is all that one process serves; try again later",
                retry_after_s=FULL_RETRY_S,
            )

    def enter(self, watcher: Watcher) -> bool:
        """Count a watcher in. False where that cannot be any more."""
        if self._stopping.is_set() or len(self._watchers) >= self._watchers_most:
            return False
        self._watchers.add(watcher)
        metrics.STREAM_WATCHERS.set(len(self._watchers))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return True

    def leave(self, watcher: Watcher) -> None:
        """Count a watcher out."""
        self._watchers.discard(watcher)
        metrics.STREAM_WATCHERS.set(len(self._watchers))

    async def _run(self) -> None:
        following = asyncio.create_task(self._follow())
        told = asyncio.create_task(self._stopping.wait())
        # Beside it: a database that hangs must not hold the end of the process up.
        await asyncio.wait((following, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if following.done() and following.exception() is None:
            return
        self._rest()
        for watcher in self._watchers:
            watcher.ended.set()
        if not following.cancel():
            following.result()

    async def _follow(self) -> None:
        while self._watchers:
            try:
                whole = await self._look()
            except UNREACHABLE as error:
                log.warning("the feed cannot be read, will go on", problem=repr(error))
                await asyncio.sleep(PAUSE_S)
            else:
                await asyncio.sleep(0 if whole else POLL_S)
        # At once, with nothing awaited between: whoever enters next starts another.
        self._rest()

    def _rest(self) -> None:
        self._task, self.position = None, None
        self.started.clear()

    async def _look(self) -> bool:
        """Hand on what is new. Whether there may be more at once."""
        if self.position is None:
            self.position = (await feed_queries.bounds(self.engine)).newest
            self.started.set()
        entries = await feed_queries.after(self.engine, self.position, PAGE)
        for entry in entries:
            for watcher in self._watchers:
                watcher.hear(entry)
            self.position = entry.id
        return len(entries) == PAGE


class Watcher:
    """One who listens. `ended` is set when it is cut off, and when the process stops."""

    def __init__(
        self, tail: Tail, wanted: Wanted, position: int, gap: Gap | None = None, *, buffered_most: int = BUFFERED_MOST
    ) -> None:
        self.ended = asyncio.Event()
        self._tail = tail
        self._wanted = wanted
        self._position = position
        self._gap = gap
        self._joined = False
        self._buffer: asyncio.Queue[Entry] = asyncio.Queue(buffered_most)

    def hear(self, entry: Entry) -> None:
        """Take what is new, if it is wanted and not seen yet. A full buffer ends the watcher."""
        if not self._joined or entry.id <= self._position or not self._wanted.has(entry):
            return
        if self._buffer.full():
            if not self.ended.is_set():
                metrics.STREAM_CUT.inc()
                self.ended.set()
            return
        self._buffer.put_nowait(entry)

    async def items(self) -> AsyncGenerator[Item]:
        """What is wanted, in order, with marks between; ends soon after `ended` is set. Close it (`aclose`)."""
        if not self._tail.enter(self):
            return
        try:
            yield self._gap or Mark(self._position)
            await self._tail.started.wait()
            while not self._join():
                for item in await self._missed():
                    yield item
            while not self.ended.is_set():
                yield await self._next()
        finally:
            self._tail.leave(self)

    def _join(self) -> bool:
        reached = self._tail.position
        self._joined = reached is None or self._position >= reached
        return self._joined

    async def _missed(self) -> list[Item]:
        reached = self._tail.position or 0
        async with self._tail.catching_up:
            try:
                entries = await feed_queries.after(self._tail.engine, self._position, PAGE)
            except UNREACHABLE:
                await asyncio.sleep(PAUSE_S)
                return []
        if len(entries) == PAGE:
            self._position = entries[-1].id
        else:
            self._position = max(reached, self._position, *(entry.id for entry in entries[-1:]))
        found: list[Item] = [entry for entry in entries if self._wanted.has(entry)]
        metrics.STREAM_ENTRIES.inc(len(found))
        return [*found, Mark(self._position)]

    async def _next(self) -> Item:
        while True:
            try:
                async with asyncio.timeout(MARK_S):
                    entry = await self._buffer.get()
            except TimeoutError:
                reached = self._tail.position or 0
                if self._buffer.empty() and reached > self._position:
                    self._position = reached
                    return Mark(reached)
            else:
                self._position = entry.id
                metrics.STREAM_ENTRIES.inc()
                return entry
