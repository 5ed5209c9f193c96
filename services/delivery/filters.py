"""Whether an entry of the feed is something that an endpoint asked for. Pure."""

from __future__ import annotations

from typing import NamedTuple

from schemas.webhooks import SEVERITIES, Filter


class Facets(NamedTuple):
    """What an entry of the feed is filtered by."""

    type: str
    kind: str
    severity: str
    signal: str
    tier: str | None


def wants(wanted: Filter, entry: Facets) -> bool:
    """Whether every part of the filter lets the entry pass."""
    return (
        (not wanted.types or entry.type in wanted.types)
        and (not wanted.kinds or entry.kind in wanted.kinds)
        and (wanted.severity is None or _at_least(entry.severity, wanted.severity))
        and (not wanted.signals or any(_names(pattern, entry.signal) for pattern in wanted.signals))
        and (not wanted.tiers or entry.tier in wanted.tiers)
    )


def _at_least(severity: str, least: str) -> bool:
    return severity in SEVERITIES and SEVERITIES.index(severity) >= SEVERITIES.index(least)


def _names(pattern: str, signal: str) -> bool:
    if pattern.endswith(".*"):
        return signal.startswith(pattern[:-1])
    return signal == pattern
