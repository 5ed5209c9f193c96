"""What an account and a user cost in resident memory: `python -m tests.bench memory`. Bytes, for both stores.

One engine worker on topics of its own works off a population and is measured when all is quiet: once after the filling,
with whatever it keeps decoded and has not given back, and once after a restart, with what it needs to have at hand. An
account has a profile and five days of use and no user; users are spread over accounts of a thousand. The process with an
empty state is the baseline, and the accounts of the users are taken off at what an account was measured to cost. The disk
store's RocksDB keeps 64 MiB of cache and its memtables in the process: they are in.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from tests.bench.population import accounts, users
from tests.bench.report import Report, Table
from tests.bench.stage import Stage, outcomes, until
from tests.bench.workload import Record

USERS_EACH = 1000
SETTLE_LOOKS = 6


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--accounts", type=int, default=5_000, help="accounts (stated: 100000)")
    parser.add_argument("--users", type=int, default=20_000, help="users (stated: 1000000)")


def run(given: argparse.Namespace) -> Report:
    """Fill, read, restart, read."""
    table = Table(
        "Resident memory",
        ("store", "state", "MiB filled", "MiB restarted", "B each, filled", "B each, restarted", "state bytes each"),
    )
    crowd = max(1, given.users // USERS_EACH)
    populations: tuple[tuple[str, int, Iterable[Record]], ...]
    with Stage() as stage:
        for store in ("memory", "rocksdb"):
            empty = resident(stage, store, [])
            table.rows.append((store, "empty", empty[0] / 2**20, empty[1] / 2**20, None, None, None))
            per = (0.0, 0.0, 0.0)
            populations = (
                ("accounts", given.accounts, accounts(given.accounts)),
                ("users", crowd * USERS_EACH, users(crowd, USERS_EACH)),
            )
            for what, count, records in populations:
                filled, restarted, state = resident(stage, store, records)
                others = crowd if what == "users" else 0
                each = (
                    (filled - empty[0] - others * per[0]) / count,
                    (restarted - empty[1] - others * per[1]) / count,
                    (state - others * per[2]) / count,
                )
                if what == "accounts":
                    per = each
                table.rows.append((store, f"{count:,} {what}", filled / 2**20, restarted / 2**20, *each))
    remarks = ["state bytes are those of the changelog, of every version of a record that was written"]
    return Report("memory", {"accounts": given.accounts, "users": crowd * USERS_EACH}, [table], remarks)


def resident(stage: Stage, store: str, records: Iterable[Record]) -> tuple[int, int, int]:
    """Resident bytes after working off `records`, and after a restart; bytes of the changelog."""
    if stage.ends("usage"):
        stage.kafka.delete_all_topics()
    app_id = stage.new_app()
    count = stage.fill(records)
    env = stage.environment(app_id, engine_store=store, log_level="warning")
    found = []
    for attempt in range(2):
        sizes: list[int] = []
        with stage.service("engine", env, log=f"{app_id}-{attempt}") as engine:

            def settled() -> bool:
                applied = outcomes(engine.metrics()).get("applied", 0)  # called within this round
                sizes.append(engine.cost().resident)  # noqa: B023
                late = sizes[-SETTLE_LOOKS:]  # noqa: B023
                done = applied >= count or attempt > 0  # noqa: B023
                return done and len(late) == SETTLE_LOOKS and max(late) - min(late) < 2**20

            until(f"{count} events applied and quiet", settled, [engine], within=120 + count / 1000, every=0.5)
            found.append(sizes[-1])
    return found[0], found[1], stage.bytes_of(f"{app_id}-state-changelog")
