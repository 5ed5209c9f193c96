"""Endpoints of webhooks in the database. Every change, its revision and its audit entry are one transaction.

Who changes an endpoint takes its row first, as delivery does when it records a result. `revision` makes delivery look.
"""

from __future__ import annotations

import base64
import datetime as dt
import secrets as random_bytes
import uuid
from typing import Any, Final

import msgspec
from sqlalchemy import RowMapping, Select, case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.feed import FeedEntry
from schemas.db.webhooks import Webhook, WebhookAttempt, WebhookDelivery, WebhookReplay
from schemas.webhooks import MOST_ENDPOINTS, SECRET_PREFIX, TEST_TYPE
from services.api.webhook_answers import NewWebhook, Redelivery, WebhookChange
from services.common import audit
from services.common.problems import FieldError, Problem, bad_parameter, not_found
from services.common.targets import origin

MOST_REPLAYS: Final = 10
NEW_SECRET_BYTES: Final = 32
ASKED: Final = "asked"
"""Why an endpoint is disabled: somebody asked for it. Delivery's own reasons are `gone` and `failing`."""

_ATTEMPT: Final = tuple(column for column in WebhookAttempt.__table__.columns if column.name != "delivery_id")

CREATION_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('ebbtide webhooks', 0))"


def new_secret() -> str:
    """A secret that nobody can guess."""
    return SECRET_PREFIX + base64.b64encode(random_bytes.token_bytes(NEW_SECRET_BYTES)).decode()


def conflict(detail: str) -> Problem:
    """409: it is not possible as the endpoint stands."""
    return Problem(409, "not-possible", "Not possible as it stands", detail)


# --- what there is -------------------------------------------------------------------------------------------------


def _endpoints() -> Select[Any]:
    """Endpoints; a previous secret that is out of force is null."""
    in_force = Webhook.previous_until > func.now()
    behind = select(FeedEntry.at).where(FeedEntry.id > Webhook.cursor).order_by(FeedEntry.id).limit(1)
    kept = [column for column in Webhook.__table__.columns if not column.name.startswith("previous_")]
    return select(
        *kept,
        case((in_force, Webhook.previous_secret)).label("previous_secret"),
        case((in_force, Webhook.previous_until)).label("previous_until"),
        behind.correlate(Webhook).scalar_subquery().label("behind_since"),
    )


async def endpoints(connection: AsyncConnection) -> list[RowMapping]:
    """Every endpoint, oldest first."""
    statement = _endpoints().order_by(Webhook.created_at, Webhook.webhook_id)
    return list((await connection.execute(statement)).mappings())


async def endpoint(connection: AsyncConnection, webhook_id: str) -> RowMapping:
    """One endpoint. Raises Problem 404."""
    statement = _endpoints().where(Webhook.webhook_id == webhook_id)
    found: RowMapping | None = (await connection.execute(statement)).mappings().one_or_none()
    if found is None:
        raise not_found(f"no webhook {webhook_id!r}")
    return found


async def deliveries(
    connection: AsyncConnection, webhook_id: str, state: str | None, before: int | None, most: int
) -> list[RowMapping]:
    """Messages to an endpoint before one of them, newest first, each with its last attempt as `attempt_…`."""
    statement = _messages().where(WebhookDelivery.webhook_id == webhook_id)
    if state is not None:
        statement = statement.where(WebhookDelivery.state == state)
    if before is not None:
        statement = statement.where(WebhookDelivery.delivery_id < before)
    statement = statement.order_by(WebhookDelivery.delivery_id.desc()).limit(most)
    return list((await connection.execute(statement)).mappings())


async def one_delivery(
    connection: AsyncConnection, webhook_id: str, delivery_id: int
) -> tuple[RowMapping, list[RowMapping]]:
    """One message, and all its attempts. Raises Problem 404."""
    statement = _messages().where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.delivery_id == delivery_id)
    found = (await connection.execute(statement)).mappings().one_or_none()
    if found is None:
        raise not_found(f"no message {delivery_id} to the webhook {webhook_id!r}")
    attempts = select(*_ATTEMPT).where(WebhookAttempt.delivery_id == delivery_id).order_by(WebhookAttempt.attempt)
    return found, list((await connection.execute(attempts)).mappings())


def _messages() -> Select[Any]:
    return (
        select(
            *(column for column in WebhookDelivery.__table__.columns if column.name not in ("body", "tries")),
            FeedEntry.account_id,
            FeedEntry.episode_id,
            FeedEntry.signal,
            *(column.label(f"attempt_{column.name}") for column in _ATTEMPT),
        )
        .outerjoin(FeedEntry, FeedEntry.id == WebhookDelivery.feed_id)
        .outerjoin(
            WebhookAttempt,
            (WebhookAttempt.delivery_id == WebhookDelivery.delivery_id)
            & (WebhookAttempt.attempt == WebhookDelivery.attempts),
        )
    )


# --- what is done --------------------------------------------------------------------------------------------------


