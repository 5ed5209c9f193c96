"""All SQL of webhooks, on the one connection that holds the lock. Statements take turns; each call is one transaction."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.webhooks import DISABLED_TYPE, KEPT_DAYS, Filter
from services.common.targets import origin
from services.delivery.filters import Facets
from services.delivery.schedule import Outcome, Verdict

ACTOR: Final = "delivery"

REVISIONS = "SELECT webhook_id, revision FROM webhooks WHERE enabled"

NEWEST = "SELECT coalesce(max(id), 0) FROM feed"

ENDPOINT = """
SELECT webhook_id, url, format, filters::text AS filters, secret, previous_secret, previous_until, cursor, failing_since,
  revision
FROM webhooks WHERE webhook_id = $1 AND enabled
"""

# A test goes before everything, or it would say nothing of an endpoint that is waited for. What is being tried again
# goes before what was asked for again.
PENDING = """
SELECT delivery_id, message_id, feed_id, type, state, tries, created_at, next_at, body::text AS body
FROM webhook_deliveries WHERE webhook_id = $1 AND state IN ('queued', 'retrying')
ORDER BY type = 'webhook.test' DESC, state = 'retrying' DESC, delivery_id LIMIT 1
"""

REPLAY = """
SELECT replay_id, next_id, until_id FROM webhook_replays WHERE webhook_id = $1 ORDER BY replay_id LIMIT 1
"""

SCAN = "SELECT id, type, kind, severity, signal, tier FROM feed WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"

ENTRY = "SELECT type, body::text FROM feed WHERE id = $1"

ADVANCE = "UPDATE webhooks SET cursor = greatest(cursor, $2) WHERE webhook_id = $1"

ADVANCE_REPLAY = "UPDATE webhook_replays SET next_id = greatest(next_id, $2) WHERE replay_id = $1"

END_REPLAY = "DELETE FROM webhook_replays WHERE replay_id = $1"

# Who changes an endpoint takes its row first: a result is then recorded of one that is still there.
TAKE = """
UPDATE webhooks SET failing_since = $2, cursor = greatest(cursor, $3) WHERE webhook_id = $1 RETURNING webhook_id
"""

WRITE_ATTEMPT = """
INSERT INTO webhook_attempts (delivery_id, attempt, at, milliseconds, status, error, excerpt)
SELECT delivery_id, attempts, $1::timestamptz, $2::int, $3::int, $4::text, $5::text FROM sent
"""

WRITE_FIRST = f"""
WITH sent AS (
  INSERT INTO webhook_deliveries AS d
    (webhook_id, message_id, feed_id, type, state, attempts, tries, next_at, finished_at)
  VALUES ($10, $11, $12, $13, $6, 1, $7, $8, $9)
  ON CONFLICT (webhook_id, feed_id) DO UPDATE SET
    state = excluded.state, attempts = d.attempts + 1, tries = excluded.tries, next_at = excluded.next_at,
    finished_at = excluded.finished_at
  RETURNING delivery_id, attempts
)
{WRITE_ATTEMPT}
"""

WRITE_NEXT = f"""
WITH sent AS (
  UPDATE webhook_deliveries SET state = $6, attempts = attempts + 1, tries = $7, next_at = $8, finished_at = $9
  WHERE delivery_id = $10 RETURNING delivery_id, attempts
)
{WRITE_ATTEMPT}
"""

HURRY = "UPDATE webhook_deliveries SET next_at = $2 WHERE webhook_id = $1 AND state = 'retrying'"

WITHDRAW = """
UPDATE webhook_deliveries SET state = 'withdrawn', next_at = NULL, finished_at = $2 WHERE delivery_id = $1
"""

DISABLE = """
UPDATE webhooks SET enabled = false, disabled_at = $2, disabled_because = $3, revision = revision + 1, updated_at = $2
WHERE webhook_id = $1 AND enabled RETURNING url, description
"""

AUDIT = "INSERT INTO audit (actor, action, subject, detail) VALUES ($1, 'webhook.disabled', $2, $3::json)"

SUBSCRIBED = "SELECT webhook_id, filters::text FROM webhooks WHERE enabled"

TELL = """
INSERT INTO webhook_deliveries (webhook_id, message_id, type, state, body) VALUES ($1, $2, $3, 'queued', $4::json)
"""

TOUCH = "UPDATE webhooks SET revision = revision + 1 WHERE webhook_id = $1"

STANDING = """
SELECT count(*) FILTER (WHERE enabled AND failing_since IS NULL) AS well,
  count(*) FILTER (WHERE enabled AND failing_since IS NOT NULL) AS failing,
  count(*) FILTER (WHERE NOT enabled) AS disabled,
  (SELECT f.at FROM feed f WHERE f.id > (SELECT min(cursor) FROM webhooks WHERE enabled) ORDER BY f.id LIMIT 1) AS oldest
