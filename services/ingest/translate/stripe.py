"""Stripe's webhook events to invoices and subscriptions. The customer is found through `account.linked` with system `stripe`."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping as Dict
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import msgspec

from schemas.codec import Refusal
from services.ingest.names import Link, Name, Names, external
from services.ingest.translate import Translation, Unparsable, Unusable, make_event

SYSTEM: Final = "stripe"
TOLERANCE_S: Final = 300
LINES_AT_MOST: Final = 50
NO_DECIMALS: Final = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
)
THREE_DECIMALS: Final = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
PRICE_PLACES: Final = Decimal("0.000000001")
MONTHS: Final = {
    "day": Decimal(12) / Decimal(365),
    "week": Decimal(12) / Decimal(52),
    "month": Decimal(1),
    "year": Decimal(12),
}
EARNING: Final = frozenset({"active", "past_due", "unpaid"})

_OUT_OF_RANGE: Final = (ValueError, OverflowError, OSError)  # what a timestamp that is none raises
_RAW: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def signed(header: str | None, body: bytes, secret: str, now: dt.datetime) -> bool:
    """Whether `Stripe-Signature` fits: any `v1` of `t.body`, with `t` at most five minutes from `now`."""
    stamp, given = "", []
    for part in (header or "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            stamp = value
        elif name == "v1":
            given.append(value)
    if not stamp.isascii() or not stamp.isdigit() or abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        return False
    wanted = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(wanted.encode(), each.encode("utf-8", "replace")) for each in given)


def translate(body: bytes, now: dt.datetime, known: Names | Dict[Name, Link]) -> Translation:
    """Translate one webhook body that arrived at `now`. Raises Unparsable where it is no Stripe event."""
    try:
        event = _RAW.decode(body)
        kind, event_id, thing = str(event["type"]), str(event["id"]), event["data"]["object"]
        created = dt.datetime.fromtimestamp(event["created"], dt.UTC)
        # What the translations below rely on: an object, whose members are read one by one.
        thing.get("id")
    except (
        msgspec.MsgspecError,
        ValueError,
        RecursionError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        OSError,
    ) as error:
        raise Unparsable(f"not a Stripe event (id, type, created, data.object): {error!r}") from None
    translation = Translation([], [], {})
    try:
        made = _made(kind, thing, created)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        translation.unusable.append(
            Unusable("invalid", "data.object", f"cannot be read as {kind}: {error!r}", body, kind)
        )
        return translation
    if made is None:
        translation.ignored = 1
        return translation
    customer = _id(thing.get("customer"))
    names = (external(SYSTEM, customer),) if customer else ()
    link = known.get(names[0]) if names else None
    if link is None:
        detail = f"customer {customer!r} belongs to no account; send account.linked with system stripe"
        translation.unusable.append(Unusable("unattributed", "data.object.customer", detail, body, kind, names))
        return translation
    type_name, data = made
    ready = make_event(
        type_name=type_name, event_id=event_id, source=SYSTEM, subject=link.account, time=created, data=data, now=now
    )
    if isinstance(ready, Refusal):
        translation.unusable.append(Unusable(ready.reason, ready.field, ready.detail, body, kind, ()))
    else:
        translation.ready.append(ready)
    return translation


def _made(kind: str, thing: dict[str, Any], created: dt.datetime) -> tuple[str, dict[str, Any]] | None:
    """Type and data of our event, or None where Stripe's says nothing that we keep."""
    if kind == "invoice.finalized":
        return "invoice.issued", _issued(thing, created)
    if kind == "invoice.paid":
        return "invoice.paid", {
            "invoice_id": thing["id"],
            "amount": _amount(thing["amount_paid"], thing["currency"]),
            "currency": thing["currency"].upper(),
        }
    if kind == "invoice.payment_failed":
        return "invoice.payment_failed", {"invoice_id": thing["id"], "attempt": thing.get("attempt_count")}
    if kind == "invoice.voided":
        return "invoice.voided", {"invoice_id": thing["id"]}
    if kind == "credit_note.created":
        return "invoice.credited", {
            "invoice_id": _id(thing["invoice"]),
            "amount": _amount(thing["amount"], thing["currency"]),
        }
    if kind in ("customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted"):
        return "account.subscription_changed", _subscription(thing, kind.rsplit(".", 1)[1])
    return None


