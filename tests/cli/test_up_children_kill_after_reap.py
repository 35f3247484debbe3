"""Bugs found by reading cli/children.py: a session was killed after its leader had been reaped, when the number might
already belong to another session; and one failed fork ended `up` instead of being retried.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from prebuild_tasks.cli.up import children
from prebuild_tasks.cli.up.children import Children
from tests.support.wait import wait_until

LEAVES_ONE = "sleep 1000 & echo $! > {note}; exit 3"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    monkeypatch.setattr(children, "RESTART_PAUSE", 0.05)
    made = Children(os.environ, tmp_path / "d" / "logs", tmp_path / "d")
    yield made
    made.stop(made.names, 1)


def state(pid: int) -> str:
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return "gone"


@pytest.mark.parametrize("by", ["stop", "revive"])
def test_a_session_ends_while_its_number_is_ours(
    service: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    note = tmp_path / "note"
    leader = service.start("one", ["sh", "-c", LEAVES_ONE.format(note=note)])
    wait_until(lambda: state(leader.pid) == psutil.STATUS_ZOMBIE, what="the end of the leader, not reaped")
    left = int(note.read_text())
    groups: list[str] = []
    kill = os.killpg

    def look_and_kill(group: int, number: int) -> None:
        groups.append(state(group))  # the number of a leader that is gone may have been reused
        kill(group, number)

    monkeypatch.setattr(os, "killpg", look_and_kill)
    if by == "stop":
        service.stop(["one"], 1)
    else:
        (sentence,) = wait_until(service.restart_ended)
        assert "one ended with 3 and is restarted" in sentence
    assert groups == [psutil.STATUS_ZOMBIE]
    wait_until(lambda: state(left) in ("gone", psutil.STATUS_ZOMBIE), what="the end of what was left")


def test_what_ends_when_asked_is_not_killed(service: Children, tmp_path: Path) -> None:
    leader = service.start("one", ["sleep", "1000"])
    deaf = service.start("two", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
    wait_until(lambda: "ready" in (tmp_path / "d" / "logs" / "two.log").read_text())
    service.stop(["one", "two"], 0.3)
    assert (leader.returncode, deaf.returncode) == (-signal.SIGTERM, -signal.SIGKILL)


def test_a_fork_that_fails_is_said_and_tried_again(service: Children, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    first = service.start("one", [str(program)])
    program.chmod(0o600)
    first.kill()
    (sentence,) = wait_until(service.restart_ended)
    assert "one ended with -9 and cannot be restarted now" in sentence
    program.chmod(0o700)
    (sentence,) = wait_until(service.restart_ended)
    assert "is restarted" in sentence
    assert service.names == ["one"]
