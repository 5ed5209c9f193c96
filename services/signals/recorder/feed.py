"""What is told to streams and webhooks: a row of the feed for each transition that was just recorded and is news.

No news: a historical transition, one that was recorded before, and one that came to its topic longer ago than is told
of: whoever rebuilds a lost database from the topics must not hear of last month again. Where health puts right an
episode that was told of, that is told too; a transition that then says the same is not told twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, structs

from schemas.db.feed import APPEND_LOCK
from schemas.db.tables import KEY_CHARACTERS
from schemas.signals import Transition
from services.signals.recorder.records import TransitionRow, key_text, printable

CLEARED: Final = "signal.cleared"
RECONCILED: Final = "reconciled"

COLUMNS: Final = (
    *("type", "account_id", "episode_id", "position", "signal", "kind", "severity", "tier", "csm", "pages"),
    "body",
)

# What was told of each episode last.
TOLD = """
SELECT i.episode_id, told.type, told.position
FROM unnest($1::text[]) AS i(episode_id) CROSS JOIN LATERAL (
  SELECT f.type, f.position FROM feed f
  WHERE f.episode_id = i.episode_id AND f.type IN ('signal.raised', 'signal.escalated', 'signal.cleared')
  ORDER BY f.id DESC LIMIT 1) told
"""

LAST_SAID = """
SELECT DISTINCT ON (episode_id) episode_id, body::text FROM transitions WHERE episode_id = ANY($1)
ORDER BY episode_id, ordinal DESC
"""

# A receiver may have repeated what it was sent.
FORGET_ANSWERS = """
UPDATE webhook_attempts a SET excerpt = NULL
FROM feed f JOIN webhook_deliveries d ON d.feed_id = f.id
WHERE f.account_id = ANY($1) AND a.delivery_id = d.delivery_id AND a.excerpt IS NOT NULL
"""

FORGET_ACCOUNTS = """
DELETE FROM feed f USING unnest($1::text[]) AS gone(account_id)
WHERE f.account_id = gone.account_id AND NOT EXISTS (SELECT FROM episodes e WHERE e.episode_id = f.episode_id)
"""

FORGET_EPISODES = "DELETE FROM feed WHERE episode_id = ANY($1)"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Transition).decode


class Healed(NamedTuple):
    """An episode that the health record `sequence` of `as_of` put right: it is cleared since `cleared_at`, or open."""

    episode_id: str
    as_of: dt.datetime
    sequence: int
    cleared_at: dt.datetime | None


class Told(NamedTuple):
    """What was told of an episode last: the type, and the ordinal or None where health said it."""

    type: str
    position: int | None


def is_news(row: TransitionRow, now: dt.datetime, within: dt.timedelta) -> bool:
    """Whether a transition that was just recorded is to be told at all."""
    return not row.change.data.historical and now - row.appended_at <= within


def to_tell(
    news: Sequence[TransitionRow], healed: Iterable[Healed], told: dict[str, Told]
) -> tuple[list[TransitionRow], list[Healed]]:
    """Of news and of what health put right, what is not told yet; `told` is what was told of their episodes last.

    An episode that nobody was told of is not put right for anybody. One that health cleared is not cleared again by its
    transition, which may come after the health record that knows of it.
    """
    last = dict(told)
    changes: list[TransitionRow] = []
    for row in news:
        episode_id, type_ = row.change.data.episode_id, row.change.type
        if type_ == CLEARED and last.get(episode_id) == Told(CLEARED, None):
            continue
        changes.append(row)
        last[episode_id] = Told(type_, row.ordinal)
    corrections = [
        one
        for one in healed
        if (known := last.get(one.episode_id)) is not None and (known.type == CLEARED) == (one.cleared_at is None)
    ]
    return changes, corrections


def corrected(change: Transition, healed: Healed) -> Transition:
    """The event that tells what health put right: like the episode's last transition, with what health knows better."""
    cleared = healed.cleared_at
    return structs.replace(
        change,
        id=f"{healed.episode_id}-health-{healed.sequence}",
        type=CLEARED if cleared else "signal.raised",
        time=cleared or healed.as_of,
        data=structs.replace(
            change.data,
            previous_severity=UNSET,
            cleared_at=cleared or UNSET,
            cleared_because=RECONCILED if cleared else UNSET,
        ),
    )


async def tell(connection: Any, news: Sequence[TransitionRow], healed: Sequence[Healed]) -> int:
    """Append what is to be told, as the last statements of the caller's transaction. Returns the number of rows."""
    episodes = {row.change.data.episode_id for row in news if row.change.type == CLEARED}
    episodes.update(one.episode_id for one in healed)
    found = await connection.fetch(TOLD, list(episodes)) if episodes else []
    changes, corrections = to_tell(
        news, healed, {row["episode_id"]: Told(row["type"], row["position"]) for row in found}
    )
    rows = [_feed_row(row.change, row.ordinal, row.body) for row in changes]
    if corrections:
        said = dict(await connection.fetch(LAST_SAID, [one.episode_id for one in corrections]))
        for one in corrections:
            change = corrected(_decode(said[one.episode_id]), one)
            rows.append(_feed_row(change, None, _encode(change).decode()))
    if rows:
        await connection.execute(APPEND_LOCK)
        # Ids are given in the order of the rows.
        await connection.copy_records_to_table("feed", records=rows, columns=COLUMNS)
    return len(rows)


def _feed_row(change: Transition, position: int | None, body: str) -> tuple[Any, ...]:
    data = change.data
    return (
        change.type,
        change.subject,
        data.episode_id,
        position,
        printable(data.signal)[:KEY_CHARACTERS],
        data.kind,
        data.severity,
        key_text(data.account.tier),
        key_text(data.account.csm),
        data.pages,
        body,
    )
