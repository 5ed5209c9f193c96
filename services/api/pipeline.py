"""How data flows, as far as the api can tell: each fact from where it is surest, and with the moment it was read.

Positions and lag come from Kafka itself and hold for any number of workers; what one process counts comes from its
metrics port and is absent where that cannot be reached from here; what was recorded comes from the database.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.db.tables import RecorderOffset
from schemas.db.webhooks import Webhook
from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.envelope import from_us
from schemas.events import INPUT_TOPICS
from services.api.database import answering
from services.common import kafka
from services.common.settings import Settings

OUTPUT_TOPICS: Final = ("signals.risk", "signals.opportunity", "health")
FRESH_S: Final = 3.0
RATE_S: Final = 60
OLDEST_WITHIN_S: Final = 1.5
SCRAPE_WITHIN_S: Final = 1.0
LARGEST_SCRAPE: Final = 8 * 1024 * 1024
SHOWN_SOURCES: Final = 200
REFUSED_SHOWN: Final = 1000
OUTCOMES: Final = ("applied", "duplicate", "dead")


class Position(Struct, frozen=True):
    """One topic-partition. `lag_s` is the age of the oldest record that is not applied, None where that is not known.

    `per_s` are records appended in the last minute, ticks among them. `applied` is null before the first commit.
    """

    topic: str
    partition: int
    end: int
    applied: int | None
    lag: int
    lag_s: float | None
    per_s: float


class Flow(Struct, frozen=True):
    """The input topics as Kafka has them, and the dead letters of the last minute."""

    positions: list[Position]
    ends: dict[tuple[str, int], int]
    dead_per_min: int
    read_at: dt.datetime


class Counts(Struct, frozen=True):
    """What became of the records of a topic since the engine started."""

    applied: int
    duplicate: int
    dead: int

    def share(self, name: str) -> float | None:
        """One of them as part of all; None before the first."""
        total = self.applied + self.duplicate + self.dead
        return getattr(self, name) / total if total else None


class EngineSays(Struct, frozen=True):
    """What the engine worker at the configured port counts."""

    ticked_at: dt.datetime | None
    clock_at: dt.datetime | None
    partitions: int
    counts: dict[str, Counts]
    read_at: dt.datetime


class Source(Struct, frozen=True):
    """A source on a topic, and when something of it last came. `limit_s` is how long it may be silent; None: unknown yet."""

    source: str
    topic: str
    last: dt.datetime
    stale: bool
    late: bool
    limit_s: float | None


class Recorded(Struct, frozen=True):
    """Where the recorder stands. `behind` is None where Kafka could not be asked."""

    positions: dict[tuple[str, int], int]
    moved_at: dt.datetime | None
    refused: int
    sources: list[Source]
    webhooks: list[Hook]


class Hook(Struct, frozen=True):
    """A webhook endpoint and how it is. The address is shown without what may be secret in it."""

    webhook_id: str
    host: str
    enabled: bool
    disabled_because: str | None
    failing_since: dt.datetime | None


class Facts(Struct, frozen=True):
    """Everything, each part with why it is missing where it is."""

    now: dt.datetime
    flow: Flow | None
    flow_trouble: str | None
    engine: EngineSays | None
    engine_trouble: str | None
    recorded: Recorded

    def recorder_behind(self) -> int | None:
        """Records that are appended and not recorded; None where Kafka does not answer."""
        if self.flow is None:
            return None
        return sum(max(0, end - self.recorded.positions.get(place, 0)) for place, end in self.flow.ends.items())


class Pipeline:
    """Reads the facts, at most once in a few seconds for all who look."""

    def __init__(self, settings: Settings, engine: AsyncEngine) -> None:
        self._settings = settings
        self._engine = engine
        self._known: Facts | None = None
        self._until = float("-inf")
        self._lock = asyncio.Lock()

    async def facts(self) -> Facts:
        """The facts. Raises Problem 503 where the database is away."""
        async with self._lock:
            if self._known is None or time.monotonic() >= self._until:
                self._known = await self._read()
                self._until = time.monotonic() + FRESH_S
            return self._known

    async def _read(self) -> Facts:
        flow, says = await asyncio.gather(self._flow(), self._engine_says(), return_exceptions=True)
        recorded = await self._recorded()
        for found in (flow, says):
            if isinstance(found, BaseException) and not isinstance(found, Exception):
                raise found
        return Facts(
            dt.datetime.now(dt.UTC),
            None if isinstance(flow, BaseException) else flow,
            str(flow) if isinstance(flow, BaseException) else None,
            None if isinstance(says, BaseException) else says,
            str(says) if isinstance(says, BaseException) else None,
            recorded,
        )

    async def _flow(self) -> Flow:
        bootstrap = self._settings.bootstrap
        async with kafka.reader(bootstrap, *INPUT_TOPICS, *OUTPUT_TOPICS, DEAD_LETTER_TOPIC) as consumer:
            places = sorted(consumer.assignment())
            consumer.pause(*places)
            applied = await kafka.committed(bootstrap, self._settings.engine_app_id)
            ends = await consumer.end_offsets(places)
            first = await consumer.beginning_offsets(places)
            now = dt.datetime.now(dt.UTC)
            since = int((now.timestamp() - RATE_S) * 1000)
            then = await consumer.offsets_for_times(dict.fromkeys(places, since))
            recent = {place: 0 if (entry := then[place]) is None else ends[place] - entry.offset for place in places}
            inputs = [place for place in places if place.topic in INPUT_TOPICS]
            starts = {place: max(applied.get(place, 0), first[place]) for place in inputs}
            ages = await _ages(consumer, {place: at for place, at in starts.items() if at < ends[place]}, now)
        positions = [
            Position(
                place.topic,
                place.partition,
                ends[place],
                applied.get(place),
                max(0, ends[place] - starts[place]),
                ages.get(place) if starts[place] < ends[place] else 0.0,
                recent[place] / RATE_S,
            )
            for place in inputs
        ]
        dead = sum(count for place, count in recent.items() if place.topic == DEAD_LETTER_TOPIC)
        kept = {(p.topic, p.partition): end for p, end in ends.items() if p.topic != DEAD_LETTER_TOPIC}
        return Flow(positions, kept, dead, now)

    async def _engine_says(self) -> EngineSays:
        samples = await self._scraped(self._settings.metrics_port_engine)
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for (name, topic, outcome), value in samples.items():
            if name == "ebbtide_engine_records_total":
                counts[topic][outcome] = int(value)
        return EngineSays(
            _moment(samples.get(("ebbtide_engine_ticked_seconds", "", ""))),
            _moment(samples.get(("ebbtide_engine_clock_seconds", "", ""))),
            int(samples.get(("ebbtide_engine_partitions", "", ""), 0)),
            {topic: Counts(*(found.get(outcome, 0) for outcome in OUTCOMES)) for topic, found in counts.items()},
            dt.datetime.now(dt.UTC),
        )

    async def _scraped(self, port: int) -> dict[tuple[str, str, str], float]:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.metrics_host, self._settings.metrics_host)
        where = f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
        try:
            timeout = aiohttp.ClientTimeout(total=SCRAPE_WITHIN_S)
            async with aiohttp.ClientSession(timeout=timeout) as client, client.get(where) as answer:
                body = await answer.content.read(LARGEST_SCRAPE)
                while not answer.content.at_eof() and len(body) < LARGEST_SCRAPE:
                    body += await answer.content.read(LARGEST_SCRAPE - len(body))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NotReached(f"its metrics at {host}:{port} cannot be reached from here") from error
        return {
            (sample.name, sample.labels.get("topic", ""), sample.labels.get("outcome", "")): sample.value
            for family in text_string_to_metric_families(body.decode("utf-8", "replace"))
            if family.name.startswith("ebbtide_engine")
            for sample in family.samples
        }

    async def _recorded(self) -> Recorded:
        now = dt.datetime.now(dt.UTC)
        with answering():
            async with self._engine.connect() as connection:
                offsets = (await connection.execute(select(RecorderOffset))).mappings().all()
                refused = (await connection.execute(REFUSED)).scalar_one()
                feeds = (await connection.execute(FEEDS)).all()
                hooks = (await connection.execute(HOOKS)).all()
        rows = [(row["topic"], row["partition"], row["next_offset"], row["updated_at"]) for row in offsets]
        return Recorded(
            {(topic, partition): offset for topic, partition, offset, _ in rows},
            max((moved for *_, moved in rows), default=None),
            refused,
            [_source(row.source, row.topic, row.last, row.stale, row.usual, row.limit, now) for row in feeds],
            [
                Hook(row.webhook_id, _host(row.url), row.enabled, row.disabled_because, row.failing_since)
                for row in hooks
            ],
        )


class NotReached(Exception):
    """A process's metrics cannot be read. The message says whose."""


