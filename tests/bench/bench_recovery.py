"""How long the engine takes to be there again: `python -m tests.bench recovery`. Seconds.

A worker concludes the state of `--accounts` accounts and stops. Then it is started again and again: with its copy in memory
(all of the changelog is read), on disk with the copy lost (the same, into RocksDB) and with the copy kept (only what is new
is read). A start of an empty state is the baseline: what the process, the broker and the group need anyway. `joining` is
until the group has been joined, `reading` from then until the state is read and opened, both as /readyz tells it; what the
empty state takes in `reading` is the group's part of it.

Takeover: two workers share the partitions, one ends, by kill -9 or by SIGTERM. Timed until the other has all partitions
recovered and open and is ready. The session timeout is the setting's default, 10 s: a killed worker is missed after it.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.bench.population import accounts
from tests.bench.report import Report, Table
from tests.bench.stage import Running, Stage, outcomes, until

LOOK_EVERY_S = 0.02
READING = "state is read"
OPENING = "opened"


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--accounts", type=int, default=5_000, help="accounts (stated: 100000)")
    parser.add_argument("--skip-takeover", action="store_true")


def run(given: argparse.Namespace) -> Report:
    """Fill once for each store; restart; take over."""
    restarts = Table(
        f"Start of one worker, {given.accounts:,} accounts",
        ("state", "s to ready", "s joining", "s reading", "s reading beyond empty", "CPU s", "changelog records"),
    )
    takeovers = Table("Takeover of half of the partitions", ("how", "store", "s until all partitions are ready"))
    with Stage() as stage:
        empty_app = stage.new_app()
        app_id = stage.new_app()
        env = stage.environment(empty_app, log_level="warning")
        empty = timed(stage, env, "empty")
        restarts.rows.append(("empty", *empty[:3], None, empty[3], 0))
        count = stage.fill(accounts(given.accounts))
        disk = stage.environment(app_id, engine_store="rocksdb", log_level="warning")
        memory = disk | {"EBBTIDE_ENGINE_STORE": "memory"}
        with stage.service("engine", disk, log="filling") as engine:
            until(
                f"{count} events applied",
                lambda: outcomes(engine.metrics()).get("applied", 0) >= count,
                [engine],
                within=120 + count / 1000,
                every=0.5,
            )
        records = sum(stage.ends(f"{app_id}-state-changelog").values())
        copy = Path(disk["EBBTIDE_DATA_DIR"]) / "engine" / app_id
        for name, chosen, lost in (
            ("memory", memory, False),
            ("disk, copy lost", disk, True),
            ("disk, copy kept", disk, False),
        ):
            if lost:
                shutil.rmtree(copy)
            took = timed(stage, chosen, name)
            restarts.rows.append((name, *took[:3], took[2] - empty[2], took[3], records))
        if not given.skip_takeover:
            for how in (signal.SIGKILL, signal.SIGTERM):
                for store, chosen in (("memory", memory), ("rocksdb", disk)):
                    takeovers.rows.append((how.name, store, takeover(stage, chosen, how)))
    return Report("recovery", {"accounts": given.accounts}, [restarts, takeovers])


def timed(stage: Stage, env: dict[str, str], name: str) -> tuple[float, float, float, float]:
    """Start a worker: seconds until ready, until it had joined, of reading and opening, and its CPU seconds by then."""
    started = time.monotonic()
    with stage.service("engine", env, ready=False, log=f"timed-{name.replace(' ', '-')}") as engine:
        reading_since: float | None = None
        while True:
            engine.check()
            status, said = asked(engine)
            now = time.monotonic()
            if reading_since is None and (READING in said or OPENING in said):
                reading_since = now
            if status == 200:
                reading_since = reading_since or now
                return now - started, reading_since - started, now - reading_since, engine.cost().cpu_s
            if now > started + 300:
                raise RuntimeError(f"not ready within 300 s:\n{engine.service.tail()}")
            time.sleep(LOOK_EVERY_S)


def asked(engine: Running) -> tuple[int, str]:
    """Status and text of /readyz, 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"{engine.service.url}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def takeover(stage: Stage, env: dict[str, str], how: signal.Signals) -> float:
    """Seconds from the end of one of two workers until the other is ready with all partitions."""

    def has(worker: Running, partitions: int) -> bool:
        return worker.metrics().get(("ebbtide_engine_partitions",)) == partitions and asked(worker)[0] == 200

    other = env | {"EBBTIDE_METRICS_PORT_ENGINE": stage.environment("x")["EBBTIDE_METRICS_PORT_ENGINE"]}
    with (
        stage.service("engine", env, log="stays") as stays,
        stage.service("engine", other, log="ends") as ends,
    ):
        half = stage.partitions // 2
        both = [stays, ends]
        until("both have half", lambda: has(stays, half) and has(ends, half), both, within=120, every=0.2)
        since = time.monotonic()
        ends.service.process.send_signal(how)
        until("one has all", lambda: has(stays, stage.partitions), [stays], within=120, every=LOOK_EVERY_S)
        return time.monotonic() - since
