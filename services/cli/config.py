"""`ebbtide check-config` and `ebbtide doctor`: what is wrong with the settings, and with what they point to."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import platform
import shutil
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from dotenv import dotenv_values
from pydantic import ValidationError

from services.common.addresses import base_urls, listeners, variable
from services.common.settings import Settings, settings

PREFIX = "EBBTIDE_"
# Read by the project's tests only.
FOREIGN = {"EBBTIDE_REAL_DATA"}
# Parts of the names of settings whose value is never shown.
SECRET = ("secret", "database_url")
DISK_NEEDED_GIB = 2.0


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the settings: the variable, why it cannot be used, and what to do."""

    variable: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.reason}. {self.fix}"


# --- the settings by themselves ------------------------------------------------------------------------------------


def problems() -> list[Problem]:
    """Everything wrong with this environment's settings, all at once. Connects nowhere."""
    found = _unknown()
    try:
        config = Settings()  # type: ignore[call-arg]  # every field has a default; pydantic's plugin is not loaded
    except ValidationError as error:
        return [*found, *(_refused(part) for part in error.errors(include_url=False))]
    return [*found, *_clashes(config), *_unusable(config)]


def refuse_bad_settings() -> None:
    """Exit with code 1, naming every bad setting, unless all can be used."""
    found = problems()
    for problem in found:
        click.echo(str(problem), err=True)
    if found:
        raise click.exceptions.Exit(1)


def _given() -> set[str]:
    file = str(Settings.model_config.get("env_file"))
    names = {*os.environ, *(dotenv_values(file) if Path(file).exists() else {})}
    return {name.upper() for name in names if name.upper().startswith(PREFIX)}


def _unknown() -> list[Problem]:
    known = {variable(field) for field in Settings.model_fields}
    found = []
    for name in sorted(_given() - known - FOREIGN):
        near = difflib.get_close_matches(name, known, 1)
        found.append(Problem(name, "there is no such setting", f"Did you mean {near[0]}?" if near else "Remove it."))
    return found


def _refused(error: Any) -> Problem:
    """A Problem from one of pydantic's errors."""
    field = str(error["loc"][0])
    about = Settings.model_fields[field]
    shown = "" if any(word in field for word in SECRET) else f"{error['input']!r}: "
    default = "" if about.default is None else f" (default {about.get_default(call_default_factory=True)})"
    return Problem(variable(field), f"{shown}{error['msg']}", f"Expected: {about.description}{default}.")


def _clashes(config: Settings) -> list[Problem]:
    by_port: dict[int, list[str]] = defaultdict(list)
    for listener in listeners(config):
        by_port[listener.port].append(variable(listener.field))
    return [
        Problem(" and ".join(names), f"both are port {port}", "Give each a port of its own.")
        for port, names in by_port.items()
        if len(names) > 1
    ]


def _unusable(config: Settings) -> list[Problem]:
    found = []
    for field in ("catalogue_file", "ingest_mapping_file"):
        path = getattr(config, field)
        if path is not None and not path.is_file():
            found.append(Problem(variable(field), f"there is no file {path}", "Correct the path, or unset it."))
    if config.catalogue_file is not None and config.catalogue_file.is_file():
        found += _mistakes_of_catalogue(config.catalogue_file)
    for server in (config.kafka_bootstrap_servers or "").split(","):
        host, _, port = server.strip().rpartition(":")
        if config.kafka_bootstrap_servers is not None and not (host and port.isdecimal()):
            reason = f"{server!r} is not host:port"
            found.append(Problem(variable("kafka_bootstrap_servers"), reason, "Give host:port[,host:port…]."))
    if config.database_url is not None:
        parts = urlsplit(config.database_url)
        if parts.scheme.split("+")[0] not in ("postgresql", "postgres") or not parts.path.strip("/"):
            fix = "Give postgresql://user:password@host:port/database."
            found.append(Problem(variable("database_url"), "it is not the URL of a PostgreSQL database", fix))
    return found


def _mistakes_of_catalogue(file: Path) -> list[Problem]:
    from services.signals.catalogue import load
    from services.signals.operators import CatalogueFileError

    try:
        load(file)
    except CatalogueFileError as error:
        name = variable("catalogue_file")
        return [Problem(name, f"{file}: {one.path}: {one.why}", one.fix) for one in error.mistakes]
    return []


@click.command("check-config")
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def check_config(as_json: bool) -> None:
    """Check every setting, all at once, without connecting anywhere. Exit code 1 when one cannot be used."""
    found = problems()
    if as_json:
        click.echo(json.dumps({"ok": not found, "problems": [asdict(problem) for problem in found]}))
    elif found:
        for problem in found:
            click.echo(str(problem))
    else:
        click.echo("every setting can be used")
    if found:
        raise click.exceptions.Exit(1)


