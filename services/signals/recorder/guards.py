"""What only the recorder can see: the portfolio as a day ended, and sources of events that have gone quiet.

Both are said as broadcasts on the accounts topic, to every partition. They come from the same pure functions as in a
backtest; here the rows come from the database, and arrivals are the times at which records came to their topics. A
broadcast may be repeated after a crash: the same bytes, which change nothing. Nothing is said while a replay runs (it
brings its own), nor while this process has not read everything: a backlog of ours is nobody's silence.

The effects of one measure, in order: (1) its row, not yet sent; (2) the broadcast, acknowledged by every partition;
(3) the row is marked as sent. Those of one source: (1) the broadcast; (2) the source's row.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct

from schemas.codec import decode
from schemas.envelope import EPOCH, Event
from schemas.events.control import TICK_TYPE
from services.common.db import UNREACHABLE, connect
from services.common.kafka import BrokerUnreachable, UnknownTopic, partition_counts, producer
from services.common.settings import Settings
from services.signals.core import announcements
from services.signals.core.portfolio import Row, measure
from services.signals.core.sources import Feed, SourceWatch, Told
from services.signals.recorder.records import EventRow, Record, event_row, printable

log = structlog.get_logger()

EVERY_S: Final = 2.0
GRACE: Final = dt.timedelta(minutes=3)
"""After midnight, before the ended day is measured: what was on its way arrives."""
IN_FLIGHT_US: Final = 60_000_000
STORED_EVERY_S: Final = 60.0
READY_SHARE: Final = 0.95
"""Of the accounts, whose health must be of the new day before the ended one is measured: the engine has passed midnight."""
REPLAYED: Final = frozenset({"run-start", "sequence"})
RETRIED: Final = (*UNREACHABLE, KafkaError, BrokerUnreachable, UnknownTopic)
PAUSE_S: Final = 5.0


class Reader(Protocol):
    """What is asked of a lane: whether it has recorded everything that is there."""

    @property
    def caught_up(self) -> bool: ...


class _Head(Struct):
    source: str
    type: str
    subject: str | None = None


_head: Final = msgspec.json.Decoder(_Head).decode
_feed: Final = msgspec.json.Decoder(Feed).decode
_encode: Final = msgspec.json.Encoder().encode

READY: Final = "SELECT coalesce(avg((as_of >= $1)::int), 0) FROM account_health"

ROWS: Final = """
WITH used AS (
  SELECT account_id,
    coalesce(sum(usage) FILTER (WHERE day > $1::date - 28), 0)::bigint AS current,
    coalesce(sum(usage) FILTER (WHERE day <= $1::date - 28), 0)::bigint AS previous,
    coalesce(sum(usage) FILTER (WHERE day = $1::date), 0)::bigint AS on_day,
    ARRAY[coalesce(sum(usage) FILTER (WHERE day = $1::date - 7), 0), coalesce(sum(usage) FILTER (WHERE day = $1::date - 14), 0),
          coalesce(sum(usage) FILTER (WHERE day = $1::date - 21), 0), coalesce(sum(usage) FILTER (WHERE day = $1::date - 28), 0)
    ]::bigint[] AS weekdays
  FROM usage_days WHERE day > $1::date - 56 AND day <= $1::date GROUP BY account_id
), answered AS (
  SELECT account_id,
    coalesce(sum((data->>'score')::int) FILTER (WHERE data->>'kind' = 'nps'), 0) AS nps_sum,
    count(*) FILTER (WHERE data->>'kind' = 'nps') AS nps_answers,
    coalesce(sum((data->>'score')::int) FILTER (WHERE data->>'kind' = 'csat'), 0) AS csat_sum,
    count(*) FILTER (WHERE data->>'kind' = 'csat') AS csat_answers
  FROM timeline
  WHERE type = 'survey.answered' AND time >= $2 AND time < $3 AND data->>'score' IS NOT NULL GROUP BY account_id
)
SELECT a.tier, span.industry, coalesce(used.current, 0), coalesce(used.previous, 0), coalesce(used.on_day, 0),
  coalesce(used.weekdays, '{}'),
  CASE WHEN before.mrr > 0 AND before.currency = span.currency THEN (a.mrr / before.mrr - 1)::float8 END,
  coalesce(nps_sum, 0)::int, coalesce(nps_answers, 0)::int, coalesce(csat_sum, 0)::int, coalesce(csat_answers, 0)::int
FROM accounts a
LEFT JOIN used ON used.account_id = a.account_id
LEFT JOIN answered ON answered.account_id = a.account_id
LEFT JOIN account_spans span ON span.account_id = a.account_id AND span.until IS NULL
LEFT JOIN account_spans before ON before.account_id = a.account_id AND before.since < $4
  AND (before.until IS NULL OR before.until >= $4)
