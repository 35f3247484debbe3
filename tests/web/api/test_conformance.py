"""Requests that schemathesis makes up from the OpenAPI document are answered as documented.

`make test-api` makes them for longer.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


def test_the_api_keeps_what_its_document_says(postgres_url: str, redis_url: str) -> None:
    """No answer is a 5xx or has an undocumented status or form, and every route does what it is asked at least once."""
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.support.conformance", "--rounds=6", "--enough", "--seed=1", "--examples=2",
            "--phases=examples,fuzzing,stateful", f"--database={postgres_url}", f"--redis={redis_url}",
        ],
        capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
