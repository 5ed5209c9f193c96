"""All SQL of the recorder. Each function writes inside the caller's transaction.

Rows travel as arrays, one statement a table and batch. Whatever was written before may come again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas.db.tables import KEY_CHARACTERS
from services.signals.recorder import facts, feed, standing
from services.signals.recorder.feed import Healed
from services.signals.recorder.fold import Events, Signals, contradiction
from services.signals.recorder.records import RefusedRow, TransitionRow, account_row, key_text, printable, user_of

Position = tuple[str, int]
"""A topic and a partition."""

LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"

READ_OFFSETS = "SELECT topic, partition, next_offset FROM recorder_offsets WHERE topic = ANY($1)"

WRITE_OFFSETS = """
INSERT INTO recorder_offsets (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset, updated_at = now()
"""

WRITE_REFUSED = """
INSERT INTO recorder_refused (topic, partition, "offset", reason, detail, key, value)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bytea[])
ON CONFLICT DO NOTHING
"""

# --- signals and health --------------------------------------------------------------------------------------------

FORGET_SIGNALS = (
    """
    INSERT INTO erasures (account_id, records_until) SELECT * FROM unnest($1::text[], $2::timestamptz[])
    ON CONFLICT (account_id) DO UPDATE SET records_until = greatest(erasures.records_until, excluded.records_until)
    """,
    """
    WITH gone AS (
      DELETE FROM transitions t USING episodes e, unnest($1::text[], $2::timestamptz[]) AS x(account_id, until)
      WHERE e.account_id = x.account_id AND t.episode_id = e.episode_id AND t.appended_at <= x.until
      RETURNING t.episode_id
    )
    DELETE FROM episodes WHERE episode_id IN (SELECT episode_id FROM gone)
    """,
)

FORGET_ACCOUNTS = (
    "DELETE FROM accounts WHERE account_id = ANY($1)",
    "DELETE FROM account_health WHERE account_id = ANY($1)",
    "DELETE FROM usage_days WHERE account_id = ANY($1)",
    *facts.FORGET_SCORES,
    # After the episodes: whoever is acting on one of them holds it locked, and what they do is seen then.
    feed.FORGET_ANSWERS,
    feed.FORGET_ACCOUNTS,
    *(
        f"""
        DELETE FROM {table} h USING unnest($1::text[]) AS gone(account_id)
        WHERE h.account_id = gone.account_id AND NOT EXISTS (SELECT FROM episodes e WHERE e.episode_id = h.episode_id)
        """
        for table in ("acts", "handlings")
    ),
    """
    DELETE FROM recorder_refused
    WHERE key IN (SELECT convert_to(account_id, 'UTF8') FROM unnest($1::text[]) AS x(account_id))
    """,
)

FORGET_EPISODES = (
    "DELETE FROM transitions WHERE episode_id = ANY($1)",
    # First of what an act touches, in the order in which it does.
    "DELETE FROM episodes WHERE episode_id = ANY($1)",
    "DELETE FROM queue_entries WHERE episode_id = ANY($1)",
    feed.FORGET_EPISODES,
    "DELETE FROM acts WHERE episode_id = ANY($1)",
    "DELETE FROM handlings WHERE episode_id = ANY($1)",
)

HELD_TRANSITIONS = """
SELECT i.place - 1, t.body::text
FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS i(episode_id, ordinal, place)
JOIN transitions t ON t.episode_id = i.episode_id AND t.ordinal = i.ordinal
"""

FORGOTTEN = "SELECT account_id, records_until FROM erasures WHERE account_id = ANY($1) AND records_until IS NOT NULL"

TRANSITION_COLUMNS: Final = ("episode_id", "ordinal", "sequence", "time", "appended_at", "body")

WRITE_EPISODES = """
INSERT INTO episodes AS e (
  episode_id, account_id, signal, version, kind, severity, scope, "user", pages, historical, tier, csm,
  opened_at, changed_at, cleared_at, cleared_because, last_ordinal, last_sequence)
SELECT i.episode_id, i.account_id, i.signal, i.version, i.kind, i.severity, i.scope, i."user", i.pages, i.historical,
  CASE WHEN a.account_id IS NULL THEN i.tier ELSE a.tier END, CASE WHEN a.account_id IS NULL THEN i.csm ELSE a.csm END,
  i.opened_at, i.changed_at, i.cleared_at, i.cleared_because, i.ordinal, i.sequence
FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bool[],
  $10::bool[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[], $16::text[],
  $17::int[], $18::bigint[])
  AS i(episode_id, account_id, signal, version, kind, severity, scope, "user", pages, historical, tier, csm,
       opened_at, changed_at, cleared_at, cleared_because, ordinal, sequence)
