"""The Celery tasks. Each parses its arguments, calls one service and reports, and is safe to run twice at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from prebuild_tasks import upkeep
from prebuild_tasks.bootstrap import load_all, runtime
from prebuild_tasks.celery import app
from prebuild_tasks.claims import ClaimRequest, claim_and_wake
from prebuild_tasks.json_views import fields_of, result_of
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.reconcile import Reconciler
from prebuild_tasks.upkeep import ask_for_probes, ask_for_resources, probe_on_host, run_sweep
from prebuild_tasks.worker.config import HARD_LIMIT, SOFT_LIMIT
from prebuild_tasks.workspaces import send

load_all()


@app.task(name="prebuild_tasks.reconcile_all", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def reconcile_all(force: bool = False, **_: Any) -> dict[str, JsonValue]:
    """Run one tick: take a snapshot of all presets, and send a message for each one that may need a turn."""
    reconciler: Reconciler = runtime().reconciler
    return fields_of(reconciler.reconcile_all(force=force))


@app.task(name="prebuild_tasks.reconcile_preset", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def reconcile_preset(preset: str | int, tick: int = 0, **_: Any) -> dict[str, JsonValue]:
    """Run one turn of a preset, given by id or as template/preset, towards its desired size."""
    tick = tick if isinstance(tick, int) else 0
    redelivered = bool((reconcile_preset.request.delivery_info or {}).get("redelivered"))
    reconciler: Reconciler = runtime().reconciler
    return result_of(reconciler.reconcile_preset(str(preset), tick=tick, redelivered=redelivered))


@app.task(name="prebuild_tasks.run_build", acks_late=False, reject_on_worker_lost=False)
def run_build(build: str, **_: Any) -> dict[str, JsonValue]:
    """Run this build, or a more urgent one of the same queue: a message allows one build, whichever it is."""
    current = runtime()
    result = current.build_runner.run(str(build))
    send(current.database, current.messages, result.follow_up)
    return result_of(result.report())


@app.task(name="prebuild_tasks.claim", ignore_result=False, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def claim(  # many arguments: the task's names are those of a request's fields
    presets: Sequence[str] = (),
    owner: str = "",
    request_id: str = "",
    name: str = "",
    template: str = "",
    parameters: Mapping[str, str] = MappingProxyType({}),
    wait: bool = False,
    repeated: bool = False,
    **_: Any,
) -> dict[str, JsonValue]:
    """Claim a prebuild, and return the claim's answer.

    Args:
        presets: Presets as template/preset, in order of preference.
        owner: The user who gets the workspace.
        request_id: Id of the request, by which it can be repeated; by default, the id of the task.
        name: The workspace's name; by default the prebuild's, without its prefix.
        template: The template whose preset matches the parameters, in place of `presets`.
        parameters: Its parameters.
        wait: If no prebuild is ready, start a build for the owner; call again with the same request id.
        repeated: The request was made before. It is then not counted as another miss.
        **_: Ignored.
    """
    request = ClaimRequest(
        owner,
        presets,
        template=template,
        parameters=parameters,
        name=name,
        request_id=request_id or claim.request.id or "",
        wait=wait,
        repeated=repeated,
    )
    current = runtime()
    return result_of(claim_and_wake(current.database, current.settings, current.messages, request))


@app.task(name="prebuild_tasks.sweep", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def sweep(resources: bool = False, here: bool = False, shared: bool = False, **_: Any) -> dict[str, JsonValue]:
    """Repair what lost messages and workers left behind, or with `resources`, ask the hosts to look for strays.

    `here` and `shared` are understood for release 0.1, which sends them instead of `sweep_resources_on_host`.
    """
    current = runtime()
    if resources:
        return fields_of(ask_for_resources(current.database, current.settings, current.messages))
    if here:
        return dict(sweep_resources_on_host(shared=shared))
    return result_of(run_sweep(current.database, current.settings, current.messages))


@app.task(name="prebuild_tasks.sweep_resources_on_host", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def sweep_resources_on_host(shared: bool = False, **_: Any) -> dict[str, JsonValue]:
    """Look for strays on this worker's host, and with `shared`, also among resources that any host can list."""
    current = runtime()
    report = upkeep.sweep_resources_on_host(
        current.database, current.settings, current.messages, current.provisioners, shared=shared
    )
    return result_of(report)


@app.task(name="prebuild_tasks.probe_prebuilds", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def probe_prebuilds(host: str | None = None, **_: Any) -> dict[str, JsonValue]:
    """Ask each host that has prebuilds due for a probe to probe them.

    `host` is understood for release 0.1, which sends it instead of `probe_prebuilds_on_host`.
    """
    if host is not None:
        return dict(probe_prebuilds_on_host(host))
    current = runtime()
    return fields_of(ask_for_probes(current.database, current.settings, current.messages))


@app.task(name="prebuild_tasks.probe_prebuilds_on_host", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def probe_prebuilds_on_host(host: str = "", **_: Any) -> dict[str, JsonValue]:
    """Probe the due prebuilds of a host, and replace those that fail.

    An empty `host` means the prebuilds that any host can reach.
    """
    current = runtime()
    report = probe_on_host(current.database, current.settings, current.messages, current.provisioners, host)
    return fields_of(report)
