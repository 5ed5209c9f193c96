"""Settings are refused whole: every problem at once, with the variable, the reason and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from services.cli import config
from services.cli.main import main
from services.common.addresses import listeners
from services.common.settings import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no settings file
    for field in Settings.model_fields:
        monkeypatch.delenv(config.variable(field), raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> dict[str, str]:
    """Problems by variable, with these settings in the environment."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return {problem.variable: str(problem) for problem in config.problems()}


def test_defaults_can_be_used() -> None:
    assert config.problems() == []


def test_everything_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(
        monkeypatch,
        EBBTIDE_API_PORT="eighty",
        EBBTIDE_TICKS="maybe",
        EBBTIDE_GENERIC_WEBHOOK_SECRETS='{"billing": ',
        EBBTIDE_API_PROT="8080",
    )
    assert found.keys() == {
        "EBBTIDE_API_PORT",
        "EBBTIDE_TICKS",
        "EBBTIDE_GENERIC_WEBHOOK_SECRETS",
        "EBBTIDE_API_PROT",
    }
    assert "'eighty'" in found["EBBTIDE_API_PORT"]
    assert "default 8080" in found["EBBTIDE_API_PORT"]
    assert "'after-replay'" in found["EBBTIDE_TICKS"]
    assert "Did you mean EBBTIDE_API_PORT?" in found["EBBTIDE_API_PROT"]


@pytest.mark.parametrize(
    ("values", "variable", "told"),
    [
        ({"EBBTIDE_INGEST_PORT": "8080"}, "EBBTIDE_API_PORT and EBBTIDE_INGEST_PORT", "both are port 8080"),
        ({"EBBTIDE_API_PORT": "29092"}, "EBBTIDE_API_PORT and EBBTIDE_LOCAL_KAFKA_PORT", "29092"),
        ({"EBBTIDE_CATALOGUE_FILE": "/nowhere.yaml"}, "EBBTIDE_CATALOGUE_FILE", "no file /nowhere.yaml"),
        ({"EBBTIDE_INGEST_MAPPING_FILE": "."}, "EBBTIDE_INGEST_MAPPING_FILE", "no file ."),
        ({"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": "a:9092,b"}, "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS", "'b' is not host:port"),
        ({"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": ""}, "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS", "host:port"),
        ({"EBBTIDE_DATABASE_URL": "mysql://db/x"}, "EBBTIDE_DATABASE_URL", "postgresql://"),
        ({"EBBTIDE_DATABASE_URL": "postgresql://db"}, "EBBTIDE_DATABASE_URL", "postgresql://"),
    ],
)
def test_what_a_value_alone_does_not_show(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], variable: str, told: str
) -> None:
    found = given(monkeypatch, **values)
    assert found.keys() == {variable}
    assert told in found[variable]


@pytest.mark.parametrize(
    "secret", [{"EBBTIDE_GENERIC_WEBHOOK_SECRETS": '{"a": 17171}'}, {"EBBTIDE_DATABASE_URL": "17171"}]
)
def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch, secret: dict[str, str]) -> None:
    found = given(monkeypatch, **secret)
    assert found
    assert "17171" not in json.dumps(found)


def test_a_given_broker_or_database_frees_the_ports_of_the_local_one() -> None:
    def fields(values: dict[str, Any]) -> set[str]:
        return {listener.field for listener in listeners(Settings.model_validate(values))}

    everything = fields({})
    assert everything >= {"api_port", "ingest_port", "metrics_port_engine", "local_kafka_port", "local_postgres_port"}
    assert everything - fields({"kafka_bootstrap_servers": "a:1", "database_url": "postgresql://db/x"}) == {
        "local_kafka_port",
        "local_kafka_controller_port",
        "local_postgres_port",
    }


def test_file_is_read_and_judged_like_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EBBTIDE_API_PORT=0\nEBBTIDE_LOGLEVEL=info\nOTHER=1\n")
    assert {problem.variable for problem in config.problems()} == {"EBBTIDE_API_PORT", "EBBTIDE_LOGLEVEL"}


def test_check_config_for_people_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = CliRunner().invoke(main, ["check-config"])
    assert (fine.exit_code, fine.output) == (0, "every setting can be used\n")
    monkeypatch.setenv("EBBTIDE_API_PORT", "0")
    assert CliRunner().invoke(main, ["check-config"]).exit_code == 1
    told = json.loads(CliRunner().invoke(main, ["check-config", "--json"]).output)
    assert told["ok"] is False
    assert [problem["variable"] for problem in told["problems"]] == ["EBBTIDE_API_PORT"]


@pytest.mark.parametrize("command", [["serve", "api"], ["up"], ["down"], ["status"]])
def test_commands_refuse_before_they_do_anything(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("EBBTIDE_TICKS", "maybe")
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert "EBBTIDE_TICKS" in refused.output
