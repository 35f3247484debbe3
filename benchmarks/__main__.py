"""`make bench`: compare the product's costs with its floors in one run; exits with 1 when a bound is missed.

python -m benchmarks [--rows 1,2] [--quick] [--fleet] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks import rows
from benchmarks.bench import Bench
from benchmarks.harness import Result
from benchmarks.table import print_head, print_row, write_json
from prebuild_tasks.logs import configure_command_logging


def main() -> int:
    """Run the requested rows, and print each as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default="", help="numbers of the rows to run, such as 1,2,4; 0 is the self-check")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: all of it in under two minutes")
    parser.add_argument("--fleet", action="store_true", help="also the long fleet run (row 11)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("PREBUILD_", "DATABASE_URL", "REDIS_URL", "CELERY_"))]:
        del os.environ[name]
    configure_command_logging()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # SIGTERM ends the workers and servers, too
    chosen = {int(number) for number in options.rows.split(",") if number}
    results: list[Result] = []
    started = time.perf_counter()
    print_head()
    with Bench(quick=options.quick) as bench:
        for row in rows.discover():
            if row.number in chosen or (not chosen and (options.fleet or not row.long)):
                for result in row.run(bench):
                    print_row(result)
                    results.append(result)
                    if options.json:  # an interrupted run keeps its results
                        write_json(options.json, results, {"quick": options.quick})
    seconds = time.perf_counter() - started
    missed = [f"{result.number} ({result.what})" for result in results if result.missed]
    noisy = any(result.verdict == "TOO NOISY" for result in results)
    sys.stdout.write(f"{seconds:.0f} s" + (f"; missed: {', '.join(missed)}" if missed else "; every bound met") + "\n")
    if noisy:
        sys.stdout.write("the floor against itself did not come out at 1: this machine is too noisy to judge by\n")
    if options.json:
        write_json(options.json, results, {"quick": options.quick, "seconds": round(seconds), "too_noisy": noisy})
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
