"""Calls of the Segment tracking API (as Segment's and RudderStack's SDKs send them) to events."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable
from collections.abc import Mapping as Dict
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.codec import Refusal
from schemas.envelope import EPOCH, MAX_EVENT_BYTES
from services.ingest import names
from services.ingest.mapping import Mapping, Path_, Rule
from services.ingest.names import Link, Name, Names, Overlay
from services.ingest.translate import Ready, Translation, Unusable, account_mistake, make_event

CALLS: Final = frozenset({"track", "identify", "group", "page", "screen", "alias"})
FEATURE_USED: Final = "usage.feature_used"
_MICROSECOND: Final = dt.timedelta(microseconds=1)

Id = str | int | float | None


class Item(Struct):
    """One call. Members that no rule can read are skipped."""

    type: str | None = None
    messageId: Id = None
    userId: Id = None
    anonymousId: Id = None
    previousId: Id = None
    groupId: Id = None
    event: str | int | float | None = None
    name: str | int | float | None = None
    category: str | int | float | None = None
    channel: Any = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: dt.datetime | None = None
    originalTimestamp: dt.datetime | None = None
    sentAt: Any = None


class Envelope(Struct):
    """The body of a batch."""

    batch: list[msgspec.Raw]
    writeKey: str | None = None
    sentAt: Any = None


class Request(Struct, frozen=True):
    """What the items of one request share. `kind` is the call's name from the path, empty for a batch."""

    source: str
    received_at: dt.datetime
    sent_at: dt.datetime | None
    kind: str


def instant(given: Any) -> dt.datetime | None:
    """An RFC 3339 text with zone as an instant; None for anything else: a batch is not lost for an unreadable `sentAt`."""
    if given is None:
        return None
    try:
        found = msgspec.convert(given, dt.datetime)
    except msgspec.ValidationError:
        return None
    return found if found.tzinfo is not None else None


_ITEM: Final = msgspec.json.Decoder(Item)
_RAW: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def translate(
    items: Iterable[bytes], request: Request, mapping: Mapping, known: Names | Dict[Name, Link]
) -> Translation:
    """Translate the calls of one request in order: a `group` attributes the calls after it, and those before it that
    found no account.

    `items` are the calls' JSON bytes as they came; `known` are the links so far. Never raises for what an item says.
    """
    links = Overlay(known)
    calls = list(items)
    outcomes = [_call(item, request, mapping, links) for item in calls]
    if links.made:
        # SDKs say who somebody is before they say where they belong: `identify`, then `group`.
        outcomes = [
            _call(item, request, mapping, links) if isinstance(outcome, Unusable) and outcome.names else outcome
            for item, outcome in zip(calls, outcomes, strict=True)
        ]
    return Translation(
        ready=[outcome for outcome in outcomes if isinstance(outcome, Ready)],
        unusable=[outcome for outcome in outcomes if isinstance(outcome, Unusable)],
        links=links.made,
        ignored=sum(outcome is None for outcome in outcomes),
    )


