"""Surveys, touchpoints, mail, training, community and advocacy, in bounded form."""

from __future__ import annotations

from msgspec import Struct


class Engagement(Struct, array_like=True):
    """What was said between vendor and account. Instants in µs, -1 is never."""
