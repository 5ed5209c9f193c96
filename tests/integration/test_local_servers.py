"""The embedded broker and database: real answers, and data that outlive a stop and a power cut."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import jars, process
from deploy.local.kafka import LocalKafka, answers
from deploy.local.postgres import LocalPostgres
from deploy.local.process import ServerError
from tests.harness import free_ports


async def _write(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def _read(bootstrap: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]
    finally:
        await consumer.stop()


async def _make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


def test_broker_keeps_what_it_acknowledged_through_stop_and_power_cut(tmp_path: Path) -> None:
    port, controller = free_ports(2)
    for turn, end in enumerate((LocalKafka.stop, LocalKafka.kill, LocalKafka.stop)):
        broker = LocalKafka(tmp_path, port, controller)
        broker.start()
        try:
            broker.wait_ready()
            if turn == 0:
                asyncio.run(_make_topic(broker.bootstrap, "kept"))
            asyncio.run(_write(broker.bootstrap, "kept", str(turn).encode()))
            assert asyncio.run(_read(broker.bootstrap, "kept")) == [str(n).encode() for n in range(turn + 1)]
        finally:
            end(broker)
        assert process.recorded(broker.record) is None


def test_database_keeps_what_it_committed_through_stop_and_power_cut(session_folder: Path) -> None:
    (port,) = free_ports(1)
    folder = session_folder / "kept"

    async def rows(statement: str) -> list[int]:
        connection = await asyncpg.connect(server.url())
        try:
            await connection.execute(statement)
            return [row["n"] for row in await connection.fetch("SELECT n FROM kept ORDER BY n")]
        finally:
            await connection.close()

    for turn, end in enumerate((LocalPostgres.stop, LocalPostgres.kill, LocalPostgres.stop)):
        server = LocalPostgres(folder, port)
        server.start()
        try:
            server.wait_ready()
            table = "CREATE TABLE IF NOT EXISTS kept (n int);"
            assert asyncio.run(rows(f"{table} INSERT INTO kept VALUES ({turn})")) == list(range(turn + 1))
        finally:
            end(server)
        assert process.recorded(server.record) is None
        assert not [child for child in psutil.process_iter(["cmdline"]) if str(folder) in (child.info["cmdline"] or [])]


async def test_readiness_is_an_answer_not_an_open_port(kafka: LocalKafka) -> None:
    await answers(kafka.bootstrap)


def test_broker_on_a_taken_port_says_so(tmp_path: Path, kafka: LocalKafka) -> None:
    (controller,) = free_ports(1)
    second = LocalKafka(tmp_path, kafka.port, controller)
    second.start()
    try:
        with pytest.raises(ServerError, match=r"Kafka ended with code|another Kafka broker already answers"):
            second.wait_ready(within=20)
    finally:
        second.stop()


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    record = tmp_path / "sleeper.json"
    child = process.spawn([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", record=record)
    yield record, child
    process.end(child, patience=0)


def test_record_of_another_process_is_never_signalled(sleeper: tuple[Path, subprocess.Popen[bytes]]) -> None:
    record, child = sleeper
    assert process.recorded(record) is not None
    honest = record.read_text()

    started = psutil.Process(child.pid).create_time()
    for forged in (honest.replace(str(started), str(started - 60)), honest.replace(sys.executable, "/usr/bin/java")):
        assert forged != honest
        record.write_text(forged)
        assert process.recorded(record) is None
        assert not process.end_recorded(record)
        assert child.poll() is None


@pytest.mark.parametrize("text", ["", "{", "{}", '{"pid": 1}', '{"pid": 999999999, "started": 0, "command": []}'])
def test_broken_record_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert process.recorded(tmp_path / "x.json") is None


def test_child_that_ignores_sigterm_is_killed_within_bounds(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    log, record = tmp_path / "log", tmp_path / "stubborn.json"
    child = process.spawn([sys.executable, "-c", stubborn], log=log, record=record)
    while "on" not in log.read_text():
        assert child.poll() is None
    assert process.end(child, patience=0.5) is False
    assert child.returncode == -9


def test_archive_with_a_wrong_checksum_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "ATTEMPTS", 1)
    served = tmp_path / "served"
    served.mkdir()
    (served / "x.jar").write_bytes(b"not what was pinned")
    pins = tmp_path / "pins.txt"
    pins.write_text(f"x.jar {'0' * 64}\n")
    monkeypatch.setattr(jars, "PINS", pins)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(served), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _listens(port):
            assert server.poll() is None
        with pytest.raises(ServerError, match=r"SHA-256 .* EBBTIDE_MAVEN_URL"):
            jars.classpath(lambda line: None, f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()
    assert not list(jars.cache_dir().rglob("*.jar"))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
