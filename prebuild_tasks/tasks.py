"""The tasks: parse, call one service, report. Every one is safe to run twice and at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prebuild_tasks.bootstrap import runtime
from prebuild_tasks.celery import app
from prebuild_tasks.claims import claim as claims
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.upkeep import dispatch
from prebuild_tasks.worker.config import HARD_LIMIT, SOFT_LIMIT
from prebuild_tasks.workspaces.outbox import follow_up


@app.task(name="prebuild_tasks.reconcile_all", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def reconcile_all(force: bool = False, **_: Any) -> dict[str, Any]:
    """One tick: a snapshot of everything, then one message per preset that may need its turn."""
    return dict(runtime().reconciler.reconcile_all(force=force))


@app.task(name="prebuild_tasks.reconcile_preset", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def reconcile_preset(preset: str | int, tick: int = 0, **_: Any) -> dict[str, Any]:
    """Drive one preset, named by id or as template/preset, to its desired size."""
    tick = tick if isinstance(tick, int) else 0
    again = bool((reconcile_preset.request.delivery_info or {}).get("redelivered"))
    return dict(runtime().reconciler.reconcile_preset(str(preset), tick=tick, redelivered=again))


@app.task(name="prebuild_tasks.run_build", acks_late=False, reject_on_worker_lost=False)
def run_build(build: str, **_: Any) -> dict[str, Any]:
    """A token for one build: runs the named one, or a more urgent one of its queue."""
    here = runtime()
    result = here.build_runner.run(str(build))
    touched = [] if result.preset_id is None else [result.preset_id]
    follow_up(here.database, here.messages, result.builds, touched, ref=result.preset)
    return result.report()


@app.task(name="prebuild_tasks.claim", ignore_result=False, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def claim(presets: Sequence[str] = (), owner: str = "", request_id: str = "", **options: Any) -> dict[str, Any]:
    """Claim a prebuild; the result is the claim's answer. Without a request id, the task's own is one.

    Options: name, template and parameters, wait (one is begun for the owner; call again with the same request id).
    """
    known = {
        key: value for key, value in options.items() if key in ("name", "template", "parameters", "wait", "repeated")
    }
    request = ClaimRequest(owner, presets, request_id=request_id or claim.request.id or "", **known)
    here = runtime()
    return claims.claim_and_wake(here.database, here.settings, here.messages, request).report()


@app.task(name="prebuild_tasks.sweep", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def sweep(resources: bool = False, here: bool = False, shared: bool = False, **_: Any) -> dict[str, Any]:
    """Mend what messages and workers lost. `resources`: ask the hosts to look for strays; `here`: look."""
    if resources:
        return dispatch.ask_for_resources(runtime())
    if here:
        return dispatch.sweep_resources_here(runtime(), shared=shared)
    return dispatch.sweep(runtime())


@app.task(name="prebuild_tasks.probe_prebuilds", time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def probe_prebuilds(host: str | None = None, **_: Any) -> dict[str, Any]:
    """Without a host, ask those that have something due; with one (`""`: any), probe there."""
    if host is None:
        return dispatch.ask_for_probes(runtime())
    return dispatch.probe(runtime(), host)