REFUSED: Final = text(f"SELECT count(*) FROM (SELECT FROM recorder_refused LIMIT {REFUSED_SHOWN}) AS refused")
FEEDS: Final = text(
    "SELECT source, topic, (state->>'last')::bigint AS last, (state->>'stale')::boolean AS stale,"
    " (state->>'usual')::bigint AS usual, (state->>'limit')::bigint AS \"limit\" FROM source_feeds"
    f" ORDER BY (state->>'stale')::boolean DESC, source, topic LIMIT {SHOWN_SOURCES}"
)
HOOKS: Final = (
    select(Webhook.webhook_id, Webhook.url, Webhook.enabled, Webhook.disabled_because, Webhook.failing_since)
    .order_by(func.coalesce(Webhook.failing_since, Webhook.disabled_at).desc().nulls_last(), Webhook.webhook_id)
    .limit(SHOWN_SOURCES)
)
NEVER_US: Final = 1 << 60


def _source(
    name: str, topic: str, last: int, stale: bool | None, usual: int | None, limit: int | None, now: dt.datetime
) -> Source:
    at = from_us(last)
    bound = None if limit is None or limit >= NEVER_US else limit / 1e6
    late = usual is not None and usual < NEVER_US and (now - at).total_seconds() > usual / 1e6
    return Source(name, topic, at, bool(stale), late, bound)


def _host(url: str) -> str:
    """The address without path and user: both may hold secrets."""
    return url.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]


def _moment(seconds: float | None) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(seconds, dt.UTC) if seconds else None


async def _ages(
    consumer: AIOKafkaConsumer, starts: dict[TopicPartition, int], now: dt.datetime
) -> dict[TopicPartition, float]:
    """How old the record at each position is, in seconds. What the broker does not send in time is not known."""
    found: dict[TopicPartition, float] = {}
    for place, offset in starts.items():
        consumer.seek(place, offset)
    deadline = time.monotonic() + OLDEST_WITHIN_S
    while len(found) < len(starts) and time.monotonic() < deadline:
        waiting = [place for place in starts if place not in found]
        consumer.resume(*waiting)
        for place, records in (await consumer.getmany(*waiting, timeout_ms=200, max_records=len(waiting))).items():
            found[place] = max(0.0, now.timestamp() - records[0].timestamp / 1000)
            consumer.pause(place)
    return found


def by_topic(positions: Iterable[Position]) -> dict[str, list[Position]]:
    """The positions of each topic."""
    found: dict[str, list[Position]] = defaultdict(list)
    for one in positions:
        found[one.topic].append(one)
    return dict(found)
