"""A sentence about one prebuild had the verb of several."""

from __future__ import annotations

import pytest

from prebuild_tasks.insight.explain.doubts import doubted_prebuilds
from prebuild_tasks.insight.explain.facts import Doubted
from prebuild_tasks.reconcile.rules.reasons import Reason
from tests.insight.explain.cases import facts


@pytest.mark.parametrize(("waiting", "words"), [(1, "1 waits for"), (2, "2 wait for")])
def test_prebuilds_that_wait_for_a_confirmation(waiting: int, words: str) -> None:
    [link] = doubted_prebuilds(facts(Reason.NONE, doubted=Doubted(missing=waiting, waiting=waiting)))
    assert link.sentence.endswith(f"no probe can tell, and {words} a confirmation")
