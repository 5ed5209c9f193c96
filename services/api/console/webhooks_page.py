"""Webhooks: who is told of what, whether it arrives, what was sent, and sending it again. For administrators, as `/v1`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import RedirectResponse, Response

from schemas.webhooks import KEPT_DAYS, State
from services.api import cursors, webhooks
from services.api.console import forms, session
from services.api.console.render import link, render, segment
from services.api.console.session import Viewer
from services.api.cursors import ByDelivery
from services.api.database import Connection, writing
from services.api.endpoints.webhooks import ORDER
from services.api.parameters import Parameters
from services.api.paths import SEGMENT
from services.api.webhook_answers import LARGEST_ID, Redelivery
from services.common.problems import FieldError, bad_parameter
from services.common.targets import origin

router = APIRouter(include_in_schema=False)

Administrator = Annotated[Viewer, Depends(session.administrator)]
WebhookId = Annotated[str, Path()]
DeliveryId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Act = Literal["test", "enable", "skip", "disable", "redeliver"]

PATH: Final = "/webhooks"
ONE: Final = f"{PATH}/{{webhook_id:{SEGMENT}}}"
SHOWN: Final = 25
STATES: Final = get_args(State)
BECAUSE: Final = {
    "asked": "by hand",
    "gone": "the receiver says that it is gone (410)",
    "failing": "it failed for 5 days",
}


class LogView(Parameters):
    """Which messages of the log are shown, from where, and what was done just now."""

    state: Annotated[State | Literal[""], Query()] = ""
    cursor: str | None = None
    did: Act | None = None


@router.get(PATH)
async def get_webhooks(request: Request, viewer: Administrator) -> Response:
    """Every endpoint with how it stands."""
    async with Connection(request) as connection:
        found = await webhooks.endpoints(connection)
    return render(request, "webhooks.html", items=found, origin_of=origin, sent=sent, because=BECAUSE)


@router.get(ONE)
async def get_webhook(
    request: Request, webhook_id: WebhookId, shown: Annotated[LogView, Query()], viewer: Administrator
) -> Response:
    """One endpoint: how it stands, what may be done, and the log of what was sent."""
    before = None if shown.cursor is None else cursors.decode(shown.cursor, ByDelivery, ORDER).delivery_id
    async with Connection(request) as connection:
        found = await webhooks.endpoint(connection, webhook_id)
        log = await webhooks.deliveries(connection, webhook_id, shown.state or None, before, SHOWN + 1)
    page, rest = log[:SHOWN], log[SHOWN:]
    at = f"{PATH}/{segment(webhook_id)}"
    cursor = cursors.encode(ByDelivery(ORDER, page[-1]["delivery_id"])) if rest else None
    return render(
        request,
        "webhook.html",
        hook=found,
        origin_of=origin,
        sent=sent,
        because=BECAUSE,
        log=page,
        states=STATES,
        shown=shown,
        kept_days=KEPT_DAYS,
        at=at,
        first=None if shown.cursor is None else link(at, state=shown.state),
        next=None if cursor is None else link(at, state=shown.state, cursor=cursor),
    )


@router.get(f"{ONE}/deliveries/{{delivery_id:{SEGMENT}}}")
async def get_delivery(
    request: Request, webhook_id: WebhookId, delivery_id: DeliveryId, viewer: Administrator
) -> Response:
    """One message with every attempt and the beginning of each answer."""
    async with Connection(request) as connection:
        hook = await webhooks.endpoint(connection, webhook_id)
        found, attempts = await webhooks.one_delivery(connection, webhook_id, delivery_id)
    at = f"{PATH}/{segment(webhook_id)}"
    return render(request, "webhook_message.html", hook=hook, origin_of=origin, one=found, attempts=attempts, at=at)


@router.post(f"{ONE}/acts")
async def post_act(request: Request, webhook_id: WebhookId, viewer: Administrator) -> Response:
    """Do one thing with an endpoint, and come back to it."""
    form = await forms.posted(request, viewer.form_secret)
    did = form.get("do") or ""
    if did not in get_args(Act):
        raise bad_parameter(FieldError("do", f"one of {', '.join(get_args(Act))}; open the page again"))
    async with writing(request.app.state.engine) as connection:
        await _act(connection, viewer.actor, webhook_id, did, form.get("delivery_id"))
    return RedirectResponse(link(f"{PATH}/{segment(webhook_id)}", did=did), 303)


async def _act(connection: AsyncConnection, actor: str, webhook_id: str, did: str, delivery: str | None) -> None:
    match did:
        case "test":
            await webhooks.test(connection, actor, webhook_id)
        case "enable" | "skip":
            await webhooks.enable(connection, actor, webhook_id, skip=did == "skip")
        case "disable":
            await webhooks.disable(connection, actor, webhook_id)
        case "redeliver":
            wanted = Redelivery(delivery_id=_number(delivery))
            await webhooks.redeliver(connection, actor, webhook_id, wanted)


def _number(given: str | None) -> int:
    if given is None or not given.isascii() or not given.isdigit() or not 1 <= int(given[:20]) <= LARGEST_ID:
        raise bad_parameter(FieldError("delivery_id", "no number of a message; open the page again"))
    return int(given)


def sent(hook: RowMapping) -> list[str]:
    """What an endpoint is sent, in words; one entry for each part of its filters."""
    filters: dict[str, Any] = hook["filters"]
    types = [name.removeprefix("signal.") for name in filters.get("types") or ()]
    kinds = [f"{kind} only" for kind in filters.get("kinds") or ()]
    words = [", ".join(types) or "everything that happens"]
    if len(kinds) == 1:
        words += kinds
    if filters.get("severity"):
        words.append("critical" if filters["severity"] == "critical" else f"{filters['severity']} or worse")
    if filters.get("signals"):
        words.append(", ".join(filters["signals"]))
    if filters.get("tiers"):
        words.append(f"{', '.join(filters['tiers'])} tier")
    return words
