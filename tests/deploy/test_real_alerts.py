"""A real Prometheus scrapes the real processes by this repository's rules, and a real Alertmanager tells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.monitoring import Prometheus, Told, monitored
from tests.harness import Service, start_service, wait_for

PROCESSES = ("engine", "recorder", "api", "ingest", "delivery")
HASTEN = 30.0
"""A minute of a rule's `for` is two seconds here."""
QUIET_S = 3.0
"""How long an alert is left alone, so that others had the time to follow."""


class Scene:
    """All five processes, and who watches them."""

    def __init__(self, env: dict[str, str], prometheus: Prometheus, told: Told) -> None:
        self.env = env
        self.prometheus = prometheus
        self.told = told
        self.services: dict[str, Service] = {}

    def start(self, name: str) -> None:
        self.services[name] = start_service(name, self.env, within=90)

    def quiet(self) -> bool:
        return not self.prometheus.alerts() and not self.told.firing


@pytest.fixture
def scene(service_env: dict[str, str], clean_topics: object, tmp_path: Path) -> Iterator[Scene]:
    env = service_env | {"EBBTIDE_GAUGES_INTERVAL_S": "0.5", "EBBTIDE_TICK_INTERVAL_S": "1"}
    ports = {f"ebbtide-{name}": int(env[f"EBBTIDE_METRICS_PORT_{name.upper()}"]) for name in PROCESSES}
    services: dict[str, Service] = {}
    with ExitStack() as stack:
        for name in PROCESSES:
            services[name] = start_service(name, env, ready=False)
        stack.callback(lambda: [service.kill() for service in services.values()])
        prometheus, told = stack.enter_context(
            monitored(tmp_path / "monitoring", ports, hasten=HASTEN, console="http://console.example")
        )
        scene = Scene(env, prometheus, told)
        scene.services = services
        wait_for("everything is scraped, ready and without an alert", lambda: _well(scene), within=120)
        told.ever.clear()
        yield scene


def _well(scene: Scene) -> bool:
    ready = scene.prometheus.query('ebbtide_ready{job=~"ebbtide-.+"} == 1')
    return len(ready) == len(PROCESSES) and scene.quiet()


def test_each_process_that_stops_raises_its_alert_and_only_it(scene: Scene) -> None:
    assert scene.prometheus.query("max(scrape_samples_scraped)")[0][1] < 3000
    for name in PROCESSES:
        alert = f"Ebbtide{name.capitalize()}Down"
        assert scene.services[name].stop() == 0
        wait_for(f"{alert} is told", lambda: scene.told.names(), within=20)
        time.sleep(QUIET_S)
        assert scene.told.names() == {alert}
        assert scene.prometheus.alerts() == {alert: "firing"}
        scene.start(name)
        wait_for(f"{alert} is resolved", lambda: _well(scene), within=60)
        assert set(scene.told.ever) == {alert}, "told of something else, too"
        scene.told.ever.clear()


@pytest.mark.long
def test_a_server_that_goes_away_is_told_of_and_not_who_waits_for_it(
    scene: Scene, kafka: Any, postgres: Any, migrated_template: str
) -> None:
    database = scene.env["EBBTIDE_DATABASE_URL"].rpartition("/")[2]

    def alone(alert: str) -> None:
        wait_for(f"{alert} is told", lambda: scene.told.names(), within=40)
        # Longer than processes that wait for it need to be told of as not ready.
        time.sleep(8 * QUIET_S)
        assert set(scene.told.ever) == {alert}
        assert scene.told.names() == {alert}

    postgres.server.drop_database(database)
    alone("EbbtidePostgresUnreachable")
    assert scene.prometheus.alerts()["EbbtideNotReady"] == "firing"
    postgres.server.create_database(database, template=migrated_template)
    wait_for("it is well again", lambda: _well(scene), within=90)
    scene.told.ever.clear()
    kafka.stop()
    try:
        alone("EbbtideKafkaUnreachable")
    finally:
        kafka.start()
        kafka.wait_ready()
    wait_for("it is well again", lambda: _well(scene), within=120)
