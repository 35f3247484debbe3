"""A view that is read at a cost is read seldom, whatever happens."""

from __future__ import annotations

from itertools import pairwise

import pytest

from prebuild_tasks.web.page import shared_views
from tests.support.staged_view import Stage, staged

REST = 0.5


def test_events_do_not_hasten_a_view_that_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.01)
    monkeypatch.setattr(shared_views, "QUIET", 0.02)

    async def body(stage: Stage) -> None:
        async with stage.watched() as page:
            for number in range(4):
                await page.next()
                stage.change(a=10 + number)
        assert min(later - one for one, later in pairwise(stage.reads)) >= REST - 0.01

    staged(body, rest=REST)
