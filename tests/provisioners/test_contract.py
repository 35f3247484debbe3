"""The contract of provisioners.Provisioner."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import distribution
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import KeepsOutput, Resource, WorkspaceSpec
from tests.provisioners.adapters import ADAPTERS, Adapter
from tests.provisioners.context import Context, PausingContext
from tests.support.wait import wait_until

INSTALLATION = "11111111-1111-4111-8111-111111111111"
ENTRY_POINTS = "prebuild_tasks.provisioners"


def test_every_provisioner_of_the_package_passes_the_contract() -> None:
    ours = {point.name for point in distribution("prebuild-tasks").entry_points if point.group == ENTRY_POINTS}
    assert ours
    assert ours <= ADAPTERS.keys()


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.docker) if name == "docker" else name for name in ADAPTERS]
)
def adapter(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Adapter]:
    yield from ADAPTERS[request.param](request, settings)


@pytest.fixture
def spec(adapter: Adapter) -> WorkspaceSpec:
    return WorkspaceSpec(
        installation=INSTALLATION, workspace_id=str(uuid.uuid4()), attempt=1, name="prebuild-a-b-1", owner="prebuilds",
        template="t", version="v", preset="p", config=adapter.works, parameters={"A": "1"},
    )  # fmt: skip


def listed(adapter: Adapter, installation: str = INSTALLATION) -> list[Resource]:
    return list(adapter.provisioner.list(installation, [adapter.works]))


def ids(adapter: Adapter, installation: str = INSTALLATION) -> list[str]:
    return [resource.workspace_id for resource in listed(adapter, installation)]


def test_start_probe_list_delete(adapter: Adapter, spec: WorkspaceSpec) -> None:
    made = adapter.provisioner.start(spec, Context())
    assert made.workspace_id == spec.workspace_id
    assert made.resource_id
    assert adapter.provisioner.probe(spec).ready
    assert ids(adapter) == [spec.workspace_id]
    adapter.provisioner.delete(spec, Context())
    assert ids(adapter) == []
    assert adapter.running(spec.workspace_id) == []
    gone = adapter.provisioner.probe(spec)
    assert not gone.ready
    assert gone.message


def test_start_again_answers_what_is_there(adapter: Adapter, spec: WorkspaceSpec) -> None:
    first = adapter.provisioner.start(spec, Context())
    again = Context()
    assert adapter.provisioner.start(spec, again) == first
    assert adapter.provisioner.start(replace(spec, attempt=2), again) == first
    assert again.text == ""


def test_delete_is_safe_when_there_is_nothing_and_when_repeated(adapter: Adapter, spec: WorkspaceSpec) -> None:
    adapter.provisioner.delete(spec, Context())
    adapter.provisioner.start(spec, Context())
    adapter.provisioner.delete(spec, Context())
    adapter.provisioner.delete(spec, Context())


def test_a_failing_start_speaks_in_the_recipes_own_words(adapter: Adapter, spec: WorkspaceSpec) -> None:
    context = Context()
    with pytest.raises(ProvisionerError, match="no disk"):
        adapter.provisioner.start(replace(spec, config=adapter.fails), context)
    assert "no disk" in context.text
    adapter.provisioner.delete(spec, Context())
    assert ids(adapter) == []


def test_cancelled_in_the_middle_and_taken_up_again(adapter: Adapter, spec: WorkspaceSpec) -> None:
    context, raised = Context(), list[object]()
    hanging = replace(spec, config=adapter.hangs)
    thread = threading.Thread(target=_into(raised, lambda: adapter.provisioner.start(hanging, context)))
    thread.start()
    wait_until(lambda: "begun" in context.text, what="the start's output")
    context.stop()
    thread.join(60)
    assert isinstance(raised[0], BuildStoppedError)
    assert adapter.running(spec.workspace_id) == [], "all of it was ended"
    assert ids(adapter) == [spec.workspace_id], "half-made ones are listed"
    adapter.provisioner.start(replace(spec, attempt=2), Context())
    assert adapter.provisioner.probe(spec).ready


def test_a_higher_attempt_ends_what_a_lower_one_left_running(adapter: Adapter, spec: WorkspaceSpec) -> None:
    context, raised = Context(), list[object]()
    hanging = replace(spec, config=adapter.hangs)
    thread = threading.Thread(target=_into(raised, lambda: adapter.provisioner.start(hanging, context)))
    thread.start()
    wait_until(lambda: "begun" in context.text, what="the start's output")
    second = adapter.provisioner.start(replace(spec, attempt=2), Context())
    thread.join(60)
    assert isinstance(raised[0], ProvisionerError), "the old attempt's late end is refused"
    assert adapter.provisioner.probe(spec).ready
    assert adapter.provisioner.start(replace(spec, attempt=2), Context()) == second


def test_an_old_attempt_that_wakes_up_is_refused(adapter: Adapter, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError):
        adapter.provisioner.start(replace(spec, attempt=2, config=adapter.fails), Context())
    with pytest.raises(BuildStoppedError):
        adapter.provisioner.start(spec, Context())


@pytest.mark.parametrize("pause_at", [1, 2, 3])
def test_a_frozen_attempt_that_wakes_up_late_harms_nothing(
    adapter: Adapter, spec: WorkspaceSpec, pause_at: int
) -> None:
    frozen, outcome = PausingContext(pause_at), list[object]()
    thread = threading.Thread(target=_into(outcome, lambda: outcome.append(adapter.provisioner.start(spec, frozen))))
    thread.start()
    wait_until(lambda: frozen.paused.is_set() or not thread.is_alive(), what="the pause")
    second = adapter.provisioner.start(replace(spec, attempt=2), Context())
    frozen.wake()
    thread.join(60)
    assert outcome[0] == second or isinstance(outcome[0], ProvisionerError), "answers what is there, or is refused"
    assert adapter.provisioner.probe(spec).ready
    assert adapter.provisioner.start(replace(spec, attempt=2), Context()) == second
    adapter.provisioner.delete(spec, Context())
    assert adapter.running(spec.workspace_id) == []


def test_a_new_build_of_a_published_workspace_counts_its_attempts_anew(adapter: Adapter, spec: WorkspaceSpec) -> None:
    made = adapter.provisioner.start(replace(spec, attempt=2), Context())
    adapter.provisioner.stop(spec, Context())
    assert adapter.provisioner.start(spec, Context()) == made


def test_delete_of_half_made(adapter: Adapter, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError):
        adapter.provisioner.start(replace(spec, config=adapter.fails), Context())
    adapter.provisioner.delete(spec, Context())
    assert ids(adapter) == []
    assert not adapter.provisioner.probe(spec).ready


def test_delete_while_a_start_runs_leaves_nothing(adapter: Adapter, spec: WorkspaceSpec) -> None:
    context, raised = Context(), list[object]()
    hanging = replace(spec, config=adapter.hangs)
    thread = threading.Thread(target=_into(raised, lambda: adapter.provisioner.start(hanging, context)))
    thread.start()
    wait_until(lambda: "begun" in context.text, what="the start's output")
    adapter.provisioner.delete(spec, Context())
    thread.join(60)
    assert isinstance(raised[0], ProvisionerError)
    assert adapter.running(spec.workspace_id) == []
    assert ids(adapter) == []


def test_a_stopped_delete_is_finished_by_the_next(adapter: Adapter, spec: WorkspaceSpec) -> None:
    adapter.provisioner.start(spec, Context())
    stopped = Context()
    stopped.stop()
    with pytest.raises(BuildStoppedError):
        adapter.provisioner.delete(spec, stopped)
    adapter.provisioner.delete(replace(spec, attempt=2), Context())
    assert ids(adapter) == []
    assert adapter.running(spec.workspace_id) == []


def test_claim_leaves_a_durable_mark(adapter: Adapter, spec: WorkspaceSpec) -> None:
    adapter.provisioner.start(spec, Context())
    assert [r.claimed for r in listed(adapter)] == [False]
    for _ in range(2):
        adapter.provisioner.claim(replace(spec, owner="ada"), Context())
    assert [r.claimed for r in listed(adapter)] == [True]


def test_claim_of_what_is_gone_is_an_error(adapter: Adapter, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError):
        adapter.provisioner.claim(replace(spec, owner="ada"), Context())
    assert ids(adapter) == []


def test_what_somebody_claimed_is_not_given_to_another(adapter: Adapter, spec: WorkspaceSpec) -> None:
    """Such a request comes from an older database that was restored."""
    adapter.provisioner.start(spec, Context())
    adapter.provisioner.claim(replace(spec, owner="ada"), Context())
    with pytest.raises(ProvisionerError, match="ada"):
        adapter.provisioner.claim(replace(spec, owner="bob"), Context())


def test_what_somebody_claimed_is_not_deleted_for_the_pool(adapter: Adapter, spec: WorkspaceSpec) -> None:
    adapter.provisioner.start(spec, Context())
    adapter.provisioner.claim(replace(spec, owner="ada"), Context())
    with pytest.raises(ProvisionerError, match="ada"):
        adapter.provisioner.delete(spec, Context())
    assert ids(adapter) == [spec.workspace_id]
    adapter.provisioner.delete(replace(spec, owner="ada"), Context())
    assert ids(adapter) == []


def test_stop_keeps_what_is_stored(adapter: Adapter, spec: WorkspaceSpec) -> None:
    adapter.provisioner.start(spec, Context())
    adapter.provisioner.stop(spec, Context())
    assert not adapter.provisioner.probe(spec).ready
    adapter.provisioner.start(spec, Context())
    assert adapter.provisioner.probe(spec).ready


def test_what_is_served_and_ends_is_gone(adapter: Adapter, spec: WorkspaceSpec) -> None:
    """A start whose workspace is gone fails at once; a provisioner that serves nothing has nothing that ends."""
    adapter.provisioner.start(spec, Context())
    adapter.end(spec.workspace_id)
    probe = adapter.provisioner.probe(spec)
    serves = isinstance(adapter.provisioner, KeepsOutput)
    assert (probe.ready, probe.gone) == ((False, True) if serves else (True, False))


def test_foreign_installations_are_neither_listed_nor_touched(adapter: Adapter, spec: WorkspaceSpec) -> None:
    adapter.provisioner.start(spec, Context())
    other = "22222222-2222-4222-8222-222222222222"
    assert ids(adapter, other) == []
    with pytest.raises(ProvisionerError):
        adapter.provisioner.delete(replace(spec, installation=other), Context())
    assert ids(adapter) == [spec.workspace_id]


def test_a_config_that_can_never_work_is_refused(adapter: Adapter) -> None:
    with pytest.raises(CannotBuildError):
        adapter.provisioner.check_config(adapter.refused)
    adapter.provisioner.check_config(adapter.works)


def _into(raised: list[Any], work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the test looks at whatever it was
            raised.append(error)

    return run
