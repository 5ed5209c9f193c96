"""Brokers for faults: three of one cluster, and one that some clients reach through a proxy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.local.kafka import LocalKafka, new_cluster_id
from tests.faults.proxy import Proxy
from tests.harness import free_ports

HEAP: Final = "320m"

CLEANER_AT_WORK: Final[Mapping[str, object]] = {
    "log.cleaner.backoff.ms": 300,
    "log.cleaner.threads": 1,
    "log.retention.check.interval.ms": 1000,
    # Changes of leader and high water mark reach the disk often, so that a kill has something to disagree with.
    "log.flush.offset.checkpoint.interval.ms": 1000,
}
"""Settings of a broker that looks for something to compact or delete all the time."""


class Cluster:
    """Brokers 1 to `count`, each of them a controller too. A topic made with replication 3 outlives one of them."""

    def __init__(self, folder: Path, *, count: int = 3, settings: Mapping[str, object] | None = None) -> None:
        ports = free_ports(2 * count)
        listen, control = ports[:count], ports[count:]
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(control, 1))
        shared = {
            "controller.quorum.voters": voters,
            "offsets.topic.replication.factor": count,
            "transaction.state.log.replication.factor": count,
            "share.coordinator.state.topic.replication.factor": count,
            "min.insync.replicas": (count + 1) // 2,
            "transaction.state.log.min.isr": (count + 1) // 2,
            # Elections among machines that are busy: patience beyond a pause of one of them.
            "controller.quorum.election.timeout.ms": 1000,
            "controller.quorum.fetch.timeout.ms": 3000,
            "broker.session.timeout.ms": 6000,
            "replica.lag.time.max.ms": 5000,
        } | dict(settings or {})
        cluster = new_cluster_id()
        self.brokers: dict[int, LocalKafka] = {
            node: LocalKafka(
                folder / f"broker-{node}",
                listen[node - 1],
                control[node - 1],
                heap=HEAP,
                settings=shared | {"node.id": node},
                cluster_id=cluster,
            )
            for node in range(1, count + 1)
        }

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers for clients: all of them."""
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    def start(self) -> None:
        """Start all and return once each answers."""
        for broker in self.brokers.values():
            broker.start()
        for broker in self.brokers.values():
            broker.wait_ready()

    def kill(self) -> None:
        """End all as a power cut would."""
        for broker in self.brokers.values():
            broker.kill()


@contextmanager
def behind_a_proxy(folder: Path, settings: Mapping[str, object] | None = None) -> Iterator[tuple[LocalKafka, Proxy]]:
    """One broker and a proxy before it. Who comes through the proxy's port is told of no other way to the broker.

    The broker's own `.bootstrap` is the direct way, for who watches.
    """
    port, control, hidden, front = free_ports(4)
    listeners = {
        "listeners": (f"PLAINTEXT://127.0.0.1:{port},FAR://127.0.0.1:{hidden},CONTROLLER://127.0.0.1:{control}"),
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},FAR://127.0.0.1:{front}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    broker = LocalKafka(folder, port, control, heap=HEAP, settings=listeners | dict(settings or {}))
    try:
        broker.start()
        broker.wait_ready()
        with Proxy(front, hidden) as proxy:
            yield broker, proxy
    finally:
        broker.kill()
