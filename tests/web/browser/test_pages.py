"""The pages beside that of the pools in Chromium: whole, without complaints, and without sideways scrolling."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from prebuild_tasks.access.sessions import new_login_code
from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.support.api import NO_REDIS
from tests.support.builders import declare, fill, staffed
from tests.support.chromium import browsing
from tests.support.stocked_door import listening

pytestmark = pytest.mark.browser

LONG = "a-name-that-is-as-long-as-names-may-be-" + "x" * 24
OUTPUT = f"\x1b[31;1mred\x1b[0m </pre><script>document.title = 'hostile'</script>\u202e{'y' * 9000}\n"


def test_pages_in_a_browser(database: Database, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", host="here", database_url=database.url, redis_url=NO_REDIS)
    declare(database, settings, 2, extra="claimed_ttl: 8h, cost_per_hour: 0.2")
    fill(database, settings)
    staffed(database, settings)
    claim(database, ClaimRequest(owner="o" * 60, presets=["dev/small"], name=LONG))
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"]))
    claim(database, ClaimRequest(owner="bob", presets=["dev/small"], wait=True))
    with database.write() as connection:
        build = connection.execute(select(m.Build.id).order_by(m.Build.created_at.desc()).limit(1)).scalar_one()
        row = {"build_id": build, "attempt": 1, "seq": 1, "text": OUTPUT, "at": datetime.now(UTC)}
        connection.execute(insert(m.BuildLog).values(row))
    token = create_token(database, NewTokenRequest(name="ada", scope=Scope.ADMIN), actor="test")
    paths = ["/workspaces", f"/workspaces/{'o' * 60}/{LONG}", "/waiting", "/builds", f"/builds/{build}"]
    paths += ["/workers", "/history", "/health", "/report"]
    with listening(settings) as url, browsing() as page:
        page.open(f"{url}/login?code={new_login_code(database, token.view.id)}")
        page.page.get_by_role("button", name="Log in").click()
        page.page.wait_for_url(f"{url}/pools")
        for path in paths:
            page.open(url + path)
            for width in (360, 1280, 2560):
                page.show_as(width)
                assert page.run("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert page.run("document.title").endswith("· prebuild")
        assert page.complaints == []
        assert page.foreign(url) == []
