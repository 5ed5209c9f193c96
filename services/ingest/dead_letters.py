"""What ingest cannot use, as records of the dead-letter topic: the item's bytes, and all that a replay needs."""

from __future__ import annotations

import datetime as dt
import hashlib

import msgspec

from schemas.dead_letters import DEAD_LETTER_TOPIC
from services.common.dead_letters import INGEST_SOURCE
from services.ingest.collector import Record
from services.ingest.translate import Unusable

SOURCE_TOPIC_PREFIX = "ingest/"
"""`source_topic` of these dead letters is this and the path's family: ingest/segment, ingest/stripe, ingest/zendesk."""

KIND, SOURCE, RECEIVED_AT, SENT_AT, NAMES = (
    "ingest_kind",
    INGEST_SOURCE,
    "ingest_received_at",
    "ingest_sent_at",
    "ingest_names",
)
"""Headers beside those of every dead letter: the call's kind (track, …, or the foreign event type), the write key's source,
when it arrived, the `sentAt` of its batch (may be absent), and the names that its account is found by, as JSON."""

LARGEST_VALUE = 1_000_000


def record(
    item: Unusable, family: str, source: str, received_at: dt.datetime, sent_at: dt.datetime | None = None
) -> Record:
    """The dead letter of `item`. Bytes past what the topic takes are cut off, and `detail` says so."""
    value, detail = item.value, item.detail
    if len(value) > LARGEST_VALUE:
        detail = f"{detail} (cut to {LARGEST_VALUE} bytes here)"
        value = value[:LARGEST_VALUE]
    # It came from no partition: its identity is what it says, so that a client's retry has the same.
    digest = hashlib.sha256(b"\0".join((family.encode(), source.encode(), item.kind.encode(), item.value))).digest()
    headers: list[tuple[str, bytes]] = [
        ("reason", item.reason.encode()),
        ("field", _header(item.field)),
        ("detail", _header(detail)),
        ("source_topic", f"{SOURCE_TOPIC_PREFIX}{family}".encode()),
        ("source_partition", b"0"),
        ("source_offset", b"%d" % (int.from_bytes(digest[:8]) >> 1)),
        ("failed_at", _rfc3339(received_at)),
        (KIND, _header(item.kind)),
        (SOURCE, source.encode()),
        (RECEIVED_AT, _rfc3339(received_at)),
    ]
    if sent_at is not None and sent_at.tzinfo is not None:
        headers.append((SENT_AT, _rfc3339(sent_at)))
    if item.names:
        headers.append((NAMES, msgspec.json.encode(item.names)))
    # Keyed by who it was about, so that one user's letters keep their order.
    key = item.names[0].id.encode("utf-8", "replace") if item.names else digest[:8].hex().encode()
    return Record(DEAD_LETTER_TOPIC, key, value, tuple(headers))


def _header(text: str) -> bytes:
    return text[:1024].encode("utf-8", "replace")


def _rfc3339(instant: dt.datetime) -> bytes:
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z").encode()