async def create(connection: AsyncConnection, actor: str, wanted: NewWebhook) -> str:
    """Add an endpoint that is told of what comes after now. Returns its id. Raises Problem 409 where there are too many."""
    await connection.exec_driver_sql(CREATION_LOCK)
    count = (await connection.execute(select(func.count()).select_from(Webhook))).scalar_one()
    if count >= MOST_ENDPOINTS:
        raise conflict(f"there are {count} webhooks and no more are allowed; delete one that is not needed")
    webhook_id = f"wh_{uuid.uuid4().hex}"
    filters = msgspec.to_builtins(wanted.filters.kept())
    await connection.execute(
        insert(Webhook).values(
            webhook_id=webhook_id,
            url=wanted.url,
            description=wanted.description,
            format=wanted.format,
            filters=filters,
            secret=wanted.secret or new_secret(),
            cursor=select(func.coalesce(func.max(FeedEntry.id), 0)).scalar_subquery(),
        )
    )
    detail = {"url": origin(wanted.url), "format": wanted.format, "filters": filters}
    await audit.record(connection, actor, "webhook.created", webhook_id, detail)
    return webhook_id


async def change(connection: AsyncConnection, actor: str, webhook_id: str, wanted: WebhookChange) -> None:
    """Change what was sent of `wanted`. Raises Problem 404."""
    await _take(connection, webhook_id)
    values: dict[str, Any] = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    if "filters" in values:
        values["filters"] = msgspec.to_builtins(wanted.filters.kept())
    await _update(connection, webhook_id, values)
    told = values | ({"url": origin(values["url"])} if "url" in values else {})
    await audit.record(connection, actor, "webhook.changed", webhook_id, told)


async def remove(connection: AsyncConnection, actor: str, webhook_id: str) -> None:
    """Delete an endpoint with its log. Raises Problem 404."""
    held = await _take(connection, webhook_id)
    sent = select(WebhookDelivery.delivery_id).where(WebhookDelivery.webhook_id == webhook_id)
    await connection.execute(delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(sent)))
    for table in (WebhookDelivery, WebhookReplay, Webhook):
        await connection.execute(delete(table).where(table.webhook_id == webhook_id))
    await audit.record(connection, actor, "webhook.deleted", webhook_id, {"url": origin(held.url)})


async def rotate(
    connection: AsyncConnection, actor: str, webhook_id: str, secret: str | None, overlap: dt.timedelta
) -> None:
    """Give it another secret; the one before signs too for as long as `overlap`. Raises Problem 404, 400."""
    held = await _take(connection, webhook_id)
    if secret == held.secret:
        raise bad_parameter(FieldError("secret", "is the one in force; give another, or none and one is made"))
    values = {
        "secret": secret or new_secret(),
        "previous_secret": held.secret if overlap else None,
        "previous_until": func.now() + overlap if overlap else None,
    }
    await _update(connection, webhook_id, values)
    hours = overlap.total_seconds() / 3600
    await audit.record(connection, actor, "webhook.secret_rotated", webhook_id, {"overlap_hours": hours})


async def reveal(connection: AsyncConnection, actor: str, webhook_id: str) -> RowMapping:
    """The endpoint, for somebody who wants to see its secrets. Raises Problem 404."""
    found = await endpoint(connection, webhook_id)
    await audit.record(connection, actor, "webhook.secret_revealed", webhook_id)
    return found


async def enable(connection: AsyncConnection, actor: str, webhook_id: str, *, skip: bool) -> None:
    """Let it go on where it was, at once; with `skip` after what happened meanwhile. Raises Problem 404."""
    held = await _take(connection, webhook_id)
    if held.enabled:
        return
    values: dict[str, Any] = {
        "enabled": True,
        "disabled_at": None,
        "disabled_because": None,
        "failing_since": None,
    }
    waiting = (WebhookDelivery.webhook_id == webhook_id) & WebhookDelivery.state.in_(("queued", "retrying"))
    if skip:
        values["cursor"] = select(func.coalesce(func.max(FeedEntry.id), held.cursor)).scalar_subquery()
        given_up = {"state": "failed", "next_at": None, "finished_at": func.now()}
        await connection.execute(update(WebhookDelivery).where(waiting).values(given_up))
        await connection.execute(delete(WebhookReplay).where(WebhookReplay.webhook_id == webhook_id))
    else:
        # The schedule begins anew: whoever enables it has seen to the receiver.
        anew = {"state": "queued", "next_at": None, "tries": 0}
        await connection.execute(update(WebhookDelivery).where(waiting).values(anew))
    await _update(connection, webhook_id, values)
    await audit.record(connection, actor, "webhook.enabled", webhook_id, {"skip": skip})


async def disable(connection: AsyncConnection, actor: str, webhook_id: str) -> None:
    """Send it nothing until it is enabled again. Raises Problem 404."""
    held = await _take(connection, webhook_id)
    if not held.enabled:
        return
    values = {"enabled": False, "disabled_at": func.now(), "disabled_because": ASKED}
    await _update(connection, webhook_id, values)
    await audit.record(connection, actor, "webhook.disabled", webhook_id, {"because": ASKED})


