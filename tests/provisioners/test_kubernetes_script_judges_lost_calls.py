"""The example for Kubernetes took a call as failed if the API was back by the time it asked for it, a moment later."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "command-kubernetes" / "workspace.sh"
KUBECTL = """#!/bin/sh
echo "$*" >> "$PLACE/calls"
case "$*" in
*/readyz) test -e "$PLACE/back"; exit ;;
*" $FAILING "*) cat "$PLACE/words" >&2; exit 1 ;;
esac
echo '{"items": []}'
"""
JQ = """#!/bin/sh
cat >/dev/null
case "$*" in *namespace*) echo spaces ;; esac
"""
REFUSED = "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"
DOWNLOAD = (
    'error: error validating "STDIN": error validating data: failed to download openapi: '
    'Get "https://10.0.0.1:6443/openapi/v2?timeout=32s": dial tcp 10.0.0.1:6443: connect: connection refused'
)
FORBIDDEN = 'Error from server (Forbidden): error when creating "STDIN": pods "ws-1" is forbidden: exceeded quota'


def exit_code(tmp_path: Path, operation: str, failing: str, words: str, *, back: bool = True) -> int:
    """Run an operation of the script during which one command of kubectl fails with these words."""
    for name, text in (("kubectl", KUBECTL), ("jq", JQ)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    (tmp_path / "words").write_text(words + "\n")
    if back:
        (tmp_path / "back").touch()
    env = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "PLACE": str(tmp_path), "HOME": str(tmp_path), "FAILING": failing,
        "PREBUILD_INSTALLATION": "i", "PREBUILD_WORKSPACE_ID": "1", "PREBUILD_OWNER": "ada",
    }  # fmt: skip
    done = subprocess.run(
        [SCRIPT, operation], input="{}", text=True, env=env, capture_output=True, check=False, timeout=60
    )
    assert words in done.stderr
    return done.returncode


@pytest.mark.parametrize(
    "words",
    [
        REFUSED,
        DOWNLOAD,
        "Unable to connect to the server: net/http: TLS handshake timeout",
        "Error from server: etcdserver: request timed out",
        "Error from server (ServiceUnavailable): the server is currently unable to handle the request",
        "error: unexpected EOF",
    ],
)
def test_a_change_whose_connection_was_lost_has_not_failed(tmp_path: Path, words: str) -> None:
    assert exit_code(tmp_path, "start", "apply", words) == 4


@pytest.mark.parametrize(
    ("operation", "failing", "words"),
    [
        ("start", "apply", FORBIDDEN),
        ("delete", "delete", "error: timed out waiting for the condition on pods/ws-1"),
        ("claim", "exec", "curl: (7) Failed to connect to cache: Connection refused"),
    ],
)
def test_a_change_that_the_api_or_the_pod_refuses_has_failed(
    tmp_path: Path, operation: str, failing: str, words: str
) -> None:
    assert exit_code(tmp_path, operation, failing, words) == 1
    (tmp_path / "back").unlink()
    assert exit_code(tmp_path, operation, failing, words, back=False) == 4


@pytest.mark.parametrize("operation", ["probe", "list", "claim", "delete"])
def test_a_question_without_an_answer_decides_nothing(tmp_path: Path, operation: str) -> None:
    assert exit_code(tmp_path, operation, "get", REFUSED) == 4


def test_what_succeeds_succeeds(tmp_path: Path) -> None:
    assert exit_code(tmp_path, "delete", "nothing", "") == 0


def test_a_start_does_not_wait_for_the_pod(tmp_path: Path) -> None:
    """The builds worker asks `probe`, and ends the start of a pod that crashed, with what it said last."""
    assert exit_code(tmp_path, "start", "nothing", "") == 0
    assert (tmp_path / "calls").read_text() == "--namespace spaces apply -f -\n"
