"""The delivery process: one at a time, and how it starts and ends."""

from __future__ import annotations

import json
import urllib.request

from tests.harness import Service, free_ports, http_status, start_service, wait_for


def detail(service: Service) -> str:
    with urllib.request.urlopen(f"{service.url}/readyz", timeout=5) as answer:
        return str(json.load(answer)["detail"])


def test_one_process_works_and_another_takes_over(service_env: dict[str, str]) -> None:
    (port,) = free_ports(1)
    first = start_service("delivery", service_env)
    second = start_service("delivery", service_env | {"EBBTIDE_METRICS_PORT_DELIVERY": str(port)}, log_name="second")
    try:
        assert "webhooks: working" in detail(first)
        assert "webhooks: standing by" in detail(second)
        assert http_status(f"{first.url}/livez") == 200
        first.kill()
        wait_for("the second one takes over", lambda: "webhooks: working" in detail(second))
        assert second.stop() == 0
    finally:
        first.kill()
        second.kill()
