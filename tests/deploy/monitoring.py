"""Prometheus and Alertmanager as processes with the files of `deploy/`, made quick: the same rules, shorter waits."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from tests.harness import ROOT, free_ports, http_status, wait_for

PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"

DURATION = re.compile(r"(\d+)(ms|[smhdw])")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: str) -> float:
    """Seconds of a duration as Prometheus writes it: 1h30m is 5400."""
    return sum(int(number) * SECONDS[unit] for number, unit in DURATION.findall(text))


def rules() -> dict[str, dict[str, Any]]:
    """Every alerting rule by its name, as written."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((PROMETHEUS / "rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    assert rule["alert"] not in found, f"{rule['alert']} is there twice"
                    found[rule["alert"]] = rule
    return found


@dataclass
class Told:
    """What a receiver of Alertmanager was told: the state of each alert by its labels, and every name that ever fired."""

    firing: dict[tuple[tuple[str, str], ...], dict[str, Any]]
    ever: list[str]

    def names(self) -> set[str]:
        """Names of the alerts that fire as far as the receiver knows."""
        return {dict(labels)["alertname"] for labels in self.firing}


@contextmanager
def receiver() -> Iterator[tuple[str, Told]]:
    """A webhook receiver of Alertmanager on a free port: its URL, and what it is told."""
    told = Told({}, [])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for alert in body["alerts"]:
                labels = tuple(sorted(alert["labels"].items()))
                if alert["status"] == "firing":
                    told.firing[labels] = alert | {"receiver": body["receiver"]}
                    told.ever.append(alert["labels"]["alertname"])
                else:
                    told.firing.pop(labels, None)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def process(command: list[str], log: Path, ready: str) -> Iterator[None]:
    """`command` until the block ends; entered once `ready` answers 200."""
    with log.open("wb") as out:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:

        def answers() -> bool:
            assert started.poll() is None, f"{command[0]} ended:\n{log.read_text()[-2000:]}"
            return http_status(ready) == 200

        wait_for(f"{command[0]} ready", answers)
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@dataclass
class Prometheus:
    """A running Prometheus."""

    url: str

    def ask(self, path: str) -> Any:
        """`data` of an answer of its API."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The instant vector of an expression, now."""
        found = self.ask(f"query?query={quote(expression)}")
        return [(each["metric"], float(each["value"][1])) for each in found["result"]]

    def alerts(self) -> dict[str, str]:
        """State of every alert by its name: pending or firing."""
        found: dict[str, str] = {}
        for alert in self.ask("alerts")["alerts"]:
            name = alert["labels"]["alertname"]
            found[name] = "firing" if "firing" in (alert["state"], found.get(name)) else alert["state"]
        return found


@contextmanager
def monitored(
    folder: Path, ports: Mapping[str, int], *, hasten: float, console: str
) -> Iterator[tuple[Prometheus, Told]]:
    """Both servers with this repository's configuration, scraping `ports` (job: port) each second.

    Every `for` is divided by `hasten`; nothing else of a rule is changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prometheus_port, alertmanager_port = free_ports(2)
    with receiver() as (url, told):
        _write_alertmanager(folder / "alertmanager.yml", url)
        _write_prometheus(folder, ports, alertmanager_port, hasten=hasten, console=console)
        alertmanager = [
            "prometheus-alertmanager",
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{alertmanager_port}",
            "--cluster.listen-address=",
        ]
        prometheus = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{prometheus_port}",
            "--rules.alert.resend-delay=1s",
        ]
        base = f"http://127.0.0.1:{prometheus_port}"
        with (
            process(alertmanager, folder / "alertmanager.log", f"http://127.0.0.1:{alertmanager_port}/-/ready"),
            process(prometheus, folder / "prometheus.log", f"{base}/-/ready"),
        ):
            yield Prometheus(base), told


def _write_alertmanager(path: Path, url: str) -> None:
    config = yaml.safe_load(ALERTMANAGER.read_text())
    for each in config["receivers"]:
        each["webhook_configs"] = [{"url": url, "send_resolved": True}]

    def quick(route: dict[str, Any]) -> None:
        # Long enough for the cause to be known before its symptoms are told of, as in the file.
        route |= {"group_wait": "1s", "group_interval": "1s"}
        for below in route.get("routes", []):
            quick(below)

    quick(config["route"])
    path.write_text(yaml.safe_dump(config))


def _write_prometheus(
    folder: Path, ports: Mapping[str, int], alertmanager_port: int, *, hasten: float, console: str
) -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["global"]["external_labels"]["console_url"] = console
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager_port}"]
    assert {job["job_name"] for job in config["scrape_configs"]} == set(ports)
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "rules").mkdir(exist_ok=True)
    for path in (PROMETHEUS / "rules").glob("*.yaml"):
        file = yaml.safe_load(path.read_text())
        for group in file["groups"]:
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = f"{int(seconds(rule['for']) / hasten * 1000)}ms"
        (folder / "rules" / path.name).write_text(yaml.safe_dump(file))
