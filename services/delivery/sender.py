"""One HTTP request to a receiver, bounded in every way, and never to an address that is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import ipaddress
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from yarl import URL

from services.common.targets import TargetRefused, check_url, refused_because
from services.delivery.schedule import Outcome

TOTAL_S: Final = 20.0
CONNECT_S: Final = 10.0
EXCERPT_BYTES: Final = 1024
EXCERPT_S: Final = 3.0
# Shorter than receivers keep idle connections: one that they just closed would cost an attempt.
KEEPALIVE_S: Final = 3.0
HEADER_BYTES: Final = 8190
LONGEST_ERROR: Final = 300

Clock = Callable[[], dt.datetime]


class AddressRefused(OSError):
    """The name leads to an address that webhooks may not go to."""


class Sender:
    """Posts messages. Each address is checked on the socket that is about to be connected: no name is trusted twice."""

    def __init__(self, *, allow_private: bool, clock: Clock, version: str) -> None:
        self._allow_private = allow_private
        self._clock = clock
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, use_dns_cache=False, keepalive_timeout=KEEPALIVE_S, socket_factory=self._socket
            ),
            timeout=aiohttp.ClientTimeout(total=TOTAL_S, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": f"Ebbtide/{version}", "content-type": "application/json"},
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
        )

    async def close(self) -> None:
        """Give back the connections."""
        await self._session.close()

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Post once; redirects are not followed. What goes wrong is in the outcome, never raised."""
        at, began = self._clock(), time.monotonic()

        def outcome(**what: Any) -> Outcome:
            return Outcome(at=at, seconds=time.monotonic() - began, **what)

        try:
            target = check_url(url, allow_private=self._allow_private)
            async with self._session.post(URL(target), data=body, headers=headers, allow_redirects=False) as answer:
                return outcome(
                    status=answer.status,
                    retry_after=answer.headers.get("retry-after"),
                    excerpt=await _excerpt(answer.content),
                    error=f"redirects are not followed: {answer.status}" if 300 <= answer.status < 400 else None,
                )
        except TargetRefused as error:
            return outcome(error=f"the URL is refused: {error}"[:LONGEST_ERROR])
        except TimeoutError:
            return outcome(error=f"no answer within {TOTAL_S:.0f} s")
        except aiohttp.ClientConnectorDNSError:
            return outcome(error="the name of the host is not known")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return outcome(error=f"{type(error).__name__}: {error}"[:LONGEST_ERROR])

    def _socket(self, address: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, where = address
        if not self._allow_private:
            try:
                refusal = refused_because(ipaddress.ip_address(where[0].partition("%")[0]))
            except ValueError:
                refusal = "no address"
            if refusal:
                raise AddressRefused(errno.EACCES, f"{where[0]} is {refusal}, to which webhooks may not go")
        return socket.socket(family, kind, protocol)


async def _excerpt(content: aiohttp.StreamReader) -> str | None:
    """The beginning of an answer, if it comes soon: the status was what mattered."""
    read = bytearray()
    try:
        async with asyncio.timeout(EXCERPT_S):
            while len(read) < EXCERPT_BYTES and (part := await content.read(EXCERPT_BYTES - len(read))):
                read += part
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return read.decode(errors="replace").replace("\x00", "\ufffd") or None
