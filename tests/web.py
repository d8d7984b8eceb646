"""A web server here, which hears what hooks post."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class Server(HTTPServer):
    """heard: what was posted, each its path and body, in order."""

    heard: list[tuple[str, str]]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.heard.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Not on the terminal."""


@contextmanager
def listening() -> Iterator[Server]:
    """Listen on a port of this machine's own address, until the end."""
    made = Server(("127.0.0.1", 0), _Handler)
    made.heard = []
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
