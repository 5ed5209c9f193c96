"""How long the api takes for dead letters where there are many: p50 and p95 of one client's requests, one after the other.

The topic is filled with letters of one reason and, here and there, of another: one in `RARE` of a source of its own, so
that filters find much, little, and nothing. Then one api process answers. Its memory is that before the first request and
its highest after the last.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import Final
from urllib.parse import quote

from confluent_kafka import Producer
from psutil import Process

from schemas.dead_letters import DEAD_LETTER_TOPIC
from tests.bench.bench_api import USER, USER_HEADER, ask
from tests.bench.report import Report, Table, percentile
from tests.bench.servers import servers
from tests.harness import ebbtide, new_key, start_service
from tests.letters import refused, used

RARE: Final = 100_000
AT_ONCE: Final = 20_000
PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")


def options(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument("--letters", type=int, default=100_000, help="1000000 for the stated size")
    parser.add_argument("--requests", type=int, default=10, help="of each kind")


def fill(bootstrap: str, letters: int) -> None:
    """Append the letters, over all partitions as their keys fall."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "gzip"})
    for number in range(letters):
        rare = number % RARE == RARE // 2
        key = f"acct-{number % 5000:04}"
        value = used(number, count="many", account=key, source="app-rare" if rare else f"app-{number % 7}")
        headers = refused(number, reason="malformed" if rare else "invalid", key=key)
        producer.produce(DEAD_LETTER_TOPIC, value, key, headers=list(headers.items()))
        if number % AT_ONCE == 0:
            producer.flush(60)
    if producer.flush(120):
        raise AssertionError("the broker did not take every letter")


def questions() -> dict[str, str]:
    """What is asked, by its name."""
    listed, page = "/v1/dead-letters", "/pipeline/dead-letters"
    return {
        "catalogue (no database)": "/v1/catalogue",
        "newest": listed,
        "newest, limit=200": f"{listed}?limit=200",
        "of an account": f"{listed}?key=acct-0042",
        "of a source": f"{listed}?source=app-3",
        "rare: of a source": f"{listed}?source=app-rare",
        "rare: of a reason": f"{listed}?reason=malformed",
        "nothing: of a source": f"{listed}?source=none",
        "nothing: before all": f"{listed}?until={quote('2020-01-01T00:00:00Z')}",
        "groups": f"{listed}/groups",
        "page: pipeline": "/pipeline",
        "page: dead letters": page,
        "page: of a group": f"{page}?reason=invalid&field=data.count&topic=usage&source=app-3",
        "page: nothing": f"{page}?source=none",
    }


def run(given: argparse.Namespace) -> Report:
    """Fill, measure and report."""
    table = Table(f"{given.letters:,} dead letters: milliseconds a request", ("what", "items", "p50", "p95", "max"))
    with servers(durable=False) as env:
        since = time.monotonic()
        fill(env["EBBTIDE_KAFKA_BOOTSTRAP_SERVERS"], given.letters)
        filled = time.monotonic() - since
        key = new_key(env, "read")
        ebbtide("users", "add", USER, "--scope", "read,operate", env=env)
        console = {"EBBTIDE_CONSOLE_USER_HEADER": USER_HEADER, "EBBTIDE_CONSOLE_TRUSTED_PROXIES": "127.0.0.1"}
        service = start_service("api", env | console)
        try:
            before = Process(service.process.pid).memory_info().rss
            for name, path in questions().items():
                taken, items = ask(int(env["EBBTIDE_API_PORT"]), key, lambda _, path=path: path, given.requests)
                shown = None if items < 0 else items
                table.rows.append((name, shown, percentile(taken, 0.5), percentile(taken, 0.95), max(taken)))
            peak = highest(service.process.pid)
        finally:
            service.stop()
    told = f"Filling took {filled:.0f} s. The api's memory: {before >> 20} MiB before, {peak >> 20} at its highest."
    return Report("letters", {"letters": given.letters, "requests": given.requests}, [table], [told])


def highest(pid: int) -> int:
    """The most memory that a process ever had resident, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        found = PEAK.search(status.read())
    assert found is not None
    return int(found[1]) * 1024
