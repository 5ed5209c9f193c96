"""The JSON of `/v1/dead-letters`: shapes for `/openapi.json`, and letters put into them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.dead_letters import Reason
from services.api.dead_letters import Chosen, Groups, Replayed
from services.api.masking import masked, revealed
from services.api.parameters import AnyText, Instant, Text
from services.common.dead_letter_pages import Standing


class DeadLetter(BaseModel):
    """One refused record. `id` says where it came from, `place` where it stands now.

    `payload` is the message, its values replaced by their kinds unless they were asked to be revealed; `text` is a
    revealed message that is not JSON. `replayed` counts how often it was sent again; 0: begun, never confirmed.
    """

    id: str
    place: str
    at: dt.datetime
    reason: str
    field: str
    detail: str
    topic: str
    source: str
    key: str | None
    bytes: int
    replayed: int | None
    masked: bool
    payload: Any
    text: str | None


class Looked(BaseModel):
    """How many letters were looked at for a page, and when the oldest of them was written: how far back it is known."""

    letters: int
    since: dt.datetime | None


class DeadLetterPage(BaseModel):
    """A page of dead letters, newest first. It may be short, and even empty, while `next_cursor` says that there is more."""

    items: list[DeadLetter]
    next_cursor: str | None
    looked: Looked


class DeadLetterGroup(BaseModel):
    """Dead letters with one reason, source, field and topic."""

    reason: str
    source: str
    field: str
    topic: str
    count: int
    first_at: dt.datetime
    last_at: dt.datetime


class DeadLetterGroups(BaseModel):
    """Groups of the newest `counted` of `held` dead letters, written since `since`; most first."""

    items: list[DeadLetterGroup]
    next_cursor: None
    counted: int
    held: int
    since: dt.datetime | None
    read_at: dt.datetime


class ReplayRequest(BaseModel):
    """Which dead letters to send again: one by `id`, or all that have what is named. At least one must be named.

    `preview` sends nothing. `again` also sends those that were sent before. `cursor` is that of an answer with more.
    """

    model_config = ConfigDict(extra="forbid")

    id: Text | None = None
    reason: Reason | None = None
    topic: Text | None = None
    source: AnyText | None = None
    field: AnyText | None = None
    key: Text | None = None
    since: Instant | None = None
    until: Instant | None = None
    again: bool = False
    preview: bool = False
    cursor: str | None = None


class ReplayAnswer(BaseModel):
    """What a replay would do, or did. `chosen` = `sent` + `refused` + those that somebody else sent meanwhile.

    `left_out` were sent before, `unsure` of them without confirmation. `sent` = `fixed` (applied now) + `failed_again`
    (a new dead letter) + `waiting` (not judged in time). `refused` are calls that still make no event: `why` counts
    the reasons. `next_cursor` is there when there may be more than one call sends.
    """

    preview: bool
    chosen: int
    left_out: int
    unsure: int
    sent: int
    fixed: int
    failed_again: int
    waiting: int
    refused: int
    why: dict[str, int]
    sample: list[DeadLetter]
    next_cursor: str | None


def dead_letter(found: Standing, replayed: int | None, *, reveal: bool = False) -> dict[str, Any]:
    """A `DeadLetter`."""
    letter = found.letter
    payload, text = revealed(letter.value) if reveal else (masked(letter.value), None)
    return {
        "id": str(letter.identity),
        "place": str(found.place),
        "at": found.at,
        "reason": letter.reason,
        "field": letter.field,
        "detail": letter.headers.get("detail", ""),
        "topic": letter.identity.topic,
        "source": letter.source,
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "bytes": len(letter.value),
        "replayed": replayed,
        "masked": not reveal,
        "payload": payload,
        "text": text,
    }


def groups(found: Groups) -> dict[str, Any]:
    """A `DeadLetterGroups`."""
    return {
        "items": found.groups,
        "next_cursor": None,
        "counted": found.counted,
        "held": found.held,
        "since": found.since,
        "read_at": found.read_at,
    }


def replay(chosen: Chosen, replayed: Replayed | None, sample: int, cursor: str | None) -> dict[str, Any]:
    """A `ReplayAnswer`; without `replayed` that of a preview."""
    done = None if replayed is None else replayed.done
    return {
        "preview": replayed is None,
        "chosen": len(chosen.letters),
        "left_out": chosen.left_out + (0 if done is None else done.taken),
        "unsure": chosen.unsure,
        "sent": 0 if done is None else len(done.sent),
        "fixed": 0 if replayed is None else replayed.fixed,
        "failed_again": 0 if replayed is None else replayed.failed_again,
        "waiting": 0 if replayed is None else replayed.waiting,
        "refused": 0 if done is None else done.refused,
        "why": {} if done is None else dict(done.why),
        "sample": [dead_letter(one, None) for one in chosen.letters[:sample]],
        "next_cursor": cursor,
    }
