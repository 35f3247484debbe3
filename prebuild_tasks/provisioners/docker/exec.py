"""Run a command in a container, and end it when its build is stopped or its time is over."""

from __future__ import annotations

import codecs
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import sleep
from typing import TYPE_CHECKING

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.provisioners.docker.engine import Stream, interruptibly
from prebuild_tasks.provisioners.port import BuildContext
from prebuild_tasks.provisioners.shared.processes import RUN

if TYPE_CHECKING:
    from docker import APIClient

_POLL_INTERVAL = 0.2
_TAIL = 2000
_SETTLE = 5.0

# No engine can end a command in a running container, so a second command does, if the image has sh, tr and grep.
_ENDER = r"""
rounds=20 found=1  # repeated, for what was forked meanwhile
while [ "$found" ] && [ $((rounds -= 1)) -gt 0 ]; do
    found=
    for p in /proc/[0-9]*; do
        tr '\0' '\n' < "$p/environ" | grep -qxF "$1" && found=1 && kill -9 "${p#/proc/}"
    done
done 2> /dev/null
"""


# Seven arguments: the last four are keywords, named by the callers.
def run_in_container(
    api: APIClient,
    container_id: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    deadline: float,
    log: Callable[[str], None] | None = None,
    between: Callable[[], None] | None = None,
) -> tuple[int, str]:
    """Run a command to its end. Returns the exit code and the last of its output.

    Args:
        api: The connection.
        container_id: The container.
        argv: The argument list.
        environment: Variables beside the container's own.
        deadline: When TimeoutError is raised, on the monotonic clock.
        log: Gets the output as it comes.
        between: Called a few times a second. It may raise, which ends the command.
    """
    token = f"{RUN}={uuid.uuid4().hex}"
    variables = [f"{name}={value}" for name, value in environment.items()]
    execution = api.exec_create(container_id, list(argv), environment=[*variables, token])["Id"]
    stream = Stream(lambda: api.exec_start(execution, stream=True))
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    tail, ended = "", False
    try:
        while not ended:
            ended = stream.wait(_POLL_INTERVAL)
            text = "".join(decode(chunk) for chunk in stream.take())
            tail = (tail + text)[-_TAIL:]
            if text and log is not None:
                log(text)
            if not ended and monotonic() > deadline:
                raise TimeoutError
            if between is not None:
                between()
    except BaseException:
        if not ended:
            _end(api, container_id, token)
        raise
    finally:
        stream.close()
    stream.take()
    return _exit_code(api, execution), tail


def _exit_code(api: APIClient, execution: str) -> int:
    """Return the exit code, which may follow the output a moment later. Raises CannotAskError if there is none."""
    deadline = monotonic() + _SETTLE
    while (state := api.exec_inspect(execution)).get("Running") and monotonic() < deadline:
        sleep(0.05)
    if (code := state.get("ExitCode")) is None:
        raise CannotAskError("the engine does not say how the command ended")
    return int(code)


def end_in_container(api: APIClient, container_id: str, variable: str, context: BuildContext) -> None:
    """Kill every process with this NAME=value in its environment. This has no effect if the image has no `sh`."""
    from docker.errors import APIError

    ender = api.exec_create(container_id, ["sh", "-c", _ENDER, "sh", variable], user="0")
    with suppress(APIError):  # for a missing command, some engines answer with an error and others exit with 127
        interruptibly(lambda: api.exec_start(ender["Id"]), context)


def _end(api: APIClient, container_id: str, token: str) -> None:
    with suppress(Exception):  # the error that ended the command is more useful
        ender = api.exec_create(container_id, ["sh", "-c", _ENDER, "sh", token], user="0")
        api.exec_start(ender["Id"], detach=True)