async def test(connection: AsyncConnection, actor: str, webhook_id: str) -> RowMapping:
    """Queue a test message. Returns its delivery id and message id. Raises Problem 404, 409."""
    _must_be_enabled(await _take(connection, webhook_id))
    waiting = select(func.count()).where(
        WebhookDelivery.webhook_id == webhook_id,
        WebhookDelivery.type == TEST_TYPE,
        WebhookDelivery.state == "queued",
    )
    if (await connection.execute(waiting)).scalar_one():
        raise conflict("a test is on its way; see the log of what was sent")
    statement = (
        insert(WebhookDelivery)
        .values(
            webhook_id=webhook_id,
            message_id=f"msg_{uuid.uuid4().hex}",
            type=TEST_TYPE,
            state="queued",
            body={"webhook_id": webhook_id, "requested_by": actor},
        )
        .returning(WebhookDelivery.delivery_id, WebhookDelivery.message_id)
    )
    made = (await connection.execute(statement)).mappings().one()
    await _update(connection, webhook_id, {})
    await audit.record(connection, actor, "webhook.tested", webhook_id, {"delivery_id": made["delivery_id"]})
    return made


async def redeliver(connection: AsyncConnection, actor: str, webhook_id: str, wanted: Redelivery) -> dict[str, Any]:
    """Have something sent again, under the ids that it had. Raises Problem 404, 409, 400 where there is nothing."""
    held = await _take(connection, webhook_id)
    _must_be_enabled(held)
    if wanted.delivery_id is not None:
        asked = {"delivery_id": await _one_again(connection, webhook_id, wanted.delivery_id)}
    else:
        asked = await _part_again(connection, actor, held, wanted)
    await _update(connection, webhook_id, {})
    await audit.record(connection, actor, "webhook.redelivered", webhook_id, asked)
    return {"delivery_id": None, "from_id": None, "to_id": None} | asked


async def _one_again(connection: AsyncConnection, webhook_id: str, delivery_id: int) -> int:
    statement = (
        update(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.delivery_id == delivery_id)
        .values(state="queued", tries=0, next_at=None, finished_at=None)
        .returning(WebhookDelivery.delivery_id)
    )
    # What is being tried again stays in front of the others.
    retrying = (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.webhook_id == webhook_id,
            WebhookDelivery.delivery_id == delivery_id,
            WebhookDelivery.state == "retrying",
        )
        .values(next_at=func.now())
        .returning(WebhookDelivery.delivery_id)
    )
    for each in (retrying, statement):
        found: int | None = (await connection.execute(each)).scalar_one_or_none()
        if found is not None:
            return found
    raise not_found(f"no message {delivery_id} to the webhook {webhook_id!r}")


async def _part_again(connection: AsyncConnection, actor: str, held: Any, wanted: Redelivery) -> dict[str, Any]:
    count = select(func.count()).where(WebhookReplay.webhook_id == held.webhook_id)
    if (await connection.execute(count)).scalar_one() >= MOST_REPLAYS:
        raise conflict(f"{MOST_REPLAYS} parts of the feed are being sent again; wait until one is done")
    part = select(func.min(FeedEntry.id), func.max(FeedEntry.id)).where(FeedEntry.id <= held.cursor)
    if wanted.from_id is not None:
        part = part.where(FeedEntry.id >= wanted.from_id)
    if wanted.to_id is not None:
        part = part.where(FeedEntry.id <= wanted.to_id)
    if wanted.since is not None:
        part = part.where(FeedEntry.at >= wanted.since)
    if wanted.until is not None:
        part = part.where(FeedEntry.at < wanted.until)
    first, last = (await connection.execute(part)).one()
    if first is None:
        field = "from_id" if wanted.since is None and wanted.until is None else "since"
        raise bad_parameter(
            FieldError(field, f"nothing that is kept lies there, up to {held.cursor}, to where the webhook is")
        )
    await connection.execute(
        insert(WebhookReplay).values(webhook_id=held.webhook_id, next_id=first, until_id=last, requested_by=actor)
    )
    return {"from_id": first, "to_id": last}


async def _take(connection: AsyncConnection, webhook_id: str) -> Any:
    statement = select(Webhook.__table__).where(Webhook.webhook_id == webhook_id).with_for_update()
    held = (await connection.execute(statement)).one_or_none()
    if held is None:
        raise not_found(f"no webhook {webhook_id!r}")
    return held


def _must_be_enabled(held: Any) -> None:
    if not held.enabled:
        raise conflict("the webhook is disabled; enable it first")


async def _update(connection: AsyncConnection, webhook_id: str, values: dict[str, Any]) -> None:
    """Change an endpoint whose row is taken; without values, only make delivery look at it."""
    if values:
        values = values | {"updated_at": func.now()}
    await connection.execute(
        update(Webhook).where(Webhook.webhook_id == webhook_id).values(revision=Webhook.revision + 1, **values)
    )
