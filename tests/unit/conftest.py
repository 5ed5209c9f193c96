"""Unit tests open no socket: what needs a server belongs in tests/integration."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, *arguments: object) -> NoReturn:
        raise AssertionError(f"a unit test opened a connection ({arguments}): move it to tests/integration")

    # Not the constructor: an event loop has a socket pair of its own to wake it.
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
