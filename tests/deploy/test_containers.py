"""The container files against the code: they cannot be run where there is no engine, so what they say is held to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploy.local.jars import KAFKA_VERSION
from deploy.local.kafka import MAX_BATCH_BYTES
from deploy.local.postgres import VERSION as POSTGRES_VERSION
from deploy.local.stack import SERVICES
from services.cli.main import main
from services.common.addresses import base_urls, listeners, variable
from services.common.settings import LOCAL_KAFKA_PORT, LOCAL_POSTGRES_PORT, Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
# Where each service listens, besides the port on which it says whether it is ready.
METRICS = {name: DEFAULTS[f"metrics_port_{name}"] for name in SERVICES}


def image_environment() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE):
        found |= dict(pair.split("=", 1) for pair in line.split())
    return found


def published(service: dict[str, Any]) -> list[tuple[str, int, int]]:
    ports = [entry.split(":") for entry in service.get("ports", [])]
    return [(host, int(outside), int(inside)) for host, outside, inside in ports]


def test_every_service_has_a_container_and_no_other() -> None:
    served = {tuple(service["command"]) for service in OURS.values() if service["command"][0] == "serve"}
    assert served == {("serve", name) for name in SERVICES}


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    command: click.Command = main
    context = click.Context(main)
    for word in OURS[name]["command"]:
        if isinstance(command, click.Group):
            found = command.get_command(context, word)
            assert found is not None, word
            command = found
        else:
            (argument,) = [each for each in command.params if isinstance(each, click.Argument)]
            assert argument.type.convert(word, argument, context) == word


@pytest.mark.parametrize("name", OURS)
def test_settings_exist_and_are_valid(name: str) -> None:
    given = image_environment() | OURS[name]["environment"]
    ours = {key: value for key, value in given.items() if key.startswith("EBBTIDE_")}
    assert ours.keys() <= {variable(field) for field in Settings.model_fields}
    config = Settings.model_validate({key.removeprefix("EBBTIDE_").lower(): value for key, value in ours.items()})
    assert config.bootstrap.split(":")[0] in COMPOSE["services"]
    assert {listener.host for listener in listeners(config)} == {"0.0.0.0"}


def test_ports_are_the_defaults_and_published_on_loopback_only() -> None:
    config = Settings.model_validate({})
    for name in SERVICES:
        ready = int(base_urls(config)[name].rpartition(":")[2])
        assert published(OURS[name]) == [("127.0.0.1", port, port) for port in sorted({ready, METRICS[name]})], name
    exposed = {int(port) for line in re.findall(r"^EXPOSE (.+)$", DOCKERFILE, re.MULTILINE) for port in line.split()}
    assert exposed == {inside for name in SERVICES for _, _, inside in published(OURS[name])}
    assert published(COMPOSE["services"]["kafka"]) == [("127.0.0.1", LOCAL_KAFKA_PORT, LOCAL_KAFKA_PORT)]
    assert published(COMPOSE["services"]["postgres"]) == [("127.0.0.1", LOCAL_POSTGRES_PORT, 5432)]


def test_servers_are_those_of_the_local_stack() -> None:
    servers = COMPOSE["services"]
    assert servers["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert servers["postgres"]["image"] == f"postgres:{POSTGRES_VERSION}"
    broker = servers["kafka"]["environment"]
    assert int(broker["KAFKA_MESSAGE_MAX_BYTES"]) == MAX_BATCH_BYTES
    assert broker["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_addresses_inside_are_where_the_servers_listen() -> None:
    environment = OURS["api"]["environment"]
    broker, database = COMPOSE["services"]["kafka"]["environment"], COMPOSE["services"]["postgres"]["environment"]
    assert f"PLAINTEXT://{environment['EBBTIDE_KAFKA_BOOTSTRAP_SERVERS']}" in broker["KAFKA_ADVERTISED_LISTENERS"]
    login = f"{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}"
    assert environment["EBBTIDE_DATABASE_URL"] == f"postgresql://{login}@postgres:5432/{database['POSTGRES_DB']}"


def test_services_wait_for_migrations_and_topics() -> None:
    for name in SERVICES:
        needed = OURS[name]["depends_on"]
        assert {key: value["condition"] for key, value in needed.items()} == {
            "migrate": "service_completed_successfully",
            "topics": "service_completed_successfully",
        }


def test_volumes_are_declared_and_used() -> None:
    used = {entry.split(":")[0] for service in COMPOSE["services"].values() for entry in service.get("volumes", [])}
    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])
    assert "engine:" + image_environment()["EBBTIDE_DATA_DIR"] in OURS["engine"]["volumes"]


def test_image_holds_the_packages_and_runs_unprivileged() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    user = re.search(r"^USER (\d+)$", last, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    copied = set(re.findall(r"^COPY ([\w./ -]+) \S+$", DOCKERFILE, re.MULTILINE))
    sources = {source for line in copied for source in line.split()}
    for source in sources - {"--from"}:
        assert (ROOT / source).exists() or source.startswith("--"), source
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    wheel = re.search(r"packages = \[(.+)\]", (ROOT / "pyproject.toml").read_text())
    assert wheel is not None
    for package in re.findall(r'"(\w+)"', wheel[1]):
        assert package in sources
        assert f"!{package}" in ignored


def test_image_has_the_python_and_uv_of_the_checkout() -> None:
    python = (ROOT / ".python-version").read_text().strip()
    assert set(re.findall(r"^FROM python:([\d.]+)-", DOCKERFILE, re.MULTILINE)) == {python}
    brought = re.search(r"^version=(\S+)$", (ROOT / "deploy" / "local" / "bring-uv.sh").read_text(), re.MULTILINE)
    assert brought is not None
    assert f"astral-sh/uv:{brought[1]} " in DOCKERFILE