# --- what the settings point to ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """What one of the doctor's checks found. `fix` is empty when it is ok."""

    check: str
    ok: bool
    detail: str
    fix: str = ""


async def examine(config: Settings) -> list[Finding]:
    """Look at everything that the product needs, from Python to the services; never changes anything."""
    return [
        _python(),
        _disk(config),
        _ports(config),
        await _asked("kafka", _kafka, config),
        await _asked("topics", _topics, config),
        await _asked("database", _database, config),
        *await asyncio.gather(*(_ready(name, url) for name, url in base_urls(config).items())),
    ]


async def _asked(check: str, look: Callable[[Settings], Awaitable[Finding]], config: Settings) -> Finding:
    """The finding of `look`, or a problem when it gets no answer within a few seconds."""
    try:
        return await asyncio.wait_for(look(config), 15)
    except Exception as error:  # whatever a client library raises for "nobody there" is the finding
        fix = "Start the local stack: `ebbtide up`; or correct EBBTIDE_KAFKA_BOOTSTRAP_SERVERS / EBBTIDE_DATABASE_URL."
        return Finding(check, False, str(error) or type(error).__name__, fix)


def _python() -> Finding:
    return Finding("python", True, platform.python_version())  # an unsuitable one could not have installed the package


def _disk(config: Settings) -> Finding:
    folder = config.data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free >= DISK_NEEDED_GIB:
        return Finding("disk", True, f"{free:.0f} GiB free in {folder}")
    fix = f"Free at least {DISK_NEEDED_GIB:.0f} GiB, or move the data with EBBTIDE_DATA_DIR."
    return Finding("disk", False, f"{free:.1f} GiB free in {folder}", fix)


def _ports(config: Settings) -> Finding:
    from deploy.local.ports import owner
    from deploy.local.stack import Stack

    ours = Stack(config).pids()
    busy, held = [], 0
    for listener in listeners(config):
        holder = owner(listener.host, listener.port)
        if holder is not None and holder.pid in ours:
            held += 1
        elif holder is not None:
            busy.append(f"{listener.port} ({variable(listener.field)}) is taken by {holder}")
    if busy:
        return Finding("ports", False, "; ".join(busy), "End what holds them, or set these variables to free ports.")
    return Finding("ports", True, f"{held} held by the local stack, the others free")


async def _kafka(config: Settings) -> Finding:
    from deploy.local.kafka import answers

    return Finding("kafka", True, f"cluster {await answers(config.bootstrap)} at {config.bootstrap}")


async def _topics(config: Settings) -> Finding:
    from services.common.topics import check

    report = await check(
        config.bootstrap,
        partitions=config.topic_partitions,
        replication=config.topic_replication,
        app_id=config.engine_app_id,
    )
    if report.unchanged:
        return Finding("topics", True, "every topic is as configured")
    wrong = [str(what) for what in (report.refused, *report.differences, *report.changes) if what]
    return Finding("topics", False, "; ".join(wrong), "Run `ebbtide topics apply`; what it leaves, it explains.")


async def _database(config: Settings) -> Finding:
    from services.common.db import create_engine, current, head

    engine = create_engine(config.database, process="doctor", pool_size=1)
    try:
        revision = await current(engine)
    finally:
        await engine.dispose()
    if revision == head():
        return Finding("database", True, f"at migration {revision}")
    return Finding("database", False, f"at migration {revision}, newest is {head()}", "Run `ebbtide db upgrade`.")


async def _ready(name: str, url: str) -> Finding:
    from deploy.local.stack import readiness

    answer = await asyncio.to_thread(readiness, url)
    if answer == "ready":
        return Finding(name, True, f"ready at {url}")
    return Finding(
        name, False, f"{answer} at {url}", f"Start it: `ebbtide up`, or `ebbtide serve {name}`; see its log."
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Check everything Ebbtide needs, from Python to the services. Exit code 1 when something is wrong."""
    found = problems()
    findings = [Finding("settings", False, f"{p.variable}: {p.reason}", p.fix) for p in found]
    if not found:
        findings = [Finding("settings", True, "every setting can be used"), *asyncio.run(examine(settings()))]
    if as_json:
        healthy = all(finding.ok for finding in findings)
        click.echo(json.dumps({"ok": healthy, "findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            click.echo(f"{'ok' if finding.ok else 'problem':8} {finding.check:9} {finding.detail}")
            if finding.fix:
                click.echo(f"{'':18} {finding.fix}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)
