"""The console within the api's application: its routers, what they share, and how its errors look."""

from __future__ import annotations

import ipaddress
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import RedirectResponse, Response

from services.api.console import (
    account_page,
    acts_page,
    assets,
    catalogue_page,
    errors,
    pipeline_page,
    portfolio_page,
    queue_page,
    session,
    sign_in,
    signal_page,
    timing,
    webhooks_page,
)
from services.api.console.directory import DirectoryReader
from services.api.console.freshness import FreshnessReader
from services.api.console.managers import Managers
from services.common.settings import Settings

first = APIRouter(include_in_schema=False)


@first.get("/")
async def get_root(request: Request) -> Response:
    """The queue is where work begins."""
    return RedirectResponse("/queue", 303)


ROUTERS: Final = (
    first,
    assets.router,
    sign_in.router,
    queue_page.router,
    signal_page.router,
    acts_page.router,
    account_page.router,
    portfolio_page.router,
    pipeline_page.router,
    catalogue_page.router,
    webhooks_page.router,
)


class Console:
    """What the console's pages share, as `app.state.console`."""

    def __init__(self, config: Settings) -> None:
        networks = [ipaddress.ip_network(part, strict=False) for part in config.console_trusted_proxies.split()]
        self.proxies = session.Proxies(config.console_user_header, networks)
        self.sessions = session.Sessions()
        self.failures = sign_in.Failures()
        self.freshness = FreshnessReader()
        self.directory = DirectoryReader()
        self.managers = Managers()


def install(app: FastAPI, engine: AsyncEngine, config: Settings) -> None:
    """Add the console's pages to the application."""
    app.state.console = Console(config)
    timing.watch(engine)
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(session.SignInNeeded, _sign_in_needed)


async def _sign_in_needed(request: Request, error: Exception) -> Response:
    assert isinstance(error, session.SignInNeeded)
    return errors.sign_in_first(request, error)
