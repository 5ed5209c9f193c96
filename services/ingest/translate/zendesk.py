"""Zendesk's ticket events to tickets. The organisation is found through `account.linked` with system `zendesk`."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping as Dict
from typing import Any, Final

import msgspec

from schemas.codec import Refusal
from services.ingest.names import Link, Name, Names, external
from services.ingest.translate import Translation, Unparsable, Unusable, make_event

SYSTEM: Final = "zendesk"
PREFIX: Final = "zen:event-type:ticket."
PRIORITIES: Final = {"URGENT": "P1", "HIGH": "P2", "NORMAL": "P3", "LOW": "P4"}
UNSET_PRIORITY: Final = "P3"
CATEGORIES: Final = {"QUESTION": "how_to", "PROBLEM": "bug", "INCIDENT": "bug", "TASK": "other"}
# A ticket that is gone must not age on as open.
GONE: Final = frozenset({"merged", "soft_deleted", "permanently_deleted", "marked_as_spam"})

_RAW: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def signed(signature: str | None, timestamp: str | None, body: bytes, secret: str) -> bool:
    """Whether `X-Zendesk-Webhook-Signature` fits timestamp and body."""
    digest = hmac.new(secret.encode(), (timestamp or "").encode() + body, hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(digest), (signature or "").encode("utf-8", "replace"))


def translate(body: bytes, now: dt.datetime, known: Names | Dict[Name, Link]) -> Translation:
    """Translate one webhook body that arrived at `now`. Raises Unparsable where it is no Zendesk event."""
    try:
        event = _RAW.decode(body)
        kind, event_id = str(event["type"]), str(event["id"])
        time = msgspec.convert(event["time"], dt.datetime)
        detail, change = event.get("detail") or {}, event.get("event") or {}
        organisation = str(detail.get("organization_id") or "0")
        change.get("current")
    except (msgspec.MsgspecError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise Unparsable(
            f"not a Zendesk event ({error!r}); connect the webhook to ticket events, not to a trigger with a body of its own"
        ) from None
    translation = Translation([], [], {})
    made = _made(kind, detail, change)
    if made is None:
        translation.ignored = 1
        return translation
    names = () if organisation == "0" else (external(SYSTEM, organisation),)
    link = known.get(names[0]) if names else None
    if link is None:
        text = f"organisation {organisation!r} belongs to no account; send account.linked with system zendesk"
        translation.unusable.append(Unusable("unattributed", "detail.organization_id", text, body, kind, names))
        return translation
    type_name, data = made
    ready = make_event(
        type_name=type_name, event_id=event_id, source=SYSTEM, subject=link.account, time=time, data=data, now=now
    )
    if isinstance(ready, Refusal):
        translation.unusable.append(Unusable(ready.reason, ready.field, ready.detail, body, kind))
    else:
        translation.ready.append(ready)
    return translation


def _made(kind: str, detail: dict[str, Any], change: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Type and data of our event, or None where Zendesk's says nothing that we keep."""
    what = kind.removeprefix(PREFIX) if kind.startswith(PREFIX) else ""
    ticket: dict[str, Any] = {"ticket_id": str(detail.get("id") or "")}
    if what == "created":
        category = CATEGORIES.get(_upper(detail.get("type")))
        requester = detail.get("requester_id")
        return "ticket.opened", (
            ticket
            | {"priority": PRIORITIES.get(_upper(detail.get("priority")), UNSET_PRIORITY)}
            | ({"category": category} if category else {})
            | ({"user": str(requester)} if requester else {})
        )
    if what == "status_changed":
        step = _step(_upper(change.get("previous")), _upper(change.get("current")))
        return (f"ticket.{step}", ticket) if step else None
    if what == "priority_changed":
        return "ticket.updated", ticket | {"priority": PRIORITIES.get(_upper(change.get("current")), UNSET_PRIORITY)}
    if what == "ticket_type_changed" or what == "type_changed":
        category = CATEGORIES.get(_upper(change.get("current")))
        return ("ticket.updated", ticket | {"category": category}) if category else None
    if what == "comment_added":
        comment = change.get("comment") or {}
        by_staff = comment.get("is_public") and (comment.get("author") or {}).get("is_staff")
        return ("ticket.responded", ticket) if by_staff else None
    return ("ticket.closed", ticket) if what in GONE else None


def _step(before: str, after: str) -> str | None:
    if after == "CLOSED":
        return "closed"
    if after == "SOLVED":
        return "resolved"
    return "reopened" if before in ("SOLVED", "CLOSED") else None


def _upper(value: Any) -> str:
    return value.upper() if isinstance(value, str) else ""
