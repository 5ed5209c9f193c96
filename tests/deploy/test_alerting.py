"""The on-call pack against itself and the code: rules, runbooks, routes, dashboards and the vocabulary of metrics."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
import pytest
import yaml

from services.api.console.queue_page import QueueQuery
from services.cli.main import main
from services.common.addresses import base_urls
from services.common.settings import Settings
from services.delivery.alerts import ALERT_NAME
from tests.deploy.monitoring import ALERTMANAGER, PROMETHEUS, rules, seconds
from tests.deploy.vocabulary import KNOWN, SERIES, metrics_in, unknown_in
from tests.harness import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"
RULES = rules()
TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def run(*command: str | Path) -> str:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def all_tests() -> list[dict[str, Any]]:
    return [each for path in TESTS for each in yaml.safe_load(path.read_text())["tests"]]


# --- rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Path) -> None:
    run("promtool", "test", "rules", path)


def test_prometheus_takes_the_configuration() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


def test_scrapes_every_process_where_it_shows_its_metrics() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    named = [name.removeprefix("metrics_port_") for name in defaults if name.startswith("metrics_port_")]
    assert targets == {f"ebbtide-{name}": [f"127.0.0.1:{defaults[f'metrics_port_{name}']}"] for name in named}
    assert config["global"]["external_labels"]["console_url"] == base_urls(Settings.model_construct(**defaults))["api"]


def test_containers_are_watched_by_the_same_configuration() -> None:
    here = (PROMETHEUS / "prometheus.yml").read_text().partition("\n")[2]
    there = (PROMETHEUS / "containers.yml").read_text().partition("\n")[2]
    moved = re.sub(r"\b(ingest|engine|recorder|api|delivery|alertmanager)(?=:\d{4}\])", "127.0.0.1", there)
    assert moved == here


@pytest.mark.parametrize("name", RULES)
def test_every_alert_is_whole(name: str) -> None:
    rule = RULES[name]
    assert set(rule["labels"]) - {"layer", "process"} == {"severity", "audience"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["labels"]["audience"] in ("operators", "success")
    if rule["labels"]["audience"] == "operators":
        assert rule["labels"]["layer"] in ("cause", "state", "symptom")
    wanted = {"summary", "description", "runbook_url"} | ({"link"} if name.startswith("Churn") else set())
    assert set(rule["annotations"]) == wanted
    assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.docs_url }}/runbooks/" + f"{name}.md"


@pytest.mark.parametrize("name", RULES)
def test_every_alert_is_tested_before_and_after_its_wait_and_silent(name: str) -> None:
    mine = [each for each in all_tests() if each["name"].split()[0] == name]
    fires = [each for each in mine if each.get("promql_expr_test")]
    silent = [each for each in mine if not each.get("promql_expr_test")]
    assert silent, "no test in which it must stay silent"
    assert fires, "no test in which it fires"
    for each in fires:
        (expected,) = each["promql_expr_test"]
        assert expected["expr"] == f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
        assert expected["exp_samples"] == [{"labels": "{}", "value": 1}]
    early = [
        seconds(test["promql_expr_test"][0]["eval_time"]) - seconds(before["eval_time"])
        for test in fires
        for before in test.get("alert_rule_test", [])
    ]
    assert early, "no test before it fires"
    for each in silent:
        for before in each["alert_rule_test"]:
            assert before["alertname"] == name
            assert before["exp_alerts"] == []


@pytest.mark.parametrize("name", [name for name in RULES if name.startswith("Churn")])
def test_links_open_what_the_alert_is_about(name: str) -> None:
    link = urlsplit(RULES[name]["annotations"]["link"].replace("{{ $externalLabels.console_url }}", "http://console"))
    values = {key: value.replace("{{ $labels.signal }}", "critical.x") for key, value in parse_qsl(link.query)}
    assert link.path in ("/queue", "/portfolio")
    if link.path == "/queue":
        assert QueueQuery.model_validate(values).filters() == values


def test_annotations_expand(tmp_path: Path) -> None:
    """Every alert fires once with every annotation expanded: a template's mistake is text inside the alert, else."""
    seen: set[str] = set()
    for path in TESTS:
        file = yaml.safe_load(path.read_text())
        file["rule_files"] = [str((path.parent / each).resolve()) for each in file["rule_files"]]
        first: dict[str, dict[str, Any]] = {}
        for each in file["tests"]:
            if each.get("promql_expr_test"):
                name = each["name"].split()[0]
                when = each["promql_expr_test"][0]["eval_time"]
                nothing = {"alertname": name, "eval_time": when, "exp_alerts": []}
                first.setdefault(name, each | {"promql_expr_test": [], "alert_rule_test": [nothing]})
        file["tests"] = list(first.values())
        written = tmp_path / path.name
        written.write_text(yaml.safe_dump(file))
        # It is expected to fail: what promtool got instead of nothing is what is looked at.
        got = subprocess.run(["promtool", "test", "rules", str(written)], capture_output=True, text=True, check=False)
        told = got.stdout + got.stderr
        seen |= set(re.findall(r'alertname="(\w+)"', told))
        for wrong in ("error expanding", "<no value>", "%!"):
            assert wrong not in told, told
    assert seen >= set(RULES)


# --- runbooks ------------------------------------------------------------------------------------------------------


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    found = {path.stem for path in RUNBOOKS.glob("*.md") if path.stem[0].isupper()}
    assert found == set(RULES) | {ALERT_NAME}


