"""Who may see the console and act in it, as browsers and proxies meet it: real servers on a real database."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from services.common import db, keys, people
from tests.conftest import PostgresServer, clean_environment
from tests.harness import Service, free_ports, start_service, wait_for

PAGE = {"accept": "text/html"}


class Door:
    """A database with people and keys, and the api on it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.secrets: dict[str, str] = {}
        self.ids: dict[str, str] = {}

    async def fill(self) -> None:
        """A user who acts, one who only looks, one who is disabled; keys of the first, of a feed, and of nobody."""
        engine = db.create_engine(self.url, process="test", pool_size=1)
        async with engine.begin() as connection:
            await people.put_user(connection, "ana", scopes=["operate"], name="Ana <Lima>", by="cli")
            await people.put_user(connection, "gone", scopes=["admin"], by="cli")
        for name, scope, user in (("ana", "operate", "ana"), ("gone", "admin", "gone"), ("wall", "read", None)):
            made = await keys.create(engine, [scope], user=user, name=name)
            self.secrets[name], self.ids[name] = made.secret, made.key.id
        self.secrets["feed"] = (await keys.create(engine, ["ingest"], source="app")).secret
        await engine.dispose()

    async def change(self, name: str) -> None:
        """Revoke the key of this name, or disable its user where it has one."""
        engine = db.create_engine(self.url, process="test", pool_size=1)
        if name == "wall":
            await keys.revoke(engine, self.ids[name])
        else:
            async with engine.begin() as connection:
                await people.disable_user(connection, name, by="cli")
        await engine.dispose()

    @contextmanager
    def served(self, **settings: str) -> Iterator[Service]:
        """The api with these settings."""
        port, metrics_port = free_ports(2)
        env = clean_environment() | {
            "EBBTIDE_DATA_DIR": str(self.folder),
            "EBBTIDE_DATABASE_URL": self.url,
            "EBBTIDE_API_PORT": str(port),
            "EBBTIDE_METRICS_PORT_API": str(metrics_port),
        }
        service = start_service("api", env | settings)
        try:
            yield service
        finally:
            code = service.stop()
        assert code == 0, service.tail()


@pytest.fixture(scope="module")
def door(postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    postgres.server.create_database("console_door", template=migrated_template)
    made = Door(postgres.server.url("console_door"), tmp_path_factory.mktemp("api"))
    asyncio.run(made.fill())
    yield made
    postgres.server.drop_database("console_door")


@pytest.fixture(scope="module")
def service(door: Door) -> Iterator[Service]:
    with door.served() as made:
        yield made


def token(page: httpx.Response) -> str:
    """What the forms of a page hold."""
    found = re.search(r'name="token" value="([0-9a-f]+)"', page.text)
    assert found is not None
    return found[1]


def client_of(service: Service) -> httpx.Client:
    """A browser that says where it comes from."""
    return httpx.Client(base_url=service.url, headers=PAGE | {"origin": service.url, "sec-fetch-site": "same-origin"})


def sign_in(client: httpx.Client, secret: str) -> httpx.Response:
    return client.post("/sign-in", data={"token": token(client.get("/sign-in")), "key": secret})


def test_a_key_signs_in_under_its_users_name(door: Door, service: Service) -> None:
    with client_of(service) as client:
        assert client.get("/queue").headers["location"] == "/sign-in?next=/queue"
        assert sign_in(client, door.secrets["ana"]).headers["location"] == "/queue"
        page = client.get("/queue")
        assert html.escape("Ana <Lima>") in page.text
        assert "No data yet" in page.text
        assert client.post("/sign-out", data={"token": token(client.get("/preferences"))}).status_code == 303
        assert client.get("/queue").status_code == 303


@pytest.mark.parametrize("name", ["wall", "gone"])
def test_a_session_ends_with_its_key_and_its_user(door: Door, service: Service, name: str) -> None:
    with client_of(service) as client:
        sign_in(client, door.secrets[name])
        assert client.get("/queue").status_code == 200
        asyncio.run(door.change(name))
        wait_for("the session to end", lambda: client.get("/queue").status_code == 303)
        assert sign_in(client, door.secrets[name]).status_code == 403


def test_a_key_for_events_does_not_sign_in(door: Door, service: Service) -> None:
    with client_of(service) as client:
        refused = sign_in(client, door.secrets["feed"])
        assert refused.status_code == 403
        assert "for sending events only" in refused.text


def test_an_act_needs_a_form_of_ours_and_the_scope(door: Door, service: Service) -> None:
    with client_of(service) as client:
        sign_in(client, door.secrets["ana"])
        acts = {"do": "acknowledge", "version": "0", "here": "/queue"}
        assert client.post("/signals/x/acts", data=acts).status_code == 403
        form = acts | {"token": token(client.get("/preferences"))}
        assert client.post("/signals/x/acts", data=form, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        missing = client.post("/signals/x/acts", data=form)
        assert missing.status_code == 404
        assert "Nothing was saved" in missing.text
        notice = client.post("/signals/x/acts", data=form, headers={"hx-request": "true"})
        assert (notice.headers["hx-retarget"], notice.headers["hx-reswap"]) == ("#notice", "innerHTML")
        client.cookies.clear()
        away = client.post("/signals/x/acts", data=form, headers={"hx-request": "true"})
        assert away.status_code == 401
        assert "You are signed out" in away.text


def test_a_trusted_proxy_names_who_is_signed_in(door: Door) -> None:
    settings = {"EBBTIDE_CONSOLE_USER_HEADER": "X-User", "EBBTIDE_CONSOLE_TRUSTED_PROXIES": "127.0.0.1 10.0.0.0/8"}
    with door.served(**settings) as service, client_of(service) as client:
        page = client.get("/preferences", headers={"x-user": "ana"})
        assert html.escape("Ana <Lima>") in page.text
        assert "proxy" in page.text
        chosen = {"token": token(page), "theme": "dark"}
        assert client.post("/preferences", data=chosen, headers={"x-user": "ana"}).status_code == 303
        stranger = client.get("/queue", headers={"x-user": "nobody-here"})
        assert stranger.status_code == 403
        assert "You are not known here" in stranger.text
        assert client.get("/queue").status_code == 303


def test_who_is_no_trusted_proxy_names_nobody(door: Door) -> None:
    settings = {"EBBTIDE_CONSOLE_USER_HEADER": "X-User", "EBBTIDE_CONSOLE_TRUSTED_PROXIES": "10.0.0.0/8"}
    with door.served(**settings) as service, client_of(service) as client:
        named = {"x-user": "ana", "x-forwarded-for": "10.0.0.7"}
        assert client.get("/queue", headers=named).headers["location"] == "/sign-in?next=/queue"