FROM webhooks
"""

# Never what an enabled endpoint has yet to be told.
TRIM_FEED = """
DELETE FROM feed WHERE id IN (
  SELECT id FROM feed
  WHERE at < $1 AND id <= coalesce((SELECT min(cursor) FROM webhooks WHERE enabled), 9223372036854775807)
  ORDER BY at LIMIT $2)
"""

TRIM_LOG = """
WITH old AS (
  DELETE FROM webhook_deliveries WHERE delivery_id IN (
    SELECT delivery_id FROM webhook_deliveries
    WHERE created_at < $1 AND state IN ('delivered', 'failed', 'withdrawn') ORDER BY created_at LIMIT $2)
  RETURNING delivery_id
)
DELETE FROM webhook_attempts a USING old WHERE a.delivery_id = old.delivery_id
"""

SLICE: Final = 2000
KEPT: Final = dt.timedelta(days=KEPT_DAYS)


class Endpoint(Struct, frozen=True):
    """An enabled endpoint, as somebody last changed it, and how far it was when this was read."""

    webhook_id: str
    url: str
    format: str
    filters: Filter
    secret: str
    previous_secret: str | None
    previous_until: dt.datetime | None
    cursor: int
    failing_since: dt.datetime | None
    revision: int

    def secrets(self, now: dt.datetime) -> list[str]:
        """What signs now: the secret, and the one before it while both are in force."""
        if self.previous_secret is None or self.previous_until is None or self.previous_until <= now:
            return [self.secret]
        return [self.secret, self.previous_secret]


class Pending(Struct, frozen=True):
    """A message that is in the log and has yet to arrive."""

    delivery_id: int
    message_id: str
    feed_id: int | None
    type: str
    state: str
    tries: int
    created_at: dt.datetime
    next_at: dt.datetime | None
    body: str | None


class Replay(Struct, frozen=True):
    """A part of the feed that is asked for again."""

    replay_id: int
    next_id: int
    until_id: int


class Sent(Struct, frozen=True, kw_only=True):
    """A message that was attempted: which it is, and where it comes from."""

    message_id: str
    type: str
    tries: int
    feed_id: int | None = None
    delivery_id: int | None = None
    replay_id: int | None = None


class Ledger:
    """What was sent and what is to be sent."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def _fetch(self, query: str, *arguments: object) -> list[Any]:
        async with self._turn:
            return list(await self._connection.fetch(query, *arguments))

    async def _row(self, query: str, *arguments: object) -> Any:
        async with self._turn:
            return await self._connection.fetchrow(query, *arguments)

    async def _execute(self, query: str, *arguments: object) -> str:
        async with self._turn:
            return str(await self._connection.execute(query, *arguments))

    async def revisions(self) -> dict[str, int]:
        """Every enabled endpoint with its revision."""
        return {row[0]: row[1] for row in await self._fetch(REVISIONS)}

    async def endpoint(self, webhook_id: str) -> Endpoint | None:
        """One enabled endpoint."""
        row = await self._row(ENDPOINT, webhook_id)
        if row is None:
            return None
        return Endpoint(**dict(row) | {"filters": msgspec.json.decode(row["filters"], type=Filter)})

    async def newest(self) -> int:
        """The last id of the feed."""
        return int((await self._row(NEWEST))[0])

    async def pending(self, webhook_id: str) -> Pending | None:
        """What goes next of what is in the log already."""
        row = await self._row(PENDING, webhook_id)
        return None if row is None else Pending(**dict(row))

    async def replay(self, webhook_id: str) -> Replay | None:
        """The oldest part of the feed that is asked for again."""
        row = await self._row(REPLAY, webhook_id)
        return None if row is None else Replay(*row)

    async def scan(self, after: int, until: int, most: int) -> list[tuple[int, Facets]]:
        """Entries after `after` and up to `until`, the first `most` of them."""
        return [(row[0], Facets(*row[1:])) for row in await self._fetch(SCAN, after, until, most)]

    async def entry(self, feed_id: int) -> tuple[str, str] | None:
        """Type and CloudEvent of an entry. None where it is gone."""
        row = await self._row(ENTRY, feed_id)
        return None if row is None else (row[0], row[1])

    async def advance(self, webhook_id: str, cursor: int) -> None:
        """Everything up to `cursor` is done."""
        await self._execute(ADVANCE, webhook_id, cursor)

    async def advance_replay(self, replay: Replay, next_id: int) -> None:
        """What is asked for again goes on at `next_id`, or is done."""
        if next_id > replay.until_id:
            await self._execute(END_REPLAY, replay.replay_id)
        else:
            await self._execute(ADVANCE_REPLAY, replay.replay_id, next_id)

    async def withdraw(self, delivery_id: int, now: dt.datetime) -> None:
        """A message is not sent any more: what it was about is gone."""
        await self._execute(WITHDRAW, delivery_id, now)

    async def hurry(self, webhook_id: str, now: dt.datetime) -> None:
        """What waits to be tried again is tried now."""
        await self._execute(HURRY, webhook_id, now)

    async def record(self, webhook_id: str, sent: Sent, outcome: Outcome, verdict: Verdict) -> bool:
        """Keep the result of an attempt, with all that follows from it. Returns whether the endpoint is disabled by it.

        Nothing is kept of an endpoint that was deleted meanwhile.
        """
        done = verdict.state != "retrying"
        async with self._turn, self._connection.transaction():
            passed = sent.feed_id if done and sent.feed_id is not None else 0
            if await self._connection.fetchrow(TAKE, webhook_id, verdict.failing_since, passed) is None:
                return False
            result = (
                outcome.at,
                round(outcome.seconds * 1000),
                outcome.status,
                outcome.error,
                outcome.excerpt,
                verdict.state,
                sent.tries,
                verdict.next_at,
                outcome.at if done else None,
            )
            if sent.delivery_id is None:
                which = webhook_id, sent.message_id, sent.feed_id, sent.type
                await self._connection.execute(WRITE_FIRST, *result, *which)
            else:
                await self._connection.execute(WRITE_NEXT, *result, sent.delivery_id)
            if sent.replay_id is not None and sent.feed_id is not None:
                await self._connection.execute(ADVANCE_REPLAY, sent.replay_id, sent.feed_id + 1)
            return verdict.disable is not None and await self._disable(webhook_id, outcome, verdict)

    async def _disable(self, webhook_id: str, outcome: Outcome, verdict: Verdict) -> bool:
        row = await self._connection.fetchrow(DISABLE, webhook_id, outcome.at, verdict.disable)
        if row is None:
            return False
        since = verdict.failing_since or outcome.at
        told = {
            "webhook_id": webhook_id,
            "url": origin(row["url"]),
            "description": row["description"],
            "because": verdict.disable,
            "failing_since": since.isoformat(),
            "detail": outcome.error or f"the last answer was {outcome.status}",
        }
        await self._connection.execute(AUDIT, ACTOR, webhook_id, json.dumps(told))
        for other, filters in await self._connection.fetch(SUBSCRIBED):
            if DISABLED_TYPE in msgspec.json.decode(filters, type=Filter).types:
                await self._connection.execute(TELL, other, own_message_id(), DISABLED_TYPE, json.dumps(told))
                await self._connection.execute(TOUCH, other)
        return True

    async def standing(self) -> dict[str, Any]:
        """How many endpoints are well, failing or disabled, and since when the oldest entry waits."""
        return dict(await self._row(STANDING))

    async def trim(self, now: dt.datetime) -> bool:
        """Forget a slice of what is older than it is kept. True while there may be more."""
        found = [await self._execute(query, now - KEPT, SLICE) for query in (TRIM_FEED, TRIM_LOG)]
        return any(int(tag.rpartition(" ")[2]) >= SLICE for tag in found)


def feed_message_id(webhook_id: str, feed_id: int) -> str:
    """The id of the message about an entry of the feed: the same whenever and however often it is sent."""
    return f"msg_{webhook_id.partition('_')[2]}_{feed_id}"


def own_message_id() -> str:
    """The id of a message that is not about the feed."""
    return f"msg_{uuid.uuid4().hex}"
