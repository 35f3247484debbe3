"""The tasks: each parses its arguments, calls one service and reports. Every one is safe to run twice, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prebuild_tasks import upkeep
from prebuild_tasks.bootstrap import runtime
from prebuild_tasks.celery import app
from prebuild_tasks.claims import ClaimRequest, claim_and_wake
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.reconcile import Reconciler
from prebuild_tasks.upkeep import ask_for_probes, ask_for_resources, probe_on_host, run_sweep
from prebuild_tasks.worker.config import HARD_LIMIT, SOFT_LIMIT
from prebuild_tasks.workspaces import send


@app.task(name="prebuild_tasks.reconcile_all", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def reconcile_all(force: bool = False, **_: Any) -> dict[str, JsonValue]:
    """Run one tick: take a snapshot of everything, then send one message per preset that may need its turn."""
    reconciler: Reconciler = runtime().reconciler
    return reconciler.reconcile_all(force=force).to_json()


@app.task(name="prebuild_tasks.reconcile_preset", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def reconcile_preset(preset: str | int, tick: int = 0, **_: Any) -> dict[str, JsonValue]:
    """Drive one preset, named by id or as template/preset, to its desired size."""
    tick = tick if isinstance(tick, int) else 0
    again = bool((reconcile_preset.request.delivery_info or {}).get("redelivered"))
    reconciler: Reconciler = runtime().reconciler
    return reconciler.reconcile_preset(str(preset), tick=tick, redelivered=again).to_json()


@app.task(name="prebuild_tasks.run_build", acks_late=False, reject_on_worker_lost=False)
def run_build(build: str, **_: Any) -> dict[str, object]:
    """Run the named build, or a more urgent one of its queue: the message is a token for one build."""
    current = runtime()
    result = current.build_runner.run(str(build))
    send(current.database, current.messages, result.follow_up)
    return result.report()


@app.task(name="prebuild_tasks.claim", ignore_result=False, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def claim(presets: Sequence[str] = (), owner: str = "", request_id: str = "", **options: Any) -> dict[str, str]:
    """Claim a prebuild; the result is the claim's answer. Without a request id, the task's own is one.

    Options: name, template and parameters, wait (one is begun for the owner; call again with the same request id).
    """
    known = {
        key: value for key, value in options.items() if key in ("name", "template", "parameters", "wait", "repeated")
    }
    request = ClaimRequest(owner, presets, request_id=request_id or claim.request.id or "", **known)
    current = runtime()
    return claim_and_wake(current.database, current.settings, current.messages, request).report()


@app.task(name="prebuild_tasks.sweep", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def sweep(resources: bool = False, here: bool = False, shared: bool = False, **_: Any) -> dict[str, object]:
    """Mend what messages and workers lost; with `resources`, ask the hosts to look for strays instead.

    `here` and `shared` are how release 0.1 asks one host to look: `sweep_resources_on_host`.
    """
    current = runtime()
    if resources:
        return ask_for_resources(current.database, current.settings, current.messages)
    if here:
        return dict(sweep_resources_on_host(shared=shared))
    return run_sweep(current.database, current.settings, current.messages)


@app.task(name="prebuild_tasks.sweep_resources_on_host", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def sweep_resources_on_host(shared: bool = False, **_: Any) -> dict[str, object]:
    """Look for strays on the host of this worker; with `shared`, also where any host can look."""
    current = runtime()
    return upkeep.sweep_resources_on_host(
        current.database, current.settings, current.messages, current.provisioners, shared=shared
    )


@app.task(name="prebuild_tasks.probe_prebuilds", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def probe_prebuilds(host: str | None = None, **_: Any) -> dict[str, object]:
    """Ask the hosts that have something due to probe it.

    `host` is how release 0.1 asks one host: `probe_prebuilds_on_host`.
    """
    if host is not None:
        return dict(probe_prebuilds_on_host(host))
    current = runtime()
    return ask_for_probes(current.database, current.settings, current.messages)


@app.task(name="prebuild_tasks.probe_prebuilds_on_host", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def probe_prebuilds_on_host(host: str = "", **_: Any) -> dict[str, object]:
    """Probe the prebuilds of `host` that are due, or with `""` those that any host can reach; replace what fails."""
    current = runtime()
    return probe_on_host(current.database, current.settings, current.messages, current.provisioners, host)
