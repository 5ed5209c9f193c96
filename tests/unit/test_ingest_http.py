"""The HTTP side of ingest without a socket: a fake producer, a fake key table, the real routes."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.ingest import names
from services.ingest.app import make_app
from services.ingest.attribution import Attribution
from services.ingest.collector import Collector
from services.ingest.mapping import load
from services.ingest.names import Link
from services.ingest.service import Secrets, Service
from services.ingest.write_keys import WriteKeys

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
PARTITIONS = 4
MAPPING = load()
BEARER = {"authorization": "Bearer secret"}
JSON = {"content-type": "application/json"}


class FakeProducer:
    """Keeps what it was given. `answer` decides per topic: acknowledge, refuse (an exception), or never answer (None)."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int, bytes | None, bytes | None, dict[str, str]]] = []
        self.answer: Callable[[str], bool | Exception | None] = lambda topic: True
        self.stopped = False

    async def partitions_for(self, topic: str) -> set[int]:
        return {0} if topic == "attribution" else set(range(PARTITIONS))

    def create_batch(self) -> Any:
        batch = SimpleNamespace(held=[])

        def append(
            *, timestamp: None, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
        ) -> object:
            if len(batch.held) == 300:
                return None
            batch.held.append((key, value, {name: text.decode() for name, text in headers}))
            return object()

        batch.append, batch.record_count = append, lambda: len(batch.held)
        return batch

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer = self.answer(topic)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        elif answer:
            self.records += [(topic, partition, *record) for record in batch.held]
            future.set_result(None)
        return future

    async def stop(self) -> None:
        self.stopped = True

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(value) for name, _, _, value, _ in self.records if name == topic and value is not None]


