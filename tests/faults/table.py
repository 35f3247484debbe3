"""Print the tables of docs/reliability.md from faults.json: python -m tests.faults.table."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.support.results import FILE, ROOT, Result, load

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- Generated from faults.json by `make faults`. Do not edit. -->"
END = "<!-- End of the generated part. -->"
HEAD = "| # | fault | trials in `make faults` | seen | commit, minutes, seed | reproduce: `pytest -m faults …` |"
RULE = "|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table, and the tests that cause its fault."""

    number: str
    """Empty for faults without a number."""
    fault: str
    trials: str
    tests: tuple[str, ...]
    """Prefixes of the names of the row's tests, long enough to identify the row."""
    reproduce: str


ROWS = (
    Row(
        "1", "SIGKILL of a control worker's child, a builds worker, or a whole worker, at 15 named steps", "300",
        ("test_row_1_",), "tests/faults/test_table.py -k row_1_",
    ),
    Row(
        "2", "SIGSTOP of a whole worker at 9 steps of a turn, past its lock's TTL, while another continues", "200",
        ("test_row_2_",), "tests/faults/test_table.py -k row_2",
    ),
    Row(
        "3", "Redis killed and restarted empty; FLUSHALL; locks evicted", "100",
        ("test_row_3_",), "tests/faults/test_table.py -k row_3",
    ),
    Row(
        "4", "connections to Redis black-holed permanently, new ones possible after 1 to 5 s", "50",
        ("test_row_4_",), "tests/faults/test_table.py -k row_4",
    ),
    Row(
        "5", "PostgreSQL restarted in fast and immediate mode; the answer to a commit lost", "100",
        ("test_row_5_",), "tests/faults/test_table.py -k row_5",
    ),
    Row(
        "6", "messages of builds, turns and claims delivered 2 to 5 times at once, for finished builds too", "500",
        ("test_row_6_",), "tests/faults/test_table.py -k row_6",
    ),
    Row(
        "7", "messages removed from the queues", "100",
        ("test_row_7_",), "tests/faults/test_table.py -k row_7",
    ),
    Row(
        "8", "two and five beats; a beat killed; a beat frozen for 20 ticks", "50 each",
        ("test_row_8_",), "tests/faults/test_table.py -k row_8",
    ),
    Row(
        "9", "workers' clocks an hour ahead and an hour behind, pools with a TTL of half an hour", "100",
        ("test_row_9_",), "tests/faults/test_poison.py -k row_9",
    ),
    Row(
        "10", "builds that kill their process, fail, or never end; turns that kill their worker; unreadable messages, "
        "and messages for deleted rows", "18 pools, 1 pool, 100 rounds",
        ("test_row_10_",), "tests/faults/test_poison.py -k row_10",
    ),
    Row(
        "11", "workers frozen past a build's lease and woken; starts that fail, hang or are never ready; failing "
        "deletions", "200, 200 builds",
        ("test_row_11_",), "tests/faults/test_table.py tests/faults/test_poison.py -k row_11",
    ),
    Row(
        "12", "32 claimers against a reconciler that deletes and refills the same rows", "20 times 10,240 attempts",
        ("test_one_owner_each_and_no_claimed_one_deleted",), "tests/faults/test_claim_race.py",
    ),
    Row(
        "13", "turns that start from an outdated snapshot, up to 4 at once", "1,000",
        ("test_row_13_",), "tests/faults/test_lagging.py",
    ),
    Row(
        "14", "all of the above mixed at random, with pauses and invalidations", "10,000 steps",
        ("test_row_14_",), "tests/faults/test_mixed.py -k row_14",
    ),
    Row(
        "15", "1,000 presets for 20 minutes, a worker killed every 10 s", "1",
        ("test_row_15_",), "tests/faults/test_mixed.py -k row_15",
    ),
    Row(
        "16", "Redis fails two or three times, 1 to 15 s apart, with messages in flight; every pair of: killed, "
        "frozen, a replica (READONLY), without rights (NOPERM) or memory (OOM), connections cut, another password "
        "(NOAUTH), unable to save (MISCONF), loading its file (LOADING)", "200, new processes after 20",
        ("test_row_16_",), "tests/faults/test_outages.py",
    ),
    Row(
        "17", "PostgreSQL fails over: its name leads to the old primary, by then a standby, for 1 to 3 s more; every "
        "second time the old primary vanishes without closing its connections", "20",
        ("test_row_17_",), "tests/faults/test_failover.py -k row_17",
    ),
    Row(
        "18", "a provisioner's API away for seconds; lists that are empty for a moment; all resources of a pool really "
        "deleted: full again within two sweeps of resources", "60",
        ("test_row_18_",), "tests/faults/test_provider_outage.py -k row_18",
    ),
    Row(
        "19", "everything at once for 20 minutes: kills, freezes, PostgreSQL restarted and failed over, Redis "
        "restarted twice within seconds and READONLY, a provisioner's API away, pools resized and promoted, claims "
        "repeated", "1",
        ("test_row_19_",), "tests/faults/test_soak.py",
    ),
    Row(
        "20", "SIGKILL of a process of `serve` at 5 named steps of a claim over HTTP (before its statement, before a "
        "commit, before a hand-over, after the commit and before the answer, while waiting), under 32 clients that "
        "repeat their requests: one workspace for each key, none lost", "300",
        ("test_row_20_",), "tests/faults/test_door.py",
    ),
    Row(
        "21", "16 writers of events with long and rolled-back transactions, sequencers and processes of `serve` killed "
        "with SIGKILL all the time, readers with cursors: each sees every committed event once, in an order that "
        "contradicts no commit", "5 minutes on each database",
        ("test_row_21_",), "tests/faults/test_event_log.py",
    ),
    Row(
        "", "a random sequence of files, claims, failures, promotions, time jumps and lost workers; the audit clean "
        "after every step", "400 sequences of 80 steps, on each database",
        ("test_the_invariants_hold_after_every_step",), "tests/faults/test_machine.py",
    ),
    Row(
        "", "everything that takes locks, at once: in the order of `schema/row_locks.py`, no deadlock",
        "500 operations",
        ("test_locks_are_taken_in_order",), "tests/faults/test_lock_order.py",
    ),
    Row(
        "", "hostile values at every interface: refused, or harmless",
        "2,000 examples at each interface, on each database",
        ("test_the_claim[", "test_what_operators_name[", "test_task_messages[", "test_the_pools_file["),
        "tests/faults/test_hostile.py",
    ),
    Row(
        "", "a builds worker killed at 6 steps, with real processes: nothing stuck, left over or duplicated", "6",
        ("test_killed_at_a_step",), "tests/provisioners/test_crashes.py",
    ),
    Row(
        "", "8 builds at once on two builds workers of 4 threads: none waits behind a busy worker; a builds worker "
        "killed while it builds, with one and with two left: taken over within 1.3 times a lease, without beat",
        "200 rounds, 20 each",
        ("test_no_build_waits_behind_a_busy_worker", "test_builds_of_a_dead_worker_are_taken_over_in_time"),
        "tests/faults/test_builds_workers.py",
    ),
    Row(
        "", "a builds worker's machine lost, and back later: prebuilds replaced elsewhere, its leftovers deleted",
        "1",
        ("test_two_hosts_each_with_its_own_and_one_lost_for_good",), "tests/e2e/test_healing.py",
    ),
    Row(
        "", "100 builds at once in one process on SQLite: every lease renewed in time; a million deleted "
        "workspaces: no decision slower; all prebuilds of a pool replaced at once", "1 each",
        ("test_two_hundred_leases_are_renewed_in_time", "test_history_costs_what_lives_nothing",
         "test_promote_and_invalidate"),
        "tests -k 'two_hundred_leases or history_costs or promote_and'",
    ),
)  # fmt: skip


