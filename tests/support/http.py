"""Requests to a local port."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from http.client import IncompleteRead

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The `verify` of clients of http:// addresses: by default, each reads the certificates of all authorities (17 ms)."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, password: str = "") -> bytes:
    """Return the body of the response; `password` is user:password."""
    headers = {"Authorization": f"Basic {b64encode(password.encode()).decode()}"} if password else {}
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with directly.open(urllib.request.Request(url, headers=headers), timeout=10) as response:
        return bytes(response.read())


def answer(url: str, password: str = "") -> int:
    """Return the status of the response; 0 while nothing listens, or if the server ends before it has answered."""
    try:
        fetch(url, password)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, IncompleteRead):
        return 0
    return 200
