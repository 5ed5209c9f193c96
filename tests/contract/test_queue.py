"""The queue, the saved views, the brief and coverage, as a client meets them: a real server on a real database."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.codec import decode
from schemas.events import INPUT_TOPICS
from schemas.health import OpenEpisode
from services.common import db
from services.signals.catalogue import load
from services.signals.core.partition import PartitionEngine
from tests.conftest import PostgresServer
from tests.recorded import DAY_0, Stored, erased, event, health, milliseconds, transition
from tests.served import Api, fill, path_of, problem, served

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 5, 20, 9, tzinfo=dt.UTC)
"""In the quarter of April to June."""

OLD = {"contract_start": "2023-08-01", "renewal_date": "2026-11-15"}
"""Neither near a renewal nor young."""


def recorded(
    name: str,
    profile: dict[str, Any],
    *signals: tuple[str, str],
    kind: str = "risk",
    more: dict[str, Any] | None = None,
) -> list[Stored]:
    """An account with open signals, given as (signal, severity)."""
    profile = {"name": name.title(), "tier": "low", "csm": "Ana"} | profile
    found = []
    for signal, severity in signals:
        found.append(
            transition(
                name,
                f"{name}-{signal}",
                1,
                "raised",
                signal=signal,
                severity=severity,  # type: ignore[arg-type]
                kind=kind,  # type: ignore[arg-type]
                opened=NOW - 5 * DAY,
                csm=profile["csm"],
                tier=profile["tier"],
            )
        )
    episodes = tuple(
        OpenEpisode(episode_id=f"{name}-{signal}", signal=signal, severity=severity)  # type: ignore[arg-type]
        for signal, severity in signals
    )
    found.append(health(name, 5, as_of=NOW, profile=profile, open_episodes=episodes, **(more or {})))
    return found


def portfolio() -> list[Stored]:
    """The four example lists, with near misses, and accounts for the order of the queue."""
    found: list[Stored] = []
    # 17 with eroded core use and a bad or missing survey; the largest of them is neither near a renewal nor young.
    both = (("critical.usage_and_survey", "critical"),)
    found += recorded("erosion-big", OLD | {"mrr": "500000", "currency": "USD"}, *both)
    for n in range(12):
        found += recorded(f"erosion-{n:02d}", OLD | {"mrr": "9000", "currency": "USD"}, *both)
    found += recorded("erosion-quarter", OLD | {"renewal_date": "2026-06-30", "mrr": "1000"}, *both)
    found += recorded("erosion-past", OLD | {"renewal_date": "2026-05-01", "mrr": "1000"}, *both)
    found += recorded(
        "erosion-young", {"contract_start": "2025-06-01", "renewal_date": "2026-07-01", "mrr": "10"}, *both
    )
    step = {"date": "2027-02-20", "percent": 50}
    young = {"contract_start": "2025-09-01", "renewal_date": "2026-09-01", "mrr": "20", "price_step": step}
    found += recorded("erosion-step", young, *both)
    found += recorded("erosion-only", OLD, ("usage.core_erosion", "warning"))
    # 7 with an old urgent ticket and an invoice a month overdue; of the near misses only one part is open.
    for n in range(7):
        found += recorded(
            f"overdue-{n}", OLD, ("critical.support_and_billing", "critical"), ("billing.overdue", "critical")
        )
    found += recorded("overdue-29-days", OLD, ("support.aged_critical", "critical"))
    found += recorded("overdue-9-days", OLD, ("billing.overdue", "critical"))
    found += recorded("sponsor", OLD, ("relationship.sponsor_lost", "critical"), ("usage.decline", "warning"))
    found += recorded("champion", OLD | {"mrr": "9"}, ("relationship.champion_unsubscribed", "warning"))
    # One factor each.
    plain = ("usage.silence", "warning")
    found += recorded("rank-plain", OLD | {"csm": "Rank"}, plain)
    found += recorded("rank-severe", OLD | {"csm": "Rank"}, ("usage.silence", "critical"))
    found += recorded("rank-rich", OLD | {"csm": "Rank", "mrr": "83333.34", "currency": "EUR"}, plain)
    found += recorded("rank-renews", OLD | {"csm": "Rank", "renewal_date": "2026-06-01"}, plain)
    found += recorded("rank-new", OLD | {"csm": "Rank", "contract_start": "2026-04-01"}, plain)
    found += recorded("rank-sure", OLD | {"csm": "Rank"}, plain, ("billing.overdue", "info"), ("support.burst", "info"))
    found += recorded("rank-upside", OLD | {"csm": "Rank"}, ("expansion.seats", "info"), kind="opportunity")
    found += recorded("rank-quiet", OLD | {"csm": "Rank"})
    # Releases: maps is the newest.
    for feature, days in (("charts", 90), ("maps", 20)):
        found.append(released(feature, NOW - days * DAY))
    return found + releases_of_accounts()


def released(feature: str, at: dt.datetime) -> Stored:
    record = event("accounts", "feature.released", "_", {"feature": feature}, id_=f"release-{feature}", time=at)
    assert record.value is not None
    return record._replace(key=None, value=record.value.replace(b'"subject": "_", ', b""))


def releases_of_accounts() -> list[Stored]:
    def untried(*features: str) -> dict[str, Any]:
        return {"untried_releases": [{"feature": feature, "released_at": NOW - 20 * DAY} for feature in features]}

    used = {"inputs_seen": ["account.updated", "usage.feature_used"]}
    return [
        *recorded("try-both", OLD | {"csm": "Try", "mrr": "9000"}, more=untried("maps", "charts") | used),
        *recorded("try-charts", OLD | {"csm": "Try"}, more=untried("charts") | used),
        *recorded("try-blind", OLD | {"csm": "Try"}, more=untried("maps") | {"inputs_seen": ["account.updated"]}),
        *recorded(
            "try-signal",
            OLD | {"csm": "Try", "mrr": "90000"},
            ("usage.decline", "warning"),
            more=untried("maps") | used,
        ),
        *recorded("try-gone", OLD | {"csm": "Try"}, more=untried("maps") | used | {"churned": True}),
        *recorded("try-old-record", OLD | {"csm": "Try"}),
    ]


def example_4() -> list[Stored]:
    """A webinar last week, three tickets on reporting in two weeks, no usage data."""
    name = "Talks | to # us"
    about = transition(
        "brief",
        "brief-topic",
        1,
        "raised",
        signal="support.same_topic",
        opened=NOW - 2 * DAY,
        reason="3 tickets on reporting in 14 days",
        csm="Ana",
        tier="low",
    )
    tickets = [
        event(
            "tickets",
            "ticket.opened",
            "brief",
            {"ticket_id": f"t{days}", "priority": "P3", "topic": "reporting"},
            id_=f"t{days}",
            time=NOW - days * DAY,
        )
        for days in (12, 7, 2)
    ]
    webinar = event("engagement", "training.attended", "brief", {"user": "ana"}, id_="w", time=NOW - 6 * DAY)
    seen = {"inputs_seen": ["account.updated", "ticket.opened", "training.attended"]}
    profile = OLD | {"name": name, "tier": "low", "csm": "Ana"}
    return [
        about,
        *tickets,
        webinar,
        health("brief", 5, as_of=NOW, profile=profile, open_episodes=("brief-topic",), **seen),
    ]


def scored() -> list[Stored]:
    """Accounts of one sign-up quarter with scores, one churned, one of another quarter."""
    found: list[Stored] = []
    for name, start, score, churned in (
        ("cohort-a", "2026-01-10", 78.0, False),
        ("cohort-b", "2026-02-20", 50.0, False),
        ("cohort-c", "2026-03-31", 78.0, False),
        ("cohort-d", "2026-01-01", 90.5, False),
        ("cohort-e", "2026-03-01", 10.0, True),
        ("cohort-f", "2026-03-01", None, False),
        ("cohort-g", "2026-04-01", 1.0, False),
    ):
        days = [
            {"day": (NOW - n * DAY).date(), "score": score and score - n, "band": "healthy", "coverage": 0.75}
            for n in range(1, 4)
        ]
        found += recorded(
            name,
            {"contract_start": start, "csm": "Cohort"},
            more={"score": score, "band": "healthy", "coverage": 0.75, "score_days": days, "churned": churned},
        )
    return found


@pytest.fixture(scope="module")
def api(postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    found = [*portfolio(), *example_4(), *scored()]
    with served(postgres, migrated_template, tmp_path_factory.mktemp("queue"), found) as made:
        yield made


def ids(items: list[Any]) -> list[str]:
    return [item["account"]["account_id"] for item in items]


def factors(item: Any) -> dict[str, float]:
    return {part["part"]: part["factor"] for part in item["parts"]}


# --- the queue -----------------------------------------------------------------------------------------------------


def test_each_factor_moves_an_account_up_and_is_shown(api: Api) -> None:
    found = {item["account"]["account_id"]: item for item in api.every("/v1/queue", csm="Rank")}
    # A warning of one family, nothing else known: 3 × 0.8.
    assert {name: item["rank"] for name, item in found.items()} == {
        "rank-plain": 2.4,
        "rank-severe": 7.2,
        "rank-rich": 9.6,  # ARR of a million: × 4
        "rank-renews": 4.8,
        "rank-new": 3.6,
        "rank-sure": 3.0,
        "rank-upside": 0.8,
    }
    assert list(found) == [
        *("rank-rich", "rank-severe", "rank-renews", "rank-new", "rank-sure", "rank-plain", "rank-upside")
    ]
    rich = found["rank-rich"]
    assert factors(rich) == {
        "severity": 3,
        "value": 4,
        "renewal": 1,
        "tenure": 1,
        "price_step": 1,
        "confidence": 0.8,
    }
    assert rich["parts"][1]["words"] == "ARR 1,000,000.08 EUR"
    assert rich["account"]["arr"] == "1000000.08"
    assert rich["as_of"] == "2026-05-20"
    assert rich["signals"][0]["severity"] == "warning"
    assert rich["signals"][0]["action"]["owner"] == "csm"
    assert factors(found["rank-sure"])["confidence"] == 1


def test_a_rank_is_the_product_of_its_parts_everywhere(api: Api) -> None:
    for by in ("account", "signal"):
        items = api.every("/v1/queue", by=by, limit=7)
        assert len(items) > 30
        for item in items:
            assert math.isclose(item["rank"], math.prod(factors(item).values()), abs_tol=0.0051), item


def test_an_account_appears_once_with_its_signals_and_each_signal_once(api: Api) -> None:
    accounts = api.every("/v1/queue", limit=200)
    assert len(set(ids(accounts))) == len(accounts)
    signals = api.every("/v1/queue", by="signal", limit=200)
    open_now = api.every("/v1/signals", status="open", limit=200)
    assert sorted(item["because"] for item in signals) == sorted(signal["episode_id"] for signal in open_now)
    assert sorted(s["episode_id"] for item in accounts for s in item["signals"]) == sorted(
        signal["episode_id"] for signal in open_now
    )
    for item in accounts:
        ranks = [signal["rank"] for signal in item["signals"]]
        assert ranks == sorted(ranks, reverse=True)
        assert item["rank"] == ranks[0]
        assert item["because"] == item["signals"][0]["episode_id"]
        assert sum(item["open_counts"].values()) == len(item["signals"])


@pytest.mark.parametrize("by", ["account", "signal"])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_hold_each_once_in_one_order(api: Api, by: str, limit: int) -> None:
    found = api.every("/v1/queue", by=by, limit=limit)
    assert found == api.every("/v1/queue", by=by, limit=200)
    keys = [(item["rank"], item["account"]["account_id"].encode(), item["because"].encode()) for item in found]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == len(keys)


def test_filters_filter_and_a_place_is_that_of_the_signal_asked_for(api: Api) -> None:
    everything = api.every("/v1/queue", by="signal", limit=200)
    for name, value, keep in [
        ("kind", "opportunity", lambda s: s["kind"] == "opportunity"),
        ("severity", "warning", lambda s: s["severity"] == "warning"),
        ("family", "billing", lambda s: s["signal"].startswith("billing.")),
        ("signal", "usage.silence", lambda s: s["signal"] == "usage.silence"),
    ]:
        wanted = [item for item in everything if keep(item["signals"][0])]
        assert 0 < len(wanted) < len(everything)
        assert api.every("/v1/queue", by="signal", limit=4, **{name: value}) == wanted, name
        once = list(dict.fromkeys(ids(wanted)))
        assert ids(api.every("/v1/queue", limit=4, **{name: value})) == once, name
    sure = next(i for i in api.every("/v1/queue", family="billing") if i["account"]["account_id"] == "rank-sure")
    assert (sure["because"], factors(sure)["severity"], len(sure["signals"])) == ("rank-sure-billing.overdue", 1, 3)
    assert set(ids(api.every("/v1/queue", csm="Rank", kind="opportunity"))) == {"rank-upside"}
    assert api.every("/v1/queue", tier="tech") == []
    assert api.every("/v1/queue", csm="nobody") == []


def test_a_renewal_window_has_both_its_days(api: Api) -> None:
    def renewing(**window: str) -> set[str]:
        return set(ids(api.every("/v1/queue", **window)))

    assert renewing(renewal_to="2026-06-30") == {"erosion-quarter", "erosion-past", "rank-renews"}
    assert renewing(renewal_from="2026-06-30", renewal_to="2026-07-01") == {"erosion-quarter", "erosion-young"}
    assert renewing(renewal_from="2030-01-01") == set()


def test_what_clears_leaves_the_queue_and_a_change_of_the_account_moves_it(api: Api) -> None:
    profile = OLD | {"csm": "Moves", "tier": "low"}
    asyncio.run(fill(api.url, recorded("moves", profile, ("usage.decline", "warning"), ("support.burst", "info"))))
    first = api.get("/v1/queue", csm="Moves")["items"]
    assert [(item["rank"], len(item["signals"])) for item in first] == [(2.7, 2)]
    # The renewal comes into the quarter, and one signal clears: 3 × 2 × 0.8.
    cleared = transition("moves", "moves-support.burst", 2, "cleared", signal="support.burst", sequence=6)
    later = profile | {"renewal_date": "2026-06-01", "csm": "Other"}
    change = health("moves", 6, as_of=NOW + DAY, profile=later, open_episodes=("moves-usage.decline",))
    asyncio.run(fill(api.url, [cleared, change]))
    assert api.get("/v1/queue", csm="Moves")["items"] == []
    (moved,) = api.get("/v1/queue", csm="Other")["items"]
    assert (moved["rank"], moved["as_of"], len(moved["signals"])) == (4.8, "2026-05-21", 1)
    # Time alone: the same profile in the next quarter, the renewal past.
    asyncio.run(
        fill(api.url, [health("moves", 7, as_of=NOW + 60 * DAY, profile=later, open_episodes=("moves-usage.decline",))])
    )
    (past,) = api.get("/v1/queue", csm="Other")["items"]
    assert past["parts"][2]["words"] == "was to renew 2026-06-01 and has not"
    asyncio.run(fill(api.url, [erased("moves")]))
    assert api.get("/v1/queue", csm="Other")["items"] == []
    assert asyncio.run(_held(api.url, "moves")) == 0


async def _held(url: str, account_id: str) -> int:
    connection = await db.connect(url, process="test")
    try:
        tables = ("queue_entries", "standings", "health_days", "health_parts")
        counts = [
            await connection.fetchval(f"SELECT count(*) FROM {table} WHERE account_id = $1", account_id)
            for table in tables
        ]
        return sum(counts)
    finally:
        await connection.close()


def test_a_signal_of_an_account_without_health_has_its_place(api: Api) -> None:
    asyncio.run(fill(api.url, [transition("early", "early-e", 1, "raised", csm="Early")]))
    (item,) = api.get("/v1/queue", csm="Early")["items"]
    assert (item["rank"], item["account"]["name"], item["as_of"]) == (2.4, None, None)
    assert api.get("/v1/queue", by="signal", csm="Early")["items"][0]["because"] == "early-e"


def test_signals_of_the_portfolio_are_no_ones_work(api: Api) -> None:
    record = transition("_portfolio", "portfolio-e", 1, "raised", csm="Nobody")
    assert record.value is not None
    wide = record._replace(value=record.value.replace(b'"scope":"account"', b'"scope":"portfolio"'))
    asyncio.run(fill(api.url, [wide]))
    assert api.get("/v1/queue", csm="Nobody")["items"] == []
    assert "portfolio-e" in {s["episode_id"] for s in api.every("/v1/signals", status="open")}


def test_a_cursor_of_another_order_is_refused(api: Api) -> None:
    cursor = api.get("/v1/queue", limit=1)["next_cursor"]
    for path, asked in (
        ("/v1/queue", {"by": "signal"}),
        ("/v1/views/support-and-billing", {}),
        ("/v1/views/newest-feature-untried", {}),
    ):
        answer = api.client.get(path, params={"cursor": cursor} | asked)
        assert problem(answer, 400)["field"] == "cursor"


# --- views ---------------------------------------------------------------------------------------------------------


def test_the_views_are_described_with_what_may_be_asked(api: Api) -> None:
    found = {view["name"]: view for view in api.get("/v1/views")["items"]}
    assert list(found) == [
        "core-use-and-survey",
        "support-and-billing",
        "sponsor-or-champion",
        "newest-feature-untried",
    ]
    for view in found.values():
        assert view["meaning"]
        assert view["order"]
        assert all(view["parameters"].values())
        assert api.get(view["path"])["view"] == view["name"]
    assert "feature" in found["newest-feature-untried"]["parameters"]
    assert "feature" not in found["support-and-billing"]["parameters"]


def test_seventeen_are_listed_the_four_first_and_the_rise_on_top(api: Api) -> None:
    found = api.every("/v1/views/core-use-and-survey", limit=5)
    assert len(found) == 17
    assert [item["first"] for item in found] == [True] * 4 + [False] * 13
    assert ids(found)[0] == "erosion-step"
    assert set(ids(found)[:4]) == {"erosion-step", "erosion-quarter", "erosion-past", "erosion-young"}
    assert ids(found)[4] == "erosion-big"
    rest = [item["rank"] for item in found[4:]]
    assert rest == sorted(rest, reverse=True)
    assert "+50 % on 2027-02-20" in found[0]["parts"][4]["words"]


def test_exactly_seven_have_the_old_ticket_and_the_overdue_invoice(api: Api) -> None:
    found = api.get("/v1/views/support-and-billing")
    assert sorted(ids(found["items"])) == [f"overdue-{n}" for n in range(7)]
    assert found["next_cursor"] is None
    assert all(len(item["signals"]) == 2 for item in found["items"])


def test_sponsor_or_champion_lists_both(api: Api) -> None:
    assert ids(api.get("/v1/views/sponsor-or-champion")["items"]) == ["sponsor", "champion"]
    assert ids(api.get("/v1/views/sponsor-or-champion", csm="nobody")["items"]) == []


def test_the_newest_feature_is_untried_by_those_who_have_not_used_it(api: Api) -> None:
    found = api.get("/v1/views/newest-feature-untried", csm="Try")
    assert found["release"] == {"feature": "maps", "released_at": "2026-04-30T09:00:00Z"}
    assert ids(found["items"]) == ["try-signal", "try-both", "try-blind"]
    assert [item["usage_seen"] for item in found["items"]] == [True, True, False]
    assert [item["rank"] is None for item in found["items"]] == [False, True, True]
    pages = api.every("/v1/views/newest-feature-untried", csm="Try", limit=1)
    assert pages == found["items"]
    older = api.get("/v1/views/newest-feature-untried", feature="charts")
    assert set(ids(older["items"])) == {"try-both", "try-charts"}


# --- brief, coverage, health ---------------------------------------------------------------------------------------


def test_the_brief_shows_webinar_and_topic_without_usage_data(api: Api) -> None:
    found = api.get(path_of("brief", "/brief"))
    assert found["usage"] == {"available": False}
    assert found["trainings"]["latest"][0]["days_ago"] == 6
    assert found["tickets"]["by_topic"][0] == {
        "topic": "reporting",
        "opened": {"14d": 3, "30d": 3, "90d": 3},
        "open": 3,
    }
    assert [signal["signal"] for signal in found["signals"]] == ["support.same_topic"]
    assert found["next_actions"][0]["because"] == ["support.same_topic"]
    assert found["rank"] == found["signals"][0]["rank"]


def test_the_brief_is_one_page_of_text_for_whoever_asks(api: Api) -> None:
    answer = api.client.get(path_of("brief", "/brief"), headers={"accept": "text/markdown"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert answer.text.startswith("# Talks \\| to \\# us\n")
    assert "3 tickets on reporting in 14 days" in answer.text
    assert "6 days ago" in answer.text
    assert len(answer.text.splitlines()) < 60
    for name in ("sponsor", "try-both", "cohort-a", "rank-quiet"):
        page = api.client.get(path_of(name, "/brief"), headers={"accept": "text/markdown"})
        assert page.text.startswith(f"# {name.title()}\n")


def test_coverage_names_a_state_for_every_signal_of_the_catalogue(api: Api) -> None:
    found = api.get(path_of("sponsor", "/coverage"))
    catalogue = {e["id"] for e in api.get("/v1/catalogue")["items"] if e["scope"] != "portfolio"}
    states = {item["signal"]: item["state"] for item in found["items"]}
    assert set(states) == catalogue
    assert sum(found["summary"].values()) == len(catalogue)
    assert (states["relationship.sponsor_lost"], found["summary"]["churned"]) == ("open", 0)
    gone = api.get(path_of("try-gone", "/coverage"))
    assert {item["state"] for item in gone["items"]} == {"churned"}


def test_health_has_its_days_and_its_place_in_the_quarter_of_the_signature(api: Api) -> None:
    found = api.get(path_of("cohort-a", "/health"))
    assert [(day["day"], day["score"]) for day in found["history"]] == [
        ("2026-05-17", 75.0),
        ("2026-05-18", 76.0),
        ("2026-05-19", 77.0),
    ]
    assert found["history"][0]["coverage"] == 0.75
    # Of the three others of the quarter with a score one is lower and one the same: 1.5 of 3.
    assert found["cohort"] == {"quarter": "2026-Q1", "accounts": 4, "percentile": 50.0}
    assert api.get(path_of("cohort-d", "/health"))["cohort"]["percentile"] == 100.0
    assert api.get(path_of("cohort-b", "/health"))["cohort"]["percentile"] == 0.0
    assert api.get(path_of("cohort-g", "/health"))["cohort"] == {
        "quarter": "2026-Q2",
        "accounts": 1,
        "percentile": None,
    }
    assert api.get(path_of("cohort-e", "/health"))["cohort"] is None
    assert api.get(path_of("cohort-f", "/health"))["cohort"] is None
    one = api.get(path_of("cohort-a", "/health"), **{"from": "2026-05-18", "to": "2026-05-18"})["history"]
    assert [day["day"] for day in one] == ["2026-05-18"]
    assert DAY_0.isoformat()[:10] not in {day["day"] for day in found["history"]}


def test_a_day_that_is_scored_again_is_replaced(api: Api) -> None:
    day = {"day": "2026-05-19", "score": 33.5, "band": "critical", "coverage": 0.5}
    profile = {"contract_start": "2026-04-01", "csm": "Cohort"}
    asyncio.run(fill(api.url, [health("cohort-g", 9, as_of=NOW, profile=profile, score=34.0, score_days=[day])]))
    found = api.get(path_of("cohort-g", "/health"))
    assert found["history"][-1] == day
    assert len(found["history"]) == 3
    assert "score_days" not in found


# --- from events, through the engine and the recorder ----------------------------------------------------------------


def judged(events: list[Stored], until: dt.datetime) -> list[Stored]:
    """What the engine says of these events, with a tick at each midnight up to `until`."""
    store: dict[bytes, bytes] = {}
    engine = PartitionEngine(0, INPUT_TOPICS, load(), store, partitions=1)
    said: list[Stored] = []

    def take() -> None:
        effects = engine.take(0, 1e9 * len(said))
        for key, value in effects.state:
            store.pop(key, None) if value is None else store.update({key: value})
        said.extend(
            Stored(topic, 0, 0, milliseconds(until), key, value, (("sequence", str(sequence).encode()),))
            for topic, key, value, sequence in effects.signals
        )
        said.extend(Stored("health", 0, 0, milliseconds(until), key, value) for key, value in effects.health)

    clock = events[0].timestamp // 86_400_000 * 86_400_000
    for number, record in enumerate([*events, None]):
        reached = milliseconds(until) if record is None else record.timestamp
        while clock <= reached:
            for topic in range(len(INPUT_TOPICS)):
                engine.tick(topic, clock * 1000, False)
            engine.work(1 << 30)
            take()
            clock += 86_400_000
        if record is not None and record.value is not None:
            parsed = decode(record.topic, record.key, record.value)
            engine.apply(INPUT_TOPICS.index(record.topic), number, record.key, record.value, parsed, 2**62)
            take()
    assert not list(engine.refusals())
    return said


def test_events_become_a_place_in_the_queue_a_brief_and_what_is_starved(api: Api) -> None:
    def at(days: int) -> dict[str, Any]:
        return {"time": NOW - days * DAY, "appended": NOW - days * DAY, "id_": f"c{days}"}

    profile = {
        "name": "Chain",
        "tier": "low",
        "csm": "Chain",
        "seats": 40,
        "mrr": "8333.34",
        "currency": "EUR",
        "contract_start": "2025-11-03",
        "renewal_date": "2026-06-15",
    }
    topic = {"priority": "P3", "topic": "reporting"}
    events = [
        event("accounts", "account.updated", "chain", profile, **at(190)),
        released("reports 2", NOW - 40 * DAY)._replace(timestamp=milliseconds(NOW - 40 * DAY)),
        event("tickets", "ticket.opened", "chain", {"ticket_id": "t1"} | topic, **at(12)),
        event("tickets", "ticket.opened", "chain", {"ticket_id": "t2"} | topic, **at(7)),
        event("engagement", "training.attended", "chain", {"user": "ana"}, **at(6)),
        event("tickets", "ticket.opened", "chain", {"ticket_id": "t3"} | topic, **at(2)),
    ]
    asyncio.run(fill(api.url, [*events, *judged(events, NOW)]))

    (item,) = api.get("/v1/queue", csm="Chain")["items"]
    assert "support.same_topic" in {signal["signal"] for signal in item["signals"]}
    assert {name: factors(item)[name] for name in ("value", "renewal", "tenure")} == {
        "value": 2.0,
        "renewal": 2.0,
        "tenure": 1.25,
    }
    page = api.client.get(path_of("chain", "/brief"), headers={"accept": "text/markdown"}).text
    assert "reporting: 3 / 3 / 3, 3 open" in page
    assert "No usage data" in page
    told = api.get(path_of("chain", "/brief"))
    topics = [s for s in told["signals"] if s["signal"] == "support.same_topic"]
    assert [s["about"] for s in topics] == ["reporting"]
    assert told["trainings"]["latest"][0]["days_ago"] == 6

    states = {one["signal"]: one for one in api.get(path_of("chain", "/coverage"))["items"]}
    assert states["support.same_topic"]["state"] == "open"
    assert (states["usage.decline"]["state"], states["usage.decline"]["missing"]) == ("starved", ["usage.feature_used"])
    assert all(one["missing"] for one in states.values() if one["state"] == "starved")

    health_now = api.get(path_of("chain", "/health"))
    assert health_now["cohort"]["quarter"] == "2025-Q4"
    assert health_now["history"][-1]["day"] == "2026-05-19"
    assert health_now["history"][-1]["score"] is not None
    (untried,) = api.get("/v1/views/newest-feature-untried", csm="Chain", feature="reports 2")["items"]
    assert (untried["account"]["account_id"], untried["usage_seen"]) == ("chain", False)
