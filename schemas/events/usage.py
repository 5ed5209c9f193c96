"""Topic `usage`: what the customer's people do in the product."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.envelope import Count, Identifier, LongText, Number, Text, event_type

TOPIC = "usage"


class FeatureUsed(Struct, kw_only=True):
    """A feature was used `count` times. `core` and `advanced` mark features that carry the product's value."""

    feature: Text
    user: Identifier | None = None
    count: Count = 1
    core: bool = False
    advanced: bool = False
    environment: Text | None = None
    channel: Text | None = None
    team: Text | None = None
    duration_s: Annotated[float, Meta(ge=0)] | None = None


class PageViewed(Struct, kw_only=True):
    """A user viewed a page."""

    user: Identifier
    page: Text | None = None


class LoggedIn(Struct, kw_only=True):
    """A user logged in."""

    user: Identifier


class ErrorSeen(Struct, kw_only=True):
    """The account met an error or an outage. It never makes a user active."""

    user: Identifier | None = None
    kind: Literal["error", "outage"] = "error"
    message: LongText | None = None


class ValueReached(Struct, kw_only=True):
    """The account got what it bought the product for, once."""

    goal: Text
    value: Number | None = None
    user: Identifier | None = None


TYPES = (
    event_type(TOPIC, "usage.feature_used", FeatureUsed),
    event_type(TOPIC, "usage.page_viewed", PageViewed),
    event_type(TOPIC, "usage.logged_in", LoggedIn),
    event_type(TOPIC, "usage.error_seen", ErrorSeen),
    event_type(TOPIC, "usage.value_reached", ValueReached),
)
