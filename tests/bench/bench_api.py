"""How long the api takes for each list and detail: p50 and p95 of one client's requests, one after the other.

The tables are filled by COPY with generated accounts and episodes, among them filters that match nothing together; then
one api process answers. Baseline in the same run: the catalogue, which asks no database.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import http.client
import json
import random
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from services.common import db
from services.common.words import words
from tests.bench.report import Report, Table, percentile
from tests.bench.servers import servers
from tests.harness import ebbtide, new_key, start_service
from tests.recorded import health, transition

TIERS = ("high", "low", "tech")
CSMS = [f"csm-{number}@example.com" for number in range(200)]
# Of each signal: its kind and the severities that it is raised with. No opportunity is critical, some are never info.
SIGNALS: list[tuple[str, str, tuple[str, ...]]] = [
    ("usage.decline", "risk", ("warning", "critical")),
    ("usage.silence", "risk", ("warning", "critical")),
    ("usage.core_erosion", "risk", ("warning",)),
    ("support.burst", "risk", ("warning", "critical")),
    ("support.aged_critical", "risk", ("critical",)),
    ("billing.overdue", "risk", ("info", "warning", "critical")),
    ("relationship.sponsor_lost", "risk", ("critical",)),
    ("renewal.unsecured", "risk", ("warning", "critical")),
    ("survey.detractor", "risk", ("warning",)),
    ("adoption.shelfware", "risk", ("info", "warning")),
    ("adoption.user_stuck", "risk", ("info",)),
    ("critical.support_and_billing", "risk", ("critical",)),
    ("critical.usage_and_survey", "risk", ("critical",)),
    ("expansion.seats", "opportunity", ("info", "warning")),
    ("advocacy.power_user", "opportunity", ("info",)),
]
USER, USER_HEADER = CSMS[0], "X-Bench-User"
COMMON_WORDS = ("Systems", "Group", "Holding", "Labs", "Partners")
OPEN_SHARE = 0.08
HISTORIES, HISTORY_EVENTS, USAGE_DAYS = 2_000, 100, 92
LATEST = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
EPISODE_COLUMNS = (
    "episode_id account_id signal version kind severity scope user pages historical tier csm opened_at changed_at "
    "cleared_at cleared_because last_ordinal last_sequence"
)


def options(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument("--accounts", type=int, default=10_000, help="100000 for the stated goal")
    parser.add_argument("--episodes", type=int, default=100_000, help="1000000 for the stated goal")
    parser.add_argument("--requests", type=int, default=60, help="of each kind")


def _name(at: int) -> str:
    return f"Company {at} {COMMON_WORDS[at % len(COMMON_WORDS)]}"


def _account(at: int) -> str:
    return f"acct-{at:06}"


class Rows:
    """The generated rows, table by table."""

    def __init__(self, accounts: int, episodes: int) -> None:
        self.accounts = accounts
        self.episodes = episodes
        self.profiles: list[tuple[str, str | None]] = []
        chance = random.Random(3)
        for _ in range(accounts):
            # The smallest tier has nobody of its own.
            tier = chance.choice(TIERS)
            self.profiles.append((tier, None if tier == "low" else chance.choice(CSMS)))

    def of_health(self) -> Iterator[tuple[Any, ...]]:
        body = (health("A", 5).value or b"").decode()
        for at in range(self.accounts):
            seen = LATEST - dt.timedelta(minutes=at % 50_000)
            yield _account(at), 5, LATEST, seen, [], body.replace('"account_id":"A"', f'"account_id":"{_account(at)}"')

    def of_accounts(self) -> Iterator[tuple[Any, ...]]:
        for at, (tier, csm) in enumerate(self.profiles):
            name = _name(at)
            renewal = dt.date(2026, 1, 1) + dt.timedelta(days=at * 7 % 800)
            found = " ".join(words(f"{name} {_account(at)}"))
            yield _account(at), name, name.casefold(), tier, csm, at * 37 % 90_000, "EUR", renewal, at % 50 == 0, found

    def of_episodes(self) -> Iterator[tuple[Any, ...]]:
        chance = random.Random(4)
        for number in range(self.episodes):
            at = chance.randrange(self.accounts)
            signal, kind, severities = chance.choice(SIGNALS)
            opened = LATEST - dt.timedelta(seconds=number * 40)
            cleared = None if chance.random() < OPEN_SHARE else opened + dt.timedelta(days=2)
            because = None if cleared is None else "recovered"
            tier, csm = self.profiles[at]
            yield (
                *(f"ep{number:016x}", _account(at), signal, 1, kind, chance.choice(severities), "account", None),
                *(False, False, tier, csm, opened, cleared or opened, cleared, because, 1, 1),
            )

    def of_transitions(self) -> Iterator[tuple[Any, ...]]:
        body = (transition("A", "E", 1, "raised").value or b"").decode()
        for number in range(self.episodes):
            opened = LATEST - dt.timedelta(seconds=number * 40)
            yield f"ep{number:016x}", 1, 1, opened, LATEST, body

    def of_queue(self) -> Iterator[tuple[Any, ...]]:
        """The open episodes with ranks as the recorder would give them: many of them alike."""
        for row in self.of_episodes():
            name, account_id, signal, _, kind, severity, *_, tier, csm, _, _, cleared, _, _, _ = row
            if cleared is None:
                renewal, weight, precedence = self.standing(int(account_id[5:]))
                rank = (weight * {"critical": 9, "warning": 3, "info": 1}[severity]).quantize(Decimal("0.01"))
                family = signal.partition(".")[0]
                yield name, account_id, rank, precedence, signal, family, kind, severity, "account", tier, csm, renewal

    def of_standings(self) -> Iterator[tuple[Any, ...]]:
        quarters = [dt.date(2024 + n // 4, 1 + n % 4 * 3, 1) for n in range(10)]
        for at in range(self.accounts):
            renewal, weight, precedence = self.standing(at)
            untried = [feature for n, feature in enumerate(("maps", "charts", "rare")) if at % (2, 7, 5000)[n] == 0]
            yield _account(at), weight, precedence, renewal, quarters[at % 10], at * 17 % 1000 / 10, untried

    def standing(self, at: int) -> tuple[dt.date, Decimal, int]:
        """Renewal, weight and precedence of an account."""
        renewal = dt.date(2026, 1, 1) + dt.timedelta(days=at * 7 % 800)
        return renewal, Decimal(25 + at * 37 % 775) / 100 * (1 + at % 3), at % 4

    def of_scores(self) -> Iterator[tuple[Any, ...]]:
        for at in range(min(HISTORIES, self.accounts)):
            for day in range(USAGE_DAYS):
                yield _account(at), LATEST.date() - dt.timedelta(days=day), 70.0 - day / 10, "healthy", 0.8

    def of_timeline(self) -> Iterator[tuple[Any, ...]]:
        for number in range(min(HISTORIES, self.accounts) * HISTORY_EVENTS):
            time_ = LATEST - dt.timedelta(hours=number % HISTORY_EVENTS)
            kind = ("ticket.opened", "invoice.paid", "survey.answered")[number % 3]
            account = _account(number // HISTORY_EVENTS)
            yield account, time_, number.to_bytes(12), kind, "bench", f"e{number}", LATEST, '{"ticket_id":"t1"}'

    def of_usage(self) -> Iterator[tuple[Any, ...]]:
        for at in range(min(HISTORIES, self.accounts)):
            for day in range(USAGE_DAYS):
                yield _account(at), LATEST.date() - dt.timedelta(days=day), 10 + day, day


async def fill(url: str, rows: Rows) -> None:
    """All tables by COPY, then what autovacuum would have done by now."""
    connection = await db.connect(url, process="bench", statement_timeout_s=3600)
    try:
        for table, columns, found in (
            ("account_health", "account_id sequence as_of last_seen open_episodes body", rows.of_health()),
            ("episodes", EPISODE_COLUMNS, rows.of_episodes()),
            ("transitions", "episode_id ordinal sequence time appended_at body", rows.of_transitions()),
            ("timeline", "account_id time entry type source event_id appended_at data", rows.of_timeline()),
            ("usage_days", "account_id day usage core", rows.of_usage()),
            (
                "queue_entries",
                "episode_id account_id rank precedence signal family kind severity scope tier csm renewal",
                rows.of_queue(),
            ),
            ("standings", "account_id weight precedence renewal cohort score untried", rows.of_standings()),
            ("health_days", "account_id day score band coverage", rows.of_scores()),
            (
                "releases",
                "feature released_at advanced",
                iter([("maps", LATEST, False), ("charts", LATEST - DAY, False), ("rare", LATEST - DAY, False)]),
            ),
        ):
            await connection.copy_records_to_table(table, records=found, columns=columns.split(), timeout=3600)
        # COPY has no binary form of a tsvector: it goes by way of its words.
        columns = ["account_id", "name", "sort_name", "tier", "csm", "mrr", "currency", "renewal_date", "churned"]
        await connection.execute("CREATE TEMP TABLE named (LIKE accounts)")
        await connection.execute("ALTER TABLE named DROP COLUMN words, ADD COLUMN words text")
        await connection.copy_records_to_table("named", records=rows.of_accounts(), columns=[*columns, "words"])
        await connection.execute(
            f"INSERT INTO accounts ({', '.join(columns)}, words)"
            f" SELECT {', '.join(columns)}, array_to_tsvector(string_to_array(words, ' ')) FROM named"
        )
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


Ask = Callable[[random.Random], str]


def questions(accounts: int, episodes: int) -> dict[str, Ask]:
    """What is asked, by its name: each gives a path, with values by chance."""

    def of(path: str, **values: Any) -> Ask:
        def ask(chance: random.Random) -> str:
            given = {key: value(chance) if callable(value) else value for key, value in values.items()}
            where = path.format(
                account=_account(chance.randrange(min(HISTORIES, accounts))),
                episode=f"ep{chance.randrange(episodes):016x}",
            )
            return f"{where}?{urlencode(given, quote_via=quote)}" if given else where

        return ask

    def csm(chance: random.Random) -> str:
        return chance.choice(CSMS)

    def company(chance: random.Random) -> str:
        return f"company {chance.randrange(accounts)}"

    signals, listed, one = "/v1/signals", "/v1/accounts", "/v1/accounts/{account}"
    queue, views = "/v1/queue", "/v1/views/"
    first = LATEST - dt.timedelta(seconds=episodes * 40)
    return {
        "catalogue (no database)": of("/v1/catalogue"),
        "accounts": of(listed),
        **{f"accounts, sort={order}": of(listed, sort=order) for order in ("-mrr", "renewal_date", "-last_seen")},
        "accounts, limit=200": of(listed, limit=200),
        "accounts of a csm": of(listed, csm=csm),
        "accounts of a tier, sort=-mrr": of(listed, tier="tech", sort="-mrr"),
        "accounts of nobody": of(listed, csm="nobody"),
        "accounts of a csm in a tier without any": of(listed, csm=csm, tier="low"),
        "accounts of a csm, sort=-mrr": of(listed, csm=csm, sort="-mrr"),
        "accounts of a csm without any, sort=last_seen": of(listed, csm=csm, tier="low", sort="last_seen"),
        "accounts, a common word": of(listed, q="holding"),
        "accounts, a name": of(listed, q=company),
        "accounts, no such word": of(listed, q="zzzz"),
        "accounts, two words never together": of(listed, q="holding labs"),
        "accounts, two words never together, sort=-mrr": of(listed, q="holding labs", sort="-mrr"),
        "account": of(one),
        "account's health": of(one + "/health"),
        "account's usage": of(one + "/usage"),
        "account's signals": of(one + "/signals"),
        "account's timeline": of(one + "/timeline"),
        "account's timeline, a type it has not": of(one + "/timeline", type="account.renewed"),
        "signals": of(signals),
        "signals, open": of(signals, status="open"),
        "signals, cleared": of(signals, status="cleared"),
        "signals, limit=200": of(signals, limit=200),
        "signals of an account": of(signals, account=lambda chance: _account(chance.randrange(accounts))),
        "signals of a csm": of(signals, csm=csm),
        "signals of a csm, open": of(signals, csm=csm, status="open"),
        "signals of nobody": of(signals, csm="nobody"),
        "signals of a tier": of(signals, tier="high"),
        "signals by signal": of(signals, signal="survey.detractor"),
        "signals by severity, open": of(signals, severity="info", status="open"),
        "signals, one week long ago": of(signals, since=first.isoformat(), until=_week_after(first)),
        "signals, before all": of(signals, until=first.isoformat()),
        "nothing: critical opportunities": of(signals, kind="opportunity", severity="critical"),
        "nothing: open critical opportunities": of(signals, kind="opportunity", severity="critical", status="open"),
        "nothing: a risk as opportunity": of(signals, kind="opportunity", signal="usage.decline"),
        "nothing: a signal never info": of(signals, signal="usage.decline", severity="info"),
        "nothing: the same, open": of(signals, signal="usage.decline", severity="info", status="open"),
        "nothing: the same in a tier": of(signals, signal="usage.decline", severity="info", tier="low"),
        "nothing: a csm in a tier without any": of(signals, csm=csm, tier="low"),
        "nothing: no such signal": of(signals, signal="none.such"),
        "rare: a csm's open criticals of a signal": of(
            signals, csm=csm, severity="critical", signal="support.burst", status="open"
        ),
        "rare: a csm's info of a signal": of(signals, csm=csm, severity="info", signal="billing.overdue"),
        "signal": of(signals + "/{episode}"),
        "queue": of(queue),
        "queue, limit=200": of(queue, limit=200),
        "queue by signal": of(queue, by="signal"),
        "queue of a csm": of(queue, csm=csm),
        "queue of nobody": of(queue, csm="nobody"),
        "queue of a tier": of(queue, tier="low"),
        "queue by kind": of(queue, kind="opportunity"),
        "queue of a family": of(queue, family="survey"),
        "queue of a signal": of(queue, signal="survey.detractor"),
        "queue, info": of(queue, severity="info"),
        "queue, renewals of a month": of(queue, renewal_from="2026-06-01", renewal_to="2026-06-30"),
        "queue, renewals of a day": of(queue, renewal_from="2026-06-01", renewal_to="2026-06-01"),
        "queue, a csm's renewals": of(queue, csm=csm, renewal_to="2026-06-30"),
        "nothing: queue, critical opportunities": of(queue, kind="opportunity", severity="critical"),
        "nothing: queue, a csm in a tier without any": of(queue, csm=csm, tier="low"),
        "nothing: queue, renewals long past": of(queue, renewal_to="2020-01-01"),
        "nothing: queue, a signal never info": of(queue, signal="usage.decline", severity="info"),
        "views": of("/v1/views"),
        "view support-and-billing": of(views + "support-and-billing"),
        "view, some first": of(views + "core-use-and-survey"),
        "view sponsor-or-champion": of(views + "sponsor-or-champion"),
        "view newest-feature-untried": of(views + "newest-feature-untried"),
        "view newest-feature-untried, of a csm": of(views + "newest-feature-untried", csm=csm),
        "view untried by few": of(views + "newest-feature-untried", feature="rare"),
        "account's brief": of(one + "/brief"),
        "account's coverage": of(one + "/coverage"),
        "page: queue": of("/queue"),
        "page: queue, everybody's": of("/queue", whose="all"),
        "page: queue, info": of("/queue", whose="all", severity="info"),
        "page: queue, acknowledged": of("/queue", whose="all", status="acknowledged"),
        "page: signal": of("/signals/{episode}"),
        "page: account": of("/accounts/{account}"),
        "page: accounts": of("/accounts"),
        "page: accounts, a word": of("/accounts", q="holding"),
        "page: portfolio, without its panels": of("/portfolio"),
        "page: catalogue": of("/catalogue"),
    }


def _week_after(first: dt.datetime) -> str:
    return (first + dt.timedelta(days=7)).isoformat()


def ask(port: int, key: str, wanted: Ask, count: int) -> tuple[list[float], int]:
    """Milliseconds of each request, and how many items the last answer had (-1 where it is no list)."""
    chance = random.Random(5)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    taken = []
    answer: Any = None
    try:
        for number in range(count + 1):
            since = time.perf_counter()
            headers = {"Authorization": f"Bearer {key}", USER_HEADER: USER}
            connection.request("GET", path := wanted(chance), headers=headers)
            response = connection.getresponse()
            body = response.read()
            if number:  # the first one opens the connection and plans the statement
                taken.append((time.perf_counter() - since) * 1000)
            if response.status != 200:
                raise AssertionError(f"{path}: {response.status} {body[:300]!r}")
            answer = {} if body.startswith(b"<") else json.loads(body)
    finally:
        connection.close()
    return taken, len(answer["items"]) if "items" in answer else -1


def run(given: argparse.Namespace) -> Report:
    """Fill, measure and report."""
    title = f"{given.accounts:,} accounts, {given.episodes:,} episodes: milliseconds a request"
    table = Table(title, ("what", "items", "p50", "p95", "max"))
    with servers(durable=False) as env:
        since = time.monotonic()
        asyncio.run(fill(env["EBBTIDE_DATABASE_URL"], Rows(given.accounts, given.episodes)))
        filled = time.monotonic() - since
        key = new_key(env, "read")
        ebbtide("users", "add", USER, "--scope", "read,operate", env=env)
        service = start_service(
            "api",
            env | {"EBBTIDE_CONSOLE_USER_HEADER": USER_HEADER, "EBBTIDE_CONSOLE_TRUSTED_PROXIES": "127.0.0.1"},
        )
        try:
            for name, wanted in questions(given.accounts, given.episodes).items():
                taken, items = ask(int(env["EBBTIDE_API_PORT"]), key, wanted, given.requests)
                shown = None if items < 0 else items
                table.rows.append((name, shown, percentile(taken, 0.5), percentile(taken, 0.95), max(taken)))
        finally:
            service.stop()
    slow = [str(row[0]) for row in table.rows if isinstance(row[3], float) and row[3] >= 50]
    told = f"p95 of 50 ms or more: {', '.join(slow) or 'none'}. Filling took {filled:.0f} s."
    return Report(
        "api", {"accounts": given.accounts, "episodes": given.episodes, "requests": given.requests}, [table], [told]
    )
