"""Send one request to a receiver, whose addresses are looked up once and checked before a connection to one is made.

No redirect is followed, no variable of a proxy is read, and the whole exchange has one time limit.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address

import httpcore

from prebuild_tasks import __version__, clock
from prebuild_tasks.webhooks.addresses import Address, AllowedReceivers, Receiver, may_reach, refusal
from prebuild_tasks.webhooks.types import ReceiverAnswer

TIMEOUT_S = 10.0
"""Seconds for all of a request: look-up, connection, TLS, request and answer."""
ANSWER_MAX = 64 * 1024
"""Bytes of an answer's body that are read."""
_LINE_MAX = 200
"""Characters that are kept of its first line."""
_CONNECT_S = 4.0
"""Seconds for a connection to one of several addresses, so that there is time for another one."""
_ADDRESSES_MAX = 4
"""Addresses to which a connection is tried."""

Resolve = Callable[[str, int], Sequence[Address]]
"""Look up the addresses of a host for a port. Raises OSError if it has none."""


class Connector:
    """Sends requests to receivers. It may be shared between threads."""

    def __init__(
        self,
        allowed: AllowedReceivers,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Take what may be reached although it is inside.

        Args:
            allowed: The receivers inside that may be reached.
            resolve: Looks up addresses; by default as the system does.
            tls: Verifies certificates; by default with the certificate authorities of the system.
            timeout_s: Seconds for all of a request.
        """
        self._allowed = allowed
        self._resolve = resolve or system_addresses
        self._tls = tls or ssl.create_default_context()
        self._timeout_s = timeout_s

    def post(self, receiver: Receiver, headers: Mapping[str, str], body: bytes) -> ReceiverAnswer:
        """Send a body of JSON, and return the answer. It does not raise: that there was none is an answer, too."""
        deadline = _Deadline(clock.monotonic() + self._timeout_s)
        try:
            return self._exchange(receiver, headers, body, deadline)
        except _RefusedAddressError as error:
            return ReceiverAnswer(None, str(error))
        except httpcore.TimeoutException:
            return ReceiverAnswer(None, f"no answer within {self._timeout_s:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return ReceiverAnswer(None, _failure(error))

    def _exchange(
        self, receiver: Receiver, headers: Mapping[str, str], body: bytes, deadline: _Deadline
    ) -> ReceiverAnswer:
        backend = _CheckedBackend(receiver, self._allowed, self._resolve, deadline)
        url = httpcore.URL(scheme=receiver.scheme, host=receiver.host, port=receiver.port, target=receiver.target)
        sent = {
            "host": receiver.authority,
            "content-type": "application/json",
            "user-agent": f"prebuild_tasks/{__version__}",
            "connection": "close",
            **headers,
        }
        # This pool follows no redirect and reads no variables of a proxy, both of which only httpx does.
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend, max_connections=1) as connections,
            connections.stream("POST", url, headers=list(sent.items()), content=body) as response,
        ):
            status = response.status
            text = _read_body(response.iter_stream())
        return ReceiverAnswer(status, "" if 200 <= status < 300 else text)


class _RefusedAddressError(Exception):
    """A host has an address that may not be reached."""


class _Deadline:
    """The end of an exchange, which every wait of it is cut to."""

    def __init__(self, at: float) -> None:
        self._at = at

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutException if none are."""
        left = self._at - clock.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses of one receiver that were checked, whatever name httpcore asks for."""

    def __init__(self, receiver: Receiver, allowed: AllowedReceivers, resolve: Resolve, deadline: _Deadline) -> None:
        self._receiver = receiver
        self._allowed = allowed
        self._resolve = resolve
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._checked_addresses()
        for address in addresses[:-1]:
            try:
                return self._connected(address, min(_CONNECT_S, self._deadline.left()))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connected(addresses[-1], self._deadline.left())

    def _connected(self, address: Address, timeout: float) -> httpcore.NetworkStream:
        stream = self._sockets.connect_tcp(str(address), self._receiver.port, timeout)
        return _TimedStream(stream, self._deadline)

    def _checked_addresses(self) -> Sequence[Address]:
        """Look the addresses up, and return those to try. One that may not be reached refuses them all."""
        receiver = self._receiver
        addresses = _within(self._deadline.left(), lambda: self._resolve(receiver.host, receiver.port))
        for address in addresses:
            if not may_reach(receiver.host, address, self._allowed):
                raise _RefusedAddressError(refusal(receiver.host, address))
        if not addresses:
            raise OSError("the host has no address")
        return addresses[:_ADDRESSES_MAX]


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every operation ends with the exchange."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        encrypted = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _TimedStream(encrypted, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def system_addresses(host: str, port: int) -> Sequence[Address]:
    """Look up the addresses of a host as the system does. Raises OSError if it has none."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(ip_address(address) for *_, (address, *_) in rows))


def _within(seconds: float, look_up: Callable[[], Sequence[Address]]) -> Sequence[Address]:
    """Look addresses up within some seconds. The system has no such limit: its thread ends when it gives up."""
    answers: queue.SimpleQueue[Sequence[Address] | OSError] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put(look_up())
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=answer, name="resolve-receiver", daemon=True).start()
    try:
        result = answers.get(timeout=seconds)
    except queue.Empty:
        raise httpcore.ConnectTimeout from None
    if isinstance(result, OSError):
        raise result
    return result


def _read_body(chunks: Iterable[bytes]) -> str:
    """Read the body up to its limit, and return its first line. That it never ends does not undo the status."""
    body = bytearray()
    try:
        for chunk in chunks:
            body += chunk[: ANSWER_MAX - len(body)]
            if len(body) >= ANSWER_MAX:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass
    text = body.decode(errors="replace").strip().partition("\n")[0]
    return "".join(filter(str.isprintable, text))[:_LINE_MAX]


def _failure(error: Exception) -> str:
    cause = next((item for item in error.args if isinstance(item, OSError)), error)  # as httpcore wraps them
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, socket.gaierror):
        return f"its host cannot be looked up: {cause.strerror or cause}"
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"no connection, or it broke: {reason or type(cause).__name__}"