@pytest.mark.parametrize("name", [*RULES, ALERT_NAME])
def test_a_runbook_says_meaning_impact_diagnosis_mitigation(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    for target in re.findall(r"\]\(([\w./-]+\.md)\)", text):
        assert (RUNBOOKS / target).exists(), target
    lines = text.splitlines()
    assert not unknown_in("\n".join(line for line in lines if "/metrics | grep" not in line)) - set(SERIES)
    for pattern in re.findall(r"/metrics \| grep (?:-E )?(?:'([^']*)'|(\S+))", text):
        expression = "".join(pattern).replace('status="5', "ebbtide_api_requests_total")
        assert any(re.search(expression, each) for each in KNOWN), expression


def commands() -> list[tuple[str, str]]:
    lines = [
        (path.stem, line[2:])
        for path in sorted(RUNBOOKS.glob("[A-Z]*.md"))
        for line in path.read_text().splitlines()
        if line.startswith("$ ebbtide ")
    ]
    assert lines
    return sorted(set(lines))


@pytest.mark.parametrize(("runbook", "line"), commands())
def test_commands_of_runbooks_exist(runbook: str, line: str) -> None:
    command: click.Command = main
    context = click.Context(main)
    words = shlex.split(line)[1:]
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, f"{runbook}: {line}"
        command = found
    command.make_context(command.name, words, parent=context)


# --- routes --------------------------------------------------------------------------------------------------------


def test_alertmanager_takes_the_configuration() -> None:
    run("amtool", "check-config", ALERTMANAGER)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=EbbtideEngineDown audience=operators severity=critical layer=cause", "operators-on-call"),
        ("alertname=EbbtideDeadLetters audience=operators severity=warning layer=state", "operators"),
        ("alertname=ChurnCriticalUnacknowledged audience=success severity=critical owner=csm", "success-on-call"),
        ("alertname=ChurnArrAtRiskJump audience=success severity=warning currency=EUR", "success"),
        (
            "alertname=EbbtideSignal signal=support.burst severity=critical kind=risk tier=high owner=support episode=e1",
            "success-signals",
        ),
        ("alertname=Whatever", "operators"),
    ],
)
def test_routes(labels: str, receiver: str) -> None:
    command = ["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}"]
    run(*command, *labels.split())


def test_a_wrong_route_is_noticed() -> None:
    command = ["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", "--verify.receivers=operators"]
    with pytest.raises(AssertionError):
        run(*command, "alertname=EbbtideSignal")


def test_signals_are_told_once_and_seldom_again() -> None:
    route = yaml.safe_load(ALERTMANAGER.read_text())["route"]
    (signals,) = [each for each in route["routes"] if each["receiver"] == "success-signals"]
    assert seconds(signals["repeat_interval"]) >= 86400
    assert "episode" in signals["group_by"]


def test_inhibitions_name_what_exists() -> None:
    layers = {rule["labels"].get("layer") for rule in RULES.values()}
    for rule in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            name, value = re.fullmatch(r"(\w+) =~? \"?([^\"]+)\"?", matcher).groups()  # type: ignore[union-attr]
            known = layers if name == "layer" else RULES
            assert any(re.fullmatch(value, each) for each in known if each), matcher


# --- metrics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_rules_use_known_metrics(name: str) -> None:
    assert metrics_in(RULES[name]["expr"])
    assert not unknown_in(yaml.safe_dump(RULES[name]))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_tests_of_rules_use_known_metrics(path: Path) -> None:
    assert not unknown_in(path.read_text())


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_use_known_metrics_and_the_chosen_source(path: Path) -> None:
    board = json.loads(path.read_text())
    assert [each["name"] for each in board["templating"]["list"] if each["type"] == "datasource"] == ["source"]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert panels
    for panel in panels:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${source}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${source}"
            assert metrics_in(target["expr"]), panel["title"]
            assert not unknown_in(target["expr"]), panel["title"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_a_misspelt_metric_is_noticed() -> None:
    assert unknown_in("sum(ebbtide_open_signal{severity='critical'})") == {"ebbtide_open_signal"}
    assert unknown_in("rate(ebbtide_log_lines[5m])") == {"ebbtide_log_lines"}
    assert unknown_in("ebbtide:canary_failed:ratio2h") == {"ebbtide:canary_failed:ratio2h"}
    assert not unknown_in("rate(ebbtide_log_lines_total[5m])")


def test_no_metric_is_labelled_by_account_or_person() -> None:
    forbidden = {"account", "account_id", "user", "user_id", "csm", "episode", "episode_id", "actor", "assignee"}
    for name, labels in SERIES.items():
        assert not forbidden & set(labels), name


# --- documents -----------------------------------------------------------------------------------------------------


def test_the_page_of_alerts_lists_them_as_they_are() -> None:
    listed = re.findall(
        r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (critical|warning) \|",
        (ROOT / "docs" / "alerts.md").read_text(),
        re.MULTILINE,
    )
    assert {(name, severity) for name, _, severity in listed} == {
        (name, rule["labels"]["severity"]) for name, rule in RULES.items()
    }
    assert all(name == target for name, target, _ in listed)


def test_the_page_of_metrics_lists_them_as_they_are() -> None:
    listed = re.findall(r"^\| `(ebbtide_\w+)` \| (\w+) \| ([^|]*) \|", (ROOT / "docs" / "metrics.md").read_text(), re.M)
    assert {name: tuple(re.findall(r"`(\w+)`", labels)) for name, _, labels in listed} == {
        name: tuple(labels) for name, labels in SERIES.items()
    }


def test_the_containers_of_the_profile_mount_these_files() -> None:
    watching = {name: each for name, each in COMPOSE["services"].items() if each.get("profiles") == ["monitoring"]}
    assert set(watching) == {"prometheus", "alertmanager", "grafana"}
    for each in watching.values():
        for volume in each["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
