"""Words of the command line for what services answer: remedies, steps, changes, and how processes are started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prebuild_tasks.cli.remedy_commands import EMBEDDED, StartCommands, next_step, spell
from prebuild_tasks.model.text import listed

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from prebuild_tasks.config import Settings
    from prebuild_tasks.insight import Recommendation, Step
    from prebuild_tasks.pools import Change

_TEMPLATE = "template "
_NAMES = 5
"""Maximum number of names in a line."""


def why_of(step: Step) -> str:
    """Return the purpose of a step of `explain`, with the alternative command if there is one."""
    return f"{step.why}; on one machine, {spell(step.instead)} runs all of them" if step.instead else step.why


def spell_recommendation(item: Recommendation) -> str:
    """Return a recommendation of the report as a sentence, with the command to investigate."""
    return f"{item.sentence}; {next_step('', item.remedy)}" if item.remedy else item.sentence


def celery_arguments(settings: Settings, host: str = "%h") -> Mapping[str, Sequence[str]]:
    """Return the arguments after `celery -A prebuild_tasks` that start each worker, and beat.

    The keys are `worker`, `builds`, `webhooks` and `beat`. These commands are spelled elsewhere only in the Procfile,
    the compose file and the documentation, which are tested against this.
    """
    from prebuild_tasks.messaging import BUILDS, CONTROL, WEBHOOKS

    queues = ",".join(settings.queue(name) for name in CONTROL)
    concurrency = str(settings.build_concurrency)
    return {
        "worker": ("worker", "-n", f"worker@{host}", "-c", "2", "-Q", queues),
        "builds": ("worker", "-n", f"builds@{host}", "-P", "threads", "-c", concurrency, "-Q", settings.queue(BUILDS)),
        "webhooks": ("worker", "-n", f"webhooks@{host}", "-P", "threads", "-c", "2", "-Q", settings.queue(WEBHOOKS)),
        "beat": ("beat",),
    }


def start_commands(settings: Settings) -> StartCommands:
    """Return the commands that start each process by hand, as in the Procfile."""
    return StartCommands(
        **{name: " ".join(("celery -A prebuild_tasks", *rest)) for name, rest in celery_arguments(settings).items()}
    )


def usual_start_commands(settings: Settings) -> StartCommands:
    """Return the start commands that suit the settings.

    Without a database or Redis URL there is only one machine, where `prebuild up` starts everything.
    """
    return start_commands(settings) if settings.database_url or settings.redis_url else EMBEDDED


def detail_of(change: Change) -> str:
    """Return the details of a change, with the option that makes it if `apply` only announces it."""
    return f"{change.detail}; with --prune {change.if_pruned}" if change.if_pruned else change.detail


def lines_of(changes: Sequence[Change]) -> Iterator[str]:
    """Yield each change as one line, and the templates that only pruning would drain as one line for all.

    They are named at each plan and apply for as long as they stay.
    """
    left = [item for item in changes if item.action == "would_drain" and item.what.startswith(_TEMPLATE)]
    for change in changes:
        if len(left) == 1 or change not in left:
            yield line_of(change)
        elif change is left[0]:
            names = listed([item.what.removeprefix(_TEMPLATE) for item in left], most=_NAMES)
            yield line_of(replace(change, what=f"templates {names}", if_pruned="their prebuilds are deleted"))


def line_of(change: Change) -> str:
    """Return a change as one line."""
    return change.line(detail_of(change))
