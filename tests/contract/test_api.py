"""The api as a client meets it: a real server on a real database."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common import db
from tests.conftest import PostgresServer
from tests.harness import free_ports, http_status, start_service, wait_for
from tests.recorded import DAY_0, Stored, event, health, transition
from tests.served import Api, fill, path_of, problem, served

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
ODD_IDS = (
    "a/b",
    "a/b/signals",
    "100%",
    "%2F",
    "a%2Fb",
    "ünïcödé 🦄",
    "a?b#c",
    "a+b c",
    "..",
    "a\\b",
    "'; --",
    "x" * 128,
    "health",
    "&=;",
)
TIERS = ("high", "low", "tech")
PEOPLE = ("Ana", "Ben", "Çelik & Co.")
SIGNALS = ("usage.decline", "support.burst", "billing.overdue")


def records() -> list[Stored]:
    """60 accounts with odd ones among them, 180 signals, days of usage and a history for two."""
    found: list[Stored] = []
    names = [*ODD_IDS, *(f"acct-{n:02d}" for n in range(60 - len(ODD_IDS)))]
    for n, name in enumerate(names):
        profile: dict[str, Any] = {"name": f"Company {n % 7} {name[:40]}", "tier": TIERS[n % 3], "csm": PEOPLE[n % 3]}
        if n % 5:
            profile |= {"mrr": f"{(n * 37) % 400}.50", "currency": "EUR"}
        if n % 4:
            profile["renewal_date"] = (DAY_0 + (n % 9) * 20 * DAY).date().isoformat()
        still_open = tuple(f"{n:02d}{k}" for k in range(3) if (n + k) % 3)
        for k in range(3):
            episode = f"{n:02d}{k}"
            common: dict[str, Any] = {
                "signal": SIGNALS[k],
                "kind": "opportunity" if k == 2 else "risk",
                "severity": ("info", "warning", "critical")[(n + k) % 3],
                "opened": DAY_0 + ((n * 7 + k * 3) % 50) * HOUR,
                "user": "u@x.io" if k == 1 else None,
                "csm": profile["csm"],
                "tier": profile["tier"],
            }
            found.append(transition(name, episode, 1, "raised", **common))
            if episode not in still_open:
                found.append(transition(name, episode, 2, "cleared", **common))
        windows = {"last_seen": DAY_0 + n * HOUR if n % 6 else None, "usage_28d": n}
        found.append(
            health(name, 2, open_episodes=still_open, profile=profile, windows=windows, usage={DAY_0.date(): n + 1})
        )
    for n in range(25):
        kind = ("tickets", "ticket.closed", {"ticket_id": str(n)})
        if n % 5 == 0:
            kind = ("accounts", "account.updated", {"tier": None})
        found.append(event(kind[0], kind[1], "a/b", kind[2], id_=str(n), time=DAY_0 + (n // 3) * HOUR))
    return found


@pytest.fixture(scope="module")
def api(postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with served(postgres, migrated_template, tmp_path_factory.mktemp("api"), records()) as made:
        yield made


PATHS = (
    "/v1/accounts",
    "/v1/accounts/acct-01",
    "/v1/accounts/acct-01/health",
    "/v1/accounts/acct-01/signals",
    "/v1/accounts/acct-01/timeline",
    "/v1/accounts/acct-01/usage",
    "/v1/accounts/acct-01/coverage",
    "/v1/accounts/acct-01/brief",
    "/v1/queue",
    "/v1/views",
    "/v1/views/core-use-and-survey",
    "/v1/portfolio",
    "/v1/signals",
    "/v1/signals/000",
    "/v1/people",
    "/v1/pools",
    "/v1/catalogue",
)


def template(path: str) -> str:
    """The path as the api describes it."""
    for value, name in (("acct-01", "account_id"), ("000", "episode_id"), ("core-use-and-survey", "name")):
        path = path.replace(f"/{value}", f"/{{{name}}}")
    return path


@pytest.mark.parametrize("path", PATHS)
def test_every_resource_wants_a_key_that_may_read(api: Api, path: str) -> None:
    with api.with_key(None) as nobody, api.with_key("eb_" + "x" * 43) as stranger:
        for client in (nobody, stranger):
            answer = client.get(path)
            problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert api.client.get(path).status_code == 200
    head = api.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    refused = api.client.post(path)
    problem(refused, 405)
    assert refused.headers["allow"] == "GET, HEAD"
    assert problem(api.client.get(path, params={"tiers": "high"}), 400)["field"] == "tiers"


def test_a_write_key_may_not_read_and_a_revoked_key_is_none(api: Api) -> None:
    with api.with_key(api.new_key("ingest", source="web")) as writer:
        assert "read" in problem(writer.get("/v1/signals"), 403)["detail"]
    with api.with_key(api.new_key("operate")) as operator:
        assert operator.get("/v1/signals").status_code == 200
    with api.with_key(api.new_key("read", revoked=True)) as revoked:
        problem(revoked.get("/v1/signals"), 401)


@pytest.mark.parametrize(
    ("path", "parameters", "field"),
    [
        ("/v1/accounts", {"limit": "0"}, "limit"),
        ("/v1/accounts", {"limit": "201"}, "limit"),
        ("/v1/accounts", {"limit": "ten"}, "limit"),
        ("/v1/accounts", {"tier": "gold"}, "tier"),
        ("/v1/accounts", {"sort": "size"}, "sort"),
        ("/v1/accounts", {"csm": ""}, "csm"),
        ("/v1/accounts", {"q": "a\x00"}, "q"),
        ("/v1/accounts", {"cursor": "nonsense"}, "cursor"),
        ("/v1/signals", {"status": "shut"}, "status"),
        ("/v1/signals", {"kind": "threat"}, "kind"),
        ("/v1/signals", {"severity": "high"}, "severity"),
        ("/v1/signals", {"signal": "Usage Decline"}, "signal"),
        ("/v1/signals", {"since": "2026-01-01"}, "since"),
        ("/v1/signals", {"since": "2026-01-01T00:00:00"}, "since"),
        ("/v1/signals", {"until": "0001-01-01T00:00:00+05:00"}, "until"),
        ("/v1/signals", {"until": "1767225600"}, "until"),
        ("/v1/signals", {"account": "a\x00"}, "account"),
        ("/v1/signals", {"cursor": "nonsense"}, "cursor"),
        ("/v1/accounts/acct-01/signals", {"account": "acct-02"}, "account"),
        ("/v1/accounts/acct-01/timeline", {"type": "%"}, "type"),
        ("/v1/accounts/acct-01/timeline", {"cursor": "nonsense"}, "cursor"),
        ("/v1/accounts/acct-01/usage", {"from": "yesterday"}, "from"),
        ("/v1/accounts/acct-01/usage", {"from": "2026-05-02", "to": "2026-05-01"}, "from"),
        ("/v1/accounts/acct-01/usage", {"from": "2020-01-01", "to": "2026-05-01"}, "from"),
        ("/v1/accounts/acct-01/health", {"from": "2026-05-02", "to": "2026-05-01"}, "from"),
        ("/v1/accounts/acct-01/coverage", {"state": "open"}, "state"),
        ("/v1/accounts/acct-01/brief", {"days": "3"}, "days"),
        ("/v1/queue", {"by": "csm"}, "by"),
        ("/v1/queue", {"limit": "0"}, "limit"),
        ("/v1/queue", {"tier": "gold"}, "tier"),
        ("/v1/queue", {"severity": "high"}, "severity"),
        ("/v1/queue", {"family": "Usage!"}, "family"),
        ("/v1/queue", {"renewal_from": "soon"}, "renewal_from"),
        ("/v1/queue", {"renewal_to": "2026-13-01"}, "renewal_to"),
        ("/v1/queue", {"renewal_from": "2026-05-02", "renewal_to": "2026-05-01"}, "renewal_from"),
        ("/v1/queue", {"cursor": "nonsense"}, "cursor"),
        ("/v1/views/support-and-billing", {"feature": "maps"}, "feature"),
        ("/v1/views/newest-feature-untried", {"feature": "never released"}, "feature"),
        ("/v1/views/support-and-billing", {"sort": "rank"}, "sort"),
        ("/v1/catalogue", {"kind": "all"}, "kind"),
    ],
)
def test_a_bad_parameter_is_named_with_what_to_do(api: Api, path: str, parameters: dict[str, str], field: str) -> None:
    assert problem(api.client.get(path, params=parameters), 400)["field"] == field


def test_a_cursor_of_another_order_is_refused(api: Api) -> None:
    cursor = api.get("/v1/accounts", sort="mrr", limit=1)["next_cursor"]
    answer = api.client.get("/v1/accounts", params={"sort": "-mrr", "cursor": cursor})
    assert problem(answer, 400)["field"] == "cursor"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts/nobody",
        "/v1/accounts/nobody/health",
        "/v1/accounts/nobody/signals",
        "/v1/accounts/nobody/timeline",
        "/v1/accounts/nobody/usage",
        "/v1/accounts/nobody/coverage",
        "/v1/accounts/nobody/brief",
        "/v1/views/nobody",
        "/v1/accounts/%00",
        "/v1/accounts/%00/timeline",
        "/v1/signals/nobody",
        "/v1/signals/%00",
        "/v1/accounts/",
        "/v1/accounts/a/b/c/d",
        "/v2",
    ],
)
def test_what_there_is_not_is_404(api: Api, path: str) -> None:
    problem(api.client.get(path), 404)


@pytest.mark.parametrize("account_id", ODD_IDS)
def test_any_account_id_works_in_a_path(api: Api, account_id: str) -> None:
    # A client may tidy `..` away; it is sent here as it must be.
    def get(rest: str) -> Any:
        path = path_of(account_id, rest).replace("/..", "/%2E%2E").encode()
        url = httpx.URL(api.service.url).copy_with(raw_path=path)
        answer = api.client.send(api.client.build_request("GET", url))
        assert answer.status_code == 200, answer.text
        return answer.json()

    detail = get("")
    assert detail["account_id"] == account_id
    assert {signal["account"]["account_id"] for signal in detail["open_signals"]} == {account_id}
    assert get("/health")["account_id"] == account_id
    assert len(get("/signals")["items"]) == 3
    assert get("/usage")["account_id"] == account_id
    get("/timeline")
    assert len(api.every("/v1/signals", account=account_id, status="all")) == 3


def test_an_account_shows_profile_windows_and_open_signals(api: Api) -> None:
    detail = api.get("/v1/accounts/acct-00")
    assert detail["profile"]["tier"] == detail["tier"]
    assert set(detail["windows"]) == {
        "as_of",
        "usage_7d",
        "usage_28d",
        "usage_prev_28d",
        "usage_90d",
        "active_users_28d",
        "open_tickets",
        "tickets_opened_7d",
        "oldest_overdue_days",
        "last_seen",
    }
    assert detail["windows"]["as_of"].endswith("Z")
    assert (detail["score"], detail["band"]) == (None, None)
    assert all(signal["status"] == "open" and signal["reason"] for signal in detail["open_signals"])
    counts = detail["open_counts"]
    assert sum(counts.values()) == len(detail["open_signals"]) > 0
    assert "usage_days" not in detail["profile"]


SORTS = {
    "name": lambda a: (a["name"].casefold().encode(),),
    "mrr": lambda a: (float(a["mrr"] or -1),),
    "renewal_date": lambda a: (a["renewal_date"] or "9999",),
    "last_seen": lambda a: (a["windows"]["last_seen"] or "0",),
}


@pytest.mark.parametrize(
    ("sort", "limit"),
    [*itertools.product([*SORTS, *(f"-{name}" for name in SORTS)], [7, 50]), ("name", 1), ("-mrr", 1)],
)
def test_pages_of_accounts_hold_each_once_in_order(api: Api, sort: str, limit: int) -> None:
    found = api.every("/v1/accounts", sort=sort, limit=limit)
    assert len(found) == 60

    def key(account: Any) -> Any:
        return (*SORTS[sort.removeprefix("-")](account), account["account_id"].encode())

    assert found == sorted(found, key=key, reverse=sort.startswith("-"))


def test_filters_of_accounts(api: Api) -> None:
    everyone = api.every("/v1/accounts", limit=200)
    for tier, csm in itertools.product((None, *TIERS), (None, *PEOPLE)):
        given_ = {name: value for name, value in (("tier", tier), ("csm", csm)) if value is not None}
        wanted = [a for a in everyone if tier in (None, a["tier"]) and csm in (None, a["csm"])]
        assert api.every("/v1/accounts", limit=9, **given_) == wanted
    assert [a["account_id"] for a in api.every("/v1/accounts", q="ünï 🦄 comp")] == ["ünïcödé 🦄"]
    assert len(api.every("/v1/accounts", q="COMPANY acct", limit=20)) == 60 - len(ODD_IDS)
    assert api.every("/v1/accounts", q="' | *") == []


def test_pages_of_signals_hold_each_once_newest_first_and_filters_filter(api: Api) -> None:
    everything = api.every("/v1/signals", status="all", limit=11)
    assert len(everything) == 180
    assert everything == sorted(everything, key=lambda s: (s["opened_at"], s["episode_id"]), reverse=True)
    assert api.every("/v1/signals", limit=11) == everything
    assert api.every("/v1/signals", status="open") == [s for s in everything if s["status"] == "open"]
    middle = everything[90]["opened_at"]
    for name, value, keep in [
        ("status", "cleared", lambda s: s["cleared_at"] is not None),
        ("kind", "opportunity", lambda s: s["kind"] == "opportunity"),
        ("severity", "critical", lambda s: s["severity"] == "critical"),
        ("signal", "support.burst", lambda s: s["signal"] == "support.burst"),
        ("account", "a/b", lambda s: s["account"]["account_id"] == "a/b"),
        ("tier", "tech", lambda s: s["account"]["tier"] == "tech"),
        ("csm", "Çelik & Co.", lambda s: s["account"]["csm"] == "Çelik & Co."),
        ("since", middle, lambda s: s["opened_at"] >= middle),
        ("until", middle, lambda s: s["opened_at"] < middle),
    ]:
        asked = {"status": "all", name: value}
        wanted = [s for s in everything if keep(s)]
        assert 0 < len(wanted) < 180, name
        assert api.every("/v1/signals", limit=13, **asked) == wanted, name


def test_a_signal_shows_each_of_its_changes(api: Api) -> None:
    cleared = api.get("/v1/signals", status="cleared", limit=1)["items"][0]
    detail = api.get(f"/v1/signals/{cleared['episode_id']}")
    assert {name: detail[name] for name in cleared} == cleared
    assert [change["type"] for change in detail["transitions"]] == ["signal.raised", "signal.cleared"]
    assert detail["transitions"][0]["id"] == f"{cleared['episode_id']}-1"


def test_a_page_does_not_shift_when_something_new_comes_in_between(api: Api) -> None:
    first = api.get("/v1/signals", status="all", limit=5)
    newer = transition("acct-02", "zz-new", 1, "raised", opened=DAY_0 + 90 * DAY)
    asyncio.run(fill(api.url, [newer]))
    try:
        second = api.get("/v1/signals", status="all", limit=5, cursor=first["next_cursor"])
        ids = [s["episode_id"] for s in first["items"] + second["items"]]
        found = [s["episode_id"] for s in api.get("/v1/signals", status="all", limit=11)["items"]]
        assert found == ["zz-new", *ids]
    finally:
        asyncio.run(_forget(api.url, "zz-new"))


async def _forget(url: str, episode_id: str) -> None:
    connection = await db.connect(url, process="test")
    for table in ("episodes", "transitions"):
        await connection.execute(f"DELETE FROM {table} WHERE episode_id = $1", episode_id)
    await connection.close()


def test_the_timeline_is_newest_first_and_can_be_narrowed(api: Api) -> None:
    path = path_of("a/b", "/timeline")
    found = api.every(path, limit=4)
    assert len(found) == 25
    assert [entry["time"] for entry in found] == sorted((entry["time"] for entry in found), reverse=True)
    assert {entry["id"] for entry in found} == {str(n) for n in range(25)}
    assert api.every(path, type="ticket", limit=3) == [e for e in found if e["type"] == "ticket.closed"]
    assert api.every(path, type="account.updated") == [e for e in found if e["type"] == "account.updated"]
    assert api.every(path, type="tick") == []
    middle = found[12]["time"]
    assert api.every(path, since=middle) == [e for e in found if e["time"] >= middle]
    assert api.every(path, until=middle) == [e for e in found if e["time"] < middle]


def test_usage_has_every_day(api: Api) -> None:
    path = path_of("a/b", "/usage")
    days = api.get(path)["items"]
    assert (len(days), days[-1]["day"]) == (92, (DAY_0 + 2 * DAY).date().isoformat())
    assert [(d["day"], d["usage"], d["core"]) for d in days if d["usage"]] == [("2026-03-01", 1, 0)]
    asked = api.get(path, **{"from": "2026-02-28", "to": "2026-03-02"})["items"]
    assert [(d["day"], d["usage"]) for d in asked] == [("2026-02-28", 0), ("2026-03-01", 1), ("2026-03-02", 0)]
    assert len(api.get(path, to="0001-01-05")["items"]) == 5


def test_the_catalogue_says_what_each_signal_means(api: Api) -> None:
    entries = api.get("/v1/catalogue")["items"]
    assert len(entries) >= 14
    assert all(entry["meaning"] and entry["action"]["title"] and entry["source"] for entry in entries)
    assert {e["id"] for e in api.get("/v1/catalogue", kind="opportunity")["items"]} == {
        e["id"] for e in entries if e["kind"] == "opportunity"
    }
    assert {e["id"] for e in api.get("/v1/catalogue", family="usage")["items"]} == {
        e["id"] for e in entries if e["id"].startswith("usage.")
    }


def test_answers_are_as_the_api_describes_itself(api: Api) -> None:
    with api.with_key(None) as nobody:
        document = nobody.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/livez", "/readyz"} | {template(path) for path in PATHS}
    for path in PATHS:
        described = document["paths"][template(path)]["get"]
        assert "422" not in described["responses"]
        schema = described["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(api.get(path), schema | {"components": document["components"]})
        answer = api.client.get(path, params={"no-such": "1"})
        schema = described["responses"]["400"]["content"]["application/problem+json"]["schema"]
        jsonschema.validate(answer.json(), schema | {"components": document["components"]})


def test_security_headers_are_on_every_answer(api: Api) -> None:
    for path in ("/v1/signals", "/v1/nothing", "/readyz", "/openapi.json"):
        headers = api.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_metrics_are_on_a_port_of_their_own_and_name_no_account(api: Api) -> None:
    api.get("/v1/accounts/acct-00")
    text = httpx.get(f"http://127.0.0.1:{api.env['EBBTIDE_METRICS_PORT_API']}/metrics").text
    assert 'ebbtide_api_requests_total{route="/v1/accounts/{account_id}",status="200"}' in text
    assert "acct-00" not in text
    problem(api.client.get("/metrics"), 404)


def test_without_tables_or_database_it_lives_and_is_not_ready(api: Api, fresh_database: str) -> None:
    port, metrics_port = free_ports(2)
    env = api.env | {"EBBTIDE_API_PORT": str(port), "EBBTIDE_METRICS_PORT_API": str(metrics_port)}
    service = start_service("api", env | {"EBBTIDE_DATABASE_URL": fresh_database}, ready=False, log_name="unready")
    try:
        wait_for("livez", lambda: http_status(f"{service.url}/livez") == 200, within=45)
        answer = httpx.get(f"{service.url}/readyz")
        assert answer.status_code == 503
        assert "db upgrade" in answer.json()["detail"]
        problem(httpx.get(f"{service.url}/v1/signals", headers={"authorization": "Bearer eb_x"}), 503)
        asyncio.run(db.upgrade(fresh_database))
        wait_for("readyz", lambda: http_status(f"{service.url}/readyz") == 200)
    finally:
        assert service.stop() == 0


NAMES = st.sampled_from(
    (
        *("limit", "cursor", "tier", "csm", "q", "sort", "status", "kind", "severity", "signal", "account"),
        *("since", "until", "type", "from", "to", "other", "by", "family", "renewal_from", "renewal_to", "feature"),
        *("as_of", "group_by", "include", "industry", "accounts_per_csm"),
    )
)
VALUES = st.one_of(
    st.text(max_size=60),
    st.integers(-(2**70), 2**70).map(str),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.dates().map(str),
    st.sampled_from(["high", "open", "risk", "critical", "-mrr", "usage.decline", "2026-03-01T00:00:00Z", "1e400"]),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    tail=st.one_of(st.just(""), st.text(max_size=20)),
    asked=st.dictionaries(NAMES, VALUES, max_size=3),
)
def test_nothing_that_is_asked_breaks_it(api: Api, path: str, tail: str, asked: dict[str, str]) -> None:
    try:
        answer = api.client.get(path + (quote(tail, safe="") if tail else ""), params=asked)
    except (UnicodeEncodeError, httpx.InvalidURL):
        return  # no client can send it
    assert answer.status_code in (200, 400, 404), (answer.status_code, answer.text)
    if answer.status_code != 200:
        problem(answer, answer.status_code)
