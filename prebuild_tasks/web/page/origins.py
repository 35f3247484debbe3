"""The page's own address, and whether a request was sent by a page of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host in lower case, port."""


def origin_of(text: str) -> Origin | None:
    """Return an origin as browsers write it, `https://host` or `https://host:port`; None for anything else."""
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        return None
    if scheme not in _PORTS or not host or parts.username is not None or text != f"{scheme}://{parts.netloc}":
        return None
    return scheme, host.rstrip("."), _PORTS[scheme] if port is None else port


def own_origin(public_url: str, scheme: str, host: str) -> Origin | None:
    """Return the page's own origin: that of its public URL, or else of the request's scheme and header Host."""
    if not public_url:
        return origin_of(f"{scheme}://{host}")
    parts = urlsplit(public_url)
    return origin_of(f"{parts.scheme}://{parts.netloc}")


def is_secure(public_url: str, scheme: str) -> bool:
    """Return whether browsers reach the page by TLS, so that its cookie must never go another way."""
    return "https" in (urlsplit(public_url).scheme, scheme)


def origin_refusal(headers: Mapping[str, str], origins: Sequence[str], own: Origin | None) -> str:
    """Return why a form was not sent by a page of this origin, as a sentence; empty: it was.

    Args:
        headers: The headers of the request.
        origins: The values of its headers `Origin`.
        own: The page's own origin.
    """
    if len(origins) != 1:
        return "the request does not say from which page it comes (its header Origin is missing)"
    if own is None or origin_of(origins[0]) != own:
        return "the request comes from another page (its header Origin is not this address)"
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "the request comes from another page (its header Sec-Fetch-Site says so)"
    return ""


def local_path(text: str, default: str = "/pools") -> str:
    """Return a path of this page, with its query; the default for what could lead anywhere else.

    Browsers take a backslash for a slash, drop tabs and line feeds, and leave the host for two slashes.
    """
    leads_here = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if leads_here and text.isascii() and text.isprintable() and len(text) <= 2000 else default
