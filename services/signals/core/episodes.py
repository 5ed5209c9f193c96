"""Episodes: one stretch of time during which a signal is open on one subject, and their deterministic identities."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from msgspec import Struct


class Episode(Struct, array_like=True):
    """An open episode. `changes` counts its transitions so far; `frozen` is what the raise fixed (a baseline, a set).

    `kind`, `version` and `pages` are the entry's as it was raised: what must be known to end it where the catalogue has
    no such entry any more. Until then they were not kept, and are empty.
    """

    episode_id: str
    ordinal: int
    opened_at: int
    severity: str
    level: int = 0
    changes: int = 1
    frozen: dict[str, Any] = {}
    kind: str = ""
    version: int = 0
    pages: bool = False


class Past(Struct, array_like=True):
    """What is remembered of a signal's closed episodes on a subject: how many there were, and the day of the last clear."""

    ordinal: int = 0
    cleared_day: int = -1


def episode_id(account: str, generation: int, signal: str, subject: str, ordinal: int) -> str:
    """Identity of an episode: the same on every run. `generation` counts erasures, so that an id is never used twice."""
    parts = (account, str(generation), signal, subject, str(ordinal))
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def transition_id(episode: str, change: int) -> str:
    """Identity of the `change`-th transition (1 is the raise) of an episode."""
    return f"{episode}-{change}"