LEFT JOIN accounts a ON a.account_id = i.account_id
ON CONFLICT (episode_id) DO UPDATE SET
  version = excluded.version, severity = excluded.severity, pages = excluded.pages, historical = excluded.historical,
  tier = excluded.tier, csm = excluded.csm, changed_at = excluded.changed_at, cleared_at = excluded.cleared_at,
  cleared_because = excluded.cleared_because, last_ordinal = excluded.last_ordinal,
  last_sequence = excluded.last_sequence
WHERE excluded.last_ordinal > e.last_ordinal
"""

WRITE_HEALTH = """
INSERT INTO account_health AS h (account_id, sequence, as_of, last_seen, open_episodes, body)
SELECT account_id, sequence, as_of, last_seen, string_to_array(open_episodes, ' '), body::json
FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[])
  AS i(account_id, sequence, as_of, last_seen, open_episodes, body)
ON CONFLICT (account_id) DO UPDATE SET
  sequence = excluded.sequence, as_of = excluded.as_of, last_seen = excluded.last_seen,
  open_episodes = excluded.open_episodes, body = excluded.body, recorded_at = now()
WHERE excluded.sequence >= h.sequence
RETURNING account_id
"""

WRITE_ACCOUNTS = """
INSERT INTO accounts AS a (
  account_id, name, sort_name, tier, csm, mrr, currency, renewal_date, churned, words)
SELECT account_id, name, sort_name, tier, csm, mrr, currency, renewal_date, churned,
  array_to_tsvector(string_to_array(words, ' '))
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::text[], $8::date[],
  $9::bool[], $10::text[])
  AS i(account_id, name, sort_name, tier, csm, mrr, currency, renewal_date, churned, words)
ON CONFLICT (account_id) DO UPDATE SET
  name = excluded.name, sort_name = excluded.sort_name, tier = excluded.tier, csm = excluded.csm, mrr = excluded.mrr,
  currency = excluded.currency, renewal_date = excluded.renewal_date, churned = excluded.churned,
  words = excluded.words
WHERE (a.name, a.sort_name, a.tier, a.csm, a.mrr, a.currency, a.renewal_date, a.churned)
  IS DISTINCT FROM (excluded.name, excluded.sort_name, excluded.tier, excluded.csm, excluded.mrr, excluded.currency,
  excluded.renewal_date, excluded.churned)
RETURNING account_id
"""

FOLLOW_ACCOUNTS = """
UPDATE episodes e SET tier = a.tier, csm = a.csm
FROM unnest($1::text[]) AS touched(account_id) JOIN accounts a ON a.account_id = touched.account_id
WHERE e.account_id = touched.account_id AND (e.tier, e.csm) IS DISTINCT FROM (a.tier, a.csm)
"""

# What was told of a day more than a day after its end was thought to be all of it: another figure is a revision. Which
# record told it, is seen by the score that came with it; it is looked up for rows that do change, and not for today's.
WRITE_DAYS = """
INSERT INTO usage_days AS u (account_id, day, usage, core)
SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[])
ON CONFLICT (account_id, day) DO UPDATE SET usage = excluded.usage, core = excluded.core,
  revised_at = CASE
    WHEN excluded.day < (now() AT TIME ZONE 'UTC')::date - 1 AND (u.day + 2)::timestamp AT TIME ZONE 'UTC'
      <= (SELECT s.as_of FROM latest_scores s WHERE s.account_id = u.account_id)
    THEN now() ELSE u.revised_at END
