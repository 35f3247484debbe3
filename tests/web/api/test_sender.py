"""The thread that sends follow-ups: the first at once, and what comes meanwhile together."""

from __future__ import annotations

import threading

import pytest

from prebuild_tasks.web.api import sender as module
from prebuild_tasks.web.api.sender import Sender
from prebuild_tasks.workspaces import FollowUp
from tests.support.wait import wait_until


def test_what_comes_while_it_sends_is_sent_together() -> None:
    sent: list[FollowUp] = []
    goes_on = threading.Event()

    def send(follow_up: FollowUp) -> None:
        sent.append(follow_up)
        assert goes_on.wait(10)

    sender = Sender(send)
    sender.send_soon(FollowUp(wake={1: ""}))
    wait_until(lambda: len(sent) == 1, what="the first is sent")
    for preset in (1, 2, 3):
        sender.send_soon(FollowUp(wake={preset: ""}))
    goes_on.set()
    wait_until(lambda: len(sent) == 2, what="the others are sent")
    assert list(sent[1].wake) == [1, 2, 3]
    sender.close()


def test_a_failure_does_not_end_it() -> None:
    sent: list[FollowUp] = []

    def send(follow_up: FollowUp) -> None:
        sent.append(follow_up)
        raise ZeroDivisionError

    sender = Sender(send)
    for preset in (1, 2):
        sender.send_soon(FollowUp(wake={preset: ""}))
        wait_until(lambda preset=preset: len(sent) == preset, what="it is sent")
    sender.close()


def test_what_waits_is_sent_before_it_closes() -> None:
    sent: list[FollowUp] = []
    sender = Sender(sent.append)
    sender.send_soon(FollowUp(wake={1: ""}))
    wait_until(lambda: len(sent) == 1)
    sender.send_soon(FollowUp(wake={2: ""}))
    sender.close()
    assert [list(follow_up.wake) for follow_up in sent] == [[1], [2]]


def test_too_many_are_left_to_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    sent: list[FollowUp] = []
    goes_on = threading.Event()

    def send(follow_up: FollowUp) -> None:
        sent.append(follow_up)
        assert goes_on.wait(10)

    sender = Sender(send)
    sender.send_soon(FollowUp(wake={0: ""}))
    wait_until(lambda: len(sent) == 1)
    for preset in (1, 2, 3):
        sender.send_soon(FollowUp(wake={preset: ""}))
    goes_on.set()
    sender.close()
    assert [list(follow_up.wake) for follow_up in sent] == [[0], [1, 2]]
