"""Importing the app does nothing; settings are read when it is used, and a bad one gets a clear message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fork_server import COMMANDS as CELERY_COMMANDS
from tests.support.fork_server import shared

CELERY = str(Path(sys.executable).with_name("celery"))
BAD = {"PREBUILD_RECONCILE_INTERVAL": "soon"}
SENTENCE = "PREBUILD_RECONCILE_INTERVAL: 'soon' is not a duration"


def run(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("module", ["prebuild_tasks", "prebuild_tasks.celery", "prebuild_tasks.tasks"])
def test_importing_reads_no_settings_and_patches_nothing(module: str) -> None:
    """Even with invalid settings, and on a command line that contains Flower's name."""
    script = (
        "import sys; sys.argv = ['celery', 'worker', '-n', 'flower']\n"
        "from kombu.transport import redis; before = redis.Transport.Channel\n"
        f"import {module}; {module}.app\n"
        "assert redis.Transport.Channel is before\n"
    )
    done = run(script, BAD)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_that_uses_the_app_gets_an_exception_it_can_catch() -> None:
    script = (
        "from prebuild_tasks import app; from prebuild_tasks.errors import InputError\n"
        "try:\n    app.send_task('prebuild_tasks.sweep')\n"
        "except InputError as error:\n    print(error.message)\n"
    )
    assert run(script, BAD).stdout.startswith(SENTENCE)


BAD_SETTINGS = {
    "interval": (BAD, SENTENCE),
    "database": (
        {"PREBUILD_DATABASE_URL": "mysql://x"},
        "PREBUILD_DATABASE_URL=mysql://x cannot be used: mysql is not supported",
    ),
}
BAD_URLS = {
    "redis database": (
        {"PREBUILD_REDIS_URL": "redis://h:6379/abc"},
        "PREBUILD_REDIS_URL: redis://h:6379/abc has 'abc' where the number of the database belongs",
    ),
    "redis certificates": (
        {"PREBUILD_REDIS_URL": "rediss://h:6379/0?ssl_cert_reqs=foo"},
        "PREBUILD_REDIS_URL: rediss://h:6379/0?ssl_cert_reqs=foo has ssl_cert_reqs=foo; write required",
    ),
    "redis option": (
        {"PREBUILD_REDIS_URL": "redis://h:6379/0?socket_timeout=x"},
        "PREBUILD_REDIS_URL: redis://h:6379/0?socket_timeout=x has the unknown option socket_timeout",
    ),
    "database in memory": (
        {"PREBUILD_DATABASE_URL": "sqlite://"},
        "PREBUILD_DATABASE_URL=sqlite:// cannot be used: a database in memory cannot be shared",
    ),
}
COMMANDS = (
    "worker -c 1",
    "beat",
    "inspect ping",
    "call prebuild_tasks.sweep",
    "purge -f",
    "flower --port=0",
    "flower --port=0 --basic-auth=user:password",
)


@pytest.mark.parametrize(
    ("command", "environment", "sentence"),
    [
        pytest.param(command.split(), *bad, id=f"{command}-{name}")
        for settings, commands in ((BAD_SETTINGS, COMMANDS), (BAD_URLS, ("worker -c 1", "inspect ping")))
        for name, bad in settings.items()
        for command in commands
    ],
)
def test_a_bad_setting_ends_the_command_with_a_sentence(
    command: list[str], environment: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    if environment is not BAD and command == ["flower", "--port=0"]:
        environment = {**environment, "FLOWER_BASIC_AUTH": "user:password"}  # missing, it would end Flower first
    # Without the second that its imports take: the app and its settings are read each time.
    done = shared(CELERY_COMMANDS).run(["-A", "prebuild_tasks", *command], environment, tmp_path)
    assert done.returncode == 2, done.stderr
    problem, step = done.stderr.splitlines()
    assert problem.startswith(sentence)
    assert step.startswith("  next: ")


def test_a_program_that_only_sends_needs_no_driver_of_the_database() -> None:
    script = "from prebuild_tasks import app; print(app.conf.task_default_queue)"
    done = run(script, {"PREBUILD_DATABASE_URL": "mysql://x"})
    assert (done.stdout, done.stderr) == ("prebuild.default\n", "")


def test_help_needs_no_settings() -> None:
    done = subprocess.run(
        [CELERY, "-A", "prebuild_tasks", "worker", "--help"], env=BAD, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
