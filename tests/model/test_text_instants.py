"""Instants in sentences are found again, in every form that the project writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from prebuild_tasks.model.text import in_utc, instant, local, split_at_instants

AT = datetime(2026, 3, 2, 10, 32, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (in_utc(AT), AT),
        (in_utc(AT.astimezone(timezone(timedelta(hours=-7)))), AT),
        (f"{AT:%Y-%m-%d %H:%M} UTC", AT.replace(second=0)),
        (local(AT, "Asia/Kathmandu"), AT.replace(second=0)),
        (local(AT, "America/Argentina/Buenos_Aires"), AT.replace(second=0)),
        (local(AT, "Etc/GMT+5"), AT.replace(second=0)),
        (AT.isoformat(), AT),
        (AT.replace(microsecond=120).isoformat(), AT.replace(microsecond=120)),
        ("2026-03-02T10:32:05Z", AT),
    ],
)
def test_an_instant_is_found_in_a_sentence(text: str, at: datetime) -> None:
    before, between, after = "paused by 2026 since ", " (in 3 min), until ", ": 10:32"
    parts = list(split_at_instants(before + text + between + text + after))
    assert parts == [(before, None), (text, at), (between, None), (text, at), (after, None)]


@pytest.mark.parametrize(
    "text",
    [
        "", "10:32:05 UTC", "2026-03-02", "2026-99-02 10:32 UTC", "2026-03-02 10:32 America",
        "2026-03-02 10:32 Nowhere", "2026-03-02 10:32", "12026-03-02 10:32 UTC", "2026-03-02 10:32:05 ../../etc/passwd",
    ],
)  # fmt: skip
def test_other_text_stays_as_it_is(text: str) -> None:
    assert list(split_at_instants(text)) == [(text, None)]


def test_the_distance_follows_the_instant() -> None:
    assert instant(AT, AT - timedelta(seconds=45)) == "2026-03-02 10:32:05 UTC (in 45 s)"
    assert instant(AT, AT + timedelta(minutes=5)) == "2026-03-02 10:32:05 UTC (5 min ago)"
