"""Calls of executables: a question in JSON on standard input, an exit code and an answer in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from prebuild_tasks.errors import BuildStoppedError, CannotAskError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners.command.home import CALL, call_directory
from prebuild_tasks.provisioners.port import BuildContext, Resource
from prebuild_tasks.provisioners.shared.config import Command, argv_of
from prebuild_tasks.provisioners.shared.output import summarized
from prebuild_tasks.provisioners.shared.pipes import Dialogue
from prebuild_tasks.provisioners.shared.run import NoAnswerError, NoRoomError, NotStartedError, run

ANSWER_LIMIT = 1 << 20
"""The most bytes on standard output."""
_CANNOT_BUILD, _SUPERSEDED, _CANNOT_ASK = 2, 3, 4
_ASKING = ("probe", "list")
"""The operations that change nothing."""
_NOT_RUN = (126, 127)
"""A shell's exit codes for a command that cannot be executed, or is not there."""


_UNSTORABLE = re.compile("[\\0\\ud800-\\udfff]")


def call(
    name: str,
    script: Command,
    question: Mapping[str, object],
    env: Mapping[str, str],
    *,
    context: BuildContext | None = None,
    timeout: float | None = None,
) -> object:
    """Run an executable in an empty directory, which is removed afterwards.

    Args:
        name: The operation, for messages.
        script: The executable.
        question: What it is asked.
        env: Its environment, without HOME and TMPDIR.
        context: The build, or the context of a probe; None for a list.
        timeout: Seconds it may take.

    Returns:
        The answer; None when it printed nothing.

    Raises:
        CannotBuildError: For exit code 2.
        BuildStoppedError: For exit code 3.
        CannotAskError: For exit code 4, while the machine can start no command, and for a probe or a list that cannot
            be executed: it says nothing about a workspace.
        NoAnswerError: For a timeout, the end by a signal, and an answer that is not JSON.
        ProvisionerError: For any other failure.
    """
    asks = name in _ASKING
    dialogue = Dialogue(json.dumps(question).encode(), ANSWER_LIMIT)
    with call_directory() as place:
        try:
            code, output = run(
                argv_of(script), cwd=place, env={**env, "HOME": str(place), "TMPDIR": str(place), CALL: str(place)},
                context=context, timeout=timeout, dialogue=dialogue,
            )  # fmt: skip
        except TimeoutError:
            raise NoAnswerError(f"{name} did not end within {timeout:g} s") from None
        except NotStartedError as error:
            kind = CannotAskError if asks or isinstance(error, NoRoomError) else ProvisionerError
            raise kind(f"{name} cannot be executed: {error.message}") from error
    if code:
        raise _failure(name, code, output, asks=asks)
    return _read(name, dialogue.answer)


def mapping(name: str, answer: object) -> dict[str, object]:
    """Return the answer as an object; empty when nothing was printed. Raises NoAnswerError for other JSON."""
    if answer is None:
        return {}
    if not isinstance(answer, dict):
        raise NoAnswerError(f"{name} must print a JSON object, not {type(answer).__name__}")
    return answer


def resource(name: str, answer: Mapping[str, object], installation: str) -> Resource:
    """Return the answer as a resource, whose id is the workspace's by default. Raises ProvisionerError."""
    texts = {key: text(name, answer, key) for key in ("workspace_id", "resource_id", "url", "directory", "owner")}
    if not texts["workspace_id"]:
        raise ProvisionerError(f"{name}: workspace_id must be a string")
    texts["resource_id"] = texts["resource_id"] or texts["workspace_id"]
    texts["owner"] = texts["owner"][:100]
    claimed = bool(answer.get("claimed", False)) or bool(texts["owner"])
    return Resource(**texts, installation=installation, claimed=claimed)


def text(name: str, answer: Mapping[str, object], key: str) -> str:
    """Return a text of the answer; empty without it. Raises ProvisionerError for one that cannot be stored."""
    value = answer.get(key) or ""
    if not isinstance(value, str):
        raise ProvisionerError(f"{name}: {key} must be a string")
    # JSON can hold NUL and unpaired surrogates, which the database refuses.
    if _UNSTORABLE.search(value):
        raise ProvisionerError(f"{name}: {key} contains a character that cannot be stored")
    return value


def resources(answer: object, installation: str) -> list[Resource]:
    """Return the answer of `list`. Raises CannotAskError when it printed nothing, else ProvisionerError."""
    if answer is None:
        raise CannotAskError("list printed nothing, so it is unknown what there is; a list without resources is []")
    items = answer
    if not isinstance(items, list):
        raise ProvisionerError(f"list must print a JSON array, not {type(items).__name__}")
    return [resource("list", mapping("list", item), installation) for item in items]


def _failure(name: str, code: int, output: str, *, asks: bool) -> ProvisionerError:
    message = summarized(output)
    if code == _CANNOT_BUILD:
        return CannotBuildError(f"{name}: {message}")
    if code == _SUPERSEDED:
        return BuildStoppedError(f"{name}: {message}", reason="lost")
    if code == _CANNOT_ASK:
        return CannotAskError(f"{name}: {message}")
    if code in _NOT_RUN:
        kind = CannotAskError if asks else ProvisionerError
        return kind(f"{name} cannot be executed: it exited with {code}: {message}")
    if code < 0:
        return NoAnswerError(f"{name} was ended by signal {-code}: {message}")
    return ProvisionerError(f"{name} exited with {code}: {message}")


def _read(name: str, answer: bytearray) -> object:
    printed = answer.decode("utf-8", "replace").strip()
    if not printed:
        return None
    try:
        value: object = json.loads(printed)
        return value
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"{name} must print JSON, or nothing, on standard output: {error}") from None
