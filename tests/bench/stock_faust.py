"""The yardstick: a stock Faust agent with a table write per event, as its documentation shows it.

`python -m tests.bench.stock_faust BOOTSTRAP APP_ID TOPIC PARTITIONS FOLDER` runs until SIGTERM. It decodes only the time
of an event, keeps a ring of 92 days per account in one table, and looks at one rule: 28 days against the 28 before. It has
no late events, no dedupe, no distinct users, no clock and no outbox, and counts wrong after a rebalance. In its favour:
uvloop, raw keys and values on the source topic, no web server, the store in memory, larger buffers and lingering than
its defaults.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

EPOCH = dt.date(1970, 1, 1).toordinal()
RING = 92


class Seen(msgspec.Struct):
    """What the rule needs of an event."""

    time: dt.datetime


def build(bootstrap: str, app_id: str, topic: str, partitions: int, folder: Path) -> Any:
    """The app, not started."""
    import faust

    app = faust.App(
        app_id,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        topic_partitions=partitions,
        topic_replication_factor=1,
        web_enabled=False,
        datadir=folder,
        stream_buffer_maxsize=65_536,
        producer_linger=0.005,
        producer_max_batch_size=262_144,
        worker_redirect_stdouts=False,
    )
    app.producer.buffer.max_messages = 10_000
    usage = app.topic(topic, key_type=bytes, value_type=bytes, value_serializer="raw")
    accounts = app.Table("accounts", key_type=bytes, value_type=None, default=lambda: [0, [0] * RING, False])
    decoder = msgspec.json.Decoder(Seen)

    @app.agent(usage)  # type: ignore[untyped-decorator, unused-ignore]
    async def count(stream: Any) -> None:
        async for key, value in stream.items():
            day = decoder.decode(value).time.toordinal() - EPOCH
            newest, ring, raised = accounts[key]
            for passed in range(newest + 1, day + 1)[-RING:]:
                ring[passed % RING] = 0
            newest = max(newest, day)
            ring[day % RING] += 1
            days = [ring[(newest - age) % RING] for age in range(1, 57)]
            current, before = sum(days[:28]), sum(days[28:])
            raised = before >= 20 and current <= 0.75 * before
            accounts[key] = [newest, ring, raised]

    return app


def main() -> None:
    """Run a worker of the app."""
    bootstrap, app_id, topic, partitions, folder = sys.argv[1:6]
    os.environ["FAUST_LOOP"] = "uvloop"
    import mode.loop

    mode.loop.use("uvloop")
    Path(folder).mkdir(parents=True, exist_ok=True)
    app = build(bootstrap, app_id, topic, int(partitions), Path(folder))
    sys.argv[1:] = ["worker", "-l", "info", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
