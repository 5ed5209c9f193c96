"""Calls that came before their account was known: what happens to them once it is, by whichever way that is said."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from services.ingest import names
from tests.harness import start_service, wait_for
from tests.ingest_stage import Stage, event, stage

STRIPE, ZENDESK = "whsec_links", "zendesk-links"


@pytest.fixture(scope="module")
def ingest(kafka: Any, postgres: Any, migrated_template: str, tmp_path_factory: Any) -> Iterator[Stage]:
    settings = {"stripe_secret": STRIPE, "zendesk_secret": ZENDESK, "ingest_key_cache_s": "0"}
    with stage(kafka, postgres, migrated_template, tmp_path_factory.mktemp("links"), **settings) as running:
        yield running


def from_stripe(ingest: Stage, number: int, customer: str) -> dict[str, Any]:
    stamp = int(time.time())
    thing = {"id": f"in_{number}", "customer": customer}
    said = {"id": f"evt_{number}", "type": "invoice.voided", "created": stamp, "data": {"object": thing}}
    body = json.dumps(said).encode()
    signature = hmac.new(STRIPE.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t={stamp},v1={signature}"}
    answer = httpx.post(f"{ingest.service.url}/v1/webhooks/stripe", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def from_zendesk(ingest: Stage, ticket: int, organisation: str) -> dict[str, Any]:
    detail = {"id": ticket, "organization_id": organisation, "priority": "HIGH"}
    time_ = event("x")["time"]
    said = {"type": "zen:event-type:ticket.created", "id": f"z{ticket}", "time": time_, "detail": detail, "event": {}}
    body = json.dumps(said).encode()
    digest = hmac.new(ZENDESK.encode(), b"now" + body, hashlib.sha256).digest()
    headers = {
        "x-zendesk-webhook-signature": base64.b64encode(digest).decode(),
        "x-zendesk-webhook-signature-timestamp": "now",
    }
    answer = httpx.post(f"{ingest.service.url}/v1/webhooks/zendesk", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def track(ingest: Stage, user: str, message: str) -> None:
    call = {"writeKey": ingest.key("web"), "userId": user, "event": "Report Exported", "messageId": message}
    assert httpx.post(f"{ingest.service.url}/v1/track", json=call).status_code == 200


def straight_to_kafka(ingest: Stage, *events: dict[str, Any]) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=ingest.bootstrap, acks="all")
        await producer.start()
        for each in events:
            await producer.send_and_wait("accounts", json.dumps(each).encode(), key=each["subject"].encode())
        await producer.stop()

    asyncio.run(send())


def accounts_by_id(ingest: Stage, topic: str) -> list[tuple[str, str]]:
    return sorted(
        (found["id"], found["subject"]) for record in ingest.read(topic) if (found := json.loads(record.value))
    )


def metric(ingest: Stage, line: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{ingest.env['EBBTIDE_METRICS_PORT_INGEST']}/metrics").text
    return sum(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line))


def test_letters_go_by_themselves_when_the_link_comes_over_http(ingest: Stage) -> None:
    track(ingest, "u1", "m1")
    track(ingest, "u1", "m2")
    track(ingest, "stranger", "m3")
    assert from_stripe(ingest, 1, "cus_1")["dead_letters"][0]["reason"] == "unattributed"
    assert from_zendesk(ingest, 1, "org_1")["dead_letters"][0]["reason"] == "unattributed"
    assert ingest.read("usage") == []
    wait_for("all wait", lambda: metric(ingest, "ebbtide_ingest_letters_waiting") == 5)

    group = {"writeKey": ingest.key("web"), "userId": "u1", "groupId": "acme"}
    assert httpx.post(f"{ingest.service.url}/v1/group", json=group).status_code == 200
    links = [
        event("l1", "account.linked", "acme", system="stripe", external_id="cus_1"),
        event("l2", "account.linked", "globex", system="zendesk", external_id="org_1"),
    ]
    bearer = {"authorization": f"Bearer {ingest.key('crm')}", "content-type": "application/json"}
    answer = httpx.post(f"{ingest.service.url}/v1/events", json=links, headers=bearer)
    assert [each["status"] for each in answer.json()["results"]] == ["accepted", "accepted"]

    wait_for("the calls became events", lambda: len(ingest.read("usage")) == 2)
    assert accounts_by_id(ingest, "usage") == [("m1", "acme"), ("m2", "acme")]
    wait_for("the invoice", lambda: accounts_by_id(ingest, "invoices") == [("evt_1", "acme")])
    wait_for("the ticket", lambda: accounts_by_id(ingest, "tickets") == [("z1", "globex")])
    wait_for("counted", lambda: metric(ingest, 'ebbtide_ingest_letters_total{outcome="replayed"}') == 4)
    wait_for("the stranger's alone to wait", lambda: metric(ingest, "ebbtide_ingest_letters_waiting") == 1)


def test_a_link_sent_straight_to_kafka_counts_as_well_and_is_shared(ingest: Stage) -> None:
    from_stripe(ingest, 2, "cus_2")
    from_zendesk(ingest, 2, "org_2")
    straight_to_kafka(
        ingest,
        event("s1", "account.linked", "initech", system="Stripe", external_id="cus_2"),
        event("s2", "account.linked", "hooli", system="zendesk", external_id="org_2"),
    )
    wait_for("the invoice", lambda: ("evt_2", "initech") in accounts_by_id(ingest, "invoices"))
    wait_for("the ticket", lambda: ("z2", "hooli") in accounts_by_id(ingest, "tickets"))
    written = {tuple(json.loads(record.key)): json.loads(record.value) for record in ingest.read("attribution")}
    assert written[names.external("stripe", "cus_2")]["account"] == "initech"
    assert from_stripe(ingest, 3, "cus_2")["accepted"] == 1, "from now on at once"

    straight_to_kafka(ingest, event("s3", "account.erased", "initech") | {"data": {}})

    def withdrawn() -> bool:
        last = {tuple(json.loads(record.key)): record.value for record in ingest.read("attribution")}
        return last[names.external("stripe", "cus_2")] is None

    wait_for("the link is withdrawn with its account", withdrawn)


def test_nothing_goes_twice_after_a_restart_and_what_was_linked_meanwhile_goes(ingest: Stage) -> None:
    before = accounts_by_id(ingest, "usage"), accounts_by_id(ingest, "tickets")
    track(ingest, "late", "m9")
    ingest.service.kill()
    # Another process of ingest would have written this; here nobody lives.
    link = {"account": "acme", "at_us": 1, "by": "group"}

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=ingest.bootstrap, acks="all")
        await producer.start()
        key = json.dumps(["user", "web", "late"], separators=(",", ":")).encode()
        await producer.send_and_wait("attribution", json.dumps(link).encode(), key=key)
        await producer.stop()

    asyncio.run(send())
    ingest.service = start_service("ingest", ingest.env)
    wait_for("the late one", lambda: ("m9", "acme") in accounts_by_id(ingest, "usage"))
    wait_for(
        "the others are known", lambda: metric(ingest, 'ebbtide_ingest_letters_total{outcome="replayed_before"}') >= 4
    )
    assert accounts_by_id(ingest, "usage") == sorted([*before[0], ("m9", "acme")])
    assert accounts_by_id(ingest, "tickets") == before[1]