WHERE (u.usage, u.core) IS DISTINCT FROM (excluded.usage, excluded.core)
"""

CLEAR_DAYS = """
DELETE FROM usage_days u USING unnest($1::text[], $2::date[]) AS i(account_id, day)
WHERE u.account_id = i.account_id AND u.day = i.day
"""

# Health at sequence s lists every open episode. A transition of that sequence or less that says otherwise came from a
# worker that no longer owned the account.
RECONCILE = (
    """
    UPDATE episodes e SET cleared_at = greatest(h.as_of, e.opened_at), cleared_because = 'reconciled'
    FROM unnest($1::text[]) AS touched(account_id) JOIN account_health h ON h.account_id = touched.account_id
    WHERE e.account_id = touched.account_id AND e.cleared_at IS NULL
      AND e.last_sequence <= h.sequence AND e.episode_id <> ALL (h.open_episodes)
    RETURNING e.account_id, e.episode_id, h.as_of, h.sequence, e.cleared_at
    """,
    """
    UPDATE episodes e SET cleared_at = NULL, cleared_because = NULL
    FROM unnest($1::text[]) AS touched(account_id) JOIN account_health h ON h.account_id = touched.account_id
    WHERE e.account_id = touched.account_id AND e.cleared_at IS NOT NULL
      AND e.last_sequence <= h.sequence AND e.episode_id = ANY (h.open_episodes)
    RETURNING e.account_id, e.episode_id, h.as_of, h.sequence, e.cleared_at
    """,
)


class Done(NamedTuple):
    """How many health records were older than what is held, what health put right, and which transitions are new."""

    stale: int
    healed: Sequence[Healed]
    recorded: Sequence[TransitionRow]


async def write_signals(connection: Any, batch: Signals) -> Done:
    """Write one batch. Contradictions that it finds are added to `batch.refused`; `write_refused` is the caller's."""
    if batch.erased:
        gone = list(batch.erased)
        for statement in FORGET_SIGNALS:
            await connection.execute(statement, gone, [row.until for row in batch.erased.values()])
        for statement in (*FORGET_ACCOUNTS, *standing.FORGET_ACCOUNTS):
            await connection.execute(statement, gone)
    if batch.erased_episodes:
        for statement in FORGET_EPISODES:
            await connection.execute(statement, list(batch.erased_episodes))
    current, moved = await _write_health(connection, batch)
    changed = set(current)
    stale = len(batch.health) - len(changed)
    recorded = await _write_transitions(connection, batch)
    told = {row.account_id for row in batch.transitions.values()}
    changed |= told
    healed: list[Healed] = []
    if changed:
        for statement in RECONCILE:
            for account_id, *found in await connection.fetch(statement, list(changed)):
                healed.append(Healed(*found))
                moved.add(account_id)
    moved |= told | batch.erased.keys()
    if moved:
        await standing.refresh_queue(connection, moved)
    return Done(stale, healed, recorded)


async def _write_transitions(connection: Any, batch: Signals) -> list[TransitionRow]:
    """Write what is left of the batch's transitions without the forgotten and the contradicting. Returns the new ones."""
    if not batch.transitions:
        return []
    forgotten = dict(await connection.fetch(FORGOTTEN, list({row.account_id for row in batch.transitions.values()})))
    for place, row in list(batch.transitions.items()):
        until = forgotten.get(row.account_id)
        if until is not None and row.appended_at <= until:
            del batch.transitions[place]
    places = list(batch.transitions)
    # Bodies are asked for, not sent: nearly all that comes is new.
    keys = [episode_id for episode_id, _ in places], [ordinal for _, ordinal in places]
    repeated = set()
    for number, body in await connection.fetch(HELD_TRANSITIONS, *keys):
        place = places[number]
        if batch.transitions[place].body != body:
            batch.refused.append(contradiction(batch.transitions.pop(place)))
        else:
            repeated.add(place)
    if not batch.transitions:
        return []
    # Nobody else writes here, so what is not held is new, and a plain COPY half the work of an upsert.
    new = [row for place, row in batch.transitions.items() if place not in repeated]
    if new:
        records = [
            (row.change.data.episode_id, row.ordinal, row.sequence, row.change.time, row.appended_at, row.body)
            for row in new
        ]
        await connection.copy_records_to_table("transitions", records=records, columns=TRANSITION_COLUMNS)
    await connection.execute(WRITE_EPISODES, *_columns([_episode(row) for row in batch.last()], 18))
    return new


def _episode(row: TransitionRow) -> tuple[Any, ...]:
    change, data = row.change, row.change.data
    cleared = change.type == "signal.cleared"
    return (
        data.episode_id,
        row.account_id,
        printable(data.signal)[:KEY_CHARACTERS],
        data.version,
        data.kind,
        data.severity,
        data.scope,
        user_of(change),
        data.pages,
        data.historical,
        key_text(data.account.tier),
        key_text(data.account.csm),
        data.opened_at,
        change.time,
        data.cleared_at if cleared else None,
        printable(str(data.cleared_because or "")) if cleared else None,
        row.ordinal,
        row.sequence,
    )


