"""ARR at risk is one number: on call it is alerted by, in the portfolio it is reported."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from schemas.health import OpenEpisode
from services.common import db, metrics
from services.delivery import figures
from tests.conftest import PostgresServer
from tests.recorded import DAY_0, Stored, event, health, transition
from tests.served import Api, served

DAY = dt.timedelta(days=1)


def customer(
    name: str, mrr: str | None, currency: str | None, *risks: tuple[str, str], churned: bool = False, **more: Any
) -> list[Stored]:
    """An account as it said it is, and its open signals as (signal, severity)."""
    profile: dict[str, Any] = {"name": name, "tier": "high", "csm": "Ana", "contract_start": "2025-01-01"}
    profile |= {"mrr": mrr} if mrr is not None else {}
    profile |= {"currency": currency} if currency is not None else {}
    found = [event("accounts", "account.updated", name, profile, id_=f"{name}-0", time=DAY_0, appended=DAY_0)]
    if churned:
        gone = {"reason": "no_roi"}
        found.append(
            event("accounts", "account.churned", name, gone, id_=f"{name}-1", time=DAY_0 + DAY, appended=DAY_0)
        )
    opened = []
    for signal, severity in risks:
        given: dict[str, Any] = {"signal": signal, "severity": severity} | more
        found.append(transition(name, f"{name}-{signal}", 1, "raised", **given))
        opened.append(OpenEpisode(episode_id=f"{name}-{signal}", signal=signal, severity=severity))  # type: ignore[arg-type]
    return [*found, health(name, 5, profile=profile, open_episodes=tuple(opened), churned=churned)]


def records() -> list[Stored]:
    """At risk in euros: 1,000.10 critically and 20.20; in dollars 300; nothing of the others."""
    return [
        *customer("both", "1000.10", "EUR", ("usage.decline", "critical"), ("support.burst", "warning")),
        *customer("warned", "20.20", "EUR", ("usage.decline", "warning")),
        *customer("person", "300", "USD", ("relationship.sponsor_lost", "critical"), user="jo@person.example"),
        *customer("nowhere", "7.70", None, ("usage.decline", "warning")),
        *customer("noted", "4000", "EUR", ("billing.overdue", "info")),
        *customer("calm", "5000", "USD"),
        *customer("promising", "6000", "EUR", ("expansion.seats", "warning"), kind="opportunity"),
        *customer("gone", "7000", "EUR", ("usage.decline", "critical"), churned=True),
        *customer("unpriced", None, "EUR", ("usage.decline", "critical")),
        *customer("free", "0", "EUR", ("usage.decline", "critical")),
    ]


@pytest.fixture
def api(postgres: PostgresServer, migrated_template: str, tmp_path: Any) -> Iterator[Api]:
    with served(postgres, migrated_template, tmp_path, records()) as made:
        yield made


async def gauged(url: str) -> dict[tuple[str, ...], float]:
    """The gauge's values by currency and severity."""
    connection = await db.connect(url, process="test")
    try:
        return figures.values(await figures.read(connection, {}))[metrics.ARR_AT_RISK]
    finally:
        await connection.close()


def test_the_gauge_and_the_portfolio_say_the_same_in_each_currency(api: Api) -> None:
    money = {entry["currency"]: entry for entry in api.get("/v1/portfolio")["total"]["money"]}
    reported = {
        currency: (Decimal(entry["arr_at_critical_risk"]), Decimal(entry["arr_at_risk"]))
        for currency, entry in money.items()
    }
    assert reported == {
        "EUR": (Decimal("12001.20"), Decimal("12243.60")),
        "USD": (Decimal("3600"), Decimal("3600")),
        "XXX": (Decimal(0), Decimal("92.40")),
    }
    gauge = asyncio.run(gauged(api.url))
    for currency, (critical, whole) in reported.items():
        of_severity = [gauge.get((currency, severity), 0.0) for severity in ("critical", "warning")]
        assert of_severity[0] == pytest.approx(float(critical))
        assert sum(of_severity) == pytest.approx(float(whole))
    assert {currency for currency, _ in gauge} == reported.keys()
