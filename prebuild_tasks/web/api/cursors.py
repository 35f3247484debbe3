"""Signed cursors: where the next page of a list begins, for which filters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping

from prebuild_tasks.web.api.problems import ProblemError, problem

_SIGNATURE = 16
"""Bytes of the signature, which begins a cursor."""
_LENGTH_MAX = 2000
"""Characters. The longest filters make a cursor of about half of it."""
_PURPOSE = b"prebuild cursor\0"


class Cursors:
    """Makes and reads the cursors of one installation. Any of its processes reads those of the others."""

    def __init__(self, key: bytes) -> None:
        """Take the installation's key."""
        self._key = hashlib.sha256(_PURPOSE + key).digest()

    def make(self, sort: str, filters: Mapping[str, str], position: tuple[str, ...]) -> str:
        """Return the cursor of the page that begins after a position in a list.

        Args:
            sort: The name of the list, and of its order.
            filters: The filters that have a value.
            position: The sort key of the page's last row.
        """
        payload = json.dumps([sort, dict(sorted(filters.items())), list(position)], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._signature(payload) + payload).decode().rstrip("=")

    def read(self, cursor: str, sort: str, filters: Mapping[str, str], size: int) -> tuple[str, ...]:
        """Return the position of a cursor, which has `size` parts.

        Raises ProblemError for a cursor that was not made here, or belongs to another list or to other filters.
        """
        payload = self._payload(cursor)
        if payload is None:
            raise _refused("the cursor was not made here", "use the `next` of the page before, as it is")
        made_for, its_filters, position = json.loads(payload)
        if made_for != sort or len(position) != size:
            raise _refused("the cursor belongs to another list", "begin without a cursor")
        if its_filters != dict(filters):
            raise _refused("the cursor belongs to other filters", "repeat the filters of the first page, or begin anew")
        return tuple(str(part) for part in position)

    def _payload(self, cursor: str) -> bytes | None:
        if len(cursor) > _LENGTH_MAX or not cursor.isascii():
            return None
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
        return payload if hmac.compare_digest(signature, self._signature(payload)) else None

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_SIGNATURE]


def _refused(detail: str, hint: str) -> ProblemError:
    return problem(400, "malformed_cursor", detail, hint=hint)
