"""`/v1/webhooks`: who is told of what happens, what was sent to whom, and sending it again."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy import RowMapping
from starlette.responses import Response

from services.api import cursors, webhooks
from services.api import webhook_answers as shapes
from services.api.answers import answer, page
from services.api.auth import require
from services.api.cursors import ByDelivery
from services.api.database import Connection, writing
from services.api.parameters import Parameters
from services.api.paths import SEGMENT
from services.api.webhook_answers import (
    LARGEST_ID,
    DeliveryFilter,
    EnableOptions,
    NewWebhook,
    Redelivery,
    Rotation,
    WebhookChange,
)
from services.common.keys import Key
from services.common.problems import MEDIA_TYPE, FieldError, bad_parameter
from services.common.targets import TargetRefused, check_url, refused_because

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], dependencies=[Depends(require("admin"))])

ORDER: Final = "deliveries"
RESOLVED_WITHIN_S: Final = 2.0

Admin = Annotated[Key, Depends(require("admin"))]
WebhookId = Annotated[str, Path(description="id of the webhook")]
DeliveryId = Annotated[int, Path(description="id of the message in the log", ge=1, le=LARGEST_ID)]
Nothing = Annotated[Parameters, Query()]

ONE: Final = f"/{{webhook_id:{SEGMENT}}}"
CONFLICT: Final[dict[int | str, dict[str, Any]]] = {
    409: {
        "description": "Not possible as it stands",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
}


@router.get("", responses={200: {"model": shapes.WebhookList}})
async def list_webhooks(request: Request, parameters: Nothing) -> Response:
    """Every webhook, oldest first; there are at most 100."""
    async with Connection(request) as connection:
        found = await webhooks.endpoints(connection)
    return answer(page([shapes.shown(row) for row in found], None))


@router.post("", status_code=201, responses={201: {"model": shapes.CreatedWebhook}, **CONFLICT})
async def create_webhook(request: Request, wanted: NewWebhook, parameters: Nothing, key: Admin) -> Response:
    """Be told of what happens from now on. The answer shows the secret that signs; keep it."""
    await _check(request, wanted.url)
    async with writing(request.app.state.engine) as connection:
        webhook_id = await webhooks.create(connection, key.actor, wanted)
        made = await webhooks.endpoint(connection, webhook_id)
    body = answer(shapes.shown(made) | {"secret": made["secret"]}).body
    return Response(body, 201, {"location": f"{router.prefix}/{webhook_id}"}, media_type="application/json")


@router.get(ONE, responses={200: {"model": shapes.Webhook}})
async def get_webhook(request: Request, webhook_id: WebhookId, parameters: Nothing) -> Response:
    """One webhook."""
    async with Connection(request) as connection:
        return answer(shapes.shown(await webhooks.endpoint(connection, webhook_id)))


@router.patch(ONE, responses={200: {"model": shapes.Webhook}})
async def change_webhook(
    request: Request, webhook_id: WebhookId, wanted: WebhookChange, parameters: Nothing, key: Admin
) -> Response:
    """Change where it goes, how, or what is sent. What is waiting to be sent goes by the new settings."""
    if "url" in wanted.model_fields_set:
        await _check(request, wanted.url)
    async with writing(request.app.state.engine) as connection:
        if wanted.model_fields_set:
            await webhooks.change(connection, key.actor, webhook_id, wanted)
        return answer(shapes.shown(await webhooks.endpoint(connection, webhook_id)))


@router.delete(ONE, status_code=204, response_class=Response)
async def delete_webhook(request: Request, webhook_id: WebhookId, parameters: Nothing, key: Admin) -> Response:
    """Remove it, and its log. What it was not sent yet is never sent."""
    async with writing(request.app.state.engine) as connection:
        await webhooks.remove(connection, key.actor, webhook_id)
    return Response(status_code=204)


@router.post(f"{ONE}/enable", responses={200: {"model": shapes.Webhook}})
async def enable_webhook(
    request: Request, webhook_id: WebhookId, options: Annotated[EnableOptions, Query()], key: Admin
) -> Response:
    """Let it go on where it was, with everything that happened meanwhile, or without."""
    async with writing(request.app.state.engine) as connection:
        await webhooks.enable(connection, key.actor, webhook_id, skip=options.skip)
        return answer(shapes.shown(await webhooks.endpoint(connection, webhook_id)))


@router.post(f"{ONE}/disable", responses={200: {"model": shapes.Webhook}})
async def disable_webhook(request: Request, webhook_id: WebhookId, parameters: Nothing, key: Admin) -> Response:
    """Send it nothing until it is enabled again. What happens meanwhile waits, for 30 days."""
    async with writing(request.app.state.engine) as connection:
        await webhooks.disable(connection, key.actor, webhook_id)
        return answer(shapes.shown(await webhooks.endpoint(connection, webhook_id)))


@router.post(f"{ONE}/rotate", responses={200: {"model": shapes.Secrets}})
async def rotate_secret(
    request: Request, webhook_id: WebhookId, wanted: Rotation, parameters: Nothing, key: Admin
) -> Response:
    """Give it another secret. Until the overlap ends, messages are signed with both."""
    async with writing(request.app.state.engine) as connection:
        overlap = dt.timedelta(hours=wanted.overlap_hours)
        await webhooks.rotate(connection, key.actor, webhook_id, wanted.secret, overlap)
        return answer(shapes.secrets_shown(await webhooks.endpoint(connection, webhook_id)))


@router.post(f"{ONE}/reveal", responses={200: {"model": shapes.Secrets}})
async def reveal_secret(request: Request, webhook_id: WebhookId, parameters: Nothing, key: Admin) -> Response:
    """Show the secrets that sign now. It is audited."""
    async with writing(request.app.state.engine) as connection:
        return answer(shapes.secrets_shown(await webhooks.reveal(connection, key.actor, webhook_id)))


@router.post(f"{ONE}/test", status_code=202, responses={202: {"model": shapes.Queued}, **CONFLICT})
async def test_webhook(request: Request, webhook_id: WebhookId, parameters: Nothing, key: Admin) -> Response:
    """Send a message of type `webhook.test`, once and before all others. Its success hurries what waits."""
    async with writing(request.app.state.engine) as connection:
        made = await webhooks.test(connection, key.actor, webhook_id)
    return _accepted(dict(made))


@router.post(f"{ONE}/redeliver", status_code=202, responses={202: {"model": shapes.Requeued}, **CONFLICT})
async def redeliver(
    request: Request, webhook_id: WebhookId, wanted: Redelivery, parameters: Nothing, key: Admin
) -> Response:
    """Send one message, or a part of the feed, again: under the same ids, in order, before what is new."""
    async with writing(request.app.state.engine) as connection:
        return _accepted(await webhooks.redeliver(connection, key.actor, webhook_id, wanted))


@router.get(f"{ONE}/deliveries", responses={200: {"model": shapes.DeliveryPage}})
async def list_deliveries(
    request: Request, webhook_id: WebhookId, wanted: Annotated[DeliveryFilter, Query()]
) -> Response:
    """What was sent in the last 30 days, or waits to be sent again, newest first."""
    before = None if wanted.cursor is None else cursors.decode(wanted.cursor, ByDelivery, ORDER).delivery_id
    async with Connection(request) as connection:
        await webhooks.endpoint(connection, webhook_id)
        found = await webhooks.deliveries(connection, webhook_id, wanted.state, before, wanted.limit + 1)
    cursor = None
    if len(found) > wanted.limit:
        found = found[: wanted.limit]
        cursor = cursors.encode(ByDelivery(ORDER, found[-1]["delivery_id"]))
    return answer(page([_delivery(row) for row in found], cursor))


@router.get(f"{ONE}/deliveries/{{delivery_id:{SEGMENT}}}", responses={200: {"model": shapes.DeliveryDetail}})
async def get_delivery(
    request: Request, webhook_id: WebhookId, delivery_id: DeliveryId, parameters: Nothing
) -> Response:
    """One message with every attempt and the beginning of each answer."""
    async with Connection(request) as connection:
        found, attempts = await webhooks.one_delivery(connection, webhook_id, delivery_id)
    return answer(_delivery(found) | {"log": [dict(attempt) for attempt in attempts]})


def _delivery(row: RowMapping) -> dict[str, Any]:
    members = {name: value for name, value in row.items() if not name.startswith("attempt_") and name != "webhook_id"}
    last = {name.removeprefix("attempt_"): value for name, value in row.items() if name.startswith("attempt_")}
    return members | {"last": last if last["attempt"] is not None else None}


def _accepted(body: dict[str, Any]) -> Response:
    return Response(answer(body).body, 202, media_type="application/json")


async def _check(request: Request, url: str) -> None:
    """Refuse a URL that delivery would not call: Problem 400. A name that nobody knows yet is let pass."""
    allow_private: bool = request.app.state.webhook_allow_private
    try:
        target = check_url(url, allow_private=allow_private)
    except TargetRefused as error:
        raise bad_parameter(FieldError("url", str(error))) from None
    if allow_private or target.host is None:
        return
    try:
        async with asyncio.timeout(RESOLVED_WITHIN_S):
            found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return
    for *_, address in found:
        if refusal := refused_because(ipaddress.ip_address(str(address[0]).partition("%")[0])):
            raise bad_parameter(FieldError("url", f"{target.host} leads to {address[0]}, {refusal}"))
