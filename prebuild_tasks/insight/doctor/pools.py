"""Find the pools from which nothing can be claimed, and those that wait for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prebuild_tasks.insight.doctor.facts import Examination
from prebuild_tasks.insight.doctor.findings import Finding, Symptom
from prebuild_tasks.insight.status.rules import PoolProblem
from prebuild_tasks.insight.status.views import PoolCheck
from prebuild_tasks.model.text import listed, span
from prebuild_tasks.reconcile import Reason
from prebuild_tasks.remedies import Remedy, RemedyKind

_BLOCKED = (PoolProblem.HARD_LIMITED, PoolProblem.VALIDATION_FAILED)
_FOUND_ALREADY = (Reason.NO_WORKER, Reason.NO_BUILDS_WORKER, Reason.TICK_STALE, Reason.PROVISIONER_UNREACHABLE)
"""Reasons of an empty pool that are findings of their own."""
_ERROR_MAX = 200
"""Letters of an error that are shown."""


def pool_findings(facts: Examination) -> Iterator[Finding]:
    """Find blocked and empty pools, together where the reason is the same."""
    groups: dict[tuple[Symptom, str], list[PoolCheck]] = {}
    for item in facts.pools:
        if any(problem in _BLOCKED for problem in item.problems):
            groups.setdefault((Symptom.POOL_BLOCKED, item.pool.reason), []).append(item)
        elif item.is_empty and item.pool.reason not in _FOUND_ALREADY:
            groups.setdefault((Symptom.POOL_EMPTY, item.pool.reason), []).append(item)
    for (symptom, reason), items in sorted(groups.items()):
        yield _finding(symptom, reason.replace("_", " "), items)


def _finding(symptom: Symptom, reason: str, items: Sequence[PoolCheck]) -> Finding:
    first = items[0]
    if len(items) > 1:
        state = "are blocked" if symptom is Symptom.POOL_BLOCKED else "are empty"
        names = listed([str(item.pool.preset) for item in items])
        return Finding(symptom, f"{len(items)} pools {state} ({reason}): {names}", "", Remedy(RemedyKind.LIST_PROBLEMS))
    name = str(first.pool.preset)
    if symptom is Symptom.POOL_BLOCKED:
        sentence = f"nothing is built for {name}: {reason}"
    else:
        since = f" for more than {span(first.patience)}" if first.patience else ""
        sentence = f"{name} has been empty{since}: {reason}"
    error = " ".join(first.pool.last_error.split())[:_ERROR_MAX]
    return Finding(symptom, sentence + (f"; {error}" if error else ""), "", Remedy(RemedyKind.EXPLAIN_POOL, name))
