"""From an event accepted to a signal that can be read: `python -m tests.bench latency`. Percentiles in milliseconds.

Real ingest, engine, recorder, api, broker and database. A steady load of usage events is offered to ingest in batches
of 100, paced by the clock and not by the answers. Beside it, ten times a second, one event that surely raises a signal is
sent alone: an NPS answer of 0 by a user who never answered before (`survey.detractor`). Each of these probes is timed from
ingest's answer that it was accepted until its transition arrived at a consumer of topic `signals.risk`, and until
`GET /v1/signals/{episode_id}` answered 200. The api is asked every 20 ms from the transition's arrival on, so that its
column is right to 20 ms; a probe never answered is lost and said so. The load and the clients run on the same cores.

Phases: each offered rate alone; a second engine worker that joins and leaves again by SIGTERM; and a midnight at
`--accounts` accounts, each of which is woken and says its health. The midnight is real to the engine although it may be
noon: producers' clocks are behind by a constant, and the ticks' grace is that constant plus two seconds, so that the
partitions' clocks pass a midnight in the middle of the phase.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import aiohttp
import uvloop
from aiokafka import AIOKafkaConsumer

from schemas.health import HEALTH_TOPIC
from schemas.signals import RISK_TOPIC
from services.common.kafka import end_offsets
from tests.bench.report import Cell, Report, Table, percentile
from tests.bench.stage import Running, Stage, outcomes, until
from tests.bench.workload import Record, name_of, ticks
from tests.harness import new_key

BATCH = 100
PROBES_A_S = 10
PROBE_ACCOUNTS = 200
ASK_EVERY_S = 0.02
LOST_AFTER_S = 30.0
WARM_UP_S = 3.0
GRACE_S = 2.0
MIDNIGHT_AFTER = 0.3
"""Where in its phase the midnight lies."""
START_WITHIN_S = 15.0
QUIET_LOOKS = 12


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--rates", default="1000,5000", help="events/s offered, one phase each")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a phase is measured")
    parser.add_argument("--accounts", type=int, default=2_000, help="accounts at the midnight (stated: 100000)")
    parser.add_argument("--skip", default="", help="phases to leave out: rates, rebalance, midnight")
    parser.add_argument("--store", choices=("rocksdb", "memory"), default="rocksdb")


@dataclass
class Probe:
    """One probe: when it was accepted, and how long it took to the topic and to the api."""

    accepted: float = 0.0
    episode: str = ""
    topic_s: float | None = None
    api_s: float | None = None


@dataclass
class Clients:
    """Everything that talks to the product: senders and readers, in one event loop."""

    session: aiohttp.ClientSession
    ingest: str
    api: str
    write_key: str
    read_key: str
    behind_s: float = 0.0
    probes: dict[str, Probe] = field(default_factory=dict)
    offered: int = 0
    accepted: int = 0

    def stamp(self) -> str:
        """The time of an event sent now."""
        return dt.datetime.fromtimestamp(time.time() - self.behind_s, dt.UTC).isoformat(timespec="milliseconds")

    async def send(self, events: list[dict[str, object]]) -> int:
        """Post events; returns how many were accepted."""
        headers = {"Authorization": f"Bearer {self.write_key}", "Content-Type": "application/cloudevents-batch+json"}
        async with self.session.post(f"{self.ingest}/v1/events", data=json.dumps(events), headers=headers) as answer:
            body = await answer.read()
            if answer.status not in (200, 503):
                raise RuntimeError(f"ingest answered {answer.status}: {body[:300]!r}")
            return body.count(b'"accepted"')

    async def probe(self, number: int) -> None:
        """Send one probe, and ask the api for its episode from when it is known."""
        name = uuid.uuid4().hex
        probe = self.probes[name] = Probe()
        event: dict[str, object] = {
            "specversion": "1.0",
            "id": name,
            "source": "bench",
            "type": "survey.answered",
            "subject": f"probe-{number % PROBE_ACCOUNTS:04}",
            "time": self.stamp(),
            "data": {"survey_id": "S1", "kind": "nps", "score": 0, "user": name},
        }
        if not await self.send([event]):
            del self.probes[name]
            return
        probe.accepted = time.monotonic()
        deadline = probe.accepted + LOST_AFTER_S
        headers = {"Authorization": f"Bearer {self.read_key}"}
        while time.monotonic() < deadline:
            if probe.episode:
                async with self.session.get(f"{self.api}/v1/signals/{probe.episode}", headers=headers) as answer:
                    await answer.read()
                    if answer.status == 200:
                        probe.api_s = time.monotonic() - probe.accepted
                        return
            await asyncio.sleep(ASK_EVERY_S)

    async def load(self, rate: int, accounts: int, seconds: float) -> None:
        """Offer usage events at `rate` a second."""
        chance = random.Random(rate)
        started, sent, sending = time.monotonic(), 0, set[asyncio.Task[None]]()

        async def one(events: list[dict[str, object]]) -> None:
            self.accepted += await self.send(events)

        while (passed := time.monotonic() - started) < seconds:
            while sent < passed * rate:
                at = self.stamp()
                events = [_usage(chance, accounts, at) for _ in range(BATCH)]
                task = asyncio.ensure_future(one(events))
                sending.add(task)
                task.add_done_callback(sending.discard)
                sent += BATCH
                await asyncio.sleep(0)
            await asyncio.sleep(min(0.01, BATCH / rate))
        self.offered += sent
        await asyncio.gather(*sending)

    async def probing(self, seconds: float) -> None:
        """Send probes for so long, and wait for their answers."""
        started, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while time.monotonic() - started < seconds:
                group.create_task(self.probe(number))
                number += 1
                await asyncio.sleep(max(0.0, started + number / PROBES_A_S - time.monotonic()))


def _usage(chance: random.Random, accounts: int, at: str) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"{chance.getrandbits(128):032x}",
        "source": "bench",
        "type": "usage.feature_used",
        "subject": name_of(chance.randrange(accounts)),
        "time": at,
        "data": {"feature": "board", "user": f"user-{chance.randrange(5)}", "core": True, "environment": "production"},
    }


@asynccontextmanager
async def reading(bootstrap: str, probes: dict[str, Probe]) -> AsyncIterator[None]:
    """Take the arrival times of the probes' transitions from topic `signals.risk`."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=100)
    await consumer.start()
    ends = await end_offsets(bootstrap, [RISK_TOPIC])
    consumer.assign(list(ends))
    for place, end in ends.items():
        consumer.seek(place, end)

    async def read() -> None:
        async for record in consumer:
            if b"survey.detractor" not in record.value:
                continue
            now = time.monotonic()
            data = json.loads(record.value)["data"]
            probe = probes.get(data.get("user") or "")
            if probe is not None and not probe.episode:
                probe.episode = data["episode_id"]
                # The transition may be here before ingest's answer to the probe is.
                probe.topic_s = max(0.0, now - probe.accepted) if probe.accepted else 0.0

    task = asyncio.ensure_future(read())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


