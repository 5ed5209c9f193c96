"""A webhook receiver on loopback: answers as it is told, and keeps what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Got(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        """Its message."""
        return self.headers["webhook-id"]


class Answer(NamedTuple):
    """What a request is answered with, after so many seconds."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    after_s: float = 0.0
    body: bytes = b"taken"


class Receiver:
    """`answer` is asked for each request; replace it to make the receiver fail, wait or recover."""

    def __init__(self, port: int) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[Got], Answer] = lambda got: Answer()
        self.url = f"http://127.0.0.1:{port}"

    def bodies(self, path: str = "/") -> list[bytes]:
        return [got.body for got in self.got if got.path == path]

    def ids(self, path: str = "/") -> list[str]:
        """Messages in the order of their first arrival that was answered with 2xx, or of any."""
        return list(dict.fromkeys(got.id for got in self.got if got.path == path))


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that runs until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            got = Got(self.path, headers, body, time.monotonic())
            made.got.append(got)
            answer = made.answer(got)
            time.sleep(answer.after_s)
            try:
                self.send_response(answer.status)
                for name, value in (*answer.headers, ("content-length", str(len(answer.body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
            except OSError:
                self.close_connection = True  # whoever asked is gone

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