def _issued(invoice: dict[str, Any], created: dt.datetime) -> dict[str, Any]:
    # An invoice that is charged at once has no due date: it is due when it is issued.
    due = invoice.get("due_date")
    data: dict[str, Any] = {
        "invoice_id": invoice["id"],
        "amount": _amount(invoice.get("amount_due", invoice.get("total")), invoice["currency"]),
        "currency": invoice["currency"].upper(),
        "due": dt.datetime.fromtimestamp(due, dt.UTC).date() if due is not None else created.date(),
        "recurring": _of_subscription(invoice),
    }
    for name in ("period_start", "period_end"):
        if invoice.get(name) is not None:
            data[name] = dt.datetime.fromtimestamp(invoice[name], dt.UTC).date()
    lines = [_line(line, invoice["currency"]) for line in (invoice.get("lines") or {}).get("data", [])[:LINES_AT_MOST]]
    if lines:
        data["lines"] = lines
    return data


def _of_subscription(invoice: dict[str, Any]) -> bool:
    """The subscription stands under `parent` since API 2025, before that in the invoice itself."""
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return bool(details.get("subscription") or invoice.get("subscription"))


def _line(line: dict[str, Any], currency: str) -> dict[str, Any]:
    price = line.get("price") or {}
    pricing = line.get("pricing") or {}
    product = (
        _id(price.get("product")) or (pricing.get("price_details") or {}).get("product") or line.get("description")
    )
    found: dict[str, Any] = {"product": str(product or line["id"])[:1024]}
    if line.get("quantity") is not None:
        found["quantity"] = line["quantity"]
    unit = price.get("unit_amount_decimal") or price.get("unit_amount") or pricing.get("unit_amount_decimal")
    if unit is not None:
        found["unit_price"] = _price(unit, currency)
    return found


def _subscription(subscription: dict[str, Any], step: str) -> dict[str, Any]:
    """One subscription with the monthly revenue of all of its items, less a discount in percent."""
    items = (subscription.get("items") or {}).get("data", [])
    prices = [item.get("price") or item["plan"] for item in items]
    currency = subscription.get("currency") or prices[0]["currency"]
    earning = step != "deleted" and subscription.get("status", "active") in EARNING
    mrr = (
        sum((_monthly(price, item) for price, item in zip(prices, items, strict=True)), Decimal(0))
        if earning
        else Decimal(0)
    )
    percent = ((subscription.get("discount") or {}).get("coupon") or {}).get("percent_off")
    if percent is not None:
        mrr *= 1 - Decimal(str(percent)) / 100
    products = [str(price.get("nickname") or _id(price.get("product")) or price["id"]) for price in prices]
    data: dict[str, Any] = {
        "subscription_id": subscription["id"],
        "product": " + ".join(products)[:1024] or subscription["id"],
        "mrr": _amount(mrr, currency),
    }
    if len(items) == 1 and items[0].get("quantity") is not None:
        data["quantity"] = items[0]["quantity"]
    if percent is not None:
        data["discount"] = percent
    reason = (subscription.get("cancellation_details") or {}).get("reason")
    if reason:
        data["reason"] = str(reason)
    kind = {"created": "new", "deleted": "cancel"}.get(step)
    if kind:
        data["kind"] = kind
    return data


def _monthly(price: dict[str, Any], item: dict[str, Any]) -> Decimal:
    """What one item brings in a month, in the currency's smallest unit; what is billed by use counts nothing."""
    recurring = price.get("recurring") or price
    unit = price.get("unit_amount_decimal") or price.get("unit_amount") or price.get("amount")
    if recurring.get("usage_type") == "metered" or unit is None:
        return Decimal(0)
    months = MONTHS[recurring["interval"]] * Decimal(recurring.get("interval_count") or 1)
    return Decimal(str(unit)) * Decimal(item.get("quantity") or 1) / months


def _amount(minor: Any, currency: str) -> str:
    """An amount in the smallest unit as a decimal in the main one, rounded to what the currency has."""
    digits = _digits(currency)
    return format(Decimal(str(minor)).scaleb(-digits).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP), "f")


def _price(minor: Any, currency: str) -> str:
    """A unit price, which may be a fraction of the smallest unit, as a decimal in the main one."""
    exact = Decimal(str(minor)).scaleb(-_digits(currency))
    return format(exact.quantize(PRICE_PLACES).normalize(), "f")


def _digits(currency: str) -> int:
    code = currency.upper()
    return 0 if code in NO_DECIMALS else 3 if code in THREE_DECIMALS else 2


def _id(thing: Any) -> str | None:
    """The id of an object, whether it stands as id or was expanded."""
    found = thing.get("id") if isinstance(thing, dict) else thing
    return str(found) if found else None