def row_of(test: str) -> Row:
    """Find the row of a test, named by its node id."""
    name = test.rpartition("::")[2]
    [found] = [row for row in ROWS if name.startswith(row.tests)]
    return found


def render(results: Mapping[str, Result]) -> str:
    """Render the table without its surroundings."""
    lines = [HEAD, RULE]
    for row in ROWS:
        mine = {test: result for test, result in results.items() if row_of(test) is row}
        cells = (row.number, row.fault, row.trials, seen(mine), made(list(mine.values())), f"`{row.reproduce}`")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def seen(results: Mapping[str, Result]) -> str:
    """Summarize the results of a row's tests."""
    if not results:
        return "not run yet"
    failed = [test.rpartition("::")[2] for test, result in results.items() if result.outcome != "passed"]
    said = [words for result in results.values() for words in result.said]
    if failed:
        return f"**failed**: {', '.join(f'`{name}`' for name in failed)}"
    return "; ".join(said) if said else f"{len(results)} of {len(results)} passed"


def made(results: Sequence[Result]) -> str:
    """Name the commits, the minutes and the seeds of the results."""
    if not results:
        return ""
    commits = ", ".join(sorted({result.commit for result in results}))
    seeds = [str(result.seed) for result in results if result.seed is not None]
    shown = ", ".join(seeds) if len(seeds) <= 3 else f"{len(seeds)} in faults.json"
    return f"{commits}; {sum(result.seconds for result in results) / 60:.1f}" + (f"; {shown}" if seeds else "")


def printed(document: str, results: Mapping[str, Result]) -> str:
    """Replace the table in the document."""
    pattern = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    text, times = pattern.subn(lambda _: f"\n{summary(results)}\n\n{render(results)}\n", document)
    if times != 1:
        raise ValueError(f"expected one place between {BEGIN} and {END}, not {times}")
    return text


def summary(results: Mapping[str, Result]) -> str:
    """Summarize in one line how much has been run."""
    minutes = sum(result.seconds for result in results.values()) / 60
    passed = sum(result.outcome == "passed" for result in results.values())
    rows = sum(any(row_of(test) is row for test in results) for row in ROWS)
    return (
        f"{rows} of {len(ROWS)} rows have been run, {passed} of {len(results)} tests passed. "
        f"They took {minutes:.0f} minutes, with up to three running at once."
    )


if __name__ == "__main__":
    DOCUMENT.write_text(printed(DOCUMENT.read_text(), load(FILE)))
    sys.stdout.write(f"{DOCUMENT.relative_to(ROOT)}: {summary(load(FILE))}\n")
