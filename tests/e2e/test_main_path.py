"""From the SDK that a product team already has to the reason in the API: every process is real."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import segment.analytics as analytics
from segment.analytics.client import Client

from deploy.local.kafka import LocalKafka
from tests.harness import Service, new_key, start_service, wait_for

NOW = dt.datetime.now(dt.UTC)


def reader(api: Service, key: str) -> Callable[[str], Any]:
    def get(path: str) -> Any:
        request = urllib.request.Request(api.url + path, headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    return get


def test_from_the_sdk_to_the_reason(clean_topics: LocalKafka, service_env: dict[str, str]) -> None:
    env = service_env | {"EBBTIDE_TICK_INTERVAL_S": "1", "EBBTIDE_TICK_GRACE_S": "0"}
    services = [start_service(name, env) for name in ("engine", "recorder", "ingest", "api")]
    *_, ingest, api = services
    get = reader(api, new_key(env, "read"))
    client = Client(
        new_key(env, "ingest", source="shop"), host=ingest.url, on_error=lambda error, _: errors.append(error)
    )
    errors: list[object] = []
    try:
        assert analytics.__name__ == "segment.analytics"
        for person in ("ann", "bob", "cyd", "dan"):
            client.group(person, "Müller & Söhne", {"name": "Müller & Söhne", "plan": "team"})
        client.flush()
        for person in ("ann", "bob", "cyd", "dan"):
            client.track(person, "Report Exported", timestamp=NOW - dt.timedelta(minutes=5))
        client.flush()
        subject = "Müller & Söhne"
        body = json.dumps(
            [
                {
                    "specversion": "1.0",
                    "id": f"{kind}-1",
                    "source": "crm",
                    "type": kind,
                    "subject": subject,
                    "time": NOW.isoformat(),
                    "data": data,
                }
                for kind, data in (
                    ("account.updated", {"seats": 5, "tier": "high", "mrr": "1200.00", "currency": "EUR"}),
                    ("survey.answered", {"survey_id": "s1", "kind": "nps", "score": 3, "user": "ann"}),
                    ("usage.feature_used", {"feature": "Report Exported", "user": "ann"}),
                )
            ]
        ).encode()
        request = urllib.request.Request(
            f"{ingest.url}/v1/events",
            data=body,
            headers={
                "Authorization": f"Bearer {new_key(env, 'ingest', source='crm')}",
                "Content-Type": "application/cloudevents-batch+json",
            },
        )
        for _ in range(2):  # as a client does whose first answer was lost: accepted again, counted once
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert [result["status"] for result in json.load(answer)["results"]] == ["accepted"] * 3

        def detractor() -> Any:
            return get(f"/v1/signals?account={quote(subject)}&signal=survey.detractor")["items"]

        (signal,) = wait_for("the detractor in the api", detractor, within=30)
        assert signal["user"] == "ann"
        assert signal["severity"] == "warning"
        assert "3" in signal["reason"]

        def seats() -> Any:
            return get(f"/v1/signals?account={quote(subject)}&signal=expansion.seats")["items"]

        wait_for("four of five licences in the api", seats, within=30)

        def counted() -> Any:
            account = get(f"/v1/accounts/{quote(subject, safe='')}")
            return account if account["windows"]["usage_7d"] >= 5 else None

        account = wait_for("the usage in the account's windows", counted, within=30)
        assert account["windows"]["usage_7d"] == 5
        assert account["windows"]["active_users_28d"] == 4
        assert account["windows"]["last_seen"] is not None
        assert account["profile"]["plan"] == "team"
        assert {"survey.detractor", "expansion.seats"} <= {entry["signal"] for entry in account["open_signals"]}
        assert errors == []
    finally:
        client.join()
        for service in services:
            service.stop()
