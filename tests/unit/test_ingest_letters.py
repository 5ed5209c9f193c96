"""Dead letters that wait for a link, and links that came past ingest; no server."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest

from services.common import dead_letters
from services.common.dead_letters import Identity, Letter
from services.ingest import dead_letters as headers
from services.ingest import names, redeem, straight
from services.ingest.attribution import Attribution
from services.ingest.collector import Record
from services.ingest.letters import Waiting, names_of, outcome
from services.ingest.mapping import load
from services.ingest.names import Link, Name
from services.ingest.redeem import Redeemer
from tests.recorded import Stored

MAPPING = load()
U1, U2 = names.user("web", "u1"), names.user("web", "u2")
CUSTOMER = names.external("stripe", "cus_1")


def letter(number: int, *wanted: Name, reason: str = "unattributed", **more: Any) -> Letter:
    call = {
        "type": "track",
        "event": "Report Exported",
        "userId": wanted[0].id if wanted else "u",
        "messageId": f"m{number}",
    }
    call |= {"timestamp": "2026-05-01T10:00:00Z"} | more
    return Letter(
        Identity("ingest/segment", 0, number),
        b"k",
        json.dumps(call).encode(),
        {
            "reason": reason,
            headers.KIND: "track",
            headers.SOURCE: "web",
            headers.RECEIVED_AT: "2026-05-01T10:00:01Z",
            headers.NAMES: msgspec.json.encode(wanted).decode(),
        },
    )


def known(links: dict[Name, Link]) -> Attribution:
    async def nothing() -> None: ...

    made = Attribution(nothing)
    made.learn(links)
    made.ready = True
    return made


LINK = Link("acme", 5, names.GROUP)


def test_letters_are_due_once_their_name_is_linked_in_their_order_and_once() -> None:
    waiting = Waiting(1 << 20)
    for number, name in ((1, U1), (2, U2), (3, U1), (3, U1)):
        assert waiting.add(letter(number, name)) == 0
    assert len(waiting) == 3
    assert not list(waiting.due({}))
    assert [each.identity.offset for each in waiting.due({U1: LINK})] == [1, 3]
    waiting.remove(Identity("ingest/segment", 0, 1))
    assert {each.identity.offset for each in waiting.due({U1: LINK, U2: LINK})} == {2, 3}


def test_a_letter_of_two_names_is_due_once() -> None:
    waiting = Waiting(1 << 20)
    waiting.add(letter(1, U1, names.anonymous("web", "a1")))
    links = {U1: LINK, names.anonymous("web", "a1"): LINK}
    assert len(list(waiting.due(links))) == 1


def test_a_user_that_is_linked_as_another_systems_id_is_found() -> None:
    waiting = Waiting(1 << 20)
    waiting.add(letter(1, U1))
    assert len(list(waiting.due({names.external("web", "u1"): LINK}))) == 1


@pytest.mark.parametrize("other", [letter(1, U1, reason="invalid"), letter(1)], ids=["another reason", "no names"])
def test_what_no_link_can_help_does_not_wait(other: Letter) -> None:
    waiting = Waiting(1 << 20)
    waiting.add(other)
    assert not len(waiting)


def test_names_that_cannot_be_read_and_letters_of_others() -> None:
    broken = letter(1, U1)
    broken.headers[headers.NAMES] = "no json"
    assert names_of(broken) == []
    assert names_of(msgspec.structs.replace(letter(1, U1), identity=Identity("usage", 0, 1))) == []


def test_memory_is_bounded_and_the_oldest_go() -> None:
    waiting = Waiting(20_000)
    assert sum(waiting.add(letter(number, U1, filler="x" * 500)) for number in range(100)) == 100 - len(waiting)
    assert 0 < len(waiting) <= 10
    assert [each.identity.offset for each in waiting.due({U1: LINK})][-1] == 99


def test_a_letter_comes_to_the_event_that_its_call_would_have_been() -> None:
    made = outcome(letter(7, U1), MAPPING, {U1: LINK})
    assert not isinstance(made, str)
    (ready,) = made.ready
    assert (ready.event.subject, ready.event.id, ready.event.source) == ("acme", "m7", "web")
    assert ready.event.time == dt.datetime(2026, 5, 1, 10, tzinfo=dt.UTC)
    assert str(outcome(letter(8, U1, timestamp="2026-05-03T12:00:00Z"), MAPPING, {U1: LINK})).startswith("future")


class Collected:
    connected = True

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.takes = True

    async def send(self, records: list[Record]) -> list[bool]:
        if self.takes:
            self.records += records
        return [self.takes] * len(records)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[Identity, int]:
    """The table of what was sent again."""
    table: dict[Identity, int] = {}

    async def replays_of(engine: Any, identities: list[Identity]) -> dict[Identity, int]:
        return {each: table[each] for each in identities if each in table}

    async def begin(engine: Any, identities: list[Identity]) -> None:
        for each in identities:
            table.setdefault(each, 0)

    async def finish(engine: Any, identities: list[Identity]) -> None:
        for each in identities:
            table[each] += 1

    for function in (replays_of, begin, finish):
        monkeypatch.setattr(dead_letters, function.__name__, function)
    return table


def redeemer(links: dict[Name, Link], collected: Collected) -> Redeemer:
    return Redeemer(None, None, None, known(links), collected, MAPPING)  # type: ignore[arg-type]


async def test_redeeming_is_written_down_and_happens_once(sent: dict[Identity, int]) -> None:
    collected = Collected()
    waiting = Waiting(1 << 20)
    for number in range(3):
        waiting.add(letter(number, U1))
    sent[Identity("ingest/segment", 0, 1)] = 1  # by a person, with the command
    sent[Identity("ingest/segment", 0, 2)] = 0  # begun, and then we crashed
    assert await redeemer({U1: LINK}, collected).redeem(waiting)
    assert [(r.topic, r.key, json.loads(r.value or b"")["id"]) for r in collected.records] == [
        ("usage", b"acme", "m0"),
        ("usage", b"acme", "m2"),
    ]
    assert set(sent.values()) == {1}
    assert not len(waiting)


async def test_what_kafka_did_not_take_waits_on(sent: dict[Identity, int]) -> None:
    collected = Collected()
    collected.takes = False
    waiting = Waiting(1 << 20)
    waiting.add(letter(1, U1))
    with pytest.raises(redeem.NotAcknowledged):
        await redeemer({U1: LINK}, collected).redeem(waiting)
    assert sent == {Identity("ingest/segment", 0, 1): 0}
    collected.takes = True
    assert await redeemer({U1: LINK}, collected).redeem(waiting)
    assert len(collected.records) == 1


async def test_a_step_is_bounded(sent: dict[Identity, int]) -> None:
    waiting = Waiting(1 << 22)
    for number in range(redeem.AT_ONCE + 1):
        waiting.add(letter(number, U1))
    worker = redeemer({U1: LINK}, Collected())
    assert not await worker.redeem(waiting)
    assert len(waiting) == 1
    assert await worker.redeem(waiting)


def said(type_name: str, account: str, at_us: int, **data: Any) -> Stored:
    time = dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC).isoformat()
    value = {"specversion": "1.0", "id": f"{type_name}{at_us}", "source": "crm", "type": type_name, "subject": account}
    value |= {"time": time, "data": data} if data else {"time": time}
    return Stored("accounts", 0, 0, 0, account.encode(), json.dumps(value).encode())


def linked(account: str, at_us: int) -> Stored:
    return said("account.linked", account, at_us, system="Stripe", external_id="cus_1")


def test_a_link_that_was_sent_straight_to_its_topic() -> None:
    assert straight.changes([linked("acme", 7)], known({})) == {CUSTOMER: Link("acme", 7, names.LINKED)}


def test_what_is_known_or_older_is_not_written_again() -> None:
    held = known({CUSTOMER: Link("acme", 7, names.LINKED)})
    assert straight.changes([linked("acme", 7), linked("other", 6)], held) == {}
    assert straight.changes([linked("other", 8)], held) == {CUSTOMER: Link("other", 8, names.LINKED)}


def test_the_last_word_in_one_batch_counts() -> None:
    assert straight.changes([linked("b", 8), linked("a", 7)], known({})) == {CUSTOMER: Link("b", 8, names.LINKED)}
    erased = said("account.erased", "b", 9)
    assert straight.changes([linked("b", 8), erased], known({})) == {CUSTOMER: None}
    assert straight.changes([linked("b", 8), erased, linked("b", 10)], known({})) == {
        CUSTOMER: Link("b", 10, names.LINKED)
    }


def test_an_erasure_withdraws_what_was_linked_before_it_only() -> None:
    held = known(
        {U1: Link("acme", 5, names.GROUP), U2: Link("acme", 11, names.GROUP), CUSTOMER: Link("x", 1, "linked")}
    )
    assert straight.changes([said("account.erased", "acme", 10)], held) == {U1: None}


def test_refused_events_and_others_say_nothing() -> None:
    wrong_key = linked("acme", 7)._replace(key=b"other")
    update = said("account.updated", "acme", 7, name="account.linked")
    nothing = linked("acme", 7)._replace(value=None)
    assert straight.changes([wrong_key, update, nothing], known({})) == {}
