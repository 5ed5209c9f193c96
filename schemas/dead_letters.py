"""Dead letters: refused records, their bytes untouched, with headers that say what was wrong and where they came from."""

from __future__ import annotations

from typing import Literal, get_args

DEAD_LETTER_TOPIC = "dead-letters"

Reason = Literal["malformed", "unknown_type", "invalid", "too_old", "future", "unattributed", "poison", "too_large"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""The closed set of reasons. A dead letter's identity is (source_topic, source_partition, source_offset)."""

HEADERS = ("reason", "field", "detail", "source_topic", "source_partition", "source_offset", "failed_at")
"""Every header of a dead letter. Values are UTF-8 text; `failed_at` is RFC 3339."""
