"""Empty and blocked pools in a diagnosis."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from prebuild_tasks.insight.doctor.facts import Examination
from prebuild_tasks.insight.doctor.findings import Symptom
from prebuild_tasks.insight.doctor.pools import pool_findings
from prebuild_tasks.insight.status.rules import PoolProblem
from prebuild_tasks.insight.status.views import PoolCheck, PoolStatus
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.remedies import Remedy, RemedyKind

POOL = PoolStatus(PresetRef("dev", "small"), 2, 0, 0, 0, 2, 0, "backoff", "", "no\ndisk")
EMPTY = PoolCheck(POOL, (PoolProblem.SHORT,), 2, timedelta(seconds=45))
BLOCKED = PoolCheck(replace(POOL, reason="hard_limited"), (PoolProblem.HARD_LIMITED,))


def found(*pools: PoolCheck) -> list[tuple[Symptom, str, Remedy | None]]:
    facts = Examination(("prebuild.events",), "prebuild.builds", pools=pools)
    return [(item.symptom, item.sentence, item.remedy) for item in pool_findings(facts)]


def test_a_single_pool_is_explained() -> None:
    explain = Remedy(RemedyKind.EXPLAIN_POOL, "dev/small")
    assert found(EMPTY) == [
        (Symptom.POOL_EMPTY, "dev/small has been empty for more than 45 s: backoff; no disk", explain)
    ]
    assert found(BLOCKED) == [(Symptom.POOL_BLOCKED, "nothing is built for dev/small: hard limited; no disk", explain)]


def test_many_pools_are_one_finding_per_reason() -> None:
    many = [replace(EMPTY, pool=replace(POOL, preset=PresetRef("dev", f"p{number}"))) for number in range(5)]
    [(symptom, sentence, remedy)] = found(*many)
    assert (symptom, remedy) == (Symptom.POOL_EMPTY, Remedy(RemedyKind.LIST_PROBLEMS))
    assert sentence == "5 pools are empty (backoff): dev/p0, dev/p1, dev/p2 and 2 more"


@pytest.mark.parametrize("reason", ["no_worker", "no_builds_worker", "tick_stale", "provisioner_unreachable"])
def test_what_only_follows_from_another_finding_is_left_out(reason: str) -> None:
    assert found(replace(EMPTY, pool=replace(POOL, reason=reason))) == []


def test_a_pool_that_is_short_but_not_empty_is_none() -> None:
    assert found(replace(EMPTY, claimable=1)) == []
    assert found(replace(EMPTY, pool=replace(POOL, second_choices=1), claimable=1)) == []
