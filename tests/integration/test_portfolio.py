"""The portfolio over a real server and database, from events as the recorder writes them."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from services.common import db, keys
from services.signals.recorder.main import write_events, write_signals
from services.signals.recorder.records import SIGNAL_TOPICS, TIMELINE_TOPICS, event_row, signal_row
from tests.conftest import PostgresServer, clean_environment
from tests.harness import Service, free_ports, start_service
from tests.recorded import Stored, erased, event, health, transition

_ids = itertools.count()
END = "2026-04-30T23:00:00Z"
YEAR = {"as_of": END, "from": "2026-01-01", "to": "2026-04-30"}


def at(day: str, hour: int = 9) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")


def said(account: str, day: str, type_: str, **data: Any) -> Stored:
    topic = {"ticket": "tickets", "usage": "usage", "reference": "engagement", "review": "engagement"}
    where = topic.get(type_.partition(".")[0], "accounts")
    return event(where, type_, account, data, id_=f"e{next(_ids)}", time=at(day), appended=at(day))


def signs(account: str, day: str, **more: Any) -> Stored:
    data: dict[str, Any] = {"name": account.title(), "tier": "low", "csm": "Ana", "industry": "retail", "size": "small"}
    data |= {"currency": "EUR", "mrr": "1000.00", "contract_start": day} | more
    return said(account, day, "account.updated", **data)


def subscribes(day: str, subscription: str, **data: Any) -> Stored:
    return said("grower", day, "account.subscription_changed", subscription_id=subscription, **data)


def story() -> list[Stored]:
    """Eight customers, two currencies, and one of everything that a quarter may bring."""
    return [
        # Kept, grew, with two products; renewed early for February, at a smaller discount.
        signs("grower", "2025-02-01", mrr="1000.00", renewal_date="2026-02-01", csm="Ben", tier="high", size=120),
        subscribes("2025-02-01", "g1", product="Core", mrr="700.00", discount=20),
        subscribes("2025-02-01", "g2", product="Add", mrr="300.00"),
        said("grower", "2025-12-10", "account.renewed", mrr="1200.00"),
        subscribes("2025-12-10", "g1", product="Core", mrr="900.00", discount=10, kind="renewal"),
        # Shrank in the period; its renewal of January is still undecided.
        signs("shrinker", "2025-01-15", mrr="500.10", renewal_date="2026-01-15"),
        said("shrinker", "2026-03-01", "account.updated", mrr="400.00"),
        # Left, and it could have been prevented; another one went bankrupt.
        signs("leaver", "2025-03-01", mrr="300.00", renewal_date="2026-03-01", industry="media"),
        said("leaver", "2026-03-05", "account.churned", reason="no ROI"),
        signs("bankrupt", "2025-04-01", mrr="200.00", renewal_date="2026-04-01", industry="media"),
        said("bankrupt", "2026-02-10", "account.churned", reason="bankruptcy", avoidable=False),
        # Due before the period, renewed late in it.
        signs("late", "2024-12-01", mrr="100.00", renewal_date="2025-12-01"),
        said("late", "2026-01-20", "account.renewed", mrr="110.00"),
        # Pays in dollars, through a partner.
        signs(
            "dollar",
            "2025-06-01",
            mrr="2000.00",
            currency="USD",
            renewal_date="2026-06-01",
            partner="Sys Co",
            csm="Ben",
        ),
        # Signed in the period; nobody knows yet what it pays.
        signs("newcomer", "2026-02-15", mrr="50.00", renewal_date="2027-02-15"),
        said("unpriced", "2026-03-15", "account.updated", name="Unpriced", tier="tech"),
        # What they did.
        said("grower", "2025-05-02", "usage.value_reached", goal="g"),
        said("newcomer", "2026-04-16", "account.goal_achieved", goal="g"),
        said("newcomer", "2026-04-20", "usage.value_reached", goal="again"),
        said("grower", "2026-02-02", "reference.given", user="u"),
        said(
            "dollar",
            "2026-02-03",
            "ticket.opened",
            ticket_id="t1",
            priority="P3",
            category="feature_request",
            topic="export",
        ),
        said("dollar", "2026-02-04", "ticket.opened", ticket_id="t2", priority="P3", topic="export"),
        said("dollar", "2026-02-05", "ticket.updated", ticket_id="t2", category="feature_request", topic="export"),
        # Signals: a risk that got worse in March, one that cleared, one of a user, an opportunity.
        transition("dollar", "d1", 1, "raised", opened=at("2026-02-20"), severity="warning"),
        transition("dollar", "d1", 2, "escalated", opened=at("2026-02-20"), severity="critical"),
        transition("shrinker", "s1", 1, "raised", opened=at("2026-03-10"), severity="warning", signal="support.burst"),
        transition("shrinker", "s1", 2, "cleared", opened=at("2026-03-10"), severity="warning", signal="support.burst"),
        transition("late", "l1", 1, "raised", opened=at("2026-01-02"), severity="info", signal="billing.overdue"),
        transition(
            "grower",
            "g1",
            1,
            "raised",
            opened=at("2026-04-01"),
            severity="info",
            kind="opportunity",
            signal="expansion.seats",
        ),
    ]


def scored(
    account: str, score: float, executive: float, *, as_of: dt.datetime, open_episodes: tuple[str, ...] = ()
) -> Stored:
    record = health(account, 2, open_episodes=open_episodes, as_of=as_of)
    components = [
        {"name": name, "score": value, "weight": 50.0, "contribution": 0.0, "why": "", "action": ""}
        for name, value in (("adoption", 70.0), ("executive_relationship", executive), ("survey", None))
    ]
    members = {"score": score, "band": "watch" if score < 70 else "healthy", "components": components}
    return record._replace(value=json.dumps(json.loads(record.value or b"") | members).encode())


def scores() -> list[Stored]:
    opened = {"dollar": ("d1",), "grower": ("g1",)}
    return [
        scored(account, score, executive, as_of=at("2026-04-30"), open_episodes=opened.get(account, ()))
        for account, score, executive in (("grower", 90.0, 80.0), ("dollar", 60.0, 20.0), ("late", 81.0, 60.0))
    ]


async def fill(url: str, found: list[Stored], *, batch: int = 7) -> None:
    connection = await db.connect(url, process="test")
    try:
        for start in range(0, len(found), batch):
            part = found[start : start + batch]
            async with connection.transaction():
                await write_signals(connection, [signal_row(r) for r in part if r.topic in SIGNAL_TOPICS])
                events = [event_row(r) for r in part if r.topic in TIMELINE_TOPICS]
                await write_events(connection, [row for row in events if row is not None])
    finally:
        await connection.close()


class Asking:
    """The api with a key, and its database."""

    def __init__(self, service: Service, url: str) -> None:
        self.url = url

        async def make() -> str:
            engine = db.create_engine(url, process="test", pool_size=1)
            made = await keys.create(engine, ["read"])
            await engine.dispose()
            return made.secret

        headers = {"authorization": f"Bearer {asyncio.run(make())}"}
        self.client = httpx.Client(base_url=service.url, headers=headers, timeout=30)

    def portfolio(self, **parameters: Any) -> Any:
        answer = self.client.get("/v1/portfolio", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()


def served(
    postgres: PostgresServer, template: str, folder: Path, name: str, found: list[Stored], *, batch: int = 7
) -> Iterator[Asking]:
    postgres.server.create_database(name, template=template)
    url = postgres.server.url(name)
    asyncio.run(fill(url, found, batch=batch))
    port, metrics_port = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(folder),
        "EBBTIDE_DATABASE_URL": url,
        "EBBTIDE_API_PORT": str(port),
        "EBBTIDE_METRICS_PORT_API": str(metrics_port),
    }
    service = start_service("api", env)
    try:
        asking = Asking(service, url)
        yield asking
        asking.client.close()
    finally:
        code = service.stop()
        postgres.server.drop_database(name)
    assert code == 0, service.tail()


@pytest.fixture(scope="module")
def api(postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    folder: Path = tmp_path_factory.mktemp("portfolio")
    yield from served(postgres, migrated_template, folder, "portfolio", story() + scores())


def money(measures: Any, currency: str) -> Any:
    (found,) = [entry for entry in measures["money"] if entry["currency"] == currency]
    return found


def test_revenue_and_retention_of_the_period_with_currencies_apart(api: Asking) -> None:
    total = api.portfolio(**YEAR)["total"]
    euro, dollar = money(total, "EUR"), money(total, "USD")
    assert [entry["currency"] for entry in total["money"]] == ["EUR", "USD"]
    # 1000 + 500.10 + 300 + 200 + 100 at the start; 1200 + 400 + 110 + 50 at the end.
    assert (euro["roll_forward"]["opening"], euro["mrr"], euro["arr"]) == ("2100.10", "1760.00", "21120.00")
    assert euro["roll_forward"] == {
        "opening": "2100.10",
        "new": "50.00",
        "add_on": "0",
        "renewal": "210.00",  # grower's 200 from the first of February, late's 10
        "upsell": "0",
        "downsell": "-100.10",
        "cancelled": "-500.00",
        "archive": "0",
        "closing": "1760.00",
    }
    assert euro["net_retention"] == pytest.approx(1710 / 2100.10, abs=1e-6)
    assert euro["gross_retention"] == pytest.approx(1500 / 2100.10, abs=1e-6)
    assert (euro["lost_mrr"], euro["lost_avoidable_mrr"]) == ("500.00", "300.00")
    assert (euro["expanded_accounts"], euro["contracted_accounts"]) == (2, 1)
    assert (dollar["mrr"], dollar["net_retention"], dollar["gross_retention"]) == ("2000.00", 1.0, 1.0)
    assert (dollar["arr_at_risk"], dollar["arr_at_critical_risk"]) == ("24000.00", "24000.00")
    assert euro["arr_at_risk"] == "0"


def test_customers_lost_are_counted_with_their_reasons(api: Asking) -> None:
    found = api.portfolio(**YEAR)
    customers = found["total"]["customers"]
    assert (customers["opening"], customers["new"], customers["lost"], customers["closing"]) == (6, 2, 2, 6)
    assert customers["churn"] == pytest.approx(2 / 6, abs=1e-6)
    assert customers["avoidable_churn"] == customers["unavoidable_churn"] == pytest.approx(1 / 6, abs=1e-6)
    assert found["total"]["accounts_without_mrr"] == 1
    assert {(e["reason"], e["avoidable"], e["mrr"]) for e in found["churn_reasons"]} == {
        ("no ROI", True, "300.00"),
        ("bankruptcy", False, "200.00"),
    }


def test_early_renewals_count_when_due_and_late_ones_are_carried_over(api: Asking) -> None:
    (euro,) = [entry for entry in api.portfolio(**YEAR)["total"]["renewals"] if entry["currency"] == "EUR"]
    # Due in the period: grower (renewed in December), shrinker, leaver, bankrupt; carried over: late.
    assert euro["expected"] == {"due": "2000.10", "carried_over": "100.00", "total": "2100.10", "terms": 5}
    assert euro["early"] == {"terms": 1, "mrr_before": "1000.00", "mrr_after": "1200.00"}
    assert euro["late"] == {"terms": 1, "mrr_before": "100.00", "mrr_after": "110.00"}
    assert euro["lost"] == {"terms": 2, "mrr_before": "500.00", "mrr_after": "0"}
    assert euro["overdue"] == {"terms": 1, "mrr_before": "400.00", "mrr_after": "0"}
    assert euro["on_time"]["terms"] == euro["open"]["terms"] == 0
    assert euro["renewal_rate"] == 0.5


def test_who_left_before_the_period_was_not_expected_to_renew_in_it(api: Asking) -> None:
    (euro,) = api.portfolio(**{"as_of": END, "from": "2026-04-01", "to": "2026-04-30"})["total"]["renewals"]
    # bankrupt was due on the first of April and left in February; shrinker is still undecided.
    assert euro["expected"] == {"due": "0", "carried_over": "400.00", "total": "400.00", "terms": 1}
    assert (euro["lost"]["terms"], euro["overdue"]["terms"], euro["renewal_rate"]) == (0, 1, None)


def test_as_of_a_past_instant_nothing_later_is_known(api: Asking) -> None:
    found = api.portfolio(**{"as_of": "2026-02-20T12:00:00Z", "from": "2026-01-01", "to": "2026-04-30"})
    total = found["total"]
    euro = money(total, "EUR")
    # leaver and shrinker are as they were, bankrupt is gone, newcomer has come.
    assert euro["mrr"] == "2160.10"
    assert total["customers"]["lost"] == 1
    (terms,) = [entry for entry in total["renewals"] if entry["currency"] == "EUR"]
    assert terms["expected"]["total"] == "2100.10"
    assert (terms["overdue"]["terms"], terms["open"]["terms"], terms["lost"]["terms"]) == (1, 1, 1)
    # The risk was a warning on that day and critical on the next.
    assert (total["accounts_at_risk"], total["accounts_at_critical_risk"]) == (1, 0)
    assert total["health"]["scored"] == 0
    later = api.portfolio(**{"as_of": "2026-02-22T00:00:00Z", "from": "2026-01-01"})["total"]
    assert (later["accounts_at_risk"], later["accounts_at_critical_risk"]) == (1, 1)


def test_at_the_very_instant_of_an_event_it_counts(api: Asking) -> None:
    before = api.portfolio(as_of="2026-03-05T08:59:59.999999Z")["total"]["customers"]["lost"]
    assert api.portfolio(as_of="2026-03-05T09:00:00Z")["total"]["customers"]["lost"] == before + 1


@pytest.mark.parametrize("by", ["tier", "csm", "industry", "size", "region", "plan", "channel", "tenure", "cohort"])
def test_groups_add_up_to_the_whole(api: Asking, by: str) -> None:
    found = api.portfolio(**YEAR, group_by=by)
    for name in ("accounts", "accounts_at_risk"):
        assert sum(group[name] for group in found["groups"]) == found["total"][name]
    for name in ("opening", "new", "lost", "closing"):
        assert sum(group["customers"][name] for group in found["groups"]) == found["total"]["customers"][name]
    for whole in found["total"]["money"]:
        parts = [
            entry for group in found["groups"] for entry in group["money"] if entry["currency"] == whole["currency"]
        ]
        for name in ("opening", "renewal", "cancelled", "closing"):
            assert cents(entry["roll_forward"][name] for entry in parts) == cents([whole["roll_forward"][name]])
        assert cents(entry["mrr"] for entry in parts) == cents([whole["mrr"]])
    for group in (found["total"], *found["groups"]):
        for entry in group["money"]:
            assert cents([entry["roll_forward"]["closing"]]) == cents([entry["mrr"]])
    triggered = sum(group["signals"]["triggered"] for group in found["groups"])
    assert triggered == found["total"]["signals"]["triggered"] == 4


def cents(amounts: Any) -> int:
    return sum(round(float(amount) * 100) for amount in amounts)


def test_groups_are_named_as_they_are(api: Asking) -> None:
    names = {
        by: [g["group"] for g in api.portfolio(**YEAR, group_by=by)["groups"]] for by in ("tier", "channel", "cohort")
    }
    assert names["tier"] == ["high", "low", "tech"]
    assert names["channel"] == ["Sys Co", "direct"]
    assert names["cohort"] == ["2024-Q4", "2025-Q1", "2025-Q2", "2026-Q1"]
    assert [g["group"] for g in api.portfolio(**YEAR, group_by="industry")["groups"]] == ["media", "retail", None]
    targets = {g["group"]: g["retention_target"] for g in api.portfolio(**YEAR, group_by="tier")["groups"]}
    assert targets == {"high": 1.0, "low": None, "tech": None}


@pytest.mark.parametrize(
    ("first", "as_of", "counted"),
    [
        ("2026-03-01", "2026-03-10T23:00:00Z", (1, 0, 1, None)),
        ("2026-03-10", "2026-03-11T09:00:00Z", (1, 1, 0, 1.0)),
        ("2026-03-11", "2026-03-12T00:00:00Z", (0, 1, 0, 1.0)),
        ("2026-03-11", "2026-03-11T08:59:59Z", (0, 0, 1, None)),
        ("2026-03-12", "2026-03-31T00:00:00Z", None),
    ],
)
def test_a_signal_counts_in_each_period_that_it_reaches_into(
    api: Asking, first: str, as_of: str, counted: tuple[int, int, int, float | None] | None
) -> None:
    """It was raised on the 10th of March at nine and cleared a day later."""
    found = api.portfolio(**{"from": first, "as_of": as_of}, group_by="product")["signals"]["by_signal"]
    burst = [
        (e["triggered"], e["cleared"], e["open"], e["median_days_to_clear"])
        for e in found
        if e["signal"] == "support.burst"
    ]
    assert burst == ([] if counted is None else [counted])


@pytest.mark.parametrize("by", ["product", "csm", "channel"])
@pytest.mark.parametrize("narrowed", [{}, {"channel": "direct"}, {"tier": "low"}, {"csm": "nobody"}])
def test_the_whole_is_the_same_however_it_is_grouped(api: Asking, by: str, narrowed: dict[str, str]) -> None:
    plain, grouped = api.portfolio(**YEAR, **narrowed), api.portfolio(**YEAR, **narrowed, group_by=by)
    assert grouped.pop("groups") or "csm" in narrowed
    apart = {"groups", "group_by", "groups_left_out"}
    assert {n: v for n, v in grouped.items() if n not in apart} == {n: v for n, v in plain.items() if n not in apart}


def test_a_past_score_is_that_of_the_latest_day_that_was_over(api: Asking) -> None:
    async def set_days(*statements: str) -> None:
        connection = await db.connect(api.url, process="test")
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    rows = """('grower', '2026-03-19', 90, 'healthy'), ('grower', '2026-03-18', 10, 'critical'),
        ('dollar', '2026-03-04', 50, 'watch'), ('late', '2026-03-20', 80, 'healthy'),
        ('newcomer', '2026-03-19', NULL, NULL), ('newcomer', '2026-03-18', 70, 'healthy')"""
    days = "health_days (account_id, day, score, band, coverage)"
    asyncio.run(set_days(f"INSERT INTO {days} SELECT a, d::date, s, b, 1 FROM (VALUES {rows}) v(a, d, s, b)"))
    try:
        health = api.portfolio(as_of="2026-03-20T12:00:00Z")["total"]["health"]
    finally:
        asyncio.run(set_days("DELETE FROM health_days WHERE day < '2026-04-01'"))
    # grower's last day, dollar's of two weeks before; late's is not over, and newcomer's last had no score.
    assert (health["score"], health["scored"], health["healthy"], health["watch"], health["critical"]) == (
        70,
        2,
        1,
        1,
        0,
    )


def test_by_product_each_brings_its_own(api: Asking) -> None:
    found = api.portfolio(**YEAR, group_by="product")
    groups = {group["group"]: group for group in found["groups"]}
    assert set(groups) == {"Add", "Core", None}
    core = money(groups["Core"], "EUR")
    assert (core["roll_forward"]["opening"], core["roll_forward"]["upsell"], core["mrr"]) == (
        "700.00",
        "200.00",
        "900.00",
    )
    assert money(groups["Add"], "EUR")["net_retention"] == 1.0
    assert money(groups[None], "EUR")["mrr"] == "560.00"
    assert found["total"] == api.portfolio(**YEAR)["total"]


def test_filters_narrow_everything(api: Asking) -> None:
    found = api.portfolio(**YEAR, channel="Sys Co", group_by="csm")
    assert found["filters"] == {"channel": "Sys Co"}
    assert found["total"]["accounts"] == 1
    assert [entry["currency"] for entry in found["total"]["money"]] == ["USD"]
    assert [group["group"] for group in found["groups"]] == ["Ben"]
    assert [entry["signal"] for entry in found["signals"]["by_signal"]] == ["usage.decline"]


def test_renewals_due_with_their_health_and_risk(api: Asking) -> None:
    due = {entry["days"]: entry for entry in api.portfolio(**YEAR)["total"]["renewals_due"]}
    # dollar renews on the first of June: 32 days from the last of April.
    assert [due[days]["accounts"] for days in (30, 60, 90)] == [0, 1, 1]
    assert due[60]["at_risk"] == 1
    assert due[60]["money"] == [
        {"currency": "USD", "accounts": 1, "mrr": "2000.00", "arr": "24000.00", "arr_at_risk": "24000.00"}
    ]


def test_time_to_value_by_quarter(api: Asking) -> None:
    # grower: signed on February 1st, value on May 2nd; newcomer: February 15th, April 16th, and only the first counts.
    assert api.portfolio(**YEAR)["time_to_value"] == [
        {"quarter": "2025-Q2", "accounts": 1, "mean_days": 90.0, "change": None, "days_saved": None},
        {"quarter": "2026-Q2", "accounts": 1, "mean_days": 60.0, "change": -30.0, "days_saved": 30.0},
    ]


def test_signals_by_kind_and_owner(api: Asking) -> None:
    found = api.portfolio(**YEAR)["signals"]
    burst = next(entry for entry in found["by_signal"] if entry["signal"] == "support.burst")
    assert (burst["triggered"], burst["cleared"], burst["open"], burst["owner"]) == (1, 1, 0, "csm")
    assert burst["mean_days_to_clear"] == burst["median_days_to_clear"] == 1.0
    assert (burst["acknowledged"], burst["closed"]) == (0, 0)
    assert burst["mean_hours_to_acknowledge"] is burst["mean_hours_to_resolve"] is burst["precision"] is None
    assert found["by_person"] == []
    assert [(entry["owner"], entry["triggered"]) for entry in found["by_owner"]] == [("csm", 4)]
    assert api.portfolio(**YEAR, include="reports")["signals"] is None


def test_load_of_each_manager(api: Asking) -> None:
    load = api.portfolio(**YEAR, accounts_per_csm=2)["load"]
    managers = {entry["csm"]: entry for entry in load["managers"]}
    assert load["accounts_per_csm"] == 2
    assert set(managers) == {"Ana", "Ben", None}
    assert (managers["Ana"]["accounts"], managers["Ana"]["filled"], managers["Ana"]["state"]) == (3, 1.5, "over")
    assert managers["Ana"]["money"] == [{"currency": "EUR", "mrr": "560.00", "arr": "6720.00", "mean_arr": "2240.00"}]
    assert (managers[None]["accounts"], managers[None]["state"]) == (1, None)


def test_a_managers_sheet(api: Asking) -> None:
    sheet = api.portfolio(**{"from": "2026-01-01"}, csm="Ben")["sheet"]
    assert (sheet["accounts"], sheet["score"], sheet["team_score"], sheet["gap"]) == (2, 75.0, 81.0, -6.0)
    assert sheet["dragging_down"] == {"name": "executive_relationship", "score": 50.0, "team": 60.0, "gap": -10.0}
    assert [(entry["account_id"], entry["signal"]) for entry in sheet["upsell"]] == [("grower", "expansion.seats")]
    assert sheet["advocacy"] == [{"kind": "reference", "times": 1, "accounts": 1}]
    at_risk = api.portfolio(**YEAR, csm="Ben")["sheet"]["renewals_at_risk"]
    assert [(entry["account_id"], entry["arr"], entry["severity"], entry["plan"]) for entry in at_risk] == [
        ("dollar", "24000.00", "critical", None)
    ]
    assert api.portfolio(**YEAR)["sheet"] is None


def test_the_named_reports(api: Asking) -> None:
    found = api.portfolio(**YEAR, include="reports,signals")["reports"]
    expanding = {entry["currency"]: entry for entry in found["expanding"]}
    assert (expanding["EUR"]["accounts"], expanding["EUR"]["share_of_accounts"]) == (2, 0.4)
    assert expanding["EUR"]["share_of_mrr"] == pytest.approx(1100 / 2100.10, abs=1e-6)
    assert next((entry["name"], entry["churn"]) for entry in found["industries"]) == ("media", 1.0)
    assert {(e["name"], e["net_retention"]) for e in found["products"]} == {("Core", 1.285714), ("Add", 1.0)}
    assert found["first_renewal_discounts"] == {
        "subscriptions": 1,
        "before": 20.0,
        "after": 10.0,
        "change": -10.0,
        "deeper": 0,
        "shallower": 1,
    }
    assert found["feature_requests"]["by_industry"] == [
        {"industry": "retail", "currency": "USD", "requests": 2, "accounts": 1, "arr": "24000.00"}
    ]
    assert found["feature_requests"]["by_topic"] == [{"topic": "export", "requests": 2, "accounts": 1}]
    (cohort,) = [entry for entry in found["look_alikes"] if entry["industry"] == "media"]
    assert (cohort["size"], cohort["accounts"], cohort["left_at_first"], cohort["lost_share"]) == ("small", 2, 2, 1.0)
    now = api.portfolio(**{"from": "2026-01-01"}, include="reports")["reports"]["references"]
    # dollar is at risk; grower gave one in February, late never did.
    assert [entry["account_id"] for entry in now] == ["late", "grower"]
    assert now[1]["last_given"] == "2026-02-02T09:00:00Z"


def test_the_answer_is_as_described(api: Asking) -> None:
    document = api.client.get("/openapi.json").json()
    described = document["paths"]["/v1/portfolio"]["get"]
    schema = described["responses"]["200"]["content"]["application/json"]["schema"]
    whole = schema | {"components": document["components"]}
    jsonschema.validate(api.portfolio(**YEAR, group_by="csm", csm="Ben", include="signals,reports"), whole)
    jsonschema.validate(api.portfolio(as_of="1980-01-01T00:00:00Z", include="reports"), whole)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"as_of": "2026-02-01"}, "as_of"),
        ({"as_of": "2999-01-01T00:00:00Z"}, "as_of"),
        ({"from": "2026-05-01", "to": "2026-04-01"}, "from"),
        ({"to": "soon"}, "to"),
        ({"group_by": "colour"}, "group_by"),
        ({"include": "everything"}, "include"),
        ({"accounts_per_csm": "0"}, "accounts_per_csm"),
        ({"tier": "gold"}, "tier"),
        ({"industry": ""}, "industry"),
        ({"industries": "retail"}, "industries"),
    ],
)
def test_a_bad_parameter_is_named(api: Asking, parameters: dict[str, str], field: str) -> None:
    answer = api.client.get("/v1/portfolio", params=parameters)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == field


def test_an_empty_portfolio_is_an_answer(api: Asking) -> None:
    found = api.portfolio(as_of="1980-01-01T00:00:00Z", group_by="tier", include="signals,reports", csm="nobody")
    assert (found["total"]["accounts"], found["total"]["money"], found["groups"]) == (0, [], [])
    assert found["total"]["customers"]["churn"] is None
    assert found["sheet"]["score"] is None
    assert found["reports"]["first_renewal_discounts"]["before"] is None


def test_31_look_alikes_from_their_events(postgres: PostgresServer, migrated_template: str, tmp_path: Path) -> None:
    """Customer Success (Mehta, Steinman, Murphy), law 1: 14 left at the first renewal, 4 at the second, 8 are not yet due,
    5 renewed at 14 % less on average."""
    found: list[Stored] = []
    for number in range(31):
        account = f"alike-{number}"
        begun, due = ("2025-06-01", "2026-06-01") if 18 <= number < 26 else ("2023-03-01", "2024-03-01")
        found.append(signs(account, begun, renewal_date=due))
        if number < 14:
            found.append(said(account, "2024-02-20", "account.churned", reason="wrong fit"))
        elif number < 18:
            found.append(said(account, "2024-03-01", "account.renewed", mrr="1000.00"))
            found.append(said(account, "2025-02-01", "account.churned", reason="wrong fit"))
        elif number >= 26:
            found.append(said(account, "2024-03-02", "account.renewed", mrr=("820.00", "860.00", "900.00")[number % 3]))
    fallen = [
        {"820.00": -0.18, "860.00": -0.14, "900.00": -0.1}[("820.00", "860.00", "900.00")[n % 3]] for n in range(26, 31)
    ]
    for api in served(postgres, migrated_template, tmp_path, "look_alikes", found):
        (cohort,) = api.portfolio(as_of="2026-04-30T00:00:00Z", include="reports")["reports"]["look_alikes"]
        assert (cohort["accounts"], cohort["lost"], cohort["remaining"]) == (31, 18, 13)
        assert (cohort["left_at_first"], cohort["left_at_second"], cohort["not_yet_due"], cohort["renewed"]) == (
            14,
            4,
            8,
            5,
        )
        assert (cohort["first_due"], cohort["lost_share"], cohort["first_lost_share"]) == (23, 0.580645, 0.608696)
        assert cohort["renewed_change"] == pytest.approx(sum(fallen) / 5, abs=1e-6)


def books() -> list[Stored]:
    """The portfolio sums that the source texts work out, each under an industry of its own, in March 2026."""
    found = [signs(f"small-{n}", "2025-01-01", industry="chapter 1") for n in range(20)]
    found += [
        signs("stays", "2025-01-01", mrr="22500000", industry="law 8"),
        signs("leaves", "2025-01-01", mrr="2500000", industry="law 8"),
        said("leaves", "2026-03-10", "account.churned", reason="no ROI"),
        said("stays", "2026-03-20", "account.updated", mrr="24260000"),
        signs("due", "2025-03-15", mrr="1500000", industry="law 8, a month", renewal_date="2026-03-15"),
        signs("carried", "2025-02-20", mrr="225000", industry="law 8, a month", renewal_date="2026-02-20"),
        signs("next", "2025-04-01", mrr="999999", industry="law 8, a month", renewal_date="2026-04-01"),
        signs("upsold", "2025-01-01", mrr="132000000", industry="chapter 2"),
        said("upsold", "2026-03-02", "account.updated", mrr="145200000"),
    ]
    for number, (signature, value) in enumerate(
        (("2025-05-01", "2025-08-06"), ("2025-09-01", "2025-11-29"), ("2025-12-01", "2026-02-22"))
    ):
        found.append(signs(f"valued-{number}", signature, industry="law 7"))
        found.append(said(f"valued-{number}", value, "usage.value_reached", goal="g"))
    for accounts, managers, tier in ((25, ("h1", "h2"), "high"), (550, tuple(f"l{n}" for n in range(11)), "low")):
        for n in range(accounts):
            csm = managers[n % len(managers)]
            found.append(signs(f"{tier}-{n}", "2025-01-01", tier=tier, csm=csm, mrr="2083.25", industry="chapter 17"))
    for accounts, csm in ((600, "pool"), (425, "alone")):
        for n in range(accounts):
            found.append(signs(f"{csm}-{n}", "2025-01-01", tier="tech", csm=csm, mrr="2083.25", industry="chapter 17"))
    return found


def team() -> list[Stored]:
    """Two managers today: Cleo's accounts score six below Dora's, and three of four are at risk and renew within 90 days."""
    found = []
    now = dt.datetime.now(dt.UTC)
    for n, days in enumerate((20, 50, 89, 92)):
        account, renews = f"cleo-{n}", (now + dt.timedelta(days=days)).date().isoformat()
        found.append(signs(account, "2025-01-01", csm="Cleo", industry="law 9", renewal_date=renews))
        found.append(transition(account, f"c{n}", 1, "raised", opened=at("2026-03-01")))
        found.append(scored(account, 66.0, 31.0, as_of=now, open_episodes=(f"c{n}",)))
    for n in range(3):
        found.append(signs(f"dora-{n}", "2025-01-01", csm="Dora", industry="law 9"))
        found.append(scored(f"dora-{n}", 72.0, 62.0, as_of=now))
    return found


@pytest.fixture(scope="module")
def worked(
    postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asking]:
    folder: Path = tmp_path_factory.mktemp("worked")
    yield from served(postgres, migrated_template, folder, "worked", books() + team(), batch=500)


MARCH = {"as_of": "2026-03-31T23:00:00Z", "from": "2026-03-01", "to": "2026-03-31"}


def test_the_texts_sums_from_their_events(worked: Asking) -> None:
    """Customer Success (Mehta, Steinman, Murphy), chapters 1 and 2, law 8."""
    assert money(worked.portfolio(**MARCH, industry="chapter 1")["total"], "EUR")["arr"] == "240000.00"
    forward = money(worked.portfolio(**MARCH, industry="law 8")["total"], "EUR")["roll_forward"]
    assert (forward["opening"], forward["cancelled"]) == ("25000000", "-2500000")
    assert (forward["upsell"], forward["closing"]) == ("1760000", "24260000")
    (terms,) = worked.portfolio(**MARCH, industry="law 8, a month")["total"]["renewals"]
    assert terms["expected"] == {"due": "1500000", "carried_over": "225000", "total": "1725000", "terms": 2}
    grown = money(worked.portfolio(**MARCH, industry="chapter 2")["total"], "EUR")
    assert (grown["mrr"], grown["net_retention"], grown["gross_retention"]) == ("145200000", 1.1, 1.0)


def test_time_to_value_falls_by_quarter(worked: Asking) -> None:
    """Customer Success, law 7."""
    found = worked.portfolio(**MARCH, industry="law 7")["time_to_value"]
    assert [(step["quarter"], step["mean_days"]) for step in found] == [
        ("2025-Q3", 97),
        ("2025-Q4", 89),
        ("2026-Q1", 83),
    ]
    assert [step["days_saved"] for step in found] == [None, 8, 6]


def test_a_sheet_says_what_the_text_says(worked: Asking) -> None:
    """Customer Success, law 9: six below the team, the executive component lowest, three at risk within 90 days."""
    sheet = worked.portfolio(csm="Cleo", industry="law 9")["sheet"]
    assert (sheet["accounts"], sheet["score"], sheet["team_score"], sheet["gap"]) == (4, 66.0, 72.0, -6.0)
    assert sheet["dragging_down"] == {"name": "executive_relationship", "score": 31.0, "team": 62.0, "gap": -31.0}
    assert [entry["account_id"] for entry in sheet["renewals_at_risk"]] == ["cleo-0", "cleo-1", "cleo-2"]
    assert {entry["severity"] for entry in sheet["renewals_at_risk"]} == {"warning"}


def test_1600_accounts_by_manager(worked: Asking) -> None:
    """Customer Success, chapter 17: 25 by 2, 550 by 11, 600 by a pool, 425 by one."""
    found = worked.portfolio(**MARCH, industry="chapter 17", accounts_per_csm=50)
    managers = {entry["csm"]: entry for entry in found["load"]["managers"]}
    assert found["total"]["accounts"] == 1600
    assert [managers[name]["accounts"] for name in ("h1", "h2", "l0", "l10", "pool", "alone")] == [
        13,
        12,
        50,
        50,
        600,
        425,
    ]
    assert {entry["state"] for entry in managers.values()} == {"usual"}
    assert {entry["money"][0]["mean_arr"] for entry in managers.values()} == {"24999.00"}
    assert {managers[f"l{n}"]["state"] for n in range(11)} == {"usual"}
    # At forty each of the eleven is over.
    fewer = worked.portfolio(**MARCH, industry="chapter 17")["load"]["managers"]
    assert {entry["state"] for entry in fewer if entry["csm"].startswith("l")} == {"over"}


FACTS = ("account_spans", "subscription_spans", "revenue_movements", "term_ends", "account_marks")


async def facts(url: str) -> dict[str, list[Any]]:
    connection = await db.connect(url, process="test")
    try:
        return {table: sorted(map(str, await connection.fetch(f"SELECT * FROM {table}"))) for table in FACTS}
    finally:
        await connection.close()


def test_the_order_of_arrival_and_repeats_change_no_fact(postgres: PostgresServer, migrated_template: str) -> None:
    found = story()
    seen = []
    for at_, order in enumerate((found, found[::-1] + found[:9])):
        name = f"facts_{at_}"
        postgres.server.create_database(name, template=migrated_template)
        try:
            asyncio.run(fill(postgres.server.url(name), order, batch=3))
            seen.append(asyncio.run(facts(postgres.server.url(name))))
        finally:
            postgres.server.drop_database(name)
    assert seen[0] == seen[1]
    assert all(seen[0].values())


def test_erasing_an_account_leaves_no_fact_of_it(migrated_database: str) -> None:
    async def run() -> dict[str, list[Any]]:
        await fill(migrated_database, story() + scores())
        gone = event(
            "accounts", "account.erased", "grower", {}, id_="gone", time=at("2026-05-01"), appended=at("2026-05-01")
        )
        await fill(migrated_database, [gone, erased("grower", appended=at("2026-05-01"))])
        found = await facts(migrated_database)
        connection = await db.connect(migrated_database, process="test")
        for table in ("latest_scores", "component_scores"):
            found[table] = [str(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
        await connection.close()
        return found

    found = asyncio.run(run())
    assert all(found[table] for table in ("account_spans", "latest_scores", "component_scores"))
    assert "grower" not in str(found)


def test_facts_of_what_was_recorded_before_are_derived_later(migrated_database: str) -> None:
    async def run() -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        await fill(migrated_database, story())
        before = await facts(migrated_database)
        connection = await db.connect(migrated_database, process="test")
        for table in FACTS:
            await connection.execute(f"DELETE FROM {table}")
        await connection.execute("INSERT INTO facts_due SELECT DISTINCT account_id FROM timeline")
        async with connection.transaction():
            await write_events(connection, [])
        assert await connection.fetchval("SELECT count(*) FROM facts_due") == 0
        await connection.close()
        return before, await facts(migrated_database)

    before, after = asyncio.run(run())
    assert before == after
