"""The local stack: up, down, and every way in which it can be disturbed. Nothing that it started may outlive it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import process
from deploy.local.stack import Stack
from services.common.settings import Settings
from tests.harness import ROOT, ebbtide, free_ports, wait_for

SERVICES = {"engine", "recorder", "api", "ingest", "delivery"}


class Supervisor:
    """A stack of stand-ins in a process of its own, on the session's broker and database."""

    def __init__(self, env: dict[str, str], *manners: str) -> None:
        fields = {name.removeprefix("EBBTIDE_").lower(): value for name, value in env.items() if "EBBTIDE_" in name}
        self.settings = Settings.model_validate(fields)
        self.records = Path(env["EBBTIDE_DATA_DIR"]) / "run"
        self.output = Path(env["EBBTIDE_DATA_DIR"]).with_name("supervisor.log")
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.stand_in_stack", *manners],
                cwd=ROOT,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def ready(self) -> Supervisor:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.said
            return "everything is ready" in self.said

        wait_for("stack ready", is_ready)
        return self

    def child(self, name: str) -> psutil.Process:
        found = process.recorded(self.records / f"{name}.json")
        assert found is not None, f"{name} does not run:\n{self.said}"
        return found

    def children(self) -> list[psutil.Process]:
        return [self.child(name) for name in SERVICES]

    def ended(self, within: float = 15.0) -> int:
        return self.process.wait(within)


Start = Callable[..., Supervisor]


@pytest.fixture
def start(service_env: dict[str, str]) -> Iterator[Start]:
    started: list[Supervisor] = []

    def begin(*manners: str) -> Supervisor:
        started.append(Supervisor(service_env, *manners))
        return started[-1]

    yield begin
    for supervisor in started:
        if supervisor.process.poll() is None:
            supervisor.process.kill()
        supervisor.process.wait()
        Stack(supervisor.settings).down()


def gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def test_a_life_of_a_stack(start: Start, service_env: dict[str, str]) -> None:
    supervisor = start().ready()

    for detach in ([], ["-d"]):
        done = ebbtide("up", *detach, env=service_env, ok=False)
        assert "already running" in done.stdout + done.stderr
        assert done.returncode == (0 if detach else 1)

    first = supervisor.child("engine")
    first.kill()
    wait_for("another engine", lambda: "engine ended with code -9" in supervisor.said)
    second = wait_for("its record", lambda: process.recorded(supervisor.records / "engine.json"))
    assert second.pid != first.pid

    status = Stack(supervisor.settings).status
    wait_for("everything answers again", lambda: status().healthy)
    assert {part.name: part.restarts for part in status().parts if part.restarts} == {"engine": 1}
    told = ebbtide("status", "--json", env=service_env)
    assert json.loads(told.stdout)["healthy"] is True

    # It is asked where it was started, whatever ports and servers are in force for who asks.
    names = [name for name in service_env if name.endswith("_PORT") or "_PORT_" in name]
    elsewhere = service_env | dict(zip(names, map(str, free_ports(len(names))), strict=True))
    elsewhere["EBBTIDE_KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    told = ebbtide("status", "--json", env=elsewhere)
    assert json.loads(told.stdout)["healthy"] is True
    del elsewhere["EBBTIDE_DATABASE_URL"]
    told = ebbtide("status", "--json", env=elsewhere, ok=False)
    parts = {part["name"]: part for part in json.loads(told.stdout)["parts"]}
    assert parts["postgres"]["state"].startswith("not asked: EBBTIDE_DATABASE_URL")
    assert "@" not in parts["postgres"]["where"], "no password is kept"
    assert {part["state"] for name, part in parts.items() if name != "postgres"} == {"ready"}

    children = supervisor.children()
    supervisor.process.send_signal(signal.SIGINT)
    assert supervisor.ended() == 0
    assert gone(children)
    assert not list(supervisor.records.glob("*.json"))
    assert ebbtide("status", env=service_env, ok=False).returncode == 1


def test_child_that_ignores_sigterm_is_killed_when_asked_twice(start: Start) -> None:
    supervisor = start("engine=stubborn").ready()
    children = supervisor.children()
    supervisor.process.send_signal(signal.SIGINT)
    wait_for("the polite ones ended", lambda: supervisor.said.count(" ended (") == len(SERVICES) - 1)
    assert not gone(children)
    supervisor.process.send_signal(signal.SIGINT)
    assert supervisor.ended(5) == 0
    assert gone(children)


def test_stop_while_starting(start: Start) -> None:
    supervisor = start("api=slow")
    wait_for("others ready", lambda: "ingest ready" in supervisor.said)
    children = supervisor.children()
    supervisor.process.send_signal(signal.SIGTERM)
    assert supervisor.ended() == 0
    assert "stopped while starting" in supervisor.said
    assert gone(children)


def test_service_that_cannot_start_ends_it_all_with_its_last_words(start: Start) -> None:
    supervisor = start("recorder=broken")
    assert supervisor.ended() == 1
    assert "recorder ended with code 1 while starting" in supervisor.said
    assert "cannot find my configuration" in supervisor.said
    assert not list(supervisor.records.glob("*.json"))


def test_killed_supervisor_leaves_nothing_that_is_not_ended_next_time(
    start: Start, service_env: dict[str, str]
) -> None:
    first = start().ready()
    left = first.children()
    first.process.kill()
    first.process.wait()
    assert not gone(left)

    second = start().ready()
    assert all(f"ended {name}, left behind by an earlier run" in second.said for name in SERVICES)
    assert gone(left)

    left = second.children()
    second.process.kill()
    second.process.wait()
    assert "ended" in ebbtide("down", env=service_env).stdout
    assert gone(left)
    assert "nothing of" in ebbtide("down", env=service_env).stdout


def test_busy_ports_are_all_named_before_anything_starts(start: Start, service_env: dict[str, str]) -> None:
    with socket.socket() as one, socket.socket() as two:
        for taken, name in ((one, "EBBTIDE_API_PORT"), (two, "EBBTIDE_METRICS_PORT_ENGINE")):
            taken.bind(("127.0.0.1", int(service_env[name])))
            taken.listen()
        supervisor = start()
        assert supervisor.ended() == 1
    for name in ("EBBTIDE_API_PORT", "EBBTIDE_METRICS_PORT_ENGINE"):
        assert f"set {name} to a free port" in supervisor.said
    assert "ready" not in supervisor.said
    assert f"(pid {psutil.Process().pid})" in supervisor.said


def test_given_broker_that_does_not_answer_is_named(start: Start, service_env: dict[str, str]) -> None:
    (port,) = free_ports(1)
    service_env["EBBTIDE_KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{port}"
    supervisor = start()
    assert supervisor.ended(40) == 1
    assert "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS" in supervisor.said
    assert "Traceback" not in supervisor.said