WHERE NOT a.churned
"""

KNOWN: Final = "SELECT body::text, sent_at IS NOT NULL FROM portfolio_measures WHERE day = $1"
KEEP: Final = """
INSERT INTO portfolio_measures (day, body) VALUES ($1, $2::json) ON CONFLICT (day) DO NOTHING
"""
SENT: Final = "UPDATE portfolio_measures SET sent_at = now() WHERE day = $1"
FEEDS: Final = "SELECT source, topic, state::text FROM source_feeds"
KEEP_FEED: Final = """
INSERT INTO source_feeds (source, topic, state) SELECT * FROM unnest($1::text[], $2::text[], $3::json[])
ON CONFLICT (source, topic) DO UPDATE SET state = excluded.state, updated_at = now()
"""


async def measured_rows(connection: Any, day: dt.date) -> list[Row]:
    """Every account as `day` ended, from what is recorded."""
    after = dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(days=1)
    try:
        year_ago = after.replace(year=after.year - 1)
    except ValueError:  # a 29th of February
        year_ago = after.replace(year=after.year - 1, day=28)
    found = await connection.fetch(ROWS, day, after - dt.timedelta(days=90), after, year_ago)
    return [
        Row(tier, industry, current, previous, on_day, tuple(weekdays), growth, (nps, nps_n), (csat, csat_n))
        for tier, industry, current, previous, on_day, weekdays, growth, nps, nps_n, csat, csat_n in found
    ]


class Guards:
    """Sees every record of the input topics by `row`, and says what it finds in `run`."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._watch = SourceWatch()
        self._loaded = False
        self._unsaid: list[Told] = []
        self._historical: set[tuple[str, int]] = set()
        self._stored_at = 0.0

    # -- what is read ---------------------------------------------------------------------------------------------

    def row(self, record: Record) -> EventRow | None:
        """The record's row in an account's history, as `event_row` has it. Its arrival is noted."""
        self._note(record)
        return event_row(record)

    def _note(self, record: Record) -> None:
        if record.value is None or not self._loaded:
            return
        place = (record.topic, record.partition)
        if any(name in REPLAYED for name, _ in record.headers) and b'"clock.tick"' not in record.value:
            self._historical.add(place)
            return
        try:
            head = _head(record.value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        if head.type == TICK_TYPE:
            event = decode(record.topic, record.key, record.value)
            if isinstance(event, Event):
                (self._historical.add if event.data.historical else self._historical.discard)(place)
        elif head.subject:
            told = self._watch.saw(printable(head.source), record.topic, head.subject, max(record.timestamp, 0) * 1000)
            if told is not None:
                self._unsaid.append(told)

    # -- what is said ---------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, lanes: Sequence[Reader]) -> None:
        """Look every few seconds until told to stop. A failure of Postgres or Kafka is waited out and stops nothing else."""
        while not stop.is_set():
            try:
                await self._session(stop, lanes)
            except RETRIED as error:
                log.warning("the guards stopped, will go on", problem=repr(error), pause_s=PAUSE_S)
                await _sleep(stop, PAUSE_S)

    async def _session(self, stop: asyncio.Event, lanes: Sequence[Reader]) -> None:
        connection = await connect(self._config.database, process="recorder-guards")
        client: AIOKafkaProducer | None = None
        try:
            client = await producer(self._config)
            if not self._loaded:
                await self.load(connection)
            while not stop.is_set():
                if all(lane.caught_up for lane in lanes):
                    await self.look(connection, client, dt.datetime.now(dt.UTC))
                await _sleep(stop, EVERY_S)
            await self._store(connection)
        finally:
            if client is not None:
                await client.stop()
            await connection.close(timeout=2)

    async def load(self, connection: Any) -> None:
        """Go on from what was known of the sources."""
        found = await connection.fetch(FEEDS)
        self._watch = SourceWatch({(source, topic): _feed(state) for source, topic, state in found})
        self._loaded = True

    async def look(self, connection: Any, client: AIOKafkaProducer, now: dt.datetime) -> None:
        """Say what there is to say at `now`, the present, at which everything has been read."""
        if self._historical:
            return
        self._unsaid += self._watch.until(_us(now) - IN_FLIGHT_US)
        said = bool(self._unsaid)
        while self._unsaid:
            told = self._unsaid[0]
            await self._send(client, announcements.source_told(told))
            log.warning("a source of events is " + told.what, source=told.source, topic=told.topic)
            self._unsaid.pop(0)
        if said or time.monotonic() >= self._stored_at + STORED_EVERY_S:
            await self._store(connection)
        await self._measure(connection, client, now)

    async def _measure(self, connection: Any, client: AIOKafkaProducer, now: dt.datetime) -> None:
        """Measure yesterday, once."""
        midnight = dt.datetime.combine(now.date(), dt.time(), dt.UTC)
        if now < midnight + GRACE:
            return
        day = (midnight - dt.timedelta(days=1)).date()
        known = await connection.fetchrow(KNOWN, day)
        if known is not None and known[1]:
            return
        if known is None:
            if await connection.fetchval(READY, midnight) < READY_SHARE:
                return
            told = measure(await measured_rows(connection, day), day, self._watch.late(_us(midnight)))
            await connection.execute(KEEP, day, announcements.measured(told).decode())
            known = await connection.fetchrow(KNOWN, day)
        await self._send(client, known[0].encode())
        await connection.execute(SENT, day)
        log.info("the portfolio was measured", day=day.isoformat())

    async def _send(self, client: AIOKafkaProducer, value: bytes) -> None:
        topic = announcements.TOPIC
        counts = await partition_counts(self._config.bootstrap, [topic])
        for number in range(counts[topic]):
            await client.send_and_wait(topic, value, partition=number)

    async def _store(self, connection: Any) -> None:
        self._stored_at = time.monotonic()
        rows = [(source, topic, _encode(feed).decode()) for (source, topic), feed in self._watch.feeds.items()]
        if rows:
            await connection.execute(KEEP_FEED, *map(list, zip(*rows, strict=True)))


def _us(at: dt.datetime) -> int:
    return (at - EPOCH) // dt.timedelta(microseconds=1)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
