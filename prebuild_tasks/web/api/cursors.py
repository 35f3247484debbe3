"""Signed cursors: where the next page of a list begins, for which filters."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence

from prebuild_tasks.web.api.problems import ProblemError, problem

_SIGNATURE = 16
"""Bytes of the signature, which begins a cursor."""
_LENGTH_MAX = 2000
"""Characters. The longest filters make a cursor of about half of it."""


class Cursors:
    """Makes and reads the cursors of one installation. Any of its processes reads those of the others."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take the keys for cursors, of which the first signs and all verify."""
        self._keys = tuple(keys)

    def make(self, sort: str, filters: Mapping[str, str], position: tuple[str, ...]) -> str:
        """Return the cursor of the page that begins after a position in a list.

        Args:
            sort: The name of the list, and of its order.
            filters: The filters that have a value.
            position: The sort key of the page's last row.
        """
        payload = json.dumps([sort, dict(sorted(filters.items())), list(position)], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_signature(self._keys[0], payload) + payload).decode().rstrip("=")

    def read(self, cursor: str, sort: str, filters: Mapping[str, str], size: int) -> tuple[str, ...]:
        """Return the position of a cursor, which has `size` parts.

        Raises ProblemError for a cursor that was not made here, or belongs to another list or to other filters.
        """
        payload = self._payload(cursor)
        if payload is None:
            raise _refused("the cursor was not made here", "use the `next` of the page before, as it is, or begin anew")
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
        made_here = any(hmac.compare_digest(signature, _signature(key, payload)) for key in self._keys)
        return payload if made_here else None


def _signature(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, "sha256")[:_SIGNATURE]


def _refused(detail: str, hint: str) -> ProblemError:
    return problem(400, "malformed_cursor", detail, hint=hint)
