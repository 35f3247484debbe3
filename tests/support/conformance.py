"""Requests that schemathesis makes up from the OpenAPI document, sent to a served application with a real database.

`python -m tests.support.conformance --seconds 600`: rounds of them, each with another seed, until the time is over.
Prints what it found, each fault once, and the routes that never did what they were asked; exits with 1 if there are
any.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
import structlog
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PhasesConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
    SimpleCheckConfig,
    StatefulPhaseConfig,
)
from schemathesis.config._checks import NegativeDataRejectionConfig
from schemathesis.engine import events, from_schema

from prebuild_tasks.web.api.app import OPERATIONS
from tests.support import servers
from tests.support.stocked_door import SMALL, UNSTOCKED, Served, stocked_door

WAIT_MAX = 0.1
"""Seconds of `wait` that are really asked for."""
STATEFUL = 5
"""Sequences of requests for each request of a route in another phase."""
_BEYOND_SCHEMAS = re.compile(b'"code":"malformed_cursor"|use printable characters only')
"""What no schema tells: which cursors were made here, and which characters this version of Unicode can print."""
_ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "410", "422", "429", "503"]
"""Statuses for what fits the schema. 422 is among them: no schema tells which names are taken or which instants are
past. 400 is not: it is for what does not fit."""
_REJECTED = ["400", "401", "403", "404", "405", "409", "410", "413", "415", "422", "429"]


@dataclass
class Findings:
    """What came of the requests."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each operation was answered with each status."""
    faults: dict[str, str] = field(default_factory=dict)
    """One example of each."""
    requests: int = 0

    def never_done(self) -> list[str]:
        """Return the operations that never answered with a success."""
        done = {label for label, status in self.statuses if 200 <= status < 300}
        names = {f"{one.method} {one.path}" for one in OPERATIONS}
        return sorted(names - done - {"GET /openapi.json"})  # it was read, or there were no requests

    def take(self, event: events.EngineEvent) -> None:
        """Add what an event of the engine tells."""
        match event:
            case events.ScenarioFinished():
                self._take_scenario(event.recorder)
            case events.NonFatalError():
                self._fault(f"{event.label}: {type(event.value).__name__}", str(event.value))
            case events.FatalError():
                raise event.exception

    def _take_scenario(self, recorder: Any) -> None:
        for case_id, interaction in recorder.interactions.items():
            self.requests += 1
            if interaction.response is not None:
                label = recorder.cases[case_id].value.operation.label
                self.statuses[label, interaction.response.status_code] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.failure_info is None:
                    continue
                failure = check.failure_info.failure
                response = recorder.interactions[case_id].response
                if check.name == "positive_data_acceptance" and response and _BEYOND_SCHEMAS.search(response.content):
                    continue
                status = response.status_code if response is not None else 0
                answer = response.content[:600].decode(errors="replace") if response is not None else ""
                steps = "\n".join(step.curl for step in getattr(check.failure_info, "steps", ()))
                sample = getattr(check.failure_info, "code_sample", "") or steps
                text = f"{failure.message}\n{sample[:1500]}\n{status} {answer}"
                self._fault(f"{failure.operation}: {check.name} ({status}): {failure.title}", text)

    def _fault(self, name: str, text: str) -> None:
        self.faults.setdefault(name, text)


_claims, _releases = itertools.count(), itertools.count()
_taken = list[dict[str, str]]()
"""The workspaces that were claimed, and that no request was led to yet."""


@schemathesis.hook("after_call")
def _note_claims(_context: Any, case: Any, response: Any) -> None:
    """Note which workspaces there are."""
    if case.operation.label == "POST /v1/claims" and response.status_code == 201:
        answer = response.json()
        _taken.append({"owner": answer["owner"], "name": answer["workspace"]})


@schemathesis.hook("before_call")
def _lead_releases(_context: Any, case: Any, _kwargs: Any) -> None:
    """Let every second valid release be of a workspace that there is: hardly a made-up name is one."""
    is_release = case.operation.label.endswith("/release")
    if is_release and case.meta and case.meta.generation.mode.is_positive and next(_releases) % 2 and _taken:
        case.path_parameters = _taken.pop()


