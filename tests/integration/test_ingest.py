"""Ingest as a process on a real broker and a real database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent

from deploy.local.kafka import LocalKafka
from tests.harness import free_ports, start_service, wait_for
from tests.ingest_stage import Stage, event, headers_of, read_topic, stage

STRIPE_SECRET = "whsec_test"


@pytest.fixture(scope="module")
def ingest(kafka: Any, postgres: Any, migrated_template: str, tmp_path_factory: Any) -> Iterator[Stage]:
    settings = {"stripe_secret": STRIPE_SECRET, "ingest_key_cache_s": "0"}
    with stage(kafka, postgres, migrated_template, tmp_path_factory.mktemp("ingest"), **settings) as running:
        yield running


def bearer(ingest: Stage, source: str) -> dict[str, str]:
    return {"authorization": f"Bearer {ingest.key(source)}", "content-type": "application/json"}


def of_source(ingest: Stage, topic: str, source: str) -> list[dict[str, Any]]:
    return [found for record in ingest.read(topic) if (found := json.loads(record.value))["source"] == source]


def test_what_is_accepted_is_on_its_topic(ingest: Stage) -> None:
    opened = event("e2", "ticket.opened", ticket_id="t1", priority="P1") | {"source": "accepted"}
    first = event("e1") | {"source": "accepted"}
    raw = json.dumps([first, opened, {"id": "e3", "type": "x"}], indent=1)
    answer = httpx.post(f"{ingest.service.url}/v1/events", content=raw, headers=bearer(ingest, "accepted"))
    assert answer.status_code == 200, answer.text
    assert [(result["id"], result["status"], result["reason"]) for result in answer.json()["results"]] == [
        ("e1", "accepted", None),
        ("e2", "accepted", None),
        ("e3", "rejected", "unknown_type"),
    ]
    (usage,) = [record for record in ingest.read("usage") if json.loads(record.value)["source"] == "accepted"]
    assert usage.key == b"acme"
    assert usage.value.decode() in raw, "byte for byte"
    assert of_source(ingest, "tickets", "accepted") == [opened]

    batch = {
        "batch": [{"type": "track", "userId": "u", "event": "X", "messageId": "m1"}],
        "writeKey": ingest.key("accepted"),
    }
    answer = httpx.post(f"{ingest.service.url}/v1/batch", json=batch)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    (letter,) = ingest.read("dead-letters")
    assert json.loads(letter.value) == batch["batch"][0]
    assert (headers_of(letter)["reason"], headers_of(letter)["ingest_source"]) == ("unattributed", "accepted")

    metrics = httpx.get(f"http://127.0.0.1:{ingest.env['EBBTIDE_METRICS_PORT_INGEST']}/metrics").text
    assert 'ebbtide_ingest_events_total{family="events",reason="unknown_type",result="rejected"} 1.0' in metrics
    assert 'ebbtide_ingest_requests_total{route="/v1/batch",status="200"} 1.0' in metrics


def test_the_cloudevents_sdk(ingest: Stage) -> None:
    attributes = {
        "id": "sdk",
        "source": "cloudevents-sdk",
        "type": "usage.logged_in",
        "subject": "é space/acct-1",
        "time": event("e")["time"],
    }
    for convert, event_id in ((to_structured, "structured"), (to_binary, "binary")):
        headers, body = convert(CloudEvent(attributes | {"id": event_id}, {"user": "ü"}))
        # The legacy API of the SDK leaves attributes as they are; HTTP clients send them as UTF-8.
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"authorization", bearer(ingest, "cloudevents-sdk")["authorization"].encode()))
        if "content-type" not in headers:
            raw.append((b"content-type", b"application/json"))
        answer = httpx.post(f"{ingest.service.url}/v1/events", content=body, headers=raw)
        assert [result["status"] for result in answer.json()["results"]] == ["accepted"], answer.text
    found = of_source(ingest, "usage", "cloudevents-sdk")
    assert {each["id"] for each in found} == {"structured", "binary"}
    assert {(each["subject"], each["data"]["user"]) for each in found} == {("é space/acct-1", "ü")}


def test_attribution_is_shared_by_processes_and_survives_a_restart(ingest: Stage) -> None:
    key = {"writeKey": ingest.key("shared")}
    port, metrics = free_ports(2)
    second_env = ingest.env | {"EBBTIDE_INGEST_PORT": str(port), "EBBTIDE_METRICS_PORT_INGEST": str(metrics)}
    second = start_service("ingest", second_env, log_name="ingest-2")
    try:
        with httpx.Client() as client:
            for number in range(20):
                there, here = (ingest.service.url, second.url) if number % 2 else (second.url, ingest.service.url)
                group = {"userId": f"u{number}", "groupId": f"a{number}"}
                assert client.post(f"{there}/v1/group", json=key | group).status_code == 200
                track = {"userId": f"u{number}", "event": "X", "messageId": f"m{number}"}
                assert client.post(f"{here}/v1/track", json=key | track).status_code == 200
        linked = event("l1", "account.linked", "acme", system="stripe", external_id="cus_1")
        answer = httpx.post(f"{ingest.service.url}/v1/events", json=linked, headers=bearer(ingest, "shared"))
        assert answer.json()["results"][0]["status"] == "accepted"
    finally:
        second.kill()
    again = start_service("ingest", second_env, log_name="ingest-2")
    try:
        track = {"userId": "u7", "event": "X", "messageId": "after"}
        assert httpx.post(f"{again.url}/v1/track", json=key | track).status_code == 200
        stamp = int(time.time())
        thing = {"id": "in_1", "customer": "cus_1"}
        body = json.dumps(
            {"id": "evt_1", "type": "invoice.voided", "created": stamp, "data": {"object": thing}}
        ).encode()
        signature = hmac.new(STRIPE_SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {"stripe-signature": f"t={stamp},v1={signature}"}
        assert httpx.post(f"{again.url}/v1/webhooks/stripe", content=body, headers=headers).json()["accepted"] == 1
    finally:
        assert again.stop() == 0
    found = {each["id"]: each["subject"] for each in of_source(ingest, "usage", "shared")}
    assert found == {f"m{number}": f"a{number}" for number in range(20)} | {"after": "a7"}
    assert [each["subject"] for each in of_source(ingest, "invoices", "stripe")] == ["acme"]


def test_without_its_database_known_keys_go_on(ingest: Stage, postgres: Any) -> None:
    known = bearer(ingest, "known")
    assert httpx.post(f"{ingest.service.url}/v1/events", json=[], headers=known).status_code == 200
    postgres.server.drop_database(ingest.env["EBBTIDE_DATABASE_URL"].rsplit("/", 1)[1].split("?")[0])
    answer = httpx.post(f"{ingest.service.url}/v1/events", json=event("e1"), headers=known, timeout=20)
    assert answer.json()["results"][0]["status"] == "accepted"
    unheard = {"authorization": "Basic " + base64.b64encode(b"unheard:").decode()}
    answer = httpx.post(f"{ingest.service.url}/v1/events", json=event("e1"), headers=unheard, timeout=20)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_broker_outage_loses_nothing_that_was_acknowledged(
    postgres: Any, migrated_template: str, session_folder: Any, tmp_path: Any
) -> None:
    port, controller_port = free_ports(2)
    broker = LocalKafka(session_folder / "kafka-outage", port, controller_port, heap="256m")
    broker.start()
    try:
        broker.wait_ready()
        with stage(broker, postgres, migrated_template, tmp_path, ingest_produce_timeout_s="1.5") as ingest:
            headers, kept = bearer(ingest, "outage"), set()
            client = httpx.Client(timeout=20)

            def send(event_id: str) -> httpx.Response:
                # One account: the partition that is stuck is the one that is asked again.
                answer = client.post(f"{ingest.service.url}/v1/events", json=[event(event_id)], headers=headers)
                if answer.status_code == 200:
                    assert [result["status"] for result in answer.json()["results"]] == ["accepted"]
                    kept.add(event_id)
                return answer

            def recovered(event_id: str) -> bool:
                return send(event_id).status_code == 200

            assert send("before").status_code == 200
            assert broker.process is not None
            broker.process.send_signal(signal.SIGSTOP)
            answers = [send(f"stopped-{number}") for number in range(3)]
            assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {(503, "5")}
            assert [answer.elapsed.total_seconds() < 1 for answer in answers[1:]] == [True, True], (
                "no second wait in vain"
            )
            assert httpx.get(f"{ingest.service.url}/readyz").status_code == 503
            broker.process.send_signal(signal.SIGCONT)
            wait_for("events are accepted again", lambda: recovered("after stop"))
            assert httpx.get(f"{ingest.service.url}/readyz").status_code == 200

            broker.process.send_signal(signal.SIGKILL)
            broker.process.wait()
            assert send("killed").status_code == 503
            broker.start()
            broker.wait_ready()
            wait_for("events are accepted again", lambda: recovered("after kill"), within=60)
            client.close()
            found = [json.loads(record.value)["id"] for record in read_topic(broker.bootstrap, "usage")]
            assert kept <= set(found)
            # What was in hand when the broker went is unknown to the client; it came once, not once for each try.
            assert len(found) == len(set(found)), found
    finally:
        broker.kill()
