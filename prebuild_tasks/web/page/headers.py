"""The headers of every page and of its files."""

from __future__ import annotations

from collections.abc import Mapping

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_SAFE: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Under no-referrer browsers send `Origin: null` with forms.
    "Referrer-Policy": "same-origin",
}
PAGE: Mapping[str, str] = {**_SAFE, "Cache-Control": "no-store"}
"""For what only its reader may see."""
OWN_FILE: Mapping[str, str] = {**_SAFE, "Cache-Control": "public, max-age=31536000, immutable"}
"""For a file under an address that names its content."""
FILE: Mapping[str, str] = {**_SAFE, "Cache-Control": "no-cache"}
"""For a file under any other address."""
