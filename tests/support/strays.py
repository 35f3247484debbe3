"""Resources that no workspace is known for, and that wait for a confirmation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert

from prebuild_tasks.schema import tables as m


def hold_back(connection: Connection, now: datetime, number: int) -> None:
    """Let strays wait for a confirmation."""
    strays = [
        {
            "provisioner": "simulated", "host": "", "resource_id": f"stray-{place}", "workspace_id": f"stray-{place}",
            "last_build_id": "", "first_seen_at": now, "claimed": False, "waiting": True, "confirmed_by": "",
        }
        for place in range(number)
    ]  # fmt: skip
    connection.execute(insert(m.Stray), strays)
