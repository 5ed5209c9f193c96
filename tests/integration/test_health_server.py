"""The health listener on a real socket: whole answers, and no client that can hold the process up."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from services.common import lifecycle
from tests.harness import free_ports


async def test_answers_over_http_and_lets_go_of_silent_clients() -> None:
    (port,) = free_ports(1)
    async with lifecycle.HealthServer("127.0.0.1", port, lambda: (True, "ok")) as server:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/livez")).text == "ok\n"
            assert (await client.get("/readyz")).json() == {"ready": True, "detail": "ok"}
            assert "ebbtide_log_lines_total" in (await client.get("/metrics")).text
            assert (await client.head("/livez")).content == b""

        with pytest.raises(OSError, match=str(port)):
            await lifecycle.HealthServer("127.0.0.1", port, lambda: (True, "")).start()

        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez")  # and never the rest
        await writer.drain()
        await asyncio.sleep(0.05)
        await asyncio.wait_for(server.stop(), 2)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