class Keys:
    """A key table that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.known = {
            "secret": SimpleNamespace(id="1", name="n", scopes=frozenset({"ingest"}), source="web"),
            "read:only": SimpleNamespace(id="2", name="n", scopes=frozenset({"read"}), source=None),
        }
        self.asked = 0

    async def lookup(self, secret: str) -> Any:
        self.asked += 1
        if self.away:
            raise OSError("connection refused")
        return self.known.get(secret)


class Bench:
    """A service with fakes, and a client of it."""

    def __init__(self) -> None:
        self.producers = [FakeProducer()]
        self.keys = Keys()
        self.clock = 0.0
        self.caught_up: list[tuple[names.Name, Link]] = []

        async def make_producer() -> FakeProducer:
            if self.producers[-1].stopped:
                self.producers.append(FakeProducer())
            return self.producers[-1]

        async def no_consumer() -> None:
            raise AssertionError("not used here")

        attribution = Attribution(no_consumer)
        attribution.ready = True

        async def catch_up() -> bool:
            attribution.learn(self.caught_up)
            return bool(self.caught_up)

        attribution.catch_up = catch_up  # type: ignore[method-assign]
        topics = ("usage", "tickets", "invoices", "accounts", "engagement", "dead-letters", "attribution")
        self.service = Service(
            collector=Collector(make_producer, topics, 0.05),
            attribution=attribution,
            keys=WriteKeys(self.keys.lookup, 30.0, lambda: self.clock),
            mapping=MAPPING,
            secrets=Secrets("whsec_x", "zen", {"crm": "shh"}),
            now=lambda: NOW,
        )
        transport = httpx.ASGITransport(make_app(self.service))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://ingest")

    async def connected(self, producers: int = 1) -> None:
        """Return once the collector has its producer, the so many-th one."""
        async with asyncio.timeout(5):
            for _ in iter(lambda: len(self.producers) >= producers and self.service.collector.connected, True):
                await asyncio.sleep(0)

    @property
    def producer(self) -> FakeProducer:
        return self.producers[-1]

    async def events(self, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return await self.http.post("/v1/events", content=body, headers=BEARER | JSON | headers)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    made.service.collector.start()
    await made.connected()
    yield made
    await made.http.aclose()
    await made.service.collector.stop()


def event(event_id: str = "e1", **more: Any) -> dict[str, Any]:
    made = {
        "specversion": "1.0",
        "id": event_id,
        "source": "test",
        "type": "usage.logged_in",
        "subject": "acme",
        "time": "2026-11-22T11:00:00Z",
        "data": {"user": "u1"},
    } | more
    return {name: value for name, value in made.items() if value is not ...}


def statuses(answer: httpx.Response) -> list[tuple[str, str, str | None, str | None]]:
    assert answer.status_code == 200, answer.text
    return [(each["id"], each["status"], each["reason"], each["field"]) for each in answer.json()["results"]]


class TestEvents:
    @pytest.mark.parametrize(
        "kind", ["application/json", "application/cloudevents+json", "Application/JSON; charset=utf-8", ""]
    )
    async def test_one_structured_event_is_passed_on_as_it_is(self, bench: Bench, kind: str) -> None:
        raw = json.dumps(event(more="kept"), indent=1).encode()
        assert statuses(await bench.events(raw, **{"content-type": kind})) == [("e1", "accepted", None, None)]
        ((topic, _, key, value, headers),) = bench.producer.records
        assert (topic, key, value, headers) == ("usage", b"acme", raw, {})

    @pytest.mark.parametrize("kind", ["application/json", "application/cloudevents-batch+json"])
    async def test_results_are_in_order_and_name_reason_and_field(self, bench: Bench, kind: str) -> None:
        batch = [
            event("e1"),
            event("e2", type="usage.nothing"),
            event("e3", data={}),
            event("e4", subject=...),
            event("e5", time="2026-11-23T12:00:01Z"),
            7,
            event("e7", type="clock.tick", subject=..., data={"now": "2026-11-22T11:00:00Z"}),
            event("e8", data={"user": "u", "note": "x" * 33_000}),
            event("e9", source=...),
            event("e10"),
        ]
        assert statuses(await bench.events(batch, **{"content-type": kind})) == [
            ("e1", "accepted", None, None),
            ("e2", "rejected", "unknown_type", "type"),
            ("e3", "rejected", "invalid", "data.user"),
            ("e4", "rejected", "unattributed", "subject"),
            ("e5", "rejected", "future", "time"),
            ("", "rejected", "malformed", ""),
            ("e7", "rejected", "invalid", "type"),
            ("e8", "rejected", "too_large", ""),
            ("e9", "rejected", "invalid", "source"),
            ("e10", "accepted", None, None),
        ]
        assert [found["id"] for found in bench.producer.of("usage")] == ["e1", "e10"]
        assert bench.producer.of("dead-letters") == []

    @pytest.mark.parametrize("subject", [b"%C3%A9%20space/acct-1", "é space/acct-1".encode(), b'"%C3%A9 space/acct-1"'])
    async def test_binary_mode(self, bench: Bench, subject: bytes) -> None:
        headers = [
            (b"authorization", b"Bearer secret"),
            (b"content-type", b"application/json"),
            (b"ce-specversion", b"1.0"),
            (b"ce-id", b"e%251"),
            (b"ce-source", b"test"),
            (b"ce-type", b"usage.logged_in"),
            (b"ce-time", b"2026-11-22T11:00:00Z"),
            (b"ce-subject", subject),
        ]
        answer = await bench.http.post("/v1/events", content=b'{"user":"u1"}', headers=headers)
        assert statuses(answer) == [("e%1", "accepted", None, None)]
        (found,) = bench.producer.of("usage")
        assert (found["subject"], found["data"]) == ("é space/acct-1", {"user": "u1"})

    async def test_data_base64(self, bench: Bench) -> None:
        packed = base64.b64encode(b'{"user":"u1"}').decode()
        batch = [
            event("e1", data=..., data_base64=packed),
            event("e2", data=..., data_base64="!"),
            event("e3", data=...),
        ]
        assert [status for _, status, _, _ in statuses(await bench.events(batch))] == [
            "accepted",
            "rejected",
            "rejected",
        ]
        assert bench.producer.of("usage") == [event("e1")]

    async def test_a_broadcast_goes_to_every_partition(self, bench: Bench) -> None:
        released = event(type="feature.released", subject=..., data={"feature": "f"})
        assert statuses(await bench.events(released)) == [("e1", "accepted", None, None)]
        assert [(topic, partition, key) for topic, partition, key, _, _ in bench.producer.records] == [
            ("accounts", number, None) for number in range(PARTITIONS)
        ]

    @pytest.mark.parametrize(
        ("body", "headers", "status"),
        [
            (b"{", {}, 400),
            (b"", {}, 400),
            (b"7", {}, 400),
            (b"[{]", {}, 400),
            (b"\xff", {}, 400),
            (b"x", {"content-encoding": "gzip"}, 400),
            (gzip.compress(b"[]")[:-3], {"content-encoding": "gzip"}, 400),
            (b"[]", {"content-encoding": "br"}, 415),
            (b"[]", {"content-type": "text/csv"}, 415),
            (b"[]", {"content-type": "application/cloudevents+avro"}, 415),
            (b"[]", {"content-type": "application/json; charset=latin-1"}, 415),
            (b" " * (1024 * 1024 + 1), {}, 413),
            (gzip.compress(b" " * 50_000_000), {"content-encoding": "gzip"}, 413),
            (b"[" + b",".join([b"1"] * 1001) + b"]", {}, 413),
            (b"[]", {"authorization": ""}, 401),
            (b"[]", {"authorization": "Bearer other"}, 401),
            (b"[]", {"authorization": "Basic !"}, 401),
            (b"[]", {"authorization": "Basic " + base64.b64encode(b"read:only:").decode()}, 403),
        ],
    )
    async def test_a_request_that_is_refused_whole(
        self, bench: Bench, body: bytes, headers: dict[str, str], status: int
    ) -> None:
        answer = await bench.events(body, **headers)
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"code", "message"}
        assert bench.producer.records == []

    async def test_nothing_in_nothing_out(self, bench: Bench) -> None:
        assert statuses(await bench.events([])) == []

    async def test_a_bomb_is_not_expanded(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        made = 0
        real = zlib.decompressobj

        def counting(**options: int) -> Any:
            inner = real(**options)

            def decompress(data: bytes, limit: int) -> bytes:
                nonlocal made
                found = inner.decompress(data, limit)
                made += len(found)
                return found

            return SimpleNamespace(decompress=decompress, eof=inner.eof, unused_data=b"")

        monkeypatch.setattr(zlib, "decompressobj", counting)
        answer = await bench.events(gzip.compress(bytes(20_000_000)), **{"content-encoding": "gzip"})
        assert answer.status_code == 413
        assert made <= 1024 * 1024 + 1

    async def test_gzip_of_several_members(self, bench: Bench) -> None:
        raw = json.dumps([event()]).encode()
        body = gzip.compress(raw[:20]) + gzip.compress(raw[20:])
        assert statuses(await bench.events(body, **{"content-encoding": "gzip"})) == [("e1", "accepted", None, None)]

    async def test_other_methods_and_paths(self, bench: Bench) -> None:
        answer = await bench.http.request("TRACE", "/v1/events")
        assert (answer.status_code, answer.headers["allow"], answer.json()["code"]) == (
            405,
            "POST",
            "method_not_allowed",
        )
        assert (await bench.http.get("/v1/nothing")).status_code == 404

    async def test_too_much_at_once(self, bench: Bench) -> None:
        bench.service.held = 2**30
        answer = await bench.events([event()])
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


class TestOutage:
    async def test_nothing_acknowledged_is_503(self, bench: Bench) -> None:
        bench.producer.answer = lambda topic: None
        answer = await bench.events([event("e1"), event("e2", subject="other"), event("e3", type="x")])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert set(answer.json()) == {"code", "message"}

    async def test_a_part_acknowledged_is_told_event_by_event(self, bench: Bench) -> None:
        bench.producer.answer = lambda topic: True if topic == "usage" else None
        opened = event("e2", type="ticket.opened", data={"ticket_id": "t", "priority": "P1"})
        assert [(name, status) for name, status, _, _ in statuses(await bench.events([event("e1"), opened]))] == [
            ("e1", "accepted"),
            ("e2", "retry"),
        ]

    async def test_a_partition_that_is_overdue_is_not_waited_for_again(self, bench: Bench) -> None:
        bench.producer.answer = lambda topic: None
        assert (await bench.events([event()])).status_code == 503
        await asyncio.sleep(0.02)
        assert (await bench.http.get("/readyz")).status_code == 503
        begun = asyncio.get_running_loop().time()
        assert (await bench.events([event()])).status_code == 503
        assert asyncio.get_running_loop().time() - begun < 0.04

    async def test_a_refused_batch_makes_a_new_producer(self, bench: Bench) -> None:
        broken = bench.producer
        broken.answer = lambda topic: RuntimeError("out of order")
        assert (await bench.events([event()])).status_code == 503
        await bench.connected(2)
        assert broken.stopped
        assert statuses(await bench.events([event()])) == [("e1", "accepted", None, None)]

    async def test_the_tracking_api_answers_503_unless_all_is_kept(self, bench: Bench) -> None:
        bench.producer.answer = lambda topic: None if topic == "dead-letters" else True
        calls = [
            {"type": "track", "userId": "u1", "event": "X", "context": {"groupId": "acme"}},
            {"type": "track", "userId": "u2", "event": "X"},
        ]
        answer = await bench.http.post("/v1/batch", json={"batch": calls, "writeKey": "secret"})
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["code"]) == (503, "5", "unavailable")

    async def test_a_link_that_is_not_kept_is_not_used(self, bench: Bench) -> None:
        bench.producer.answer = lambda topic: None if topic == "attribution" else True
        linked = event("e1", type="account.linked", data={"system": "stripe", "external_id": "cus_1"})
        answer = await bench.events([linked, event("e2")])
        assert [status for _, status, _, _ in statuses(answer)] == ["retry", "accepted"]
        assert bench.service.attribution.get(names.external("stripe", "cus_1")) is None

    async def test_many_records_of_one_partition_arrive_in_order(self, bench: Bench) -> None:
        batch = [event(f"e{number}") for number in range(1000)]
        assert {status for _, status, _, _ in statuses(await bench.events(batch))} == {"accepted"}
        assert [found["id"] for found in bench.producer.of("usage")] == [found["id"] for found in batch]


CALL = {"type": "track", "userId": "u1", "event": "X", "messageId": "m1", "context": {"groupId": "acme"}}


class TestTrackingApi:
    @pytest.mark.parametrize(
        ("headers", "more"),
        [
            ({"authorization": "Basic " + base64.b64encode(b"secret:").decode()}, {}),
            ({"authorization": "Basic " + base64.b64encode(b"secret:password").decode()}, {"writeKey": "other"}),
            (BEARER, {}),
            ({}, {"writeKey": "secret"}),
            ({"content-type": "text/plain"}, {"writeKey": "secret"}),
        ],
    )
    async def test_where_the_key_may_be(self, bench: Bench, headers: dict[str, str], more: dict[str, str]) -> None:
        body = json.dumps({"batch": [CALL]} | more)
        answer = await bench.http.post("/v1/batch", content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert [found["source"] for found in bench.producer.of("usage")] == ["web"]

    async def test_a_key_with_a_colon_is_split_at_the_last_one(self, bench: Bench) -> None:
        bench.keys.known["a:b"] = bench.keys.known["secret"]
        header = {"authorization": "Basic " + base64.b64encode(b"a:b:").decode()}
        assert (await bench.http.post("/v1/batch", json={"batch": [CALL]}, headers=header)).status_code == 200

    async def test_gzip_under_the_content_type_of_a_form(self, bench: Bench) -> None:
        headers = BEARER | {"content-encoding": "gzip", "content-type": "application/x-www-form-urlencoded"}
        body = gzip.compress(json.dumps({"batch": [CALL]}).encode())
        assert (await bench.http.post("/v1/batch", content=body, headers=headers)).status_code == 200
        assert len(bench.producer.of("usage")) == 1

    @pytest.mark.parametrize(
        ("path", "call", "topic"),
        [
            ("track", CALL, "usage"),
            ("t", CALL, "usage"),
            ("page", {"userId": "u1", "name": "Home", "context": {"groupId": "acme"}}, "usage"),
            ("p", {"userId": "u1", "name": "Home", "context": {"groupId": "acme"}}, "usage"),
            ("screen", {"userId": "u1", "name": "Home", "context": {"groupId": "acme"}}, "usage"),
            ("s", {"userId": "u1", "name": "Home", "context": {"groupId": "acme"}}, "usage"),
            ("group", {"userId": "u1", "groupId": "acme", "traits": {"name": "Acme"}}, "accounts"),
            ("g", {"userId": "u1", "groupId": "acme", "traits": {"name": "Acme"}}, "accounts"),
            ("identify", {"userId": "u1", "traits": {"roles": ["buyer"]}, "context": {"groupId": "acme"}}, "accounts"),
            ("i", {"userId": "u1", "traits": {"roles": ["buyer"]}, "context": {"groupId": "acme"}}, "accounts"),
            ("alias", {"userId": "u1", "previousId": "a"}, None),
            ("a", {"userId": "u1", "previousId": "a"}, None),
        ],
    )
    async def test_single_calls(self, bench: Bench, path: str, call: dict[str, Any], topic: str | None) -> None:
        body = json.dumps(call | {"writeKey": "secret"})
        answer = await bench.http.post(f"/v1/{path}", content=body, headers={"content-type": "text/plain"})
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert [name for name, *_ in bench.producer.records if name != "attribution"] == ([topic] if topic else [])

    async def test_a_browser_asks_first(self, bench: Bench) -> None:
        answer = await bench.http.options(
            "/v1/t", headers={"origin": "https://app.example", "access-control-request-method": "POST"}
        )
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
        assert "authorization" in answer.headers["access-control-allow-headers"]

    async def test_what_cannot_be_used_is_a_dead_letter_with_its_bytes(self, bench: Bench) -> None:
        lost = {**CALL, "userId": "u2", "context": {}, "properties": {"name": "é"}}
        body = json.dumps({"batch": [CALL, lost], "sentAt": "2026-11-22T11:59:59Z"}, ensure_ascii=False)
        answer = await bench.http.post("/v1/batch", content=body.encode(), headers=BEARER)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        ((_, _, key, value, headers),) = [record for record in bench.producer.records if record[0] == "dead-letters"]
        assert value == json.dumps(lost, ensure_ascii=False).encode()
        assert key == b"u2"
        assert headers.pop("detail")
        assert int(headers.pop("source_offset")) < 2**63
        assert headers == {
            "reason": "unattributed",
            "field": "context.groupId",
            "source_topic": "ingest/segment",
            "source_partition": "0",
            "failed_at": "2026-11-22T12:00:00Z",
            "ingest_kind": "track",
            "ingest_source": "web",
            "ingest_received_at": "2026-11-22T12:00:00Z",
            "ingest_sent_at": "2026-11-22T11:59:59Z",
            "ingest_names": '[["user","web","u2"]]',
        }

    async def test_a_link_is_kept_with_the_answer(self, bench: Bench) -> None:
        await bench.http.post("/v1/group", json={"userId": "u1", "groupId": "acme", "writeKey": "secret"})
        ((topic, partition, key, value, _),) = bench.producer.records
        assert (topic, partition, key) == ("attribution", 0, b'["user","web","u1"]')
        assert json.loads(value or b"") == {"account": "acme", "at_us": round(NOW.timestamp() * 1e6), "by": "group"}
        await bench.http.post("/v1/track", json={"userId": "u1", "event": "X", "writeKey": "secret"})
        assert [found["subject"] for found in bench.producer.of("usage")] == ["acme"]

    async def test_a_link_that_another_process_answered_is_looked_for_before_giving_up(self, bench: Bench) -> None:
        bench.caught_up = [(names.user("web", "u9"), Link("acme", 0, names.GROUP))]
        await bench.http.post("/v1/track", json={"userId": "u9", "event": "X", "writeKey": "secret"})
        assert [found["subject"] for found in bench.producer.of("usage")] == ["acme"]

    async def test_an_erased_account_loses_its_links(self, bench: Bench) -> None:
        await bench.http.post("/v1/group", json={"userId": "u1", "groupId": "acme", "writeKey": "secret"})
        assert statuses(await bench.events(event(type="account.erased", data={}))) == [("e1", "accepted", None, None)]
        assert bench.producer.records[-1][:4] == ("attribution", 0, b'["user","web","u1"]', None)
        assert bench.service.attribution.get(names.user("web", "u1")) is None

    @pytest.mark.parametrize(
        ("path", "body", "headers", "status"),
        [
            ("batch", b"{", {}, 400),
            ("batch", b"[]", BEARER, 400),
            ("batch", b'{"batch":{}}', BEARER, 400),
            ("track", b"[]", BEARER, 400),
            ("batch", b'{"batch":[' + b",".join([b"{}"] * 10_001) + b"]}", BEARER, 413),
            ("batch", b'{"batch":[]}', {}, 401),
            ("batch", b'{"batch":[],"writeKey":"other"}', {}, 401),
            ("batch", b" " * (8 * 1024 * 1024 + 1), BEARER, 413),
            ("batch", gzip.compress(bytes(20_000_000)), BEARER | {"content-encoding": "gzip"}, 413),
        ],
    )
    async def test_refusals_have_code_and_message(
        self, bench: Bench, path: str, body: bytes, headers: dict[str, str], status: int
    ) -> None:
        answer = await bench.http.post(f"/v1/{path}", content=body, headers=headers)
        assert answer.status_code == status
        assert set(answer.json()) == {"code", "message"}

    async def test_eight_mebibytes_are_taken(self, bench: Bench) -> None:
        call = CALL | {"properties": {"note": "x" * 30_000}}
        raw = json.dumps({"batch": [call] * 270}).encode()
        assert 7.5 * 1024 * 1024 < len(raw) <= 8 * 1024 * 1024
        assert (await bench.http.post("/v1/batch", content=raw, headers=BEARER)).status_code == 200
        assert len(bench.producer.of("usage")) == 270


class TestKeys:
    async def test_a_key_is_asked_for_once_in_a_while(self, bench: Bench) -> None:
        for _ in range(3):
            assert (await bench.events([])).status_code == 200
        assert bench.keys.asked == 1
        bench.clock = 31
        assert (await bench.events([])).status_code == 200
        assert bench.keys.asked == 2

    async def test_a_revoked_key_ends_with_the_cache(self, bench: Bench) -> None:
        assert (await bench.events([])).status_code == 200
        del bench.keys.known["secret"]
        assert (await bench.events([])).status_code == 200
        bench.clock = 31
        assert (await bench.events([])).status_code == 401

    async def test_an_outage_of_the_database_stops_no_known_key(self, bench: Bench) -> None:
        assert (await bench.events([])).status_code == 200
        bench.keys.away = True
        bench.clock = 1000
        assert statuses(await bench.events([event()])) == [("e1", "accepted", None, None)]
        answer = await bench.events([event()], authorization="Bearer unheard")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")

    async def test_a_new_key_works_soon_after_it_was_tried_too_early(self, bench: Bench) -> None:
        assert (await bench.events([], authorization="Bearer new")).status_code == 401
        bench.keys.known["new"] = bench.keys.known["secret"]
        bench.clock = 3
        assert (await bench.events([], authorization="Bearer new")).status_code == 200


class TestWebhooks:
    async def test_a_generic_one_carries_cloudevents(self, bench: Bench) -> None:
        body = json.dumps([event(), event("e2", type="x")]).encode()
        signature = hmac.new(b"shh", body, hashlib.sha256).hexdigest()
        answer = await bench.http.post(
            "/v1/webhooks/generic/crm", content=body, headers={"x-signature": signature} | JSON
        )
        assert [status for _, status, _, _ in statuses(answer)] == ["accepted", "rejected"]

    @pytest.mark.parametrize(
        ("path", "status"),
        [("generic/crm", 401), ("generic/other", 404), ("stripe", 401), ("zendesk", 401), ("nobody", 404)],
    )
    async def test_who_is_not_believed(self, bench: Bench, path: str, status: int) -> None:
        answer = await bench.http.post(f"/v1/webhooks/{path}", content=b"{}", headers={"x-signature": "00"})
        assert answer.status_code == status
        assert set(answer.json()) == {"code", "message"}

    async def test_stripe_finds_the_account_by_its_customer(self, bench: Bench) -> None:
        linked = event("l1", type="account.linked", data={"system": "Stripe", "external_id": "cus_1"})
        assert [status for _, status, _, _ in statuses(await bench.events(linked))] == ["accepted"]

        async def send(customer: str) -> httpx.Response:
            thing = {"id": "in_1", "customer": customer}
            stamp = int(NOW.timestamp())
            body = json.dumps(
                {"id": "evt_1", "type": "invoice.voided", "created": stamp, "data": {"object": thing}}
            ).encode()
            signature = hmac.new(b"whsec_x", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
            headers = {"stripe-signature": f"t={stamp},v1={signature}"}
            return await bench.http.post("/v1/webhooks/stripe", content=body, headers=headers)

        assert (await send("cus_1")).json() == {"accepted": 1, "ignored": 0, "dead_letters": []}
        assert [found["subject"] for found in bench.producer.of("invoices")] == ["acme"]
        answer = await send("cus_2")
        assert (answer.status_code, answer.json()["dead_letters"][0]["reason"]) == (200, "unattributed")
        assert len(bench.producer.of("dead-letters")) == 1


async def test_health(bench: Bench) -> None:
    assert (await bench.http.get("/livez")).status_code == 200
    assert (await bench.http.get("/readyz")).json() == {"ready": True, "detail": "ready"}
    bench.service.attribution.ready = False
    assert (await bench.http.get("/readyz")).status_code == 503
    answer = await bench.events([event()])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
