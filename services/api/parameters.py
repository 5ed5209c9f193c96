"""Query parameters, checked: one model per list. A name that is not known is refused, never ignored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.dead_letters import Reason
from schemas.envelope import Instant as Rfc3339
from schemas.lifecycle import STATUSES, Status

LIMIT_DEFAULT = 50
LIMIT_MOST = 200
DAYS_MOST = 800
LAST_EVENT_MOST = 2**63 - 1


def _instant(value: Any) -> dt.datetime:
    try:
        return msgspec.convert(value, Rfc3339).astimezone(dt.UTC)
    except (msgspec.ValidationError, ValueError, OverflowError):
        hint = " (write + as %2B)" if " " in str(value) else ""
        raise PydanticCustomError(
            "instant", "an RFC 3339 instant with zone is needed, such as 2026-05-01T00:00:00Z" + hint
        ) from None


def _day(value: Any) -> dt.date:
    try:
        return msgspec.convert(value, dt.date)
    except msgspec.ValidationError:
        raise PydanticCustomError("day", "a date is needed, such as 2026-05-01") from None


def _plain(value: Any) -> Any:
    if isinstance(value, str) and "\x00" in value:
        raise PydanticCustomError("text", "U+0000 cannot be part of it")
    return value


def _written(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise PydanticCustomError("text", "a text is needed, not blanks only")
    return _plain(value.strip())


Instant = Annotated[
    dt.datetime,
    BeforeValidator(_instant),
    PlainSerializer(lambda at: at.isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Day = Annotated[dt.date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Text = Annotated[str, BeforeValidator(_plain), Field(min_length=1, max_length=1024)]
Words = Annotated[
    str,
    BeforeValidator(_written),
    Field(max_length=2000, json_schema_extra={"pattern": r"\S"}),
]
"""What a person writes: not only blanks, which are taken off its ends."""
AnyText = Annotated[str, BeforeValidator(_plain), Field(max_length=1024)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*\z", max_length=128)]


QUEUED: Final[tuple[Status, ...]] = ("open", "acknowledged", "snoozed", "closed")
HIDDEN: Final[tuple[Status, ...]] = ("snoozed", "closed")


def _several(names: Sequence[Status]) -> BeforeValidator:
    """Several of these names, with commas between them or one parameter each; `all` is all of them."""

    def validate(value: Any) -> Any:
        given = value if isinstance(value, list | tuple | set | frozenset) else [value]
        asked = frozenset(part.strip() for entry in given for part in str(entry).split(","))
        if not asked <= {*names, "all"}:
            raise PydanticCustomError("several", "one or more of {names}, or all", {"names": ", ".join(names)})
        return frozenset(names) if "all" in asked else asked

    return BeforeValidator(validate)


def _listed(names: Sequence[Status]) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "items": {"type": "string", "enum": [*names, "all"]}, "minItems": 1})


Statuses = Annotated[frozenset[Status], _several(STATUSES), _listed(STATUSES)]
Queued = Annotated[frozenset[Status], _several(QUEUED), _listed(QUEUED)]
Included = Annotated[frozenset[Status], _several(HIDDEN), _listed(HIDDEN)]

Kind = Literal["risk", "opportunity"]
Severity = Literal["info", "warning", "critical"]
Tier = Literal["high", "low", "tech"]
ASSIGNEE = "to whom it is assigned: a user id, `me` for the key's own, `none` for nobody"
OWNER = "to whom it is assigned, or whose account it is where it is assigned to nobody; `me` and `none` as there"
INCLUDE = "what is left out otherwise: snoozed, closed, or both with a comma"
Sort = Literal["name", "-name", "mrr", "-mrr", "renewal_date", "-renewal_date", "last_seen", "-last_seen"]


class Parameters(BaseModel):
    """No parameters at all."""

    model_config = ConfigDict(extra="forbid")


class Page(Parameters):
    """What every list takes."""

    limit: Annotated[int, Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MOST, description="items in a page")]
    cursor: Annotated[str | None, Field(None, description="`next_cursor` of the page before")]


class AccountFilter(Page):
    """Which accounts, in which order."""

    tier: Annotated[Tier | None, Field(None, description="only accounts of this tier")]
    csm: Annotated[Text | None, Field(None, description="only accounts of this customer success manager")]
    q: Annotated[Text | None, Field(None, description="each word begins a word of the name or the account id")]
    sort: Annotated[Sort, Field("name", description="order; a leading - turns it round")]


class SignalsOfAccount(Page):
    """Which signals of one account, newest `opened_at` first."""

    status: Annotated[Statuses, Field(frozenset(STATUSES), description="how it stands: several with commas, or all")]
    kind: Annotated[Kind | None, Field(None)]
    severity: Annotated[Severity | None, Field(None)]
    signal: Annotated[Word | None, Field(None, description="signal id, such as usage.decline")]
    since: Annotated[Instant | None, Field(None, description="opened at or after")]
    until: Annotated[Instant | None, Field(None, description="opened before")]


class SignalFilter(SignalsOfAccount):
    """Which signals, newest `opened_at` first."""

    account: Annotated[Text | None, Field(None, description="account id")]
    tier: Annotated[Tier | None, Field(None, description="tier of the account now")]
    csm: Annotated[Text | None, Field(None, description="customer success manager of the account now")]
    assignee: Annotated[Text | None, Field(None, description=ASSIGNEE)]
    owner: Annotated[Text | None, Field(None, description=OWNER)]


class StreamFilter(Parameters):
    """Which transitions and acts."""

    last_event_id: Annotated[
        int | None,
        Field(None, ge=0, le=LAST_EVENT_MOST, description="as the header Last-Event-ID, for clients without"),
    ]
    kind: Annotated[Kind | None, Field(None)]
    severity: Annotated[Severity | None, Field(None)]
    signal: Annotated[Word | None, Field(None, description="signal id, such as usage.decline")]
    tier: Annotated[Tier | None, Field(None, description="tier of the account then")]
    csm: Annotated[Text | None, Field(None, description="customer success manager of the account then")]
    account: Annotated[Text | None, Field(None, description="account id")]


class TimelineFilter(Page):
    """Which part of an account's history, newest first."""

    type: Annotated[Word | None, Field(None, description="event type, or its first part: ticket, invoice, survey, …")]
    since: Annotated[Instant | None, Field(None, description="happened at or after")]
    until: Annotated[Instant | None, Field(None, description="happened before")]


