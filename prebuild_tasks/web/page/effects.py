"""Word what the buttons of a pool will do, from its state just before. Pure; `plan` has the same words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prebuild_tasks.insight import Explained, PoolLine
from prebuild_tasks.model.text import held_back, in_utc, number, planned
from prebuild_tasks.pools import Affected, left_alone, require_later_end
from prebuild_tasks.reconcile import Reason
from prebuild_tasks.web.api.models import PauseBody
from prebuild_tasks.web.page.render import as_sentence


@dataclass(frozen=True, slots=True)
class PoolBefore:
    """A pool before something is done to it."""

    explained: Explained
    affected: Affected
    """What invalidating it would replace."""


Effects = Callable[[PoolBefore, PauseBody], Sequence[str]]


def pause_effects(before: PoolBefore, body: PauseBody) -> Sequence[str]:
    """Word what a pause does. Raises InputError for an end that has passed."""
    facts = before.explained.facts
    require_later_end(body.until, facts.now)
    missing = f" It lacks {number(facts.missing, 'prebuild')}, which will not be created." if facts.missing else ""
    end = in_utc(body.until) if body.until else body.duration and f"{body.duration} from now"
    return (
        f"Nothing is created or deleted until {end or 'it is resumed'}.{missing}",
        f"{_eligible(before)}. Claims go on.",
        *([f"{number(facts.state.starting, 'start')} under way: not interrupted."] if facts.state.starting else []),
    )


def resume_effects(before: PoolBefore, _body: PauseBody) -> Sequence[str]:
    """Word what the end of a pause does."""
    pause = before.explained.facts.pause
    if pause is None:
        return ("It is not paused, so nothing is changed.",)
    if pause.everything:
        return ("Everything is paused, and this ends only a pause of the pool itself: it stays paused.",)
    return (f"It is reconciled again, at once: {_amount(before)}.", f"{_eligible(before)}.")


def resume_all_effects(pools: Sequence[PoolLine]) -> Sequence[str]:
    """Word what the end of a pause of everything does."""
    paused = next((line.all_paused for line in pools if line.all_paused), "")
    if not paused:
        return ("Not everything is paused, so nothing is changed.",)
    lacking = [line.status for line in pools if not line.status.superseded and not line.status.full]
    missing = number(sum(status.desired - status.eligible for status in lacking), "prebuild")
    short = f"{number(len(lacking), 'pool')} {'lacks' if len(lacking) == 1 else 'lack'} {missing} in all"
    return (
        as_sentence(paused),
        "Every pool that is not paused by itself is reconciled again, at once.",
        f"{short}." if lacking else "No pool lacks a prebuild.",
    )


def unblock_effects(before: PoolBefore, _body: PauseBody) -> Sequence[str]:
    """Word what the end of a block does."""
    facts = before.explained.facts
    failures = number(facts.failures_in_row, "failure")
    forgets = f"Its {failures} in a row {'is' if facts.failures_in_row == 1 else 'are'} forgotten. "
    goes_on = f"It builds again, without waiting: {_amount(before)}{_held_by_pause(before)}."
    return ((forgets if facts.failures_in_row else "") + goes_on, f"{_eligible(before)}.")


def invalidate_effects(before: PoolBefore, _body: PauseBody) -> Sequence[str]:
    """Word what invalidating does."""
    affected = before.affected
    count = affected.replaced
    expires = f"{number(count, 'prebuild')} {'expires' if count == 1 else 'expire'} now, and until others are ready"
    left = [f"Left alone: {sentence}." for sentence in left_alone(affected)]
    if not count:
        return ("It has no prebuild to replace.", *left)
    amount = planned(replace=count) + _held_by_pause(before)
    return (f"{amount[:1].upper()}{amount[1:]}: {expires}, claims may find none.", *left)


def reconcile_effects(before: PoolBefore, _body: PauseBody) -> Sequence[str]:
    """Word what the next turn does."""
    turn = before.explained.facts.turn
    amount = planned(create=turn.create, delete=turn.delete + turn.cancel)
    return (f"Its next turn runs now, and does what is due: {amount}{_held_by_pause(before)}.", f"{_eligible(before)}.")


def _eligible(before: PoolBefore) -> str:
    state, outdated = before.explained.facts.state, _outdated(before)
    others = f", and {outdated} outdated until replaced" if outdated else ""
    return f"{state.eligible} of {number(state.desired, 'desired prebuild')} can be claimed{others}"


def _amount(before: PoolBefore) -> str:
    """Word what the next turns do in all. What is outdated is replaced, and not deleted and created."""
    facts = before.explained.facts
    delete = _outdated(before) + max(facts.state.eligible - facts.state.desired, 0)
    replace = min(facts.missing, delete)
    return planned(replace=replace, create=facts.missing - replace, delete=delete - replace)


def _outdated(before: PoolBefore) -> int:
    facts = before.explained.facts
    return facts.second_choices + facts.of_other_versions


def _held_by_pause(before: PoolBefore) -> str:
    return held_back(Reason.PAUSED.value) if before.explained.facts.pause else ""
