"""Every follow-up that a service returns is sent or handed on; `follow_ups.py` finds those that are not."""

from __future__ import annotations

import ast

import pytest

from tests.house.carriers import OTHERS, Module
from tests.house.follow_ups import Search, read


def dropped_in(text: str) -> list[str]:
    """List the calls whose follow-up one more module would lose."""
    return list(Search({**read().modules, "one_more": Module("one_more", ast.parse(text))}).dropped("one_more"))


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


ENDING = "ending = end_workspace(database, 'x', actor='ada')\n    "
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
    "a list of them is dropped": "[end_workspace(database, x, actor='ada') for x in request]",
    "a list of them is only counted": "return len([end_workspace(database, x, actor='ada') for x in request])",
    "a dictionary of them is dropped": "{x: end_workspace(database, x, actor='ada') for x in request}",
    "a list of them is only filtered by": "return [x for x in request if end_workspace(database, x, actor='ada')]",
    "a loop looks at its id": "for e in (end_workspace(database, 'x', actor='ada'),):\n        print(e.workspace_id)",
    "a loop prints its builds": f"{ENDING}for build in ending.follow_up.builds:\n        print(build)",
    "a list shows its ids": f"{ENDING}return [build.id for build in ending.follow_up.builds]",
    "a text shows it": "return f\"{end_workspace(database, 'x', actor='ada')}\"",
    "it is made by a function without a name": "end = lambda: end_workspace(database, 'x', actor='ada')\n    end()",
    "it is entered": "with end_workspace(database, 'x', actor='ada'):\n        pass",
    "it is entered under a name": "with end_workspace(database, 'x', actor='ada') as ending:\n        return ending",
    "it is matched": "match end_workspace(database, 'x', actor='ada'):\n        case None:\n            return 1",
    "it has two names that are not used": "first = second = end_workspace(database, 'x', actor='ada')",
    "it is unpacked with something else": "ending, one = end_workspace(database, 'x', actor='ada'), 1\n    return one",
    "the other part of a tuple is returned": "return (end_workspace(database, 'x', actor='ada'), 1)[1]",
    "the other part of a named tuple is returned": "pair = transitions.cancel_starts(database, [])\n    return pair[0]",
    "it looks up something else": "return request[end_workspace(database, 'x', actor='ada')]",
    "it is put into something that is dropped": "found = {}\n    found['x'] = give_up_lost(database, settings)",
    "an inner function hides its type": (
        "def inner() -> object:\n        return end_workspace(database, 'x', actor='ada')\n    inner()"
    ),
    "an inner generator hides its type": (
        "def inner() -> object:\n        yield end_workspace(database, 'x', actor='ada')\n    inner()"
    ),
    "its name gets another value": (
        "found = give_up_lost(database, settings)\n    found = FollowUp()\n    return found"
    ),
    "its name gets another value after a block": (
        "if request:\n        found = give_up_lost(database, settings)\n    found = FollowUp()\n    return found"
    ),
    "its name gets another value in any case": (
        "try:\n        found = give_up_lost(database, settings)\n    finally:\n        found = FollowUp()\n"
        "    return found"
    ),
    "another value is returned in its place": "return give_up_lost(database, settings) and FollowUp()",
    "its name had another value": (
        "found = FollowUp()\n    if request:\n        return found\n    found = give_up_lost(database, settings)"
    ),
    "it is deleted": f"{ENDING}del ending",
    "it is raised": f"{ENDING}raise RuntimeError(ending)",
}
CAREFUL = {
    "it is sent": "send(database, publisher, end_workspace(database, 'x', actor='ada').follow_up)",
    "it is sent by an object": "session.send(end_workspace(database, 'x', actor='ada').follow_up)",
    "it is returned": "return give_up_lost(database, settings)",
    "it is joined": "found = FollowUp()\n    found |= give_up_lost(database, settings)\n    return found",
    "its right part is taken": "return transitions.cancel_starts(database, [])[1]",
    "each of a list is sent": (
        "for ending in [end_workspace(database, x, actor='ada') for x in request]:\n"
        "        send(database, publisher, ending.follow_up)"
    ),
    "a list of them is joined": (
        "lost = [give_up_lost(database, x) for x in request]\n"
        "    return FollowUp.of(build for follow_up in lost for build in follow_up.builds)"
    ),
    "a loop sends the former one": (
        "found = FollowUp()\n    for x in request:\n        send(database, publisher, found)\n"
        "        found = give_up_lost(database, x)"
    ),
    "another is returned if it is empty": "return give_up_lost(database, settings) or FollowUp()",
    "one of its two names is returned": "first = second = give_up_lost(database, settings)\n    return second",
    "its name gets another value later": (
        "found = give_up_lost(database, settings)\n    send(database, publisher, found)\n"
        "    found = FollowUp()\n    return found"
    ),
    "its name gets another value in one case": (
        "found = give_up_lost(database, settings)\n    if not request:\n        found = FollowUp()\n    return found"
    ),
    "it is made by a function without a name": (
        "end = lambda: end_workspace(database, 'x', actor='ada')\n    return end()"
    ),
    "it is asked for below where it is returned": "return x if (x := give_up_lost(database, settings)) else None",
    "an inner function returns it": (
        "def inner() -> FollowUp:\n        return give_up_lost(database, settings)\n    return inner()"
    ),
    "the right part of a named tuple is returned": (
        "pair = transitions.cancel_starts(database, [])\n    return FollowUp.of(pair[1])"
    ),
    "it is awaited": "return await give_up_lost(database, settings)",
    "both parts have names": "count, builds = transitions.cancel_starts(database, [])\n    return FollowUp.of(builds)",
}
HEAD = """
from prebuild_tasks.claims.take import claim
from prebuild_tasks.upkeep.lost_hosts import give_up_lost
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces import transitions
from prebuild_tasks.workspaces.follow_ups import FollowUp
from prebuild_tasks.workspaces.outbox import send
from prebuild_tasks.workspaces.release import end_workspace

def show(claimed: Claimed):
    print(claimed.answer)

def caller(database, settings, publisher, request) -> FollowUp:
    """


@pytest.mark.parametrize("body", FORGETFUL.values(), ids=FORGETFUL.keys())
def test_a_forgotten_one_is_found(body: str) -> None:
    assert len(dropped_in(HEAD + body)) == 1


@pytest.mark.parametrize("body", CAREFUL.values(), ids=CAREFUL.keys())
def test_one_that_is_handed_on_is_not(body: str) -> None:
    assert dropped_in(HEAD + body) == []
