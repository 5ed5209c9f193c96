"""How the cost of an event grows: `python -m tests.bench growth`. CPU µs an event, events/s, memory.

Along three axes, everything else as in `engine` (tests/bench/workload.py; clock by the events, disk store): accounts from
1,000 to `--most-accounts` in powers of ten with `--events` usage events each (no fewer than two an account), partitions
1, 2, 4, 8 with one worker, and workers 1, 2, 4 on 8 partitions. CPU is the sum of all workers. Workers beyond what the
machine has cores for (the broker wants its part too) cannot make it faster: read their CPU, not their events/s.

`--json FILE` keeps the figures for `python -m tests.bench plots`.
"""

from __future__ import annotations

import argparse
import os

from tests.bench.bench_engine import filled, work_off
from tests.bench.report import Report, Table
from tests.bench.stage import Stage
from tests.bench.workload import Workload

COLUMNS = ("µs/event", "broker µs/event", "events/s", "peak RSS MiB", "state records/event", "state bytes/event")
PARTITIONS = (1, 2, 4, 8)
WORKERS = (1, 2, 4)


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--events", type=int, default=30_000, help="usage events of each run")
    parser.add_argument("--most-accounts", type=int, default=1_000, help="where the accounts end (stated: 1000000)")
    parser.add_argument("--accounts", type=int, default=2_000, help="accounts for the partitions and the workers")
    parser.add_argument("--axes", default="accounts,partitions,workers")


def run(given: argparse.Namespace) -> Report:
    """One run of the engine for each point."""
    axes = given.axes.split(",")
    report = Report("growth", {name: str(value) for name, value in vars(given).items()})
    if "accounts" in axes:
        table = Table("By accounts, 4 partitions, 1 worker", ("accounts", "events", *COLUMNS))
        accounts = 1_000
        while accounts <= given.most_accounts:
            workload = Workload(events=max(given.events, 2 * accounts), accounts=accounts)
            table.rows.append((accounts, workload.count(), *point(workload, 4, 1)))
            accounts *= 10
        report.tables.append(table)
    base = Workload(events=given.events, accounts=given.accounts)
    if "partitions" in axes:
        table = Table("By partitions, 1 worker", ("partitions", *COLUMNS))
        table.rows.extend((partitions, *point(base, partitions, 1)) for partitions in PARTITIONS)
        report.tables.append(table)
    if "workers" in axes:
        table = Table(f"By workers, 8 partitions, {os.cpu_count()} cores", ("workers", *COLUMNS))
        table.rows.extend((workers, *point(base, 8, workers)) for workers in WORKERS)
        report.tables.append(table)
    report.remarks.append(f"broker, workers and the measuring share {os.cpu_count()} cores")
    return report


def point(workload: Workload, partitions: int, workers: int) -> tuple[float, ...]:
    """One run, on a broker of its own."""
    with Stage(partitions=partitions) as stage:
        filled(stage, workload)
        done = work_off(stage, workload, store="rocksdb", workers=workers)
    return (done.us, done.broker_us, done.rate, done.peak / 2**20, done.written[0], done.written[1])
