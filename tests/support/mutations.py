"""Mutations of rules, each spelled for v0.1.0 and for this tree, with the tests that should notice it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """A replacement of one text, which must occur exactly once, in one file."""

    path: str
    """Under prebuild_tasks/."""
    text: str
    replacement: str
    tests: tuple[str, ...]
    """Under tests/: files, or single tests."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule made wrong in both trees in the same way."""

    name: str
    before: Change
    after: Change


def _same(name: str, text: str, replacement: str, before: tuple[str, str], after: tuple[str, str]) -> Mutation:
    """Make the same replacement in both trees; `before` and `after` are a module and the tests that should notice."""
    return Mutation(
        name,
        Change(before[0], text, replacement, tuple(before[1].split())),
        Change(after[0], text, replacement, tuple(after[1].split())),
    )


def _each(name: str, before: tuple[str, str, str, str], after: tuple[str, str, str, str]) -> Mutation:
    """Make a replacement that is spelled differently in each tree: module, text, replacement, tests."""
    return Mutation(
        name,
        Change(*before[:3], tuple(before[3].split())),
        Change(*after[:3], tuple(after[3].split())),
    )


_STATE = (("core/state.py", "core/test_state.py"), ("reconcile/rules/state.py", "reconcile/rules/test_state.py"))
_BACKOFF = (
    ("core/backoff.py", "core/test_backoff.py"),
    ("reconcile/rules/backoff.py", "reconcile/rules/test_backoff.py"),
)
_ROLLOUT = "core/test_rollout.py services/test_rolling.py", "reconcile/rules/test_rollout.py reconcile/test_rolling.py"
_EXTEND = (
    "services/test_operate.py regressions/test_a_workspace_is_extended_while_the_sweep_ends_it.py",
    "pools/test_operations.py upkeep/test_sweep_races_extend.py",
)
_STRAYS = ("services/strays.py", "services/test_strays.py"), ("upkeep/strays/compare.py", "upkeep/test_strays.py")
_HELD_BACK = _STRAYS[0], ("upkeep/rules.py", "upkeep/test_strays.py")