@dataclass
class World:
    """The running product."""

    stage: Stage
    stack: ExitStack
    env: dict[str, str]
    engine: Running
    recorder: Running
    ingest_url: str
    api_url: str
    write_key: str
    read_key: str


def start(stage: Stage, stack: ExitStack, engines: ExitStack, store: str, **settings: object) -> World:
    """Start the product on topics and a database of its own; the engine ends with `engines`, the others with `stack`."""
    if stage.ends("usage"):
        stage.kafka.delete_all_topics()
    app_id = stage.new_app()
    stage.fresh_database()
    env = stage.environment(app_id, engine_store=store, log_level="warning", **settings)
    keys = new_key(env, "ingest", source="bench"), new_key(env, "read")
    engine = engines.enter_context(stage.service("engine", env, log=app_id))
    recorder, _, _ = (
        stack.enter_context(stage.service(name, env, log=f"{name}-{app_id}")) for name in ("recorder", "ingest", "api")
    )
    ingest, api = (f"http://127.0.0.1:{env[f'EBBTIDE_{name}_PORT']}" for name in ("INGEST", "API"))
    return World(stage, stack, env, engine, recorder, ingest, api, *keys)


async def phase(
    world: World,
    rate: int,
    accounts: int,
    seconds: float,
    *,
    behind_s: float = 0.0,
    beside: Callable[[], None] | None = None,
) -> tuple[list[Probe], float]:
    """Load and probes for so long. `beside` is run in a thread meanwhile. Returns the probes and accepted events/s."""
    timeout = aiohttp.ClientTimeout(total=LOST_AFTER_S)
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        clients = Clients(session, world.ingest_url, world.api_url, world.write_key, world.read_key, behind_s)
        async with reading(world.stage.kafka.bootstrap, clients.probes):
            await clients.load(rate, accounts, WARM_UP_S)
            clients.accepted = 0
            since = time.monotonic()
            work = [clients.load(rate, accounts, seconds), clients.probing(seconds)]
            if beside is not None:
                work.append(asyncio.to_thread(beside))
            taken = [asyncio.ensure_future(each) for each in work]
            await taken[0]
            accepted = clients.accepted / (time.monotonic() - since)
            await asyncio.gather(*taken)
        return list(clients.probes.values()), accepted


def row(name: str, rate: int, probes: list[Probe], accepted: float) -> list[Cell]:
    """One line of the table."""
    topic = [probe.topic_s * 1000 for probe in probes if probe.topic_s is not None]
    api = [probe.api_s * 1000 for probe in probes if probe.api_s is not None]
    cells: list[Cell] = [name, rate, accepted, len(probes), len(probes) - len(api)]
    for values in (topic, api):
        cells += [percentile(values, share) if values else None for share in (0.5, 0.95, 0.99, 1.0)]
    return cells


