"""An ASGI application as one service of a process: the port is taken at once, requests in hand are answered at the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

SHUTDOWN_S = 8
BACKLOG = 2048


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own: the process has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Listens from the moment it is made. Raises OSError that names host and port where they cannot be had."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="none",
                # Bounds what a request's head may hold, which the faster parser does not.
                http="h11",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                # The peer is who connects: what a header says of it is for the application to believe or not.
                proxy_headers=False,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Answer requests until `stop` is set; those in hand then get `SHUTDOWN_S` seconds."""
        ended = asyncio.create_task(self._server.serve([self._listener]))
        told = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        self._server.should_exit = True
        await ended
