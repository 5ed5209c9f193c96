"""Calls of the tracking API to events: what each SDK was recorded to send, and every way in which a call can be unusable."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from services.ingest import names
from services.ingest.mapping import Mapping, compile_mapping, load
from services.ingest.names import Link, Name
from services.ingest.translate import Translation, segment

NOW = dt.datetime(2026, 11, 22, 1, 37, 20, tzinfo=dt.UTC)
RECORDED = json.loads(Path(__file__).with_name("test_ingest_recorded.json").read_text())
US = dt.timedelta(microseconds=1)


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    return load()


def run(
    mapping: Mapping,
    *calls: dict[str, Any] | bytes,
    known: dict[Name, Link] | None = None,
    sent_at: Any = None,
    kind: str = "",
) -> Translation:
    items = [call if isinstance(call, bytes) else json.dumps(call).encode() for call in calls]
    return segment.translate(items, segment.Request("web", NOW, sent_at, kind), mapping, known or {})


def track(event: str = "Report Exported", **more: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "u1", "event": event, "messageId": "m1", "context": {"groupId": "acme"}} | more


def data(translation: Translation) -> dict[str, Any]:
    """The data of the one event made."""
    assert translation.unusable == []
    (ready,) = translation.ready
    found: dict[str, Any] = json.loads(ready.value)["data"]
    return found


@pytest.mark.parametrize("recorded", RECORDED, ids=[each["client"] for each in RECORDED])
def test_what_each_sdk_sends(mapping: Mapping, recorded: dict[str, Any]) -> None:
    known: dict[Name, Link] = {}
    made: list[tuple[str, str, str | None]] = []
    unusable = []
    for body in recorded["bodies"]:
        found = run(mapping, *body["batch"], known=known, sent_at=segment.instant(body["sentAt"]))
        known |= found.links
        made += [
            (each.event.type, each.event.subject or "", getattr(each.event.data, "user", None)) for each in found.ready
        ]
        unusable += [(item.reason, item.kind) for item in found.unusable]
        calls = {call["messageId"] for call in body["batch"]}
        assert {each.event.id for each in found.ready} <= calls
    # The Node SDK of RudderStack sends its first call alone, before anybody knows where the user belongs.
    alone = recorded["client"].startswith("@rudderstack")
    assert made == [
        *([] if alone else [("account.contact_changed", "acct", None)]),
        ("account.updated", "acct", None),
        ("usage.feature_used", "acct", "user-of-acct"),
        ("usage.logged_in", "acct", "user-of-acct"),
        ("usage.page_viewed", "acct", "user-of-acct"),
        ("usage.feature_used", "acct", "stranger-of-acct"),
    ]
    assert unusable == [*([("unattributed", "identify")] if alone else []), ("unattributed", "track")]


class TestAttribution:
    def test_the_context_names_the_account(self, mapping: Mapping) -> None:
        (ready,) = run(mapping, track()).ready
        assert ready.event.subject == "acme"

    def test_so_does_a_property(self, mapping: Mapping) -> None:
        (ready,) = run(mapping, track(context=None, properties={"account_id": 42})).ready
        assert ready.event.subject == "42"

    def test_a_group_attributes_what_comes_after_and_before_it(self, mapping: Mapping) -> None:
        before, after = track(context={}, messageId="m1"), track(context={}, messageId="m3")
        found = run(mapping, before, {"type": "group", "userId": "u1", "groupId": "acme", "messageId": "m2"}, after)
        assert [(each.event.id, each.event.subject) for each in found.ready] == [("m1", "acme"), ("m3", "acme")]
        assert found.ignored == 1, "a group without traits makes a link and no event"
        assert list(found.links) == [names.user("web", "u1")]

    def test_a_link_of_another_source_does_not_count(self, mapping: Mapping) -> None:
        known = {names.user("app", "u1"): Link("acme", 0, names.GROUP)}
        (item,) = run(mapping, track(context={}), known=known).unusable
        assert (item.reason, item.field, item.names) == ("unattributed", "context.groupId", (names.user("web", "u1"),))

    def test_the_last_group_wins_over_a_later_context(self, mapping: Mapping) -> None:
        known = {names.user("web", "u1"): Link("acme", 0, names.GROUP)}
        found = run(mapping, track(context={"groupId": "other"}), track(context={}), known=known)
        assert [each.event.subject for each in found.ready] == ["other", "acme"]
        assert found.links == {}

    def test_a_context_attributes_who_has_no_group(self, mapping: Mapping) -> None:
        found = run(mapping, track(), track(context={}))
        assert [each.event.subject for each in found.ready] == ["acme", "acme"]
        assert run(mapping, track(), known=found.links).links == {}, "the same word again says nothing new"

    def test_an_older_group_does_not_overrule(self, mapping: Mapping) -> None:
        known = {names.user("web", "u1"): Link("acme", 2_000_000_000_000_000, names.GROUP)}
        old = {"type": "group", "userId": "u1", "groupId": "old", "timestamp": "2020-01-01T00:00:00Z"}
        assert run(mapping, old, known=known).links == {}

    def test_a_group_of_the_future_is_linked_as_of_now(self, mapping: Mapping) -> None:
        ahead = {"type": "group", "userId": "u1", "groupId": "acme", "timestamp": "2030-01-01T00:00:00Z"}
        (link,) = run(mapping, ahead).links.values()
        assert link.at_us == round(NOW.timestamp() * 1e6)

    def test_an_anonymous_visitor(self, mapping: Mapping) -> None:
        group = {"type": "group", "anonymousId": "a1", "userId": None, "groupId": "acme"}
        found = run(mapping, group, track(userId=None, anonymousId="a1", context={}))
        assert data(Translation(found.ready, found.unusable, {}))["user"] == "a1"

    def test_an_alias_hands_the_account_on(self, mapping: Mapping) -> None:
        known = {names.anonymous("web", "a1"): Link("acme", 1, names.CONTEXT)}
        found = run(mapping, {"type": "alias", "previousId": "a1", "userId": "u1"}, track(context={}), known=known)
        assert [each.event.subject for each in found.ready] == ["acme"]

    def test_account_linked_may_name_a_user(self, mapping: Mapping) -> None:
        known = {names.external("Web", "u1"): Link("acme", 1, names.LINKED)}
        (ready,) = run(mapping, track(context={}), known=known).ready
        assert ready.event.subject == "acme"


class TestTime:
    sent = "2026-11-22T00:37:19Z"  # the sender's clock is an hour slow, the call was made a minute before it was sent

    @pytest.mark.parametrize("member", ["timestamp", "originalTimestamp"])
    def test_the_senders_clock_error_is_taken_out(self, mapping: Mapping, member: str) -> None:
        call = track(**{member: "2026-11-22T00:36:19.000001+00:00"})
        (ready,) = run(mapping, call, sent_at=segment.instant(self.sent)).ready
        assert ready.event.time == NOW - dt.timedelta(minutes=1) + US

    def test_the_calls_own_sent_at_comes_first(self, mapping: Mapping) -> None:
        call = track(originalTimestamp="2026-11-22T00:36:19Z", sentAt=self.sent)
        (ready,) = run(mapping, call, sent_at=NOW).ready
        assert ready.event.time == NOW - dt.timedelta(minutes=1)

    def test_without_sent_at_it_stands(self, mapping: Mapping) -> None:
        (ready,) = run(mapping, track(timestamp="2026-01-31T12:00:00+02:00")).ready
        assert json.loads(ready.value)["time"] == "2026-01-31T12:00:00+02:00"

    def test_a_timestamp_that_the_caller_gave_rudderstack_stands(self, mapping: Mapping) -> None:
        call = track(timestamp="2026-01-31T12:00:00Z", originalTimestamp="2026-11-22T00:36:19Z", sentAt=self.sent)
        (ready,) = run(mapping, call).ready
        assert ready.event.time == dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)

    def test_without_any_it_is_the_arrival(self, mapping: Mapping) -> None:
        (ready,) = run(mapping, track()).ready
        assert ready.event.time == NOW

    def test_the_future_is_refused(self, mapping: Mapping) -> None:
        (item,) = run(mapping, track(timestamp="2026-11-23T01:37:21Z")).unusable
        assert (item.reason, item.field) == ("future", "timestamp")


class TestMapping:
    def test_another_name_is_a_feature(self, mapping: Mapping) -> None:
        call = track("Report Exported", properties={"environment": "staging", "rows": 3})
        assert data(run(mapping, call)) == {"user": "u1", "feature": "Report Exported", "environment": "staging"}

    @pytest.mark.parametrize("name", ["Logged In", "signed in", "usage.logged_in"])
    def test_names_of_types(self, mapping: Mapping, name: str) -> None:
        (ready,) = run(mapping, track(name)).ready
        assert ready.event.type == "usage.logged_in"

    def test_an_event_name_that_is_a_type_takes_its_properties(self, mapping: Mapping) -> None:
        properties = {
            "invoice_id": 17,
            "amount": 1200.5,
            "currency": "EUR",
            "due": "2026-12-01",
            "extra": 1,
            "user": None,
        }
        assert data(run(mapping, track("invoice.issued", properties=properties))) == {
            "invoice_id": "17",
            "amount": "1200.5",
            "currency": "EUR",
            "due": "2026-12-01",
        }

    def test_the_traits_of_a_group_are_the_profile(self, mapping: Mapping) -> None:
        traits = {
            "name": "Acme",
            "seats": 12,
            "employees": 50,
            "monthlySpend": 99,
            "industry": "",
            "plan": None,
            "x": 1,
        }
        found = run(mapping, {"type": "group", "userId": "u1", "groupId": "acme", "traits": traits})
        assert data(found) == {"name": "Acme", "seats": 12, "size": 50, "mrr": "99"}

    def test_an_identify_makes_a_contact_only_of_who_has_a_role(self, mapping: Mapping) -> None:
        plain = {"type": "identify", "userId": "u1", "traits": {"name": "Ada"}, "context": {"groupId": "acme"}}
        assert run(mapping, plain).ignored == 1
        assert data(run(mapping, plain | {"traits": {"name": "Ada", "roles": ["champion"]}})) == {
            "contact_id": "u1",
            "name": "Ada",
            "roles": ["champion"],
        }

    def test_a_page(self, mapping: Mapping) -> None:
        page = {"userId": "u1", "properties": {"path": "/a"}, "context": {"groupId": "acme"}}
        assert data(run(mapping, page, kind="page")) == {"user": "u1", "page": "/a"}

    def test_core_features_and_own_names(self) -> None:
        own = {
            "account": ["context.groupId"],
            "track": {
                "events": {
                    "Beat": None,
                    "Deal Won": {"type": "usage.value_reached", "data": {"goal": {"const": "deal"}}},
                },
                "default": {"type": "usage.feature_used", "data": {"feature": "event"}},
            },
            "features": {"Report Exported": {"core": True}},
        }
        mapping = compile_mapping(own)
        assert data(run(mapping, track())) == {"feature": "Report Exported", "user": "u1", "core": True}
        assert data(run(mapping, track("deal won"))) == {"goal": "deal", "user": "u1"}
        assert run(mapping, track("Beat")).ignored == 1
        assert run(mapping, track(), kind="page").ignored == 1


UNUSABLE = [
    (b"[1]", "malformed", ""),
    (b'{"type":"track","event":"\\ud800"', "malformed", ""),
    ({"type": "trick", "userId": "u1"}, "unknown_type", "type"),
    (track(userId=None), "invalid", "userId"),
    (track(userId={"id": 1}), "invalid", "userId"),
    (track(event=None), "invalid", "event"),
    (track(properties=[1]), "invalid", "properties"),
    (track(timestamp="yesterday"), "invalid", "timestamp"),
    (track(timestamp="2026-01-01T00:00:00"), "invalid", "timestamp"),
    (track(context={"groupId": " acme "}), "invalid", "context.groupId"),
    (track(messageId="m" * 257), "invalid", "messageId"),
    (track("x" * 1025), "invalid", "event"),
    (track("Ticket Opened", properties={"ticket_id": 1}), "invalid", "priority"),
    (track("Ticket Opened", properties={"ticket_id": 1, "priority": "urgent"}), "invalid", "properties.priority"),
    (track(properties={"note": "x" * 33_000}), "too_large", ""),
    ({"type": "group", "userId": "u1"}, "unattributed", "groupId"),
    ({"type": "group", "userId": "u1", "groupId": "acme", "traits": {"seats": "many"}}, "invalid", "traits.seats"),
    ({"type": "alias", "userId": "u1"}, "invalid", "previousId"),
]


@pytest.mark.parametrize(("call", "reason", "field"), UNUSABLE)
def test_unusable_calls_keep_their_bytes_and_say_why(
    mapping: Mapping, call: dict[str, Any] | bytes, reason: str, field: str
) -> None:
    found = run(mapping, call)
    assert found.ready == []
    (item,) = found.unusable
    assert (item.reason, item.field) == (reason, field)
    assert item.value == (call if isinstance(call, bytes) else json.dumps(call).encode())
    assert item.detail


def test_one_bad_call_does_not_spoil_the_others(mapping: Mapping) -> None:
    found = run(mapping, track(messageId="m1"), b"7", track(messageId="m3"))
    assert [each.event.id for each in found.ready] == ["m1", "m3"]
    assert [item.value for item in found.unusable] == [b"7"]


def test_a_call_without_message_id_has_the_same_id_when_it_is_sent_again(mapping: Mapping) -> None:
    dated = track(messageId=None, timestamp="2026-11-22T00:00:00Z")
    undated = track(messageId=None)
    ids = [run(mapping, call).ready[0].event.id for call in (dated, dated, undated, undated)]
    assert ids[0] == ids[1]
    assert ids[2] != ids[3], "two such calls may be two clicks"


def test_numbers_as_ids_are_text(mapping: Mapping) -> None:
    (ready,) = run(mapping, track(userId=12.0, messageId=5, context={"groupId": 7})).ready
    assert (ready.event.data.user, ready.event.id, ready.event.subject) == ("12", "5", "7")
