"""`ebbtide up`, `down`, `status` and `run`: the whole product on this machine."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict

import click

from deploy.local.process import ServerError
from deploy.local.stack import Stack, StackError, Stopped
from services.cli.config import refuse_bad_settings
from services.common.addresses import base_urls
from services.common.settings import settings

Say = Callable[[str], None]


def _stack(environment: Callable[[str], dict[str, str]] = lambda name: {}) -> tuple[Stack, Say]:
    refuse_bad_settings()
    # What a client library logs while a server is not there yet is no news to anybody.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    since = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - since:7.1f} s  {line}")

    return Stack(settings(), say, environment=environment), say


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Return when everything is ready; `ebbtide down` ends it.")
def up(detach: bool) -> None:
    """Start Kafka, PostgreSQL and all services, and keep them running until Ctrl-C."""
    stack, say = _stack()
    if detach:
        _up_detached(stack)
    else:
        _up(stack, lambda: _announce(say), lambda: None)


@click.command()
def run() -> None:
    """Start everything as `up` does, replay the demo's history, then send live events until Ctrl-C."""
    from services.cli.tour import local_keys, show_the_way
    from services.demo import demo

    def environment(service: str) -> dict[str, str]:
        # Until the demo's history is told, the engine must not move the clocks past it.
        waits = service == "engine" and demo.pending(settings())
        return {"EBBTIDE_TICKS": "after-replay"} if waits else {}

    stack, say = _stack(environment)
    stop = threading.Event()
    workers: list[threading.Thread] = []

    def begin() -> None:
        made = local_keys(stack.config)
        for name, work in (
            ("tour", lambda: show_the_way(stack.config, made, say, stop)),
            ("demo", lambda: _demo(lambda: demo.run(stack.config, say, stop), say)),
        ):
            workers.append(threading.Thread(target=work, name=name))
            workers[-1].start()

    def end() -> None:
        stop.set()
        for worker in workers:
            worker.join()

    _up(stack, begin, end)


def _up(stack: Stack, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """Hold the stack up until it is told to stop; `begin` runs once all is ready, `end` before anything is ended."""
    try:
        with stack.up():
            try:
                begin()
                stack.tend()
            finally:
                end()
    except Stopped:
        pass
    except (StackError, ServerError) as error:
        raise click.ClickException(str(error)) from error


def _announce(say: Say) -> None:
    urls = base_urls(settings())
    say(f"everything is ready: api {urls['api']}, ingest {urls['ingest']}; Ctrl-C ends it")


def _demo(work: Callable[[], None], say: Say) -> None:
    try:
        work()
    except Exception as error:  # the stack is useful without its demo: tell, and stay up
        say(f"the demo ended: {type(error).__name__}: {error}")


def _up_detached(stack: Stack) -> None:
    if stack.supervisor:
        status = stack.status()
        click.echo(f"the stack in {stack.folder} is already running ({status.phase}); `ebbtide down` ends it")
        return
    stack.logs.mkdir(parents=True, exist_ok=True)
    path = stack.logs / "stack.log"
    with path.open("ab") as out, path.open() as told:
        told.seek(0, 2)
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "services.cli.main", "up"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not (ready := stack.is_ready(supervisor.pid)) and supervisor.poll() is None:
                click.echo(told.read(), nl=False)
                time.sleep(0.1)
        except KeyboardInterrupt:
            supervisor.send_signal(signal.SIGTERM)
            supervisor.wait()
        click.echo(told.read(), nl=False)
    if not ready:
        raise click.exceptions.Exit(1)
    supervisor.returncode = 0  # it lives on by itself; nobody is to warn that it was not waited for


@click.command()
def down() -> None:
    """End what `up -d` (or an `up` that was killed) left running; data and keys are kept."""
    stack, _ = _stack()
    ran = stack.down()
    click.echo(f"ended; data are kept in {stack.folder}" if ran else f"nothing of {stack.folder} was running")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(as_json: bool) -> None:
    """Show every process and whether it answers. Exit code 1 unless everything is ready."""
    stack, _ = _stack()
    now = stack.status()
    if as_json:
        click.echo(json.dumps({"healthy": now.healthy, **asdict(now)}))
    else:
        click.echo(f"{now.phase}, data in {now.data_dir}")
        for part in now.parts:
            pid = str(part.pid) if part.pid else "-"
            restarts = f", restarted {part.restarts} times" if part.restarts else ""
            click.echo(f"{part.name:9} {pid:>8}  {part.where:32} {part.state}{restarts}")
    if not now.healthy:
        raise click.exceptions.Exit(1)
