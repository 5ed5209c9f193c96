"""Dead letters: refused records, their bytes untouched, with headers that say what was wrong and where they came from."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from schemas.envelope import Instant

DEAD_LETTER_TOPIC = "dead-letters"

Reason = Literal["malformed", "unknown_type", "invalid", "too_old", "future", "unattributed", "poison", "too_large"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""The closed set of reasons. A dead letter's identity is (source_topic, source_partition, source_offset)."""

Digits = Annotated[str, Meta(pattern=r"^[0-9]{1,19}$(?!\n)")]


class Headers(Struct, kw_only=True):
    """The headers of a dead letter; every value is UTF-8 text."""

    reason: Reason
    field: str
    detail: str
    source_topic: str
    source_partition: Digits
    source_offset: Digits
    failed_at: Instant


HEADERS = Headers.__struct_fields__
"""Every header of a dead letter, by name."""
