"""A receiver of webhooks on 127.0.0.1, with TLS, that answers as a test needs it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme


@dataclass(frozen=True, slots=True)
class Received:
    """A request that it got."""

    path: str
    headers: dict[str, str]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(self.path, headers, body))
        self.server.answer(self)

    def do_GET(self) -> None:
        self.server.received.append(Received(self.path, {}, b""))
        self.reply(200)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Receiver(ThreadingHTTPServer):
    """Answers each POST as `answer` does, with the certificate of an authority of its own."""

    daemon_threads = True
    request_queue_size = 128
    """Connections that wait: one beyond them is tried again after a second."""

    def __init__(self, *names: str, encrypted: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[Received] = []
        self.server_names: list[str | None] = []
        """The names that clients asked for in TLS."""
        self.stopping = threading.Event()
        self.answer: Callable[[Handler], None] = lambda request: request.reply(204)
        self._authority = trustme.CA()
        if encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._authority.issue_cert(*names or ("hooks.example.com", "127.0.0.1")).configure_cert(context)
            context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)  # type: ignore[assignment,func-returns-value]
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def trusting(self) -> ssl.SSLContext:
        """What a client verifies its certificate with."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context

    def handle_error(self, *_: object) -> None:
        """Take it that clients end connections."""

    @contextmanager
    def run(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self.serve_forever, name="receiver", kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            self.shutdown()
            thread.join(60)
            self.server_close()
