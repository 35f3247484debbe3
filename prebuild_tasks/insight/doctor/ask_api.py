"""Ask the HTTP API as its clients do: whether it is ready, and whether it shows its metrics to everybody."""

from __future__ import annotations

import ssl
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, build_opener

from prebuild_tasks.config import Settings
from prebuild_tasks.insight.doctor.facts import ApiFact
from prebuild_tasks.model.addresses import host_in_url, is_loopback

_PATIENCE = 5.0
"""Seconds that an answer may take."""
_OK = 200
_WORD_MAX = 50
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be asked, not to listen on
"""The loopback address that also reaches what listens on every address."""


def look_at_api(settings: Settings) -> ApiFact | None:
    """Ask the API at its public address, or else at the address beyond loopback that this machine's settings name.

    None: the settings name neither, or nothing listens on the latter, as on a machine that does not serve the API.
    """
    if settings.public_url:
        url, get = settings.public_url.rstrip("/"), _get_verified
    elif is_loopback(settings.serve_bind):
        return None
    else:
        url, get = _local(settings, "http"), _get_directly
    try:
        _, word = get(f"{url}/readyz")
        status, _ = get(f"{url}/metrics")
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        return ApiFact(url, trouble=str(reason) or type(error).__name__) if settings.public_url else None
    return ApiFact(url, ready=word, metrics_open=status == _OK)


def check_api(settings: Settings) -> tuple[bool, str]:
    """Return whether the API of this machine is ready, and a sentence about it.

    A certificate is not verified: it is for the public name, and no token is sent.
    """
    for scheme in ("http", "https"):
        url = _local(settings, scheme)
        try:
            status, word = _get_directly(f"{url}/readyz")
        except (OSError, HTTPException):
            continue
        return status == _OK, f"the HTTP API at {url} {'is ready' if status == _OK else f'answers {status}: {word}'}"
    return False, f"no HTTP API answers at {_local(settings, 'http')}"


def _local(settings: Settings, scheme: str) -> str:
    bind = settings.serve_bind
    return f"{scheme}://{host_in_url(_EVERY_ADDRESS.get(bind, bind))}:{settings.serve_port}"


def _get_verified(url: str) -> tuple[int, str]:
    """Return status and beginning of an answer, through the proxy that the environment names, if there is one."""
    return _get(url, build_opener())


def _get_directly(url: str) -> tuple[int, str]:
    """Return status and beginning of an answer of this machine."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return _get(url, build_opener(HTTPSHandler(context=context), ProxyHandler({})))


def _get(url: str, opener: OpenerDirector) -> tuple[int, str]:
    try:
        with opener.open(url, timeout=_PATIENCE) as response:
            return response.status, _word(response.read(_WORD_MAX))
    except HTTPError as error:
        with error:
            return error.code, _word(error.read(_WORD_MAX))


def _word(content: bytes) -> str:
    return content.decode("ascii", "replace").strip()
