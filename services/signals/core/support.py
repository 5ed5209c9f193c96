"""Tickets beyond the open ones: what was opened, resolved, reopened, escalated and rated, in bounded form."""

from __future__ import annotations

from msgspec import Struct


class Support(Struct, array_like=True):
    """What support knows of an account. Instants in µs, -1 is never."""
