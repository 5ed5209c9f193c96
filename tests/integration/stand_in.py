"""A stand-in for a service, that misbehaves as told: `python -m tests.integration.stand_in PORT MANNER`.

`polite` is ready at once and ends when asked, `stubborn` ignores SIGTERM, `slow` is never ready, `broken` ends at once.
"""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if manner == "slow" else 200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


port, manner = sys.argv[1:]
if manner == "broken":
    sys.exit("cannot find my configuration")
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
