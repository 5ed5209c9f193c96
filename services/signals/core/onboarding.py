"""Milestones, goals, commitments and the pilot: what was promised and what came of it, in bounded form."""

from __future__ import annotations

from msgspec import Struct


class Onboarding(Struct, array_like=True):
    """What was planned with the account. Instants in µs, days since 1970, -1 is never."""
