"""A real api with recorded rows, looked at by a real Chromium. Pages of others use `site`, `signed_in` and `shots` too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.browser.driver import Browser, browser
from tests.browser.rows import fill_all
from tests.conftest import PostgresServer, clean_environment
from tests.harness import Service, free_ports, start_service

SHOTS: Final = Path(__file__).parents[2] / ".test-output" / "screenshots"


class Site:
    """The running api, its database, and the secrets of keys by whose they are: `lea.vogt`, `mia.torres`, `lead`, `looker`."""

    def __init__(self, service: Service, url: str, keys: dict[str, str]) -> None:
        self.service = service
        self.url = url
        self.keys = keys


@pytest.fixture(scope="session")
def site(postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The api on a database with a portfolio of some 26 accounts, three CSMs, a pool, and keys."""
    name = "browser"
    postgres.server.create_database(name, template=migrated_template)
    url = postgres.server.url(name)
    keys = asyncio.run(fill_all(url))
    port, metrics_port = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(tmp_path_factory.mktemp("browser-api")),
        "EBBTIDE_DATABASE_URL": url,
        "EBBTIDE_API_PORT": str(port),
        "EBBTIDE_METRICS_PORT_API": str(metrics_port),
    }
    service = start_service("api", env)
    try:
        yield Site(service, url, keys)
    finally:
        code = service.stop()
        postgres.server.drop_database(name)
    assert code == 0, service.tail()


@pytest.fixture(scope="session")
def chromium(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Browser]]:
    """Opens browsers that are closed at the end, one for each name: `chromium("mia", scripts=False)`."""
    opened: dict[str, Browser] = {}

    def get(name: str = "lea", *, scripts: bool = True) -> Browser:
        if name not in opened:
            made = browser(site.service.url, tmp_path_factory.mktemp(f"chromium-{name}"), scripts=scripts)
            opened[name] = made.__enter__()
            closing.append(lambda: made.__exit__(None, None, None))
        return opened[name]

    closing: list[Callable[[], object]] = []
    yield get
    for close in closing:
        close()


@pytest.fixture(scope="session")
def signed_in(site: Site, chromium: Callable[..., Browser]) -> Browser:
    """A browser in which Lea Vogt, a CSM who may act, is signed in."""
    made = chromium("lea")
    made.zone("Europe/Berlin")
    made.sign_in(site.keys["lea.vogt"])
    return made


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where pictures of pages are kept."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS
