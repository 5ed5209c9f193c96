"""`POST /v1/webhooks/…`: what other systems send by themselves, believed by its signature."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.answers import Refused, json_answer
from services.ingest.attribution import Attribution
from services.ingest.routes import cloudevents
from services.ingest.service import Service, service_of
from services.ingest.translate import Translation, Unparsable, stripe, zendesk

BODY_LIMIT: Final = 1024 * 1024


async def from_stripe(request: Request) -> Response:
    """Stripe's events."""
    service = service_of(request)
    secret = _configured(service.secrets.stripe, "EBBTIDE_STRIPE_SECRET")
    async with service.body(request, BODY_LIMIT) as body:
        now = service.now()
        _believe(stripe.signed(request.headers.get("stripe-signature"), body, secret, now), "Stripe-Signature")
        return await _take(service, stripe.SYSTEM, now, lambda known: stripe.translate(body, now, known))


async def from_zendesk(request: Request) -> Response:
    """Zendesk's ticket events."""
    service = service_of(request)
    secret = _configured(service.secrets.zendesk, "EBBTIDE_ZENDESK_SECRET")
    signature = request.headers.get("x-zendesk-webhook-signature")
    stamp = request.headers.get("x-zendesk-webhook-signature-timestamp")
    async with service.body(request, BODY_LIMIT) as body:
        now = service.now()
        _believe(zendesk.signed(signature, stamp, body, secret), "X-Zendesk-Webhook-Signature")
        return await _take(service, zendesk.SYSTEM, now, lambda known: zendesk.translate(body, now, known))


async def from_generic(request: Request) -> Response:
    """CloudEvents from anything that can sign a body: hex HMAC-SHA256 in X-Signature."""
    service = service_of(request)
    name = request.path_params["name"]
    secret = _configured(service.secrets.generic.get(name), "EBBTIDE_GENERIC_WEBHOOK_SECRETS")
    async with service.body(request, BODY_LIMIT) as body:
        wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        given = request.headers.get("x-signature", "").removeprefix("sha256=").lower()
        _believe(hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")), "X-Signature")
        return await cloudevents.take(service, request, "generic", body)


async def _take(
    service: Service, system: str, now: dt.datetime, translate: Callable[[Attribution], Translation]
) -> Response:
    service.refuse_unless_ready()
    try:
        translation = await service.intake.translate_known(translate)
    except Unparsable as error:
        raise Refused(400, "unparsable", str(error)) from None
    await service.intake.keep(translation, system, system, now)
    return json_answer(
        {
            "accepted": len(translation.ready),
            "ignored": translation.ignored,
            "dead_letters": [
                {"reason": item.reason, "field": item.field, "detail": item.detail} for item in translation.unusable
            ],
        }
    )


def _configured(secret: str | None, variable: str) -> str:
    if not secret:
        raise Refused(404, "not_configured", f"this webhook is not set up here; {variable} holds its signing secret")
    return secret


def _believe(signed: bool, header: str) -> None:
    if not signed:
        raise Refused(401, "wrong_signature", f"{header} does not fit the body; compare the signing secrets")


ROUTES: Final = [
    Route("/v1/webhooks/stripe", from_stripe, methods=["POST"]),
    Route("/v1/webhooks/zendesk", from_zendesk, methods=["POST"]),
    Route("/v1/webhooks/generic/{name}", from_generic, methods=["POST"]),
]
