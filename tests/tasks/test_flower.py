"""Flower starts with a password, or not at all."""

from __future__ import annotations

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
