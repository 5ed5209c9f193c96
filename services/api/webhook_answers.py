"""The JSON of `/v1/webhooks`: what may be sent, and shapes for `/openapi.json`."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.signals import Kind, Severity
from schemas.webhooks import (
    DEFAULT_TYPES,
    SECRET_BYTES,
    SECRET_PREFIX,
    SIGNAL_PATTERN,
    Filter,
    Format,
    MessageType,
    State,
    Tier,
)
from services.api.parameters import Instant, Page, Parameters, Text
from services.common.targets import LONGEST_URL

MOST_SIGNALS: Final = 200
LARGEST_ID: Final = 2**63 - 1
OVERLAP_HOURS: Final = 24
OVERLAP_MOST: Final = 7 * 24


def _secret(text: str) -> str:
    encoded = text.removeprefix(SECRET_PREFIX)
    least, most = SECRET_BYTES
    try:
        size = len(base64.b64decode(encoded, validate=True)) if text != encoded else 0
    except (binascii.Error, ValueError):
        size = 0
    if not least <= size <= most:
        raise PydanticCustomError("secret", f"must be {SECRET_PREFIX} and {least} to {most} bytes in base64")
    return text


Secret = Annotated[str, Field(max_length=128), AfterValidator(_secret)]
Url = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_URL, description="https://…; a public address unless the operator allows"),
]
Description = Annotated[Text | None, Field(None, max_length=200, description="for people")]
FeedId = Annotated[int, Field(strict=True, ge=1, le=LARGEST_ID)]

# --- requests ------------------------------------------------------------------------------------------------------


class Body(BaseModel):
    """A body with no other members than those."""

    model_config = ConfigDict(extra="forbid")


class Filters(Body):
    """What is sent. An empty list, or null, means: whatever it is."""

    types: Annotated[list[MessageType], Field(default=list(DEFAULT_TYPES), max_length=20)]
    kinds: Annotated[list[Kind], Field(default=[], max_length=2)]
    severity: Annotated[Severity | None, Field(None, description="at least this severe")]
    signals: Annotated[
        list[Annotated[str, Field(pattern=SIGNAL_PATTERN.replace("$", r"\z"), max_length=128)]],
        Field(default=[], max_length=MOST_SIGNALS, description="signal ids, or the beginning of some: usage.*"),
    ]
    tiers: Annotated[list[Tier], Field(default=[], max_length=3, description="tiers of the account")]

    def kept(self) -> Filter:
        """As it is kept: everything named once."""
        return Filter(
            types=tuple(dict.fromkeys(self.types)),
            kinds=tuple(dict.fromkeys(self.kinds)),
            severity=self.severity,
            signals=tuple(dict.fromkeys(self.signals)),
            tiers=tuple(dict.fromkeys(self.tiers)),
        )


class NewWebhook(Body):
    """An endpoint that is to be told of what happens from now on."""

    url: Url
    description: Description
    format: Annotated[Format, Field("standard", description="standard: signed JSON; slack: a text")]
    filters: Annotated[Filters, Field(default_factory=Filters)]
    secret: Annotated[Secret | None, Field(None, description="whsec_…; left out: one is made")]


class WebhookChange(Body):
    """What is to be otherwise. What is left out stays; `filters` are replaced whole."""

    url: Annotated[Url, Field(default_factory=str)]
    description: Description
    format: Annotated[Format, Field(default_factory=str)]
    filters: Annotated[Filters, Field(default_factory=Filters)]


class Rotation(Body):
    """A new secret. For `overlap_hours` every message has two signatures: by the new secret, and by the one before."""

    secret: Annotated[Secret | None, Field(None, description="whsec_…; left out: one is made")]
    overlap_hours: Annotated[int, Field(OVERLAP_HOURS, strict=True, ge=0, le=OVERLAP_MOST)]


class Redelivery(Body):
    """What is to be sent again: one message of the log, a part of the feed by its ids, or by time (`until` excluded)."""

    delivery_id: FeedId | None = None
    from_id: FeedId | None = None
    to_id: FeedId | None = None
    since: Instant | None = None
    until: Instant | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [
            self.delivery_id is not None,
            self.from_id is not None or self.to_id is not None,
            self.since is not None or self.until is not None,
        ]
        if sum(ways) != 1:
            raise PydanticCustomError(
                "redelivery", "say which in one way: delivery_id; from_id and to_id; or since and until"
            )
        return self


class EnableOptions(Parameters):
    """How an endpoint goes on."""

    skip: Annotated[bool, Field(False, description="without what happened while it was disabled")]


class DeliveryFilter(Page):
    """Which messages, newest first."""

    state: Annotated[State | None, Field(None)]


# --- answers -------------------------------------------------------------------------------------------------------


class FiltersShown(BaseModel):
    """What is sent."""

    types: list[MessageType]
    kinds: list[Kind]
    severity: Severity | None
    signals: list[str]
    tiers: list[Tier]


class Webhook(BaseModel):
    """An endpoint. `failing_since` is its first failure since the last success.

    It has passed everything in the feed up to `cursor`; `behind_since` is when the next entry came, null if there is none.
    """

    webhook_id: str
    url: str
    description: str | None
    format: Format
    filters: FiltersShown
    enabled: bool
    disabled_at: dt.datetime | None
    disabled_because: str | None
    failing_since: dt.datetime | None
    cursor: int
    behind_since: dt.datetime | None
    previous_secret_until: dt.datetime | None
    created_at: dt.datetime
    updated_at: dt.datetime


class WebhookList(BaseModel):
    """Every endpoint, oldest first."""

    items: list[Webhook]
    next_cursor: None


class Secrets(BaseModel):
    """What signs. `previous_secret` signs too, until `previous_secret_until`."""

    webhook_id: str
    secret: str
    previous_secret: str | None
    previous_secret_until: dt.datetime | None


class CreatedWebhook(Webhook):
    """A new endpoint with its secret."""

    secret: str


class Attempt(BaseModel):
    """One time that a message was sent. `status` is null where there was no answer; `error` says why."""

    attempt: int
    at: dt.datetime
    milliseconds: int
    status: int | None
    error: str | None
    excerpt: str | None


class Delivery(BaseModel):
    """One message. `message_id` is its header `webhook-id`. Account and signal are null where the feed forgot them."""

    delivery_id: int
    message_id: str
    feed_id: int | None
    type: str
    state: State
    attempts: int
    created_at: dt.datetime
    next_at: dt.datetime | None
    finished_at: dt.datetime | None
    account_id: str | None
    episode_id: str | None
    signal: str | None
    last: Attempt | None


class DeliveryPage(BaseModel):
    """Messages, newest first."""

    items: list[Delivery]
    next_cursor: str | None


class DeliveryDetail(Delivery):
    """One message with every attempt."""

    log: list[Attempt]


class Queued(BaseModel):
    """A message that will be sent."""

    delivery_id: int
    message_id: str


class Requeued(BaseModel):
    """What will be sent again: one message, or the entries of the feed from `from_id` to `to_id` that the filters let pass."""

    delivery_id: int | None
    from_id: int | None
    to_id: int | None


def shown(row: Any) -> dict[str, Any]:
    """A `Webhook`."""
    return {
        name: row[name]
        for name in (
            "webhook_id",
            "url",
            "description",
            "format",
            "filters",
            "enabled",
            "disabled_at",
            "disabled_because",
            "failing_since",
            "cursor",
            "behind_since",
        )
    } | {
        "previous_secret_until": row["previous_until"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def secrets_shown(row: Any) -> dict[str, Any]:
    """`Secrets`, from a row whose previous secret is null once it is out of force."""
    return {
        "webhook_id": row["webhook_id"],
        "secret": row["secret"],
        "previous_secret": row["previous_secret"],
        "previous_secret_until": row["previous_until"],
    }
