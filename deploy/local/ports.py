"""Who listens on a port of this machine."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Owner:
    """The process that listens on a port; `pid` is None when the system does not let us see it."""

    pid: int | None
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})" if self.pid else self.command


def owner(host: str, port: int) -> Owner | None:
    """Who holds `port` so that nobody else can listen on `host`; None when it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: connections of an earlier run that are still closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return _listener(port)
    return None


def _listener(port: int) -> Owner:
    for connection in psutil.net_connections("tcp"):
        at = connection.laddr
        if connection.status == psutil.CONN_LISTEN and at and at.port == port and connection.pid:
            try:
                return Owner(connection.pid, psutil.Process(connection.pid).name())
            except psutil.Error:
                break
    return Owner(None, "another program")
