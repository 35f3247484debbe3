"""Every follow-up that a service returns is sent or handed on; `follow_ups.py` finds those that are not."""

from __future__ import annotations

import ast

import pytest

from tests.house.follow_ups import OTHERS, Module, Sources, read


def dropped_in(text: str) -> list[str]:
    """List the calls whose follow-up one more module would lose."""
    return list(Sources({**read().modules, "one_more": Module("one_more", ast.parse(text))}).dropped("one_more"))


def test_every_follow_up_is_sent_or_handed_on() -> None:
    assert list(read().dropped()) == []


def test_the_results_of_services_are_known_to_carry_one() -> None:
    assert read().carriers >= {
        "ApplyReport", "BeingBuilt", "BuildResult", "Claimed", "Ending", "Forgotten", "HealthResult", "OperationResult",
        "PresetResult", "Reserved", "StrayResult", "SweepResult",
    }  # fmt: skip


def test_a_result_cannot_be_made_without_its_follow_up() -> None:
    """A default would let a service forget it, which the type checker could not see."""
    optional = [
        f"{module.name}:{field.lineno}"
        for module in read().modules.values()
        for node in module.classes.values()
        for field in node.body
        if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation) == "FollowUp"
        if field.value is not None and ast.unparse(field.value) != "field(kw_only=True)"
    ]
    assert optional == []


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_every_exception_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OTHERS, name)
    assert any(line.endswith(name) for line in read().dropped())


FORGETFUL = {
    "its value is dropped": "end_workspace(database, 'x', actor='ada')",
    "only its id is looked at": "return end_workspace(database, 'x', actor='ada').workspace_id",
    "only its id is kept": "ending = end_workspace(database, 'x', actor='ada')\n    return ending.workspace_id",
    "it is only counted": "lost = give_up_lost(database, settings)\n    return len(lost.builds) if len(lost) else 0",
    "it is only asked for": "if give_up_lost(database, settings):\n        return 1",
    "it is only reported": "swept = sweep(database, settings, len)\n    print(swept.report())",
    "the answer is shown to somebody who does not send it": "claimed = claim(database, request)\n    show(claimed)",
    "the wrong part of a tuple is taken": "return transitions.cancel_starts(database, [])[0]",
    "the object's type is unknown": "session.claim(request)",
    "the object's type is unknown, and the name a common one": "current.build_runner.run('x')",
    "an unknown function gets it": "unknown(end_workspace(database, 'x', actor='ada').follow_up)",
    "a method gets it that does not send": "session.close(end_workspace(database, 'x', actor='ada').follow_up)",
    "it is replaced by itself": "ending = end_workspace(database, 'x', actor='ada')\n    ending = replace(ending)",
    "the function has a second name": "end = end_workspace\n    end(database, 'x', actor='ada')",
    "the function is called later": "return partial(end_workspace, database, 'x', actor='ada')",
    "the right part of a tuple has no name": "count, _ = transitions.cancel_starts(database, [])\n    return count",
}
CAREFUL = {
    "it is sent": "send(database, publisher, end_workspace(database, 'x', actor='ada').follow_up)",
    "it is sent by an object": "session.send(end_workspace(database, 'x', actor='ada').follow_up)",
    "it is returned": "return give_up_lost(database, settings)",
    "it is joined": "found = FollowUp()\n    found |= give_up_lost(database, settings)\n    return found",
    "its right part is taken": "return transitions.cancel_starts(database, [])[1]",
    "both parts have names": "count, builds = transitions.cancel_starts(database, [])\n    return FollowUp.of(builds)",
}
HEAD = """
from prebuild_tasks.claims.take import claim
from prebuild_tasks.upkeep.lost_hosts import give_up_lost
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces import transitions
from prebuild_tasks.workspaces.outbox import FollowUp, send
from prebuild_tasks.workspaces.release import end_workspace

def show(claimed: Claimed):
    print(claimed.answer)

def caller(database, settings, publisher, request):
    """


@pytest.mark.parametrize("body", FORGETFUL.values(), ids=FORGETFUL.keys())
def test_a_forgotten_one_is_found(body: str) -> None:
    assert len(dropped_in(HEAD + body)) == 1


@pytest.mark.parametrize("body", CAREFUL.values(), ids=CAREFUL.keys())
def test_one_that_is_handed_on_is_not(body: str) -> None:
    assert dropped_in(HEAD + body) == []
