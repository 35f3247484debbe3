"""Running a command in a container, to its end, and ending it when it may run no longer."""

from __future__ import annotations

import codecs
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import sleep
from typing import Any

from prebuild_tasks.clock import monotonic
from prebuild_tasks.provisioners.docker.engine import Stream, patiently
from prebuild_tasks.provisioners.port import BuildContext
from prebuild_tasks.provisioners.shared.processes import RUN

_LOOK = 0.2
_TAIL = 2000
_SETTLE = 5.0

# An engine can't end what it began in a living container: a second command does, where the image has sh, tr and grep.
_ENDER = r"""
rounds=20 found=1  # again, for what was forked meanwhile
while [ "$found" ] && [ $((rounds -= 1)) -gt 0 ]; do
    found=
    for p in /proc/[0-9]*; do
        tr '\0' '\n' < "$p/environ" | grep -qxF "$1" && found=1 && kill -9 "${p#/proc/}"
    done
done 2> /dev/null
"""


def run(
    api: Any,
    container_id: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    deadline: float,
    log: Callable[[str], None] | None = None,
    between: Callable[[], None] | None = None,
) -> tuple[int, str]:
    """Run to the end; returns the exit code and the last output. Raises TimeoutError after the deadline.

    `between` is called a few times a second and may raise, which ends the command as well.
    """
    token = f"{RUN}={uuid.uuid4().hex}"
    variables = [f"{name}={value}" for name, value in environment.items()]
    execution = api.exec_create(container_id, list(argv), environment=[*variables, token])["Id"]
    stream = Stream(lambda: api.exec_start(execution, stream=True))
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    tail, ended = "", False
    try:
        while not ended:
            ended = stream.wait(_LOOK)
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


def _exit_code(api: Any, execution: str) -> int:
    """Output may end a moment before the command."""
    deadline = monotonic() + _SETTLE
    while (state := api.exec_inspect(execution)).get("Running") and monotonic() < deadline:
        sleep(0.05)
    code = state.get("ExitCode")
    return 1 if code is None else int(code)


def end(api: Any, container_id: str, variable: str, context: BuildContext) -> None:
    """End all that has this NAME=value in its environment; nothing is done without `sh`."""
    from docker.errors import APIError

    ender = api.exec_create(container_id, ["sh", "-c", _ENDER, "sh", variable], user="0")
    with suppress(APIError):  # some engines refuse what is not in the image, where others let it exit with 127
        patiently(lambda: api.exec_start(ender["Id"]), context)


def _end(api: Any, container_id: str, token: str) -> None:
    with suppress(Exception):  # the error that ended the command is the better message
        ender = api.exec_create(container_id, ["sh", "-c", _ENDER, "sh", token], user="0")
        api.exec_start(ender["Id"], detach=True)
