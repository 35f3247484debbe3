"""The buttons and links of steps, by who looks."""

from __future__ import annotations

import pytest

from prebuild_tasks.access import EVERYTHING, Reach, Scope
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.web.page.live_kinds import Viewer
from prebuild_tasks.web.page.steps import ShownStep, offered_once, shown_step

OPERATOR = Viewer(reach=EVERYTHING, scope=Scope.OPERATE)
OF_ACME = Viewer(reach=Reach(organization="acme"), scope=Scope.OPERATE)
READER = Viewer(reach=EVERYTHING, scope=Scope.READ)


def step(remedy: Remedy | None, viewer: Viewer) -> ShownStep:
    return shown_step(remedy, "a command", "a reason", viewer)


@pytest.mark.parametrize(
    ("remedy", "action", "of_all"),
    [
        (Remedy(RemedyKind.CONFIRM_LOSS), "/sweep/confirm", True),
        (Remedy(RemedyKind.RESUME), "/pools/resume", True),
        (Remedy(RemedyKind.RESUME, "dev/small"), "/pools/dev/small/resume", False),
        (Remedy(RemedyKind.UNBLOCK_POOL, "dev/small@v 1"), "/pools/dev/small%40v%201/unblock", False),
        (Remedy(RemedyKind.RECONCILE, "dev/small"), "/pools/dev/small/reconcile", False),
    ],
)
def test_who_may_gets_the_button(remedy: Remedy, action: str, of_all: bool) -> None:
    button = step(remedy, OPERATOR).button
    assert button
    assert button.action == action
    assert (step(remedy, OF_ACME).button is None) is of_all
    assert step(remedy, READER).button is None


@pytest.mark.parametrize(
    ("remedy", "page"),
    [
        (Remedy(RemedyKind.DIAGNOSE), "/health"),
        (Remedy(RemedyKind.EXPLAIN_POOL, "dev/small"), "/pools/dev/small"),
        (Remedy(RemedyKind.EXPLAIN_POOL), ""),
        (Remedy(RemedyKind.LIST_PROBLEMS), "/pools"),
        (Remedy(RemedyKind.SHOW_LOG, "a/b"), "/builds/a%2Fb"),
        (Remedy(RemedyKind.START_BEAT), ""),
        (Remedy(RemedyKind.RECONCILE), ""),
        (None, ""),
    ],
)
def test_what_no_button_does_has_the_page_that_shows_it(remedy: Remedy | None, page: str) -> None:
    assert step(remedy, OPERATOR) == ShownStep("a command", "a reason", None, page)


def test_a_page_offers_each_button_once() -> None:
    kinds = (RemedyKind.DIAGNOSE, RemedyKind.CONFIRM_LOSS, RemedyKind.DIAGNOSE, RemedyKind.CONFIRM_LOSS)
    steps = offered_once(step(Remedy(kind), OPERATOR) for kind in kinds)
    assert [item.button is not None for item in steps] == [False, True, False, False]
    assert [item.page for item in steps] == ["/health", "", "/health", ""]
