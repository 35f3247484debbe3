"""Print where each test of v0.1.0 is now, or why it was dropped.

`python -m tests.support.moved_tests`: a table in Markdown, from both collections. Exits with 1 if a test is missing
without a reason, or if 20 or more were dropped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.old_tree import ROOT, NoHistoryError, install, unpack

FILES = Path(__file__).with_name("moved_tests.txt")
"""`old.py new.py`, one moved file a line."""
MOST_FALLEN = 19
RENAMED = {
    "tests/cli/test_report.py::test_the_page_needs_nothing_else_and_is_well_formed":
        "tests/web/test_report_page.py::test_the_page_needs_nothing_else_and_is_well_formed",
    "tests/cli/test_report.py::test_values_are_escaped":
        "tests/web/test_report_page.py::test_values_are_escaped",
    "tests/locks/test_locks.py::test_a_redis_that_is_not_there_is_one_sentence":
        "tests/messaging/test_redis.py::test_a_redis_that_is_not_there_is_one_sentence",
    "tests/tasks/test_tasks.py::test_a_message_in_celerys_own_form":
        "tests/messaging/test_publisher.py::test_a_message_in_celerys_own_form",
    "tests/tasks/test_tasks.py::test_a_wake_up_without_redis_takes_no_longer_than_its_deadline":
        "tests/messaging/test_publisher.py::test_a_wake_up_without_redis_takes_no_longer_than_its_deadline",
    "tests/cli/test_deploy.py::test_the_readmes_table_names_every_setting":
        "tests/cli/test_deploy.py::test_the_settings_page_names_every_setting",
    "tests/cli/test_broken_situations.py::test_clocks_apart": "tests/cli/test_broken_situations.py::test_skewed_clock",
    "tests/faults/test_poison.py::test_row_9_clocks_an_hour_apart":
        "tests/faults/test_poison.py::test_row_9_clocks_skewed_by_an_hour",
    "tests/core/test_explain.py::test_a_full_pool_has_nothing_to_mend":
        "tests/insight/explain/test_rules.py::test_a_full_pool_has_nothing_to_fix",
    "tests/provisioners/test_process.py::test_suspend_leaves_no_process_and_resume_serves_the_same_again":
        "tests/provisioners/test_process_serve.py::test_rest_leaves_no_process_and_serve_again_serves_the_same_again",
    "tests/e2e/test_docs_commands.py::test_every_exception_is_needed_and_every_link_leads_somewhere":
        "tests/e2e/test_docs_commands.py::test_every_exception_is_needed",
    "tests/regressions/test_output_that_can_not_be_stored.py::test_the_heart_goes_on":
        "tests/builds/test_lease_ends_on_refused_output.py::test_leases_are_still_renewed",
    "tests/regressions/test_what_fails_leaves_nothing_behind.py::test_a_process_apart_that_does_not_start_keeps_no_pipe":
        "tests/provisioners/test_leftovers_without_space.py::test_an_isolated_process_that_does_not_start_keeps_no_pipe",
    "tests/services/test_build.py::test_a_beating_heart_is_left_alone":
        "tests/builds/test_runner.py::test_a_build_with_a_renewed_lease_is_left_alone",
    "tests/services/test_build_limits.py::test_two_hundred_builds_beat_in_time":
        "tests/builds/test_limits.py::test_two_hundred_leases_are_renewed_in_time",
    "tests/services/test_build.py::test_a_token_without_work_is_no_error":
        "tests/builds/test_runner.py::test_a_token_without_work_is_not_an_error",
    "tests/cli/test_cli.py::test_explain_ends_in_the_command_that_mends_it":
        "tests/cli/test_cli.py::test_explain_ends_in_the_command_that_fixes_it",
    "tests/cli/test_cli.py::test_a_credential_that_is_no_text_is_said_in_a_sentence":
        "tests/cli/test_cli_settings.py::test_a_credential_that_is_not_text_is_reported_in_a_sentence",
    "tests/cli/test_deploy.py::test_probes_look_at_the_heart_beats_of_their_own_role":
        "tests/cli/test_deploy.py::test_probes_look_at_the_heartbeats_of_their_own_role",
    "tests/services/test_report.py::test_a_failed_start_is_no_time_to_ready":
        "tests/insight/report/test_compile.py::test_a_failed_start_has_no_time_to_ready",
    "tests/services/test_pools.py::test_another_preset_is_no_other_recipe":
        "tests/pools/test_apply.py::test_another_preset_is_not_another_recipe",
    "tests/regressions/test_changes_are_told_in_the_files_words.py::test_an_organization_is_no_promotion":
        "tests/pools/test_compare_shows_column_names.py::test_an_organization_is_not_a_promotion",
    "tests/provisioners/test_simulated.py::test_the_same_seed_the_same_fate":
        "tests/provisioners/test_simulated.py::test_the_same_seed_gives_the_same_results",
    "tests/core/test_conformance.py::test_what_is_no_case_is_refused":
        "tests/reconcile/rules/test_conformance.py::test_what_is_not_a_case_is_refused",
    "tests/core/test_overlap.py::test_an_hour_the_clock_leaves_out_is_no_instant":
        "tests/reconcile/rules/test_overlap.py::test_an_hour_the_clock_leaves_out_is_not_an_instant",
    "tests/services/test_rolling.py::test_a_rolling_promotion_is_no_mass_deletion":
        "tests/reconcile/test_rolling.py::test_a_rolling_promotion_is_not_a_mass_deletion",
    "tests/services/test_reconcile.py::test_a_preset_that_is_gone_is_no_error":
        "tests/reconcile/test_turn.py::test_a_preset_that_is_gone_is_not_an_error",
    "tests/services/test_health.py::test_a_provisioner_that_can_not_be_asked_is_no_verdict":
        "tests/upkeep/test_probes.py::test_a_provisioner_that_cannot_be_asked_is_not_a_verdict",
    "tests/services/test_retention.py::test_a_claim_on_a_preset_that_goes_meanwhile_is_no_crash":
        "tests/upkeep/test_retention.py::test_a_claim_on_a_preset_that_goes_meanwhile_does_not_crash",
    "tests/regressions/test_ending_is_never_blocked.py::test_asked_again_while_the_hook_is_being_stopped_is_no_error":
        "tests/workspaces/test_release_blocked_by_state.py::test_asked_again_while_the_hook_is_being_stopped_is_not_an_error",
    "tests/services/test_report.py::test_what_there_is_no_data_of_is_said":
        "tests/insight/report/test_compile.py::test_what_there_is_no_data_of_is_noted",
}  # fmt: skip
"""Tests that have another name in their file's successor."""
FELL = {
    "tests/core/test_schedule.py::test_english":
        "the description of a schedule in words, which only this test called, is gone",
}  # fmt: skip
"""Tests of rules that no longer exist, or no longer exist twice."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A test of v0.1.0, and its successor."""

    old: str
    new: str
    """Empty if the test was dropped."""
    reason: str = ""


