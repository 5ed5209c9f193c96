"""Stripe's and Zendesk's webhooks to events, and their signatures."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from typing import Any

import pytest

from services.ingest import names
from services.ingest.names import Link
from services.ingest.translate import Translation, Unparsable, stripe, zendesk

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
CREATED = int(NOW.timestamp()) - 60
KNOWN = {
    names.external("stripe", "cus_1"): Link("acme", 0, names.LINKED),
    names.external("zendesk", "900"): Link("acme", 0, names.LINKED),
}


def stripe_event(kind: str, thing: dict[str, Any], **more: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "created": CREATED,
        "data": {"object": {"customer": "cus_1"} | thing},
    }
    return json.dumps(event | more).encode()


def zendesk_event(what: str, change: dict[str, Any] | None = None, **detail: Any) -> bytes:
    ticket = {"id": "35436", "organization_id": "900", "priority": "URGENT", "requester_id": "77", "type": "QUESTION"}
    event = {
        "account_id": 1,
        "id": "zen-1",
        "subject": "zen:ticket:35436",
        "time": "2026-11-22T11:59:00.25Z",
        "type": f"zen:event-type:ticket.{what}",
        "zendesk_event_version": "2022-11-06",
        "event": change or {},
        "detail": ticket | detail,
    }
    return json.dumps(event).encode()


def one(translation: Translation) -> tuple[str, dict[str, Any]]:
    """Type and data of the one event made."""
    assert translation.unusable == []
    (ready,) = translation.ready
    assert ready.event.subject == "acme"
    event = json.loads(ready.value)
    return event["type"], event["data"]


INVOICE = {
    "id": "in_1",
    "currency": "eur",
    "amount_due": 120050,
    "amount_paid": 120050,
    "attempt_count": 2,
    "due_date": int(dt.datetime(2026, 12, 6, tzinfo=dt.UTC).timestamp()),
    "period_start": int(dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp()),
    "period_end": int(dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp()),
    "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
    "lines": {
        "data": [
            {
                "id": "il_1",
                "quantity": 10,
                "pricing": {"price_details": {"product": "prod_1"}, "unit_amount_decimal": "12005"},
            }
        ]
    },
}
SUBSCRIPTION = {
    "id": "sub_1",
    "currency": "usd",
    "status": "active",
    "items": {
        "data": [
            {
                "id": "si_1",
                "quantity": 3,
                "current_period_end": 1,
                "price": {
                    "id": "price_1",
                    "product": "prod_1",
                    "nickname": "Pro",
                    "unit_amount": 12000,
                    "recurring": {"interval": "year", "interval_count": 1, "usage_type": "licensed"},
                },
            }
        ]
    },
}
STRIPE = [
    (
        "invoice.finalized",
        INVOICE,
        (
            "invoice.issued",
            {
                "invoice_id": "in_1",
                "amount": "1200.50",
                "currency": "EUR",
                "due": "2026-12-06",
                "period_start": "2026-11-01",
                "period_end": "2026-12-01",
                "recurring": True,
                "lines": [{"product": "prod_1", "quantity": 10, "unit_price": "120.05"}],
            },
        ),
    ),
    (
        "invoice.finalized",
        {"id": "in_2", "currency": "jpy", "amount_due": 500, "due_date": None, "subscription": None},
        (
            "invoice.issued",
            {"invoice_id": "in_2", "amount": "500", "currency": "JPY", "due": "2026-11-22", "recurring": False},
        ),
    ),
    ("invoice.paid", INVOICE, ("invoice.paid", {"invoice_id": "in_1", "amount": "1200.50", "currency": "EUR"})),
    ("invoice.payment_failed", INVOICE, ("invoice.payment_failed", {"invoice_id": "in_1", "attempt": 2})),
    ("invoice.voided", INVOICE, ("invoice.voided", {"invoice_id": "in_1"})),
    (
        "credit_note.created",
        {"id": "cn_1", "invoice": "in_1", "amount": 50, "currency": "usd"},
        ("invoice.credited", {"invoice_id": "in_1", "amount": "0.50"}),
    ),
    (
        "customer.subscription.created",
        SUBSCRIPTION,
        (
            "account.subscription_changed",
            {"subscription_id": "sub_1", "product": "Pro", "mrr": "30.00", "quantity": 3, "kind": "new"},
        ),
    ),
    (
        "customer.subscription.updated",
        SUBSCRIPTION | {"discount": {"coupon": {"percent_off": 50}}},
        (
            "account.subscription_changed",
            {"subscription_id": "sub_1", "product": "Pro", "mrr": "15.00", "quantity": 3, "discount": 50},
        ),
    ),
    (
        "customer.subscription.deleted",
        SUBSCRIPTION | {"status": "canceled", "cancellation_details": {"reason": "cancellation_requested"}},
        (
            "account.subscription_changed",
            {
                "subscription_id": "sub_1",
                "product": "Pro",
                "mrr": "0.00",
                "quantity": 3,
                "reason": "cancellation_requested",
                "kind": "cancel",
            },
        ),
    ),
]


@pytest.mark.parametrize(("kind", "thing", "wanted"), STRIPE, ids=[f"{case[0]}-{case[1]['id']}" for case in STRIPE])
def test_stripe(kind: str, thing: dict[str, Any], wanted: tuple[str, dict[str, Any]]) -> None:
    found = stripe.translate(stripe_event(kind, thing), NOW, KNOWN)
    assert one(found) == wanted
    (ready,) = found.ready
    assert (ready.event.id, ready.event.source, ready.event.time) == ("evt_1", "stripe", NOW - dt.timedelta(minutes=1))


def test_stripe_without_a_known_customer_is_a_dead_letter() -> None:
    body = stripe_event("invoice.voided", INVOICE | {"customer": {"id": "cus_2", "object": "customer"}})
    (item,) = stripe.translate(body, NOW, KNOWN).unusable
    assert (item.reason, item.value, item.names) == ("unattributed", body, (names.external("stripe", "cus_2"),))


def test_stripe_says_things_that_nobody_keeps() -> None:
    assert stripe.translate(stripe_event("charge.succeeded", {"id": "ch_1"}), NOW, KNOWN) == Translation([], [], {}, 1)


@pytest.mark.parametrize("thing", [{"id": "in_1"}, INVOICE | {"currency": None}, INVOICE | {"amount_due": "much"}])
def test_a_stripe_invoice_that_cannot_be_read(thing: dict[str, Any]) -> None:
    (item,) = stripe.translate(stripe_event("invoice.finalized", thing), NOW, KNOWN).unusable
    assert item.reason == "invalid"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"id":"e","type":"x","created":1,"data":{"object":1}}', stripe_event("x", {}, created=1e30)],
)
def test_not_from_stripe(body: bytes) -> None:
    with pytest.raises(Unparsable):
        stripe.translate(body, NOW, KNOWN)


class TestStripeSignature:
    secret, body = "whsec_abc", b'{"id":"evt_1"}'

    def header(self, stamp: int = CREATED, secret: str = secret) -> str:
        return (
            f"t={stamp},v1=" + hmac.new(secret.encode(), f"{stamp}.".encode() + self.body, hashlib.sha256).hexdigest()
        )

    def test_any_v1_that_fits(self) -> None:
        assert stripe.signed(self.header(), self.body, self.secret, NOW)
        stamp, good = self.header().split(",")
        assert stripe.signed(f"{stamp}, v1=00,{good},v0=11", self.body, self.secret, NOW)

    @pytest.mark.parametrize("header", [None, "", "v1=00", "t=,v1=", "t=x,v1=00", f"t={CREATED}", f"t={CREATED},v1=é"])
    def test_none_that_fits(self, header: str | None) -> None:
        assert not stripe.signed(header, self.body, self.secret, NOW)

    def test_another_body_secret_or_time(self) -> None:
        assert not stripe.signed(self.header(), self.body + b" ", self.secret, NOW)
        assert not stripe.signed(self.header(secret="whsec_other"), self.body, self.secret, NOW)
        edge = int(NOW.timestamp()) - stripe.TOLERANCE_S
        assert stripe.signed(self.header(edge), self.body, self.secret, NOW)
        assert not stripe.signed(self.header(edge - 1), self.body, self.secret, NOW)


ZENDESK = [
    (
        "created",
        {},
        {},
        ("ticket.opened", {"ticket_id": "35436", "priority": "P1", "category": "how_to", "user": "77"}),
    ),
    (
        "created",
        {},
        {"priority": None, "type": None, "requester_id": None},
        ("ticket.opened", {"ticket_id": "35436", "priority": "P3"}),
    ),
    ("status_changed", {"previous": "OPEN", "current": "SOLVED"}, {}, ("ticket.resolved", {"ticket_id": "35436"})),
    ("status_changed", {"previous": "SOLVED", "current": "CLOSED"}, {}, ("ticket.closed", {"ticket_id": "35436"})),
    ("status_changed", {"previous": "SOLVED", "current": "OPEN"}, {}, ("ticket.reopened", {"ticket_id": "35436"})),
    (
        "priority_changed",
        {"previous": "LOW", "current": "HIGH"},
        {},
        ("ticket.updated", {"ticket_id": "35436", "priority": "P2"}),
    ),
    (
        "comment_added",
        {"comment": {"id": "1", "is_public": True, "author": {"id": "5", "is_staff": True}}},
        {},
        ("ticket.responded", {"ticket_id": "35436"}),
    ),
    ("soft_deleted", {}, {}, ("ticket.closed", {"ticket_id": "35436"})),
]


@pytest.mark.parametrize(("what", "change", "detail", "wanted"), ZENDESK)
def test_zendesk(what: str, change: dict[str, Any], detail: dict[str, Any], wanted: tuple[str, dict[str, Any]]) -> None:
    found = zendesk.translate(zendesk_event(what, change, **detail), NOW, KNOWN)
    assert one(found) == wanted
    (ready,) = found.ready
    assert (ready.event.id, ready.event.source) == ("zen-1", "zendesk")
    assert ready.event.time == dt.datetime(2026, 11, 22, 11, 59, 0, 250_000, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("status_changed", {"previous": "NEW", "current": "OPEN"}),
        ("comment_added", {"comment": {"is_public": True, "author": {"is_staff": False}}}),
        ("comment_added", {"comment": {"is_public": False, "author": {"is_staff": True}}}),
        ("tags_changed", {}),
    ],
)
def test_zendesk_says_things_that_nobody_keeps(what: str, change: dict[str, Any]) -> None:
    assert zendesk.translate(zendesk_event(what, change), NOW, KNOWN).ignored == 1


@pytest.mark.parametrize("organisation", ["901", "0", None])
def test_zendesk_without_a_known_organisation_is_a_dead_letter(organisation: str | None) -> None:
    (item,) = zendesk.translate(zendesk_event("created", organization_id=organisation), NOW, KNOWN).unusable
    assert (item.reason, item.field) == ("unattributed", "detail.organization_id")
    assert item.names == ((names.external("zendesk", "901"),) if organisation == "901" else ())


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"ticket":{"id":1}}', b'{"type":"t","id":"1","time":"now"}'])
def test_not_an_event_of_zendesk(body: bytes) -> None:
    with pytest.raises(Unparsable):
        zendesk.translate(body, NOW, KNOWN)


def test_zendesk_signature() -> None:
    body, stamp, secret = b'{"a":1}', "2026-11-22T12:00:00Z", "dGhpc19zZWNyZXQ="
    good = base64.b64encode(hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest()).decode()
    assert zendesk.signed(good, stamp, body, secret)
    assert not zendesk.signed(good, stamp, body + b" ", secret)
    assert not zendesk.signed(good, None, body, secret)
    assert not zendesk.signed(None, stamp, body, secret)
    assert not zendesk.signed(good, stamp, body, "other")