def _call(raw: bytes, request: Request, mapping: Mapping, links: Overlay) -> Ready | Unusable | None:
    if len(raw) > MAX_EVENT_BYTES:
        detail = f"{len(raw)} bytes; one call may have {MAX_EVENT_BYTES}"
        return Unusable("too_large", "", detail, raw, request.kind or "batch")
    try:
        item = _ITEM.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return _undecodable(raw, request, error)
    kind = request.kind or (item.type or "").lower()
    if kind not in CALLS:
        detail = f"{item.type!r} is no call; one of {', '.join(sorted(CALLS))} is expected"
        return Unusable("unknown_type", "type", detail, raw, kind[:64] or "batch")
    time = _time_of(item, request)
    if isinstance(time, Refusal):
        return Unusable(time.reason, time.field, time.detail, raw, kind)
    user_id, anonymous_id = _text(item.userId), _text(item.anonymousId)
    who = _names(request.source, user_id, anonymous_id)
    if not who:
        return Unusable("invalid", "userId", "neither userId nor anonymousId; send who it was", raw, kind)
    if item.traits is None and item.context is not None and isinstance(item.context.get("traits"), dict):
        item.traits = item.context["traits"]  # where RudderStack's SDKs put the traits of an identify
    roots = _roots(item, user_id, anonymous_id)
    if kind == "alias":
        return _alias(item, request, links, user_id, raw)
    account = _account(kind, item, mapping, roots)
    if account is not None:
        linked = links.get(who[0])
        wrong = "" if linked is not None and linked.account == account else account_mistake(account)
        if wrong:
            return Unusable("invalid", _origin("subject", {}, kind), wrong, raw, kind)
        since = min(time, request.received_at)
        by = names.GROUP if kind == "group" else names.CONTEXT
        links.put(who[0], Link(account, (since - EPOCH) // _MICROSECOND, by))
    elif kind == "group":
        return Unusable("unattributed", "groupId", "a group call without groupId; send the account id", raw, kind)
    rule = mapping.track(roots["event"] or "") if kind == "track" else mapping.calls[kind]
    if kind == "track" and not roots["event"]:
        return Unusable("invalid", "event", "a track call without an event name", raw, kind)
    if rule is None or (rule.when and _at(rule.when, roots) is None):
        return None
    if account is None:
        link = _first_link(who, request.source, links)
        if link is None:
            detail = f"{who[0].kind} {who[0].id!r} belongs to no account; send a group call, or context.groupId with the call"
            return Unusable("unattributed", "context.groupId", detail, raw, kind, who)
        account = link.account
    data = _data(rule, roots)
    if rule.type.name == FEATURE_USED and mapping.features:
        data |= mapping.features.get(str(data.get("feature")), {})
    if kind == "group" and not data:
        return None
    made = make_event(
        type_name=rule.type.name,
        event_id=_text(item.messageId) or _made_up_id(raw, request, item),
        source=request.source,
        subject=account,
        time=time,
        data=data,
        now=request.received_at,
    )
    if isinstance(made, Refusal):
        return Unusable(made.reason, _origin(made.field, _origins(rule, roots), kind), made.detail, raw, kind)
    return made


def _undecodable(raw: bytes, request: Request, error: Exception) -> Unusable:
    try:
        found = _RAW.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        return Unusable("malformed", "", f"not JSON: {problem}", raw, request.kind or "batch")
    if not isinstance(found, dict):
        return Unusable("malformed", "", "a call is a JSON object", raw, request.kind or "batch")
    text, _, path = str(error).partition(" - at `$.")
    return Unusable("invalid", path.rstrip("`"), text, raw, request.kind or str(found.get("type"))[:64])


def _time_of(item: Item, request: Request) -> dt.datetime | Refusal:
    """When it happened by our clock: the sender's clock error, seen in `sentAt`, is taken out.

    A `timestamp` beside another `originalTimestamp` stands as it is: RudderStack's Node SDK puts there what the caller
    gave, and who passes on Segment's own events has it corrected already.
    """
    original = item.originalTimestamp or item.timestamp
    if original is None:
        return request.received_at
    given = item.timestamp or original
    if original.tzinfo is None or given.tzinfo is None:
        return Refusal("invalid", "timestamp", "a time with zone is expected, such as 2026-01-31T12:00:00Z")
    sent_at = instant(item.sentAt) or request.sent_at
    if given != original or sent_at is None:
        return given
    try:
        return request.received_at - (sent_at - original)
    except OverflowError:
        return Refusal("invalid", "timestamp", "outside of the calendar")


def _names(source: str, user_id: str | None, anonymous_id: str | None) -> tuple[Name, ...]:
    """Who made the call, surest name first."""
    found = []
    if user_id is not None:
        found.append(names.user(source, user_id))
    if anonymous_id is not None:
        found.append(names.anonymous(source, anonymous_id))
    return tuple(found)


def _first_link(who: tuple[Name, ...], source: str, links: Overlay) -> Link | None:
    """The link of a call: of its user, else of the visitor; an account.linked for system = source may name a user too."""
    for name in who:
        link = links.get(name) or (links.get(names.external(source, name.id)) if name.kind == "user" else None)
        if link is not None:
            return link
    return None


def _alias(item: Item, request: Request, links: Overlay, user_id: str | None, raw: bytes) -> Unusable | None:
    previous = _text(item.previousId)
    if user_id is None or previous is None:
        return Unusable("invalid", "previousId", "an alias names previousId and userId", raw, "alias")
    old = links.get(names.user(request.source, previous)) or links.get(names.anonymous(request.source, previous))
    new = names.user(request.source, user_id)
    if old is not None and links.get(new) is None:
        links.put(new, old)
    return None


def _account(kind: str, item: Item, mapping: Mapping, roots: dict[str, Any]) -> str | None:
    if kind == "group":
        return _text(item.groupId)
    for path in mapping.account:
        found = _at(path, roots)
        if isinstance(found, str | int | float) and not isinstance(found, bool):
            return _text(found)
    return None


def _roots(item: Item, user_id: str | None, anonymous_id: str | None) -> dict[str, Any]:
    return {
        "type": item.type,
        "messageId": item.messageId,
        "event": _text(item.event),
        "name": _text(item.name),
        "category": _text(item.category),
        "channel": item.channel,
        "userId": user_id,
        "anonymousId": anonymous_id,
        "groupId": _text(item.groupId),
        "user": user_id if user_id is not None else anonymous_id,
        "properties": item.properties,
        "traits": item.traits,
        "context": item.context,
    }


def _at(path: Path_, roots: dict[str, Any]) -> Any:
    """The value at a path; None where there is none, null or an empty text."""
    found: Any = roots
    for part in path:
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return None if found == "" else found


def _data(rule: Rule, roots: dict[str, Any]) -> dict[str, Any]:
    """The event's data."""
    data: dict[str, Any] = {}
    for source in rule.sources:
        value = source.const
        for path in source.paths:
            value = _at(path, roots)
            if value is not None:
                break
        if value is None:
            continue
        if source.as_text and isinstance(value, int | float) and not isinstance(value, bool):
            value = _text(value)
        data[source.member] = value
    return data


def _origins(rule: Rule, roots: dict[str, Any]) -> dict[str, Path_]:
    """For each member of the data the path that its value came from."""
    return {
        source.member: next(path for path in source.paths if _at(path, roots) is not None)
        for source in rule.sources
        if any(_at(path, roots) is not None for path in source.paths)
    }


def _origin(field: str, origins: dict[str, Path_], kind: str) -> str:
    """A path in the event as the path in the call that its value came from."""
    head, _, rest = field.partition(".")
    if head == "data" and rest:
        member, _, deeper = rest.partition(".")
        if member in origins:
            return ".".join((*origins[member], deeper) if deeper else origins[member])
        return rest
    return {"subject": "groupId" if kind == "group" else "context.groupId", "id": "messageId", "time": "timestamp"}.get(
        field, field
    )


def _text(value: Any) -> str | None:
    """An id or number as text, None where there is none. 12.0 is "12": JavaScript knows no other integers."""
    if value is None or value == "":
        return None
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0") if abs(value) < 1e300 else repr(value)
    return str(value)


def _made_up_id(raw: bytes, request: Request, item: Item) -> str:
    """An id for a call without messageId: the same for a retry where the call says when it happened, else a new one."""
    if item.timestamp is None and item.originalTimestamp is None:
        return str(uuid.uuid4())
    return hashlib.sha256(request.source.encode() + b"\0" + request.kind.encode() + b"\0" + raw).hexdigest()[:32]