MUTATIONS = (
    _same("ttl: not strictly older", "now - created_at > preset.ttl", "now - created_at >= preset.ttl", *_STATE),
    _same(
        "invalidation: not strictly before", "created_at < preset.last_invalidated_at",
        "created_at <= preset.last_invalidated_at", *_STATE,
    ),
    _same("backoff: its end does not wait", "if now <= until", "if now < until", *_BACKOFF),
    _same("backoff: one interval for any number", "failures.num_failed * interval", "interval", *_BACKOFF),
    _same("slow start: ends later", "limit * 2 >= SLOW_START_ENDS_AT", "limit * 2 > SLOW_START_ENDS_AT", *_BACKOFF),
    _same("lost turns: rest too early", "if lost <= LOST_TURNS_FREE", "if lost < LOST_TURNS_FREE", *_BACKOFF),
    _each(
        "limits: the last of equals is named",
        ("core/limits.py", "max(limit - used, 0) < allowed.count", "max(limit - used, 0) <= allowed.count",
         "core/test_limits.py services/test_budgets.py"),
        ("reconcile/rules/limits.py", "room < granted.number", "room <= granted.number",
         "reconcile/rules/test_limits.py reconcile/test_budgets.py"),
    ),
    _same(
        "fair share: one too many", "(position < extra)", "(position <= extra)",
        ("core/limits.py", "core/test_limits.py"), ("reconcile/rules/limits.py", "reconcile/rules/test_limits.py"),
    ),
    _same(
        "slots: holders above the ceiling stay", "above[: len(free)]", "above[:0]",
        ("core/limits.py", "core/test_limits.py"), ("reconcile/rules/limits.py", "reconcile/rules/test_limits.py"),
    ),
    _same(
        "victims: ready ones may go first", "(item.ready, item.created_at, item.id)", "(item.created_at, item.id)",
        ("core/actions.py", "core/test_actions.py"), ("reconcile/rules/decide.py", "reconcile/rules/test_decide.py"),
    ),
    _each(
        "hard limit: one failure later",
        ("services/reconcile.py", "view.failures_in_row >= limit", "view.failures_in_row > limit",
         "services/test_reconcile.py"),
        ("reconcile/rules/next_turn.py", "pool.failures_in_row >= pool.hard_limit",
         "pool.failures_in_row > pool.hard_limit", "reconcile/test_turn.py"),
    ),
    _each(
        "pause: a paused pool gets its turn",
        ("services/reconcile.py", "    if view.paused:", "    if view is None:", "services/test_operate.py"),
        ("reconcile/rules/rollout.py", "return self.paused or (", "return (", "pools/test_operations.py"),
    ),
    _each(
        "rolling: an older version stands in for nothing",
        ("core/rollout.py", "standing = min(len(second), _missing(successor.desired, successor.eligible))",
         "standing = 0", _ROLLOUT[0]),
        ("reconcile/rules/wants.py",
         "return successor.keeps(pool.outdated.second_choices) if successor else 0", "return 0", _ROLLOUT[1]),
    ),
    _each(
        "rolling: no surge",
        ("core/rollout.py", "(max(rolling.max_surge, 1) if replacing else 0)", "0", _ROLLOUT[0]),
        ("reconcile/rules/wants.py", "max(pool.rolling.max_surge, 1) if own_outdated or due or older_versions else 0",
         "0", _ROLLOUT[1]),
    ),
    _each(
        "rolling: replaced in the first half of its life",
        ("core/rollout.py", "item.created_at + ttl / 2", "item.created_at", _ROLLOUT[0]),
        ("reconcile/rules/rollout.py", "now >= latest and is_past_half_ttl(preset, item.created_at, now)",
         "now >= latest", _ROLLOUT[1]),
    ),
    _each(
        "deletion guard: what grows makes up for what goes",
        ("core/losses.py", "count for count in fewer.values() if count > 0", "count for count in fewer.values()",
         "core/test_losses.py"),
        ("pools/rules.py", "max(kept - after.kept.get(pool, 0), 0)", "kept - after.kept.get(pool, 0)",
         "pools/test_rules.py"),
    ),
    _each(
        "lock: a turn without its pool's row",
        ("services/reconcile.py", "    if not writes.lock_preset(connection, preset_id):", "    if not preset_id:",
         "faults/test_mutants.py::test_with_everything_in_place_it_holds"),
        ("reconcile/turn.py", "    if not lock_preset(connection, preset_id):", "    if not preset_id:",
         "faults/test_mutants.py::test_with_everything_in_place_it_holds"),
    ),
    _each(
        "lock: limits counted without the organization's row",
        ("services/budgets.py", "    writes.lock_organization(connection, view.organization_id)\n", "",
         "services/test_budgets.py services/test_costs.py"),
        ("reconcile/budgets.py", "    lock_organization(connection, view.organization_id)\n", "",
         "reconcile/test_budgets.py reconcile/test_statement_counts.py"),
    ),
    _each(
        "lock: a claim waits for another's row",
        ("services/claim_at_once.py", ".with_for_update(key_share=True, skip_locked=True)",
         ".with_for_update(key_share=True)", "services/test_claim_at_once.py faults/test_claim_race.py"),
        ("claims/one_statement.py", "skip_locked(oldest)", "oldest.with_for_update(key_share=True)",
         "claims/test_one_statement.py faults/test_claim_race.py"),
    ),
    _each(
        "lock: a probe replaces without the pool's row",
        ("services/health.py", "        writes.lock_preset(connection, preset_id)\n", "", "services/test_health.py"),
        ("upkeep/lost_prebuilds.py", "                lock_preset(connection, number)\n", "", "upkeep/test_probes.py"),
    ),
    _each(
        "lock: an owner's claims are counted at once",
        ("services/claim_at_once.py", "            lock_owner(connection, owner)\n", "",
         "services/test_claim.py services/test_claim_at_once.py"),
        ("claims/one_statement.py", "            lock_owner(connection, attempt.owner)\n", "",
         "claims/test_claim.py claims/test_one_statement.py"),
    ),
    _same(
        "where: a claim takes an expired prebuild",
        '            m.Workspace.created_at >= of_pool("fresh_since"),\n', "",
        ("services/claim_at_once.py", "services/test_claim.py services/test_rolling.py"),
        ("claims/one_statement.py", "claims/test_claim.py reconcile/test_rolling.py"),
    ),
    _each(
        "claim: one above the owner's limit",
        ("services/claim_pools.py", "if has >= limit", "if has > limit", "services/test_claim.py"),
        ("claims/rules.py", "if number >= limit", "if number > limit", "claims/test_claim.py"),
    ),
    _each(
        "follow-up: a claim refills nothing",
        ("services/claim.py",
         "follow_up(database, publisher, claimed.builds, [claimed.preset_id], ref=claimed.answer.preset)", "pass",
         "services/test_claim.py tasks/test_tasks.py"),
        ("claims/take.py", "    try:\n        send(database, publisher, claimed.follow_up)",
         "    try:\n        pass", "claims/test_claim.py worker/test_tasks.py"),
    ),
    _each(
        "follow-up: an ended build wakes nobody",
        ("tasks.py", "    follow_up(here.database, here.messages, result.builds, touched, ref=result.preset)\n", "",
         "tasks/test_tasks.py"),
        ("tasks.py", "    send(current.database, current.messages, result.follow_up)\n", "", "worker/test_tasks.py"),
    ),
    _each(
        "follow-up: what the sweep takes back is not sent",
        ("follow.py",
         ("    follow_up(here.database, here.messages, result.builds, result.preset_ids)\n"
          "    return result.report()\n\n\ndef ask_for_resources"),
         "    return result.report()\n\n\ndef ask_for_resources", "tasks/test_tasks.py"),
        ("upkeep/dispatch.py",
         "    send(database, messages, result.follow_up)\n    return result.report()\n\n\ndef ask_for_resources",
         "    return result.report()\n\n\ndef ask_for_resources", "worker/test_tasks.py"),
    ),
    _each(
        "where: a claimed workspace is chosen for deletion",
        ("storage/writes.py", "IS_LIVE_PREBUILD, IS_RUNNING)", "IS_RUNNING)",
         "services/test_reconcile.py faults/test_claim_race.py"),
        ("workspaces/transitions.py", "IS_LIVE_PREBUILD, IS_RUNNING)", "IS_RUNNING)",
         "reconcile/test_turn.py reconcile/test_turn_concurrent.py faults/test_claim_race.py"),
    ),
    _same(
        "where: a build under way is overtaken by a deletion",
        "            m.Workspace.status.in_(FINAL_STATUSES),\n            *only,", "            *only,",
        ("storage/writes.py", "regressions/test_ending_is_never_blocked.py"),
        ("workspaces/transitions.py", "workspaces/test_release_blocked_by_state.py"),
    ),
    _same(
        "where: a prebuild that was just claimed is deleted",
        "only=[m.Workspace.owner == row.owner, *within]", "only=[]",
        ("services/release.py", "regressions/test_a_prebuild_is_claimed_while_an_operator_deletes_it.py"),
        ("workspaces/release.py", "workspaces/test_delete_races_claim.py"),
    ),
    _same(
        "where: an extended workspace is ended", "now=now, only=[past]", "now=now",
        ("services/sweep.py", _EXTEND[0]), ("upkeep/sweep.py", _EXTEND[1]),
    ),
    _same(
        "where: an older attempt ends the build", "                m.Build.attempt == build.attempt,\n", "",
        ("storage/builds.py", "services/test_build.py"), ("builds/store.py", "builds/test_runner.py"),
    ),
    _each(
        "where: the output of a claimed workspace's builds is pruned",
        ("storage/pruning.py", "m.Build.status.in_(FINAL_STATUSES), ~IS_HAD)", "m.Build.status.in_(FINAL_STATUSES))",
         "services/test_retention.py"),
        ("upkeep/retention/store.py", "m.Build.status.in_(FINAL_STATUSES), ~IS_OWNED)",
         "m.Build.status.in_(FINAL_STATUSES))", "upkeep/test_retention.py"),
    ),
    _each(
        "sweep: one failed prebuild fewer is kept",
        ("services/sweep.py", "kept.c.place > settings", "kept.c.place >= settings", "services/test_reconcile.py"),
        ("upkeep/failed_prebuilds.py", "candidates.c.rank > settings", "candidates.c.rank >= settings",
         "reconcile/test_turn.py"),
    ),
    _each(
        "probes: one failure more",
        ("services/health.py", "item.failures + 1 < settings", "item.failures < settings", "services/test_health.py"),
        ("upkeep/rules.py", "doubts.failures >= failures_max", "doubts.failures > failures_max",
         "upkeep/test_doubts.py"),
    ),
    _each(
        "lost hosts: without an observer",
        ("services/hosts.py", " and witnesses - {host}]", "]", "services/test_hosts.py"),
        ("upkeep/rules.py", " and set(observers) - {host}]", "]", "upkeep/test_lost_hosts.py"),
    ),
    _same("strays: too few are held back", "unknown > max(FEW", "unknown >= max(FEW", *_HELD_BACK),
    _each(
        "strays: a prebuild that a list lags behind is replaced",
        ("services/strays.py", "m.Workspace.ready_at < asked - timedelta(seconds=settings.stray_grace)", "true()",
         "services/test_strays.py"),
        ("upkeep/rules.py", "(grace if self.missing_since else recheck)", "recheck", "upkeep/test_doubts.py"),
    ),
    _same(
        "wake-up: lost while a turn runs", "redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])\n", "\n",
        ("locks.py", "locks/test_locks.py"),
        ("reconcile/locks.py", "reconcile/test_locks.py reconcile/test_locks_without_redis.py"),
    ),
)  # fmt: skip