def run(given: argparse.Namespace) -> Report:
    """All phases, each on processes of its own but for the rates, which share them."""
    percentiles = [f"{where} {which}" for where in ("topic", "api") for which in ("p50", "p95", "p99", "max")]
    columns = ("phase", "offered/s", "accepted/s", "probes", "lost", *percentiles)
    table = Table("Milliseconds from accepted to readable", columns)
    midnight = Table("The midnight", ("accounts", "woken by it or past it", "seconds from the tick to the last"))
    rates = [int(rate) for rate in given.rates.split(",")]
    skip = set(given.skip.split(","))
    with Stage() as stage:
        with ExitStack() as stack:
            if not skip >= {"rates", "rebalance"}:
                world = start(stage, stack, stack, given.store, ticks="on")
                if "rates" not in skip:
                    for rate in rates:
                        table.rows.append(row("steady", rate, *uvloop.run(phase(world, rate, 20_000, given.seconds))))
                if "rebalance" not in skip:
                    beside = partial(_join_and_leave, world, given.seconds)
                    done = uvloop.run(phase(world, rates[0], 20_000, given.seconds, beside=beside))
                    table.rows.append(row("a worker joins, then leaves", rates[0], *done))
        if "midnight" not in skip:
            with ExitStack() as stack:
                _midnight(stage, stack, given, rates[0], table, midnight)
    given_: dict[str, Cell] = {name: str(value) for name, value in vars(given).items()}
    remarks = ["all processes, the load and the clients share this machine's cores"]
    return Report("latency", given_, [table, *([midnight] if midnight.rows else [])], remarks)


def _join_and_leave(world: World, seconds: float) -> None:
    """A second worker comes at a third of the phase and goes after two thirds of it."""
    time.sleep(seconds / 3)
    env = world.env | {"EBBTIDE_METRICS_PORT_ENGINE": world.stage.environment("x")["EBBTIDE_METRICS_PORT_ENGINE"]}
    since = time.monotonic()
    with world.stage.service("engine", env, log="second-worker"):
        time.sleep(max(0.0, seconds / 3 - (time.monotonic() - since)))


def _midnight(
    stage: Stage, stack: ExitStack, given: argparse.Namespace, rate: int, table: Table, midnight: Table
) -> None:
    seconds = max(given.seconds, 20.0)
    day = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with ExitStack() as preparing:
        world = start(stage, stack, preparing, given.store, ticks="off")
        stage.fill(chain(_yesterday(given.accounts, day.timestamp()), ticks(day - dt.timedelta(minutes=30))))
        _quiet(world, given.accounts)
    at = time.time() + START_WITHIN_S + WARM_UP_S + seconds * MIDNIGHT_AFTER
    behind = at - day.timestamp()
    env = world.env | {
        "EBBTIDE_TICKS": "on",
        "EBBTIDE_TICK_INTERVAL_S": "1",
        "EBBTIDE_TICK_GRACE_S": str(behind + GRACE_S),
    }
    stack.enter_context(stage.service("engine", env, log="engine-at-midnight"))
    before = stage.ends(HEALTH_TOPIC)
    time.sleep(max(0.0, at - WARM_UP_S - seconds * MIDNIGHT_AFTER - time.time()))
    done = uvloop.run(phase(world, rate, given.accounts, seconds, behind_s=behind))
    table.rows.append(row(f"midnight, {given.accounts:,} accounts", rate, *done))
    _quiet(world, given.accounts)
    first: dict[bytes, float] = {}
    for key, value, sent in stage.records(HEALTH_TOPIC, before):
        if key is not None and value is not None and key.startswith(b"acct-"):
            as_of = dt.datetime.fromisoformat(json.loads(value)["as_of"])
            if as_of >= day:
                first.setdefault(key, sent)
    took = max(first.values()) - at - GRACE_S if first else None
    midnight.rows.append((given.accounts, len(first), took))


def _quiet(world: World, accounts: int) -> None:
    """Wait until the accounts' events are applied, and nothing is said and nothing to be recorded any more."""
    seen: list[int] = []

    def quiet() -> bool:
        applied = outcomes(world.engine.metrics()).get("applied", 0) if world.engine.alive() else accounts
        waiting = sum(v for k, v in world.recorder.metrics().items() if k[0] == "ebbtide_recorder_lag_records")
        seen.append(sum(world.stage.ends(HEALTH_TOPIC).values()))
        return applied >= accounts and not waiting and len(seen) > QUIET_LOOKS and len(set(seen[-QUIET_LOOKS:])) == 1

    until("all is quiet", quiet, [world.recorder], within=120 + accounts / 200, every=0.5)


def _yesterday(accounts: int, day: float) -> list[Record]:
    """One event of each account in the day before the midnight `day`."""
    chance = random.Random(3)
    found = []
    for number in range(accounts):
        at = dt.datetime.fromtimestamp(day - 3600 - number / accounts * 3600, dt.UTC).isoformat()
        event = _usage(chance, accounts, at) | {"subject": name_of(number)}
        found.append(Record("usage", name_of(number).encode(), json.dumps(event).encode()))
    return found
