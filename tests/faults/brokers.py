"""Brokers for faults: three of one cluster, and one that some clients reach through a proxy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
def behind_proxies(
    folder: Path, count: int, settings: Mapping[str, object] | None = None
) -> Iterator[tuple[LocalKafka, list[Proxy]]]:
    """One broker with `count` proxies before it. Who comes through a proxy's port is told of no other way to the broker.

    The broker's own `.bootstrap` is the direct way, for who watches.
    """
    port, control, *pairs = free_ports(2 + 2 * count)
    hidden, front = pairs[:count], pairs[count:]
    names = [f"FAR{number}" for number in range(count)]
    own = f"PLAINTEXT://127.0.0.1:{port}"
    listeners = {
        "listeners": ",".join(
            [
                own,
                f"CONTROLLER://127.0.0.1:{control}",
                *(f"{name}://127.0.0.1:{at}" for name, at in zip(names, hidden, strict=True)),
            ]
        ),
        "advertised.listeners": ",".join(
            [own, *(f"{name}://127.0.0.1:{at}" for name, at in zip(names, front, strict=True))]
        ),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)),
    }
    broker = LocalKafka(folder, port, control, heap=HEAP, settings=listeners | dict(settings or {}))
    try:
        broker.start()
        broker.wait_ready()
        with ExitStack() as stack:
            yield (
                broker,
                [stack.enter_context(Proxy(near, far)) for near, far in zip(front, hidden, strict=True)],
            )
    finally:
        broker.kill()
