"""The option `alertmanager_url`: signals that page are pushed to Alertmanager, each as an alert of its own.

It decides nothing: `alerts` does. All that fire are sent again each minute, and at once when something that pages
happened. Alertmanager being away loses nothing: the next round says everything there is to say.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import asyncpg
from yarl import URL

from schemas.db.lifecycle import shown
from services.common import metrics
from services.common.addresses import base_urls
from services.common.settings import Settings
from services.delivery import alerts
from services.delivery.alerts import Key, Paging, Sent
from services.delivery.duty import Duty, sleep

log = structlog.get_logger()

NAME: Final = "alertmanager"
EVERY_S: Final = 60.0
LOOK_S: Final = 2.0
"""How soon something that pages is noticed."""
WITHIN_S: Final = 10.0
BATCH: Final = 500
MOST: Final = 20_000
"""Alerts in one round. Beyond it the latest are sent, and an error is logged."""

_DIALECT: Final = asyncpg.dialect()  # type: ignore[no-untyped-call]
_SHOWN: Final = str(shown(func.now()).compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
_COLUMNS: Final = f"""
SELECT episodes.episode_id, episodes.account_id, episodes.signal, episodes.kind, episodes.severity, episodes.scope,
  episodes.pages, episodes.historical, {_SHOWN} AS status, episodes.opened_at, episodes.cleared_at, episodes.csm,
  a.name, a.mrr, a.currency, first.body::text AS first, last.body::text AS last
FROM episodes LEFT JOIN handlings USING (episode_id)
LEFT JOIN accounts a ON a.account_id = episodes.account_id
LEFT JOIN transitions first ON first.episode_id = episodes.episode_id AND first.ordinal = 1
JOIN transitions last ON last.episode_id = episodes.episode_id AND last.ordinal = episodes.last_ordinal
"""
OPEN: Final = f"""
{_COLUMNS} WHERE episodes.cleared_at IS NULL AND episodes.pages AND NOT episodes.historical
  AND episodes.scope IN ('account', 'portfolio')
ORDER BY episodes.opened_at DESC, episodes.episode_id LIMIT {MOST}
"""
THESE: Final = f"{_COLUMNS} WHERE episodes.episode_id = ANY($1)"

NEWEST: Final = "SELECT coalesce(max(id), 0) FROM feed"
NEWS: Final = "SELECT max(id), coalesce(bool_or(pages), false) FROM feed WHERE id > $1"


class _Action(Struct):
    title: str
    owner: str


class _Account(Struct):
    tier: str | None = None


class _Data(Struct):
    reason: str
    action: _Action
    account: _Account


class _Body(Struct):
    data: _Data


_body: Final = msgspec.json.Decoder(_Body).decode


class Alertmanager:
    """Pushes to every one of `urls` in turn. `every_s` is well below the time that an alert lives unsaid."""

    def __init__(self, config: Settings, urls: Sequence[str], *, every_s: float = EVERY_S, look_s: float = LOOK_S):
        self._urls = [url.strip().rstrip("/") for url in urls]
        self._console = config.console_url or base_urls(config)["api"]
        self._every_s = every_s
        self._look_s = look_s
        self._sent: dict[Key, Sent] = {}
        self._seen = 0
        for result in ("ok", "failed"):  # the first failure is an increase, too
            metrics.ALERTMANAGER_PUSHES.labels(result)

    async def work(self, connection: Any, stop: asyncio.Event) -> None:
        """Push until told to stop. A failure of the database is raised."""
        self._seen = await connection.fetchval(NEWEST)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as client:
            while not stop.is_set():
                next_round = time.monotonic() + self._every_s
                await self.push(connection, client)
                while not stop.is_set() and time.monotonic() < next_round and not await self._news(connection):
                    await sleep(stop, self._look_s)

    async def push(self, connection: Any, client: aiohttp.ClientSession) -> None:
        """One round: everything that is to be said now."""
        episodes = await self._read(connection)
        now = dt.datetime.now(dt.UTC)
        self._sent = alerts.following(episodes, self._sent, now=now, console=self._console)
        results = [await self._tell(client, url) for url in self._urls]
        metrics.ALERTMANAGER_PUSHES.labels("ok" if all(results) else "failed").inc()
        if all(results):
            resolved = sum(sent.ended is not None for sent in self._sent.values())
            metrics.ALERTMANAGER_ALERTS.labels("firing").set(len(self._sent) - resolved)
            metrics.ALERTMANAGER_ALERTS.labels("resolved").set(resolved)
            metrics.ALERTMANAGER_LAST_SUCCESS.set_to_current_time()

    async def _news(self, connection: Any) -> bool:
        newest, pages = await connection.fetchrow(NEWS, self._seen)
        self._seen = newest or self._seen
        return bool(pages)

    async def _read(self, connection: Any) -> list[Paging]:
        rows = await connection.fetch(OPEN)
        if len(rows) == MOST:
            log.error("more signals page than alerts are sent: the latest are", most=MOST)
        known = {row["episode_id"] for row in rows}
        others = {sent.episode_id for sent in self._sent.values() if sent.ended is None} - known
        if others:
            rows += await connection.fetch(THESE, list(others))
        return [_paging(row) for row in rows]

    async def _tell(self, client: aiohttp.ClientSession, url: str) -> bool:
        try:
            for batch in itertools.batched((sent.alert for sent in self._sent.values()), BATCH):
                async with client.post(
                    f"{url}/api/v2/alerts",
                    data=alerts.encode(batch),
                    headers={"content-type": "application/json"},
                    allow_redirects=False,
                ) as answer:
                    if answer.status != 200:
                        log.warning(
                            "Alertmanager refuses alerts, will try again",
                            url=_shown_url(url),
                            status=answer.status,
                            answer=(await answer.text(errors="replace"))[:300],
                        )
                        return False
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("Alertmanager does not answer, will try again", url=_shown_url(url), problem=repr(error))
            return False
        return True


def _shown_url(url: str) -> str:
    """Without a password that may stand in it."""
    return str(URL(url).with_user(None))


def _paging(row: Any) -> Paging:
    last = _body(row["last"]).data
    first = last if row["first"] is None else _body(row["first"]).data
    columns = ("episode_id", "account_id", "signal", "kind", "severity", "scope", "pages", "historical", "status")
    shown_of = ("opened_at", "cleared_at", "csm", "name", "mrr", "currency")
    return Paging(
        **{name: row[name] for name in (*columns, *shown_of)},
        tier=first.account.tier,
        owner=first.action.owner,
        reason=last.reason,
        action=last.action.title,
    )


def alertmanager(config: Settings, urls: Sequence[str]) -> Duty:
    """The part of the process that pushes to Alertmanager."""
    return Duty(NAME, config, Alertmanager(config, urls).work)
