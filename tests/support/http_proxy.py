"""An HTTP proxy such as a company's: the only way to the packages, and unable to reach the machine that asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PACKAGES = "packages.example.org"
"""The one server that it reaches."""


class HttpProxy(ThreadingHTTPServer):
    """Answers requests for PACKAGES with their path, and every other one with 502."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: set[str] = set()
        """The hosts that it was asked for."""

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of a shell behind it."""
        return dict.fromkeys(("HTTP_PROXY", "http_proxy"), f"http://127.0.0.1:{self.server_port}")

    @contextmanager
    def run(self) -> Iterator[HttpProxy]:
        thread = threading.Thread(target=self.serve_forever, name="http-proxy", kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join(60)
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HttpProxy

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.add(url.hostname or self.path)
        self.send_response(200 if url.hostname == PACKAGES else 502)
        self.end_headers()
        self.wfile.write(url.path.encode())

    def do_CONNECT(self) -> None:
        self.server.asked.add(self.path.partition(":")[0])
        self.send_error(502)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