def collect(tree: Path, python: Path) -> list[str]:
    """Return the ids of all tests of a tree, in the order of their collection."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [str(python), "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tree, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the tests of {tree} cannot be collected:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [line for line in done.stdout.splitlines() if "::" in line]


def function_of(test: str) -> str:
    """Return the id without its parameters."""
    return test.partition("[")[0]


def in_part(function: str, cases: Mapping[str, Sequence[str]]) -> str:
    """Return the function's id in the part of its file, `test_a_part.py` of `test_a.py`, that it went to."""
    if cases.get(function):
        return function
    file, _, name = function.partition("::")
    stem = file.removesuffix(".py") + "_"
    parts = [found for found in cases if found.startswith(stem) and found.endswith(f"::{name}")]
    return parts[0] if len(parts) == 1 else function


def compare(old: Sequence[str], new: Sequence[str], files: Mapping[str, str]) -> Iterator[Moved]:
    """Match tests by id, else by their position among a function's cases, whose texts may have been reworded."""
    ids = set(new)
    cases: dict[str, list[str]] = defaultdict(list)
    for test in new:
        cases[function_of(test)].append(test)
    places: dict[str, int] = defaultdict(int)
    for test in old:
        function = function_of(test)
        place = places[function]
        places[function] += 1
        file, _, rest = RENAMED.get(function, function).partition("::")
        moved = in_part(f"{files.get(file, file)}::{rest}", cases)
        same = moved + test.removeprefix(function)
        if same in ids:
            yield Moved(test, same)
        elif place < len(cases[moved]):
            yield Moved(test, cases[moved][place], "reworded parameters")
        else:
            yield Moved(test, "", FELL.get(function, ""))


def table(rows: Iterable[Moved]) -> str:
    """Format the rows in Markdown; a function's cases share one line if they all moved alike."""
    grouped: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in rows:
        grouped[function_of(row.old), function_of(row.new), row.reason] += 1
    lines = ["| before | cases | now |", "|---|---|---|"]
    for (old, new, reason), count in grouped.items():
        now = f"`{new}`" + (f" ({reason})" if reason else "") if new else f"fell: {reason or '?'}"
        lines.append(f"| `{old}` | {count} | {now} |")
    return "\n".join(lines)


def moved_files() -> dict[str, str]:
    """Read the table of moved files."""
    return dict(line.split() for line in FILES.read_text().splitlines())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a file with the ids of the release before, instead of collecting")
    given = parser.parse_args()
    if given.before:
        old = [line for line in given.before.read_text().splitlines() if "::" in line]
    else:
        with tempfile.TemporaryDirectory(prefix="moved-tests-") as place:
            try:
                tree = unpack(Path(place))
            except NoHistoryError as error:
                raise SystemExit(str(error)) from None
            old = collect(tree, install(tree))
    new = collect(ROOT, Path(sys.executable))
    rows = list(compare(old, new, moved_files()))
    print(table(rows))
    fallen = [row for row in rows if not row.new]
    print(f"\n{len(old)} tests before, {len(new)} now; {len(fallen)} fell.")
    if missing := sorted({function_of(row.old) for row in fallen if not row.reason}):
        raise SystemExit("missing without a reason:\n" + "\n".join(missing))
    if len(fallen) > MOST_FALLEN:
        raise SystemExit(f"more than {MOST_FALLEN} fell")


if __name__ == "__main__":
    main()
