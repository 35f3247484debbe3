"""Follow-ups of commits are sent, whatever becomes of the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.web.api.routes import claims
from prebuild_tasks.workspaces import FollowUp
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill, preset_id


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_error_after_the_commit(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    sent: list[FollowUp] = []

    def send(follow_up: FollowUp) -> Any:
        sent.append(follow_up)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def fail(*_: object) -> None:
        raise BusyError("held")

    monkeypatch.setattr(api.app.state.door, "send", send)
    monkeypatch.setattr(claims, "claim_path", fail)
    assert api.post("/v1/claims", json={"presets": [PRESET], "owner": "ada"}).status_code == 503
    assert [dict(follow_up.wake) for follow_up in sent] == [{preset_id(database): PRESET}]
