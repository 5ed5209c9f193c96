"""The contract of acts, people and the audit trail over HTTP, on a real database and a real process."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from services.common import db, keys, people
from tests.conftest import PostgresServer
from tests.recorded import health, transition
from tests.served import Api, problem, served

CALLED = ("plain", "seen", "later", "kept", "over")
"""Signals of the account that somebody is about to call."""
SOON = (dt.datetime.now(dt.UTC) + dt.timedelta(days=2)).isoformat()


@pytest.fixture(scope="module")
def api(postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    names = [f"e{n:02}" for n in range(30)]
    found = [
        *(transition("acme", name, 1, "raised", csm="ana", signal=f"usage.{name}") for name in names),
        health("acme", 1, open_episodes=tuple(names), profile={"name": "Acme", "csm": "ana", "mrr": "100"}),
        *(transition("birk", name, 1, "raised", csm="ana", signal=f"usage.{name}") for name in CALLED),
        health("birk", 1, open_episodes=CALLED, profile={"name": "Birk", "csm": "ana", "mrr": "10"}),
    ]
    with served(postgres, migrated_template, tmp_path_factory.mktemp("acts"), found) as made:
        yield made


def key_of(api: Api, user: str, *, scopes: tuple[str, ...] = ("operate",), key: tuple[str, ...] = ("operate",)) -> str:
    async def make() -> str:
        engine = db.create_engine(api.url, process="test", pool_size=1)
        try:
            async with engine.begin() as connection:
                await people.put_user(connection, user, scopes=scopes, by="test")
            return (await keys.create(engine, key, user=user)).secret
        finally:
            await engine.dispose()

    return asyncio.run(make())


@pytest.fixture(scope="module")
def ana(api: Api) -> Iterator[httpx.Client]:
    with api.with_key(key_of(api, "ana")) as client:
        yield client


@pytest.fixture(scope="module")
def admin(api: Api) -> Iterator[httpx.Client]:
    with api.with_key(key_of(api, "root", scopes=("admin",), key=("admin",))) as client:
        yield client


def done(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_from_open_to_closed_with_everything_kept(api: Api, ana: httpx.Client) -> None:
    assert api.get("/v1/signals/e00")["handling"]["version"] == 0
    acted = done(ana.post("/v1/signals/e00/acknowledge", json={"version": 0, "seen": 1, "comment": "on it"}))
    assert acted["signal"]["status"] == "acknowledged"
    assert acted["signal"]["handling"]["acknowledged_by"] == "ana"
    assert 0 <= acted["signal"]["handling"]["acknowledged_age_s"] < 60
    assert done(ana.post("/v1/signals/e00/assign", json={"version": 1, "to": "ana"}))["act"]["data"] == {"to": "ana"}
    snoozed = done(ana.post("/v1/signals/e00/snooze", json={"version": 2, "until": SOON, "reason": "on holiday"}))
    assert snoozed["signal"]["status"] == "snoozed"
    closed = done(
        ana.post(
            "/v1/signals/e00/close",
            json={
                "version": 3,
                "outcome": "churned",
                "churn_reason": "acquired",
                "comment": "bought by Umbra",
                "cause": "sales",
            },
        )
    )["signal"]
    assert closed["status"] == "closed"
    handling = closed["handling"]
    assert (handling["outcome"], handling["avoidable"], handling["cause"]) == ("churned", False, "sales")
    assert handling["snoozed_until"] is None
    done(ana.post("/v1/signals/e00/comment", json={"version": 4, "comment": "sent the export"}))
    found = api.get("/v1/signals/e00")
    assert [act["act"] for act in found["acts"]] == ["acknowledge", "assign", "snooze", "close", "comment"]
    assert found["acts"][3]["words"].startswith("ana closed this as churned ")
    back = done(ana.post("/v1/signals/e00/undo", json={"version": 5, "undoes": 4}))
    assert (back["signal"]["status"], back["act"]["undoes"]) == ("snoozed", 4)
    assert api.get("/v1/signals/e00")["acts"][3]["undone_by"] == 6


def test_who_comes_second_is_told_what_changed(api: Api, ana: httpx.Client) -> None:
    done(ana.post("/v1/signals/e01/snooze", json={"version": 0, "until": SOON, "reason": "awaiting reply"}))
    with api.with_key(key_of(api, "ben")) as ben:
        late = problem(ben.post("/v1/signals/e01/acknowledge", json={"version": 0}), 409)
        assert late["type"] == "urn:ebbtide:problem:conflict"
        assert late["detail"].startswith(f"ana snoozed this until {SOON[:10]} {SOON[11:16]} UTC (awaiting reply) ")
        assert "send version 1" in late["detail"]
        assert late["current"] == {"version": 1, "status": "snoozed", "severity": "warning", "ordinal": 1}
        assert [(act["actor"], act["act"], act["version"]) for act in late["acts"]] == [("ana", "snooze", 1)]
        done(ben.post("/v1/signals/e01/close", json={"version": 1, "outcome": "no_action"}))
        closed = problem(ana.post("/v1/signals/e01/acknowledge", json={"version": 2}), 409)
        assert closed["type"] == "urn:ebbtide:problem:not-possible"
        ahead = problem(ben.post("/v1/signals/e01/comment", json={"version": 9, "comment": "?"}), 409)
        assert "there is no version 9" in ahead["detail"]


@pytest.mark.parametrize(
    ("act", "body", "field"),
    [
        ("acknowledge", {}, "version"),
        ("acknowledge", {"version": "0"}, "version"),
        ("acknowledge", {"version": 0, "unitl": SOON}, "unitl"),
        ("snooze", {"version": 0, "reason": "x", "until": "2020-01-01T00:00:00Z"}, "until"),
        ("snooze", {"version": 0, "reason": "x", "until": "tomorrow"}, "until"),
        ("snooze", {"version": 0, "reason": "   ", "until": SOON}, "reason"),
        ("assign", {"version": 0}, "body"),
        ("assign", {"version": 0, "to": "ana", "pool": "north"}, "body"),
        ("assign", {"version": 0, "to": "nobody we know"}, "to"),
        ("assign", {"version": 0, "pool": "nowhere"}, "pool"),
        ("close", {"version": 0, "outcome": "won"}, "outcome"),
        ("close", {"version": 0, "outcome": "churned", "comment": "they left"}, "churn_reason"),
        ("close", {"version": 0, "outcome": "churned", "churn_reason": "quality"}, "comment"),
        ("close", {"version": 0, "outcome": "saved", "churn_reason": "quality"}, "churn_reason"),
        ("close", {"version": 0, "outcome": "saved", "avoidable": True}, "avoidable"),
        ("comment", {"version": 0, "comment": ""}, "comment"),
        ("comment", {"version": 0, "comment": "\x00"}, "comment"),
        ("undo", {"version": 0}, "undoes"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_done(
    api: Api, ana: httpx.Client, act: str, body: dict[str, Any], field: str
) -> None:
    assert problem(ana.post(f"/v1/signals/e02/{act}", json=body), 400)["field"] == field
    assert api.get("/v1/signals/e02")["acts"] == []


def test_a_body_that_is_no_json_is_told(ana: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    assert problem(ana.post("/v1/signals/e02/acknowledge", content=b"{", headers=headers), 400)["field"] == "body"
    assert problem(ana.post("/v1/signals/e02/acknowledge", content=b"[]", headers=headers), 400)["field"] == "body"


def test_a_body_is_bounded_before_anybody_is_known(api: Api) -> None:
    with api.with_key(None) as nobody:
        problem(nobody.post("/v1/signals/e02/acknowledge", content=iter([b" " * 65536] * 20)), 413)


def test_acting_needs_operate_and_a_signal(api: Api, ana: httpx.Client) -> None:
    body = {"version": 0}
    for path in ("/v1/signals/e02/acknowledge", "/v1/signals/acts"):
        assert "operate" in problem(api.client.post(path, json=body), 403)["detail"]
    with api.with_key(None) as nobody:
        problem(nobody.post("/v1/signals/e02/acknowledge", json=body), 401)
    problem(ana.post("/v1/signals/nothing/acknowledge", json=body), 404)
    answer = ana.get("/v1/signals/e02/acknowledge")
    assert (problem(answer, 405)["status"], answer.headers["allow"]) == (405, "POST")


def test_one_act_on_many_tells_of_each(api: Api, ana: httpx.Client) -> None:
    done(ana.post("/v1/signals/e03/close", json={"version": 0, "outcome": "no_action"}))
    targets = [
        {"episode_id": "e04", "version": 0},
        {"episode_id": "e03", "version": 1},
        {"episode_id": "nothing", "version": 0},
        {"episode_id": "e05", "version": 3},
        {"episode_id": "e06", "version": 0},
    ]
    many = {"act": "snooze", "until": SOON, "reason": "plan running", "episodes": targets, "request_id": "r-1"}
    told = done(ana.post("/v1/signals/acts", json=many))
    assert (told["done"], told["not_done"]) == (2, 3)
    assert [row["episode_id"] for row in told["items"]] == [target["episode_id"] for target in targets]
    assert [(row["done"], row["version"], row["status"]) for row in told["items"]] == [
        (True, 1, "snoozed"),
        (False, None, None),
        (False, None, None),
        (False, None, None),
        (True, 1, "snoozed"),
    ]
    codes = [(row["problem"] or {}).get("type", "").rpartition(":")[2] for row in told["items"]]
    assert codes == ["", "not-possible", "not-found", "conflict", ""]
    again = done(ana.post("/v1/signals/acts", json=many))
    assert [row["repeated"] for row in again["items"]] == [True, False, False, False, True]
    undo = {"act": "undo", "episodes": [{"episode_id": name, "version": 1} for name in ("e04", "e06")]}
    assert done(ana.post("/v1/signals/acts", json=undo))["done"] == 2
    assert api.get("/v1/signals/e04")["status"] == "open"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"act": "acknowledge", "episodes": []}, "episodes"),
        ({"act": "acknowledge", "episodes": [{"episode_id": "e02", "version": 0}] * 201}, "episodes"),
        ({"act": "acknowledge", "episodes": [{"episode_id": "e02"}]}, "episodes.0.version"),
        ({"act": "snooze", "until": SOON, "episodes": [{"episode_id": "e02", "version": 0}]}, "reason"),
        ({"act": "explode", "episodes": [{"episode_id": "e02", "version": 0}]}, "body"),
        ({"episodes": [{"episode_id": "e02", "version": 0}]}, "body"),
    ],
)
def test_many_are_refused_whole_where_the_request_is_wrong(ana: httpx.Client, body: Any, field: str) -> None:
    assert problem(ana.post("/v1/signals/acts", json=body), 400)["field"] == field


def test_the_queue_leaves_out_what_is_put_off_and_says_so(api: Api, ana: httpx.Client) -> None:
    before = api.get("/v1/queue", by="signal", limit=200)
    done(ana.post("/v1/signals/e10/snooze", json={"version": 0, "until": SOON, "reason": "away"}))
    done(ana.post("/v1/signals/e11/close", json={"version": 0, "outcome": "false_alarm"}))
    done(ana.post("/v1/signals/e12/close", json={"version": 0, "outcome": "saved_by_concession"}))
    done(ana.post("/v1/signals/e13/assign", json={"version": 0, "to": "ana"}))

    def queue(**asked: str) -> set[str]:
        return {item["because"] for item in api.get("/v1/queue", by="signal", limit=200, **asked)["items"]}

    after = api.get("/v1/queue", by="signal", limit=200)
    ids = {item["because"] for item in after["items"]}
    assert {item["because"] for item in before["items"]} - ids == {"e10", "e11"}
    assert after["hidden"]["snoozed"] == before["hidden"]["snoozed"] + 1
    assert after["hidden"]["closed"] == before["hidden"]["closed"] + 1
    concession = next(item for item in after["items"] if item["because"] == "e12")["signals"][0]
    assert (concession["status"], concession["handling"]["outcome"]) == ("acknowledged", "saved_by_concession")
    assert queue(include="snoozed") - ids == queue(status="snoozed")
    assert "e10" in queue(status="snoozed")
    assert queue(include="snoozed,closed") == queue(status="all")
    with api.with_key(key_of(api, "ana", key=("read",))) as me:
        found = me.get("/v1/queue", params={"by": "signal", "assignee": "me"}).json()["items"]
        assert {item["because"] for item in found} == {"e13"}
        assert len(me.get("/v1/queue", params={"owner": "me", "by": "signal", "limit": 200}).json()["items"]) == len(
            ids
        )
    assert "e13" not in queue(assignee="none")
    account = api.get("/v1/queue")["items"][0]
    assert account["hidden"] == after["hidden"]
    assert {signal["status"] for signal in account["signals"]} <= {"open", "acknowledged"}
    closed = {item["episode_id"] for item in api.get("/v1/signals", status="closed", limit=200)["items"]}
    assert "e11" in closed
    assert "e12" not in closed
    some = api.get("/v1/signals", status=["snoozed", "closed"], limit=200)["items"]
    assert {item["status"] for item in some} == {"snoozed", "closed"}


def test_a_brief_says_what_people_said_and_leaves_out_what_they_closed(api: Api, ana: httpx.Client) -> None:
    done(ana.post("/v1/signals/seen/acknowledge", json={"version": 0, "comment": "They *wait* for the export"}))
    done(ana.post("/v1/signals/seen/comment", json={"version": 1, "comment": "Not this"}))
    done(ana.post("/v1/signals/seen/undo", json={"version": 2}))
    done(ana.post("/v1/signals/later/snooze", json={"version": 0, "until": SOON, "reason": "plan running"}))
    done(ana.post("/v1/signals/kept/close", json={"version": 0, "outcome": "saved_by_concession"}))
    done(ana.post("/v1/signals/over/close", json={"version": 0, "outcome": "false_alarm"}))
    found = api.get("/v1/accounts/birk/brief")
    until = f"{SOON[:10]} {SOON[11:16]} UTC"
    assert {one["signal"]: one["stands"] for one in found["signals"]} == {
        "usage.plain": None,
        "usage.seen": "acknowledged by ana, just now",
        "usage.later": f"snoozed until {until} by ana: plan running",
        "usage.kept": "saved by a concession (ana, just now): the risk stays",
    }
    assert (found["open_signals"], found["closed_signals"]) == (4, 1)
    notes = {one["signal"]: one["note"] and one["note"]["text"] for one in found["signals"] if one["note"]}
    assert notes == {"usage.seen": "They *wait* for the export"}
    because = {signal for one in found["next_actions"] for signal in one["because"]}
    assert because == {"usage.plain", "usage.seen", "usage.kept"}
    page = api.client.get("/v1/accounts/birk/brief", headers={"accept": "text/markdown"}).text
    assert "## Open signals (4)" in page
    assert "**Acknowledged by ana, just now.** ana, just now: “They \\*wait\\* for the export”" in page
    assert "Left out: 1 that people closed." in page
    assert "usage.over" not in page


def test_people_and_pools_are_put_by_who_administers_and_kept_in_the_trail(api: Api, admin: httpx.Client) -> None:
    assert problem(api.client.put("/v1/people/dan", json={"scopes": ["read"]}), 403)
    put = done(admin.put("/v1/people/dan", json={"scopes": ["operate"], "name": "Dan"}))
    assert (put["name"], put["scopes"], put["open_assigned"]) == ("Dan", ["operate"], 0)
    assert problem(admin.put("/v1/people/me", json={"scopes": ["read"]}), 400)["field"] == "user_id"
    assert problem(admin.put("/v1/people/dan", json={"scopes": ["root"]}), 400)["field"] == "scopes.0"
    pool = {"policy": "load", "members": ["dan", "root"]}
    assert done(admin.put("/v1/pools/north", json=pool))["members"] == ["dan", "root"]
    unknown = problem(admin.put("/v1/pools/north", json=pool | {"members": ["zoe"]}), 400)
    assert (unknown["field"], "zoe" in unknown["detail"]) == ("members", True)
    assert "dan" in {person["user_id"] for person in api.get("/v1/people")["items"]}
    assert [one["pool_id"] for one in api.get("/v1/pools")["items"]] == ["north"]
    assert done(admin.put("/v1/people/dan", json={"scopes": ["operate"], "disabled": True}))["disabled_at"]
    assert admin.delete("/v1/pools/north").status_code == 204
    problem(admin.delete("/v1/pools/north"), 404)
    assert problem(api.client.get("/v1/audit"), 403)
    trail = admin.get("/v1/audit", params={"actor": "root", "limit": 3}).json()
    assert [entry["action"] for entry in trail["items"]] == ["pool.removed", "user.put", "pool.put"]
    older = admin.get("/v1/audit", params={"actor": "root", "cursor": trail["next_cursor"]}).json()
    assert [entry["action"] for entry in older["items"]] == ["user.put"]
    made = admin.get("/v1/audit", params={"action": "key.created"}).json()["items"][0]
    assert "eb_" not in str(made)


def test_a_persons_key_is_never_more_than_the_person(api: Api, admin: httpx.Client) -> None:
    secret = key_of(api, "eve", scopes=("operate",))
    done(admin.put("/v1/people/eve", json={"scopes": ["read"]}))
    with api.with_key(secret) as client:
        problem(client.post("/v1/signals/e02/acknowledge", json={"version": 0}), 403)
        done(client.get("/v1/people"))
    with pytest.raises(keys.KeyRefused, match="no more than its user"):
        key_of(api, "eve", scopes=("read",), key=("operate",))
    secret = key_of(api, "eve", scopes=("read",), key=("read",))
    done(admin.put("/v1/people/eve", json={"scopes": ["read"], "disabled": True}))
    with api.with_key(secret) as client:
        problem(client.get("/v1/people"), 401)


def test_answers_are_as_described(api: Api, ana: httpx.Client, admin: httpx.Client) -> None:
    document = api.client.get("/openapi.json").json()

    def check(path: str, method: str, code: str, body: Any) -> None:
        content = document["paths"][path][method]["responses"][code]["content"]
        media = "application/json" if code < "400" else "application/problem+json"
        schema = content[media]["schema"] | {"components": document["components"]}
        Draft202012Validator(schema).validate(body)

    acted = done(ana.post("/v1/signals/e20/acknowledge", json={"version": 0}))
    check("/v1/signals/{episode_id}/acknowledge", "post", "200", acted)
    late = ana.post("/v1/signals/e20/acknowledge", json={"version": 0})
    check("/v1/signals/{episode_id}/acknowledge", "post", "409", problem(late, 409))
    many = {"act": "comment", "comment": "x", "episodes": [{"episode_id": e, "version": 0} for e in ("e20", "e21")]}
    check("/v1/signals/acts", "post", "200", done(ana.post("/v1/signals/acts", json=many)))
    check("/v1/signals/{episode_id}", "get", "200", api.get("/v1/signals/e20"))
    check("/v1/signals", "get", "200", api.get("/v1/signals", status="acknowledged"))
    check("/v1/queue", "get", "200", api.get("/v1/queue", include="all"))
    check("/v1/people", "get", "200", done(admin.get("/v1/people")))
    check("/v1/audit", "get", "200", done(admin.get("/v1/audit")))
