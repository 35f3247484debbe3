"""`nohup prebuild up &` ended at logout nevertheless: its own handler replaced the ignored SIGHUP."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from prebuild_tasks.cli.up.command import stop_on_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(("inherited", "ends"), [(signal.SIG_IGN, []), (signal.SIG_DFL, ["SIGHUP"])])
def test_a_sighup_that_is_ignored_stays_so(inherited: signal.Handlers, ends: list[str]) -> None:
    signal.signal(signal.SIGHUP, inherited)
    said: list[str] = []
    stop_on_signals(said.append)
    os.kill(os.getpid(), signal.SIGHUP)
    assert said == ends
    os.kill(os.getpid(), signal.SIGTERM)
    assert said == [*ends, "SIGTERM"]
