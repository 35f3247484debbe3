"""`status` showed a change of size 156 days away with its weekday only, "desired 4 at Sat 00:00", and in the time zone
of the user's machine; `explain` was right in both respects.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.explain.gather import explain_preset
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.model.text import local
from tests.support.builders import PRESET, declare, fill

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (timedelta(hours=5), "Wed 2026-11-25 18:00 Europe/Berlin"),
        (timedelta(days=5, hours=23), "Tue 2026-12-01 12:00 Europe/Berlin"),
        (timedelta(days=6), "Tue 2026-12-01 13:00 Europe/Berlin"),
        (timedelta(days=156, hours=10), "Sat 2027-05-01 00:00 Europe/Berlin"),
    ],
)
def test_by_the_clocks_of_the_schedule(away: timedelta, words: str) -> None:
    assert local(NOW + away, "Europe/Berlin") == words


def test_status_names_the_day_that_explain_names(database: Database, settings: Settings) -> None:
    with database.read() as connection:
        month = (database.now(connection) + timedelta(days=100)).month
    times = f"timezone: Asia/Kathmandu, schedules: [{{cron: '* * 1 {month} *', desired: 4}}]"
    declare(database, settings, 1, extra=times)
    fill(database, settings)
    [row] = pools(database, settings)
    found = explain_preset(database, settings, None, PRESET)
    words = found.explanation.chain[0].sentence
    _, _, told = row.next_action.partition("desired 4 at ")
    assert told.endswith("-01 00:00 Asia/Kathmandu")
    assert f"; 4 from {told} (in " in words