@schemathesis.hook("before_call")
def _change_claims(_context: Any, case: Any, _kwargs: Any) -> None:
    """Let nobody wait for long, and let two of three valid claims ask for what there is."""
    body = case.body
    if not isinstance(body, dict):
        return
    if type(body.get("wait")) in (int, float) and WAIT_MAX < body["wait"] <= 55:
        body["wait"] = WAIT_MAX
    is_claim = case.operation.label == "POST /v1/claims"
    if is_claim and case.meta and case.meta.generation.mode.is_positive and (number := next(_claims) % 3):
        chosen, wait = (SMALL, 0) if number == 1 else (UNSTOCKED, WAIT_MAX)
        case.body = {"presets": [chosen], "owner": "ada", "wait": wait}


def configuration(served: Served, seed: int, examples: int, phases: list[str]) -> SchemathesisConfig:
    """Return how requests are made up, and what is asked of the answers."""
    checks = ChecksConfig(
        positive_data_acceptance=PositiveDataAcceptanceConfig(expected_statuses=_ACCEPTED),
        negative_data_rejection=NegativeDataRejectionConfig(expected_statuses=_REJECTED),
        # A deleted workspace is still there, in the state `deleting`, until its build has ended.
        use_after_free=SimpleCheckConfig(enabled=False),
    )
    chosen = PhasesConfig(
        stateful=StatefulPhaseConfig(
            generation=GenerationConfig(max_examples=STATEFUL * examples, database="none", no_shrink=True)
        )
    )
    chosen.update(phases=phases)
    return SchemathesisConfig(
        seed=seed,
        projects=ProjectsConfig(
            default=ProjectConfig(
                headers={"Authorization": f"Bearer {served.token}"},
                checks=checks,
                phases=chosen,
                generation=GenerationConfig(max_examples=examples, database="none", no_shrink=True),
                continue_on_failure=True,
                request_timeout=30,
            )
        ),
    )


def one_round(served: Served, seed: int, examples: int, phases: list[str], until: float, found: Findings) -> None:
    """Make requests with a seed."""
    config = configuration(served, seed, examples, phases)
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json", config=config)
    stream = from_schema(schema).execute()
    for event in stream:
        found.take(event)
        if time.monotonic() > until:
            stream.stop()


@contextmanager
def own_door(database_url: str, redis_url: str) -> Iterator[Served]:
    """Serve with the servers that are named, or with new ones."""
    with ExitStack() as stack:
        if not database_url:
            database_url = stack.enter_context(servers.postgres_server()).format("postgres")
            servers.migrate(database_url)
            redis_url = stack.enter_context(servers.redis_server())
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        yield stack.enter_context(stocked_door(database_url, redis_url, Path(directory)))


def main() -> int:
    """Run, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1, help="that of the first round")
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--enough", action="store_true", help="stop once every route has done what it was asked")
    parser.add_argument("--examples", type=int, default=60, help="requests of a route in each phase of a round")
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    parser.add_argument("--database", default="")
    parser.add_argument("--redis", default="")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.WARNING)
    found, until = Findings(), time.monotonic() + asked.seconds
    with own_door(asked.database, asked.redis) as served:
        for seed in range(asked.seed, asked.seed + asked.rounds):
            one_round(served, seed, asked.examples, asked.phases.split(","), until, found)
            print(f"seed {seed}: {found.requests} requests, {len(found.faults)} faults", flush=True)
            if time.monotonic() > until or (asked.enough and not found.never_done()):
                break
    for name, text in sorted(found.faults.items()):
        print(f"\nFAULT {name}\n{text}")
    missing = found.never_done()
    if missing:
        print("\nnever answered with a success: " + ", ".join(missing))
        print(*(f"  {label} {status}: {count}" for (label, status), count in sorted(found.statuses.items())), sep="\n")
    return 1 if found.faults or missing else 0


if __name__ == "__main__":
    sys.exit(main())
