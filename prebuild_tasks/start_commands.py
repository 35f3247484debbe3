"""The commands that start the processes of an installation, as steps and the documentation name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prebuild_tasks.remedy_commands import EMBEDDED, StartCommands, spell

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from prebuild_tasks.config import Settings
    from prebuild_tasks.insight import Step


def why_of(step: Step) -> str:
    """Return the purpose of a step of `explain`, with the alternative command if there is one."""
    return f"{step.why}; on one machine, {spell(step.instead)} runs all of them" if step.instead else step.why


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
