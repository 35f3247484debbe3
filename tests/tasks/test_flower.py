"""Flower starts with a password and on a free port, or says what is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from prebuild_tasks.celery import require_flower_password

FLOWER = ["-A", "prebuild_tasks", "flower", "--port=5555"]


def test_without_a_password_it_does_not_start() -> None:
    celery = str(Path(sys.executable).with_name("celery"))
    done = subprocess.run([celery, *FLOWER], capture_output=True, text=True, check=False, timeout=60, env={})
    assert done.returncode == 2
    assert done.stderr == "Flower would be open to everybody\n  next: set FLOWER_BASIC_AUTH=user:password\n"


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (FLOWER, {"FLOWER_BASIC_AUTH": "user:password"}),
        ([*FLOWER, "--basic-auth=user:password"], {}),
        ([*FLOWER, "--auth=.*@example.com", "--auth-provider=flower.views.auth.GoogleAuth2LoginHandler"], {}),
        (["-A", "prebuild_tasks", "worker"], {}),
    ],
)
def test_with_one_it_does(arguments: list[str], environ: dict[str, str]) -> None:
    before = dict(environ)
    require_flower_password(arguments, environ)
    assert environ == before


def test_a_taken_port_is_named() -> None:
    celery = str(Path(sys.executable).with_name("celery"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = [celery, "-A", "prebuild_tasks", "flower", f"--port={port}"]
        environment = {"FLOWER_BASIC_AUTH": "user:password"}
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 2
    assert done.stderr == f"Flower's port {port} is taken\n  next: name another with --port=N\n"