class RenewalWindow(Page):
    """A list of accounts that may be narrowed to somebody's, to a tier's, or to renewals between two days."""

    tier: Annotated[Tier | None, Field(None, description="only accounts of this tier")]
    csm: Annotated[Text | None, Field(None, description="only accounts of this customer success manager")]
    renewal_from: Annotated[Day | None, Field(None, description="renews on this day or later")]
    renewal_to: Annotated[Day | None, Field(None, description="renews on this day or earlier")]


class WorkFilter(RenewalWindow):
    """A list of work. What is snoozed or closed is left out of it, unless it is asked for."""

    include: Annotated[Included, Field(frozenset(), description=INCLUDE)]


class QueueFilter(WorkFilter):
    """Which open signals, in the order of work."""

    by: Annotated[
        Literal["account", "signal"],
        Field("account", description="each account once with its open signals, or each open signal by itself"),
    ]
    kind: Annotated[Kind | None, Field(None)]
    severity: Annotated[Severity | None, Field(None)]
    family: Annotated[Word | None, Field(None, description="first part of the signal id, such as usage")]
    signal: Annotated[Word | None, Field(None, description="signal id, such as usage.decline")]
    status: Annotated[
        Queued, Field(frozenset({"open", "acknowledged"}), description="how it stands: several with commas, or all")
    ]
    assignee: Annotated[Text | None, Field(None, description=ASSIGNEE)]
    owner: Annotated[Text | None, Field(None, description=OWNER)]


class ViewFilter(WorkFilter):
    """Which part of a saved view."""

    feature: Annotated[Text | None, Field(None, description="only of newest-feature-untried: this feature instead")]


class UsageRange(Parameters):
    """Which days, both included. Without `to`: up to the day that the account's numbers are of; without `from`: 92 days."""

    from_: Annotated[Day | None, Field(None, alias="from", description="first day (UTC)")]
    to: Annotated[Day | None, Field(None, description="last day (UTC)")]


class DeadLetterFilter(Page):
    """Which dead letters, newest first."""

    reason: Annotated[Reason | None, Field(None)]
    topic: Annotated[Text | None, Field(None, description="where it came from: usage, ingest/segment, …")]
    source: Annotated[AnyText | None, Field(None, description="who sent it; empty: that is not known")]
    field: Annotated[AnyText | None, Field(None, description="the member at fault; empty: the record as a whole")]
    key: Annotated[Text | None, Field(None, description="the record's key: its account id, where it had one")]
    since: Annotated[Instant | None, Field(None, description="written at or after")]
    until: Annotated[Instant | None, Field(None, description="written before")]
    reveal: Annotated[bool, Field(False, description="show the values too: needs scope admin, and is audited")]


class LiveFilter(Parameters):
    """Which input events are watched."""

    source: Annotated[Text | None, Field(None, description="who sends them")]
    type: Annotated[Word | None, Field(None, description="event type, or its first part: usage, ticket, …")]
    account: Annotated[Text | None, Field(None, description="account id")]
    reveal: Annotated[bool, Field(False, description="show the values too: needs scope admin, and is audited")]


class AuditFilter(Page):
    """Which entries of the audit trail, newest first."""

    actor: Annotated[Text | None, Field(None, description="who did it: a user id, key:NAME, or cli")]
    action: Annotated[Text | None, Field(None, description="what was done, such as webhook.created")]
    subject: Annotated[Text | None, Field(None, description="id of what it was done to")]
    since: Annotated[Instant | None, Field(None, description="done at or after")]
    until: Annotated[Instant | None, Field(None, description="done before")]


class CatalogueFilter(Parameters):
    """Which signals of the catalogue."""

    kind: Annotated[Kind | None, Field(None)]
    family: Annotated[Word | None, Field(None, description="first part of the signal id, such as usage")]
