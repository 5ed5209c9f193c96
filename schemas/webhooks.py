"""What a webhook endpoint may ask for, and what it is sent: Standard Webhooks 1.0 messages."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta, Struct

from schemas.envelope import Instant
from schemas.signals import Kind, Severity

MessageType = Literal[
    "signal.raised",
    "signal.escalated",
    "signal.cleared",
    "signal.acknowledged",
    "signal.snoozed",
    "signal.assigned",
    "signal.closed",
    "signal.commented",
    "signal.undone",
    "endpoint.disabled",
]
Format = Literal["standard", "slack"]
Tier = Literal["high", "low", "tech"]
State = Literal["queued", "retrying", "delivered", "failed", "withdrawn"]
"""Of a message: will be sent; failed and will be tried again; arrived; given up; its account was erased meanwhile."""

MESSAGE_TYPES: Final[tuple[MessageType, ...]] = get_args(MessageType)
DEFAULT_TYPES: Final[tuple[MessageType, ...]] = ("signal.raised", "signal.escalated", "signal.cleared")
DISABLED_TYPE: Final = "endpoint.disabled"
TEST_TYPE: Final = "webhook.test"

SIGNAL_PATTERN: Final = r"^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$"
"""A signal id, or the beginning of some with `.*` after it: `usage.*`."""

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""Least severe first."""

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = (24, 64)
MOST_ENDPOINTS: Final = 100
KEPT_DAYS: Final = 30
"""How long the feed and the log of what was sent are kept."""


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Which entries of the feed an endpoint is sent. An empty list, or null, means: whatever it is.

    `severity` is the least. An account without a tier passes only where no tier is asked for.
    """

    types: tuple[MessageType, ...] = DEFAULT_TYPES
    kinds: tuple[Kind, ...] = ()
    severity: Severity | None = None
    signals: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()


class Message(Struct, frozen=True, kw_only=True):
    """The body of a message in the format `standard`. Its identity is the header `webhook-id`.

    `data` of a signal's message is a CloudEvent: a transition exactly as it is on its Kafka topic, or what somebody did.
    """

    type: Annotated[str, Meta(description="what happened, such as signal.raised")]
    timestamp: Annotated[Instant, Meta(description="when it happened: the event's own time")]
    data: Annotated[dict[str, Any], Meta(description="the CloudEvent of a signal, or what the type says")]


class SlackMessage(Struct, frozen=True, kw_only=True):
    """The body of a message in the format `slack`."""

    text: Annotated[str, Meta(max_length=4000)]
