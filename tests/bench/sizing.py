"""`python -m tests.bench sizing [--engine-us 10 …]`: what a rate needs, by the formulas of docs/sizing.md, as Markdown.

The defaults are the constants of that page. Pass what your own machines were measured to need.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

DAY_S = 86_400


@dataclass(frozen=True)
class Constants:
    """What was measured, each by the benchmark that docs/sizing.md names. Units are in the names."""

    engine_us: float = 110.0
    broker_us: float = 10.0
    ingest_us: float = 20.0
    event_bytes: float = 424.0
    state_bytes: float = 230.0
    health_bytes: float = 4_500.0
    transition_bytes: float = 1_300.0
    transitions_per_event: float = 0.01
    records_per_account: float = 9.0
    recovery_records_s: float = 150_000.0
    account_bytes: float = 24_000.0
    user_bytes: float = 1_000.0
    worker_base_mib: float = 91.0
    recorder_rows_s: float = 7_000.0
    episode_row_bytes: float = 2_500.0
    # Decided, not measured.
    events_per_account_s: float = 0.03
    users_per_account: float = 25.0
    peak: float = 3.0
    utilisation: float = 0.6
    replication: int = 3
    retention_days: float = 400.0
    compression: float = 4.0
    health_every_s: float = 5.0
    catch_up_hours: float = 1.0
    partitions_per_worker: int = 4


@dataclass(frozen=True)
class Need:
    """What one mean rate of events needs."""

    accounts: float
    workers: int
    partitions: int
    ingest: int
    worker_gib: float
    recovery_s: float
    catch_up_h: float
    broker_cores: int
    broker_in_mib_s: float
    broker_disk_tib: float
    health_s: float
    recorder_share: float
    database_gib_year: float


def need(rate: float, c: Constants) -> Need:
    """See docs/sizing.md: the formulas in the order of the page. `rate` is the mean of events a second."""
    accounts = rate / c.events_per_account_s
    peak = rate * c.peak
    core = 1e6 * c.utilisation
    workers = math.ceil(peak * c.engine_us / core)
    capacity = workers * 1e6 / c.engine_us
    partitions = max(4, 1 << math.ceil(math.log2(workers * c.partitions_per_worker)))
    # An account's health is said at most once in so many seconds, and not more often than it has events.
    per_account = c.events_per_account_s / (1 + c.events_per_account_s * c.health_every_s)
    health = accounts * per_account
    appended = rate * (c.event_bytes + c.state_bytes + c.transitions_per_event * c.transition_bytes)
    appended += health * c.health_bytes
    kept = rate * c.event_bytes / c.compression * c.retention_days * DAY_S
    recorded = rate * c.transitions_per_event + health
    return Need(
        accounts=accounts,
        workers=workers,
        partitions=partitions,
        ingest=math.ceil(peak * c.ingest_us / core),
        worker_gib=(
            c.worker_base_mib * 2**20 + accounts / workers * (c.account_bytes + c.users_per_account * c.user_bytes)
        )
        / 2**30,
        recovery_s=accounts * c.records_per_account / workers / c.recovery_records_s,
        catch_up_h=c.catch_up_hours * rate / max(1e-9, capacity - rate),
        broker_cores=math.ceil(peak * c.broker_us * c.replication / core),
        broker_in_mib_s=appended * c.replication / 2**20,
        broker_disk_tib=kept * c.replication / 2**40,
        health_s=health,
        recorder_share=recorded / c.recorder_rows_s,
        database_gib_year=rate * c.transitions_per_event * 365 * DAY_S * c.episode_row_bytes / 2**30,
    )


ROWS = (
    ("accounts", "accounts"),
    ("engine workers (cores), at the peak", "workers"),
    ("partitions of every keyed topic", "partitions"),
    ("ingest processes (cores), at the peak", "ingest"),
    ("memory of a worker, copy in memory, GiB", "worker_gib"),
    ("seconds of reading after a lost copy", "recovery_s"),
    ("hours to catch up after an hour's outage", "catch_up_h"),
    ("broker cores, all brokers", "broker_cores"),
    ("written by all brokers, MiB/s", "broker_in_mib_s"),
    ("disk of all brokers, inputs for 400 days, TiB", "broker_disk_tib"),
    ("health records/s", "health_s"),
    ("of what one recorder writes, times", "recorder_share"),
    ("growth of the database, GiB a year", "database_gib_year"),
)


def main(arguments: Sequence[str]) -> None:
    """Print the table for four rates."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench sizing", description=__doc__)
    parser.add_argument("--rates", default="1000,10000,100000,1000000", help="mean events/s")
    for field in fields(Constants):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    given = vars(parser.parse_args(arguments))
    rates = [float(rate) for rate in given.pop("rates").split(",")]
    needs = [need(rate, Constants(**given)) for rate in rates]
    print(f"| events/s (mean) | {' | '.join(f'{rate:,.0f}' for rate in rates)} |")
    print(f"|---|{'---:|' * len(rates)}")
    for title, name in ROWS:
        print(f"| {title} | {' | '.join(_shown(getattr(each, name)) for each in needs)} |")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 or value == int(value) else f"{value:.2g}"