async def _write_health(connection: Any, batch: Signals) -> tuple[list[str], set[str]]:
    """Write what is not older than what is held, with the account's columns and days.

    Returns whose health it was, and of those the accounts whose signals may have another place in the queue now.
    """
    if not batch.health:
        return [], set()
    rows = [
        (
            account_id,
            row.health.sequence,
            row.health.as_of,
            row.health.windows.last_seen,
            " ".join(episode.episode_id for episode in row.health.open_episodes),
            row.body,
        )
        for account_id, row in batch.health.items()
    ]
    current = [account_id for (account_id,) in await connection.fetch(WRITE_HEALTH, *_columns(rows, 6))]
    if not current:
        return [], set()
    accounts = [account_row(batch.health[account_id].health) for account_id in current]
    columns = _columns([tuple(getattr(a, name) for name in a.__struct_fields__) for a in accounts], 10)
    renamed = [account_id for (account_id,) in await connection.fetch(WRITE_ACCOUNTS, *columns)]
    if renamed:
        await connection.execute(FOLLOW_ACCOUNTS, renamed)
    # Before the scores: those that are held say of when the figures are that are replaced.
    days = [(account_id, day) for account_id in current for day in batch.days[account_id].values()]
    used = [(account_id, d.day, d.usage, d.core) for account_id, d in days if d.usage or d.core]
    if used:
        await connection.execute(WRITE_DAYS, *_columns(used, 4))
    unused = [(account_id, d.day) for account_id, d in days if not (d.usage or d.core)]
    if unused:
        await connection.execute(CLEAR_DAYS, *_columns(unused, 2))
    moved = await standing.write_standings(connection, (batch.health[account_id].health for account_id in current))
    await facts.write_scores(connection, (batch.health[account_id].health for account_id in current))
    scores = [(account_id, day) for account_id in current for day in batch.scores[account_id].values()]
    await standing.write_scores(connection, scores)
    parts = ((account_id, day, made) for account_id in current for day, made in batch.parts.get(account_id, {}).items())
    await standing.write_parts(connection, parts)
    return current, moved | set(renamed)


# --- timeline ------------------------------------------------------------------------------------------------------

ERASE_EVENTS = """
WITH x AS (
  INSERT INTO erasures AS e (account_id, events_until, events_appended_until)
  SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[])
  ON CONFLICT (account_id) DO UPDATE SET events_until = greatest(e.events_until, excluded.events_until),
    events_appended_until = greatest(e.events_appended_until, excluded.events_appended_until)
  RETURNING account_id, events_until, events_appended_until
)
DELETE FROM timeline t USING x
WHERE t.account_id = x.account_id AND (t.time <= x.events_until OR t.appended_at <= x.events_appended_until)
"""

WRITE_TIMELINE = """
INSERT INTO timeline (account_id, time, entry, type, source, event_id, appended_at, data)
SELECT i.account_id, i.time, i.entry, i.type, i.source, i.event_id, i.appended_at, i.data::json
FROM unnest($1::text[], $2::timestamptz[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
  $8::text[]) AS i(account_id, time, entry, type, source, event_id, appended_at, data)
WHERE NOT EXISTS (
  SELECT FROM erasures x WHERE x.account_id = i.account_id
  AND (i.time <= x.events_until OR i.appended_at <= x.events_appended_until))
ON CONFLICT DO NOTHING
"""


WRITE_RELEASES = """
INSERT INTO releases AS r (feature, released_at, advanced)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bool[])
ON CONFLICT (feature) DO UPDATE SET released_at = excluded.released_at, advanced = excluded.advanced
WHERE excluded.released_at < r.released_at
"""


async def write_events(connection: Any, batch: Events) -> None:
    """Write one batch of the timeline, erasures first."""
    if batch.erasures:
        rows = [(row.account_id, row.time, row.appended_at) for row in batch.erasures.values()]
        await connection.execute(ERASE_EVENTS, *_columns(rows, 3))
    if batch.entries:
        entries = [tuple(getattr(row, name) for name in row.__struct_fields__) for row in batch.entries.values()]
        await connection.execute(WRITE_TIMELINE, *_columns(entries, 8))
    await facts.write_facts(connection, batch)
    if batch.releases:
        releases = [(row.feature, row.released_at, row.advanced) for row in batch.releases.values()]
        await connection.execute(WRITE_RELEASES, *_columns(releases, 3))


# --- every lane ----------------------------------------------------------------------------------------------------


async def lock(connection: Any, lane: str) -> bool:
    """Become the one writer of a lane, until this connection ends. False while another holds it."""
    return bool(await connection.fetchval(LOCK, f"ebbtide recorder {lane}"))


async def read_offsets(connection: Any, topics: Iterable[str]) -> dict[Position, int]:
    """The next offset to read of each topic-partition that was ever written for."""
    rows = await connection.fetch(READ_OFFSETS, list(topics))
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def write_offsets(connection: Any, offsets: Mapping[Position, int]) -> None:
    """Move the next offsets, in the transaction that wrote what came before them."""
    rows = [(topic, partition, offset) for (topic, partition), offset in sorted(offsets.items())]
    await connection.execute(WRITE_OFFSETS, *_columns(rows, 3))


async def write_refused(connection: Any, rows: Iterable[RefusedRow]) -> None:
    """Keep records that could not be used, with their bytes."""
    refused = [
        (r.record.topic, r.record.partition, r.record.offset, r.reason, r.detail, r.record.key, r.record.value)
        for r in rows
    ]
    if refused:
        await connection.execute(WRITE_REFUSED, *_columns(refused, 7))


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
