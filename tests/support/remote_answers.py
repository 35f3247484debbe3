"""Answers of the HTTP API, as a client without a server gets them."""

from __future__ import annotations

CLAIMED = {
    "id": "c1", "workspace": "calm-otter", "workspace_id": "w1", "preset": "dev/small", "owner": "ada", "url": "",
    "directory": "/d", "resource_id": "r", "host": "h", "request_id": "k1",
    "claimed_at": "2026-11-28T12:00:00+00:00", "state": "usable", "newer": 1,
}  # fmt: skip
VIEW = {
    "workspace": "calm-otter", "id": "6e0b4a1c-0000-0000-0000-000000000001", "owner": "ada", "preset": "dev/small",
    "state": "usable", "url": "", "directory": "", "resource_id": "", "host": "",
    "created_at": "2026-11-28T12:00:00+00:00", "claimed_at": None, "claimed_until": None, "ends_soon": False,
    "reason": "", "retry_at": None,
}  # fmt: skip
POOL = {
    "preset": "dev/small", "desired": 3, "eligible": 1, "starting": 2, "deleting": 0, "failed": 0,
    "failed_deletions": 0, "reason": "starting", "next_action": "", "last_error": "", "second_choices": 1, "claimed": 0,
    "next_change": None,
}  # fmt: skip
