"""The queue's page where there is much: how much the filter finds, and whose it is. A real server on a real database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest

from services.api.console.queue_page import Found
from services.common import db, people
from tests.conftest import PostgresServer
from tests.recorded import Stored, health, transition
from tests.served import Api, served

ACCOUNTS = 110
HEADER = "X-Test-User"


def records() -> list[Stored]:
    """Accounts of a success manager each, who are no users, but the first ten: those are Ana's."""
    found = []
    for n in range(ACCOUNTS):
        csm = "ana" if n < 10 else f"m{n:03}@example.com"
        found.append(transition(f"a{n:03}", f"e{n:03}", 1, "raised", csm=csm))
        found.append(health(f"a{n:03}", 2, open_episodes=(f"e{n:03}",), profile={"name": f"Company {n}", "csm": csm}))
    return found


@pytest.fixture(scope="module")
def page(
    postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    settings = {"EBBTIDE_CONSOLE_USER_HEADER": HEADER, "EBBTIDE_CONSOLE_TRUSTED_PROXIES": "127.0.0.1"}
    with served(postgres, migrated_template, tmp_path_factory.mktemp("queue"), records(), **settings) as api:
        asyncio.run(add_ana(api))
        headers = {"accept": "text/html", HEADER: "ana"}
        with httpx.Client(base_url=api.service.url, headers=headers, timeout=20) as client:
            yield client


async def add_ana(api: Api) -> None:
    engine = db.create_engine(api.url, process="test", pool_size=1)
    async with engine.begin() as connection:
        await people.put_user(connection, "ana", scopes=["operate"], name="Ana Lima", by="test")
    await engine.dispose()


def read(page: httpx.Client, path: str) -> str:
    answer = page.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def heading(text: str) -> str:
    found = re.search(r'<h1>Queue <span class="count">([^<]*)</span>', text)
    assert found is not None
    return found[1]


def test_the_heading_tells_how_many_the_filter_finds(page: httpx.Client) -> None:
    everybody = read(page, "/queue?whose=all")
    assert heading(everybody) == "50 of 110"
    following = re.search(r'href="(/queue\?[^"]*cursor=[^"]*)"', everybody)
    assert following is not None
    assert heading(read(page, following[1].replace("&amp;", "&"))) == "50 of 110"
    assert heading(read(page, "/queue")) == "50 of 110"  # mine first, then everybody's
    assert heading(read(page, "/queue?whose=me")) == "10"
    assert heading(read(page, "/queue?whose=all&severity=critical")) == "0"


def test_signals_of_a_manager_who_is_no_user_can_be_asked_for(page: httpx.Client) -> None:
    text = read(page, "/queue?whose=m042@example.com")
    assert heading(text) == "1"
    assert "Company 42" in text
    assert '<input name="whose" list="whose" value="m042@example.com"' in text
    assert '<option value="m109@example.com">m109@example.com</option>' in text
    assert '<option value="ana">Ana Lima</option>' in text
    assert text.count('<option value="ana">') == 2  # whose, and to whom work may be given


def test_many_are_counted_so_far_and_no_further() -> None:
    assert [Found(50, total).words for total in (50, 1000, 1001)] == ["50", "50 of 1,000", "50 of 1,000+"]
