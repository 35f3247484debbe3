"""One call of an executable: a question in JSON on standard input, an exit code and an answer in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners.command.home import CALL, home
from prebuild_tasks.provisioners.port import BuildContext, Resource
from prebuild_tasks.provisioners.shared.config import Command, argv_of
from prebuild_tasks.provisioners.shared.output import last_words
from prebuild_tasks.provisioners.shared.pipes import Dialogue
from prebuild_tasks.provisioners.shared.run import run

ANSWER_LIMIT = 1 << 20
"""Bytes on standard output."""
_NEVER, _OVERTAKEN = 2, 3
_UNSTORABLE = re.compile("[\\0\\ud800-\\udfff]")


def call(
    name: str,
    script: Command,
    question: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    context: BuildContext | None = None,
    timeout: float | None = None,
) -> Any:
    """Run it to its end, in an empty directory that goes with it; returns its answer, None when it printed nothing.

    Raises CannotBuildError for exit 2, BuildStoppedError for exit 3, ProvisionerError for any other failure, a timeout
    and an answer that is none.
    """
    dialogue = Dialogue(json.dumps(question).encode(), ANSWER_LIMIT)
    with home() as place:
        try:
            code, output = run(
                argv_of(script), cwd=place, env={**env, "HOME": str(place), "TMPDIR": str(place), CALL: str(place)},
                context=context, timeout=timeout, dialogue=dialogue,
            )  # fmt: skip
        except TimeoutError:
            raise ProvisionerError(f"{name} did not end within {timeout:g} s") from None
    if code:
        raise _failure(name, code, output)
    return _read(name, dialogue.answer)


def mapping(name: str, answer: Any) -> dict[str, Any]:
    """The answer as an object, empty when nothing was printed. Raises ProvisionerError for anything else."""
    if answer is None:
        return {}
    if not isinstance(answer, dict):
        raise ProvisionerError(f"{name} must print a JSON object, not {type(answer).__name__}")
    return answer


def resource(name: str, answer: Mapping[str, Any], installation: str) -> Resource:
    """The answer as a resource; it is named like its workspace unless it says otherwise. Raises ProvisionerError."""
    texts = {key: text(name, answer, key) for key in ("workspace_id", "resource_id", "url", "directory")}
    if not texts["workspace_id"]:
        raise ProvisionerError(f"{name}: workspace_id must be a string")
    texts["resource_id"] = texts["resource_id"] or texts["workspace_id"]
    return Resource(**texts, installation=installation, claimed=bool(answer.get("claimed", False)))


def text(name: str, answer: Mapping[str, Any], key: str) -> str:
    """A text of the answer, empty when it has none. Raises ProvisionerError for what is no text a database takes."""
    value = answer.get(key) or ""
    if not isinstance(value, str):
        raise ProvisionerError(f"{name}: {key} must be a string")
    # JSON can spell NUL and half a surrogate pair; stored, they would break the writing of the build's end.
    if _UNSTORABLE.search(value):
        raise ProvisionerError(f"{name}: {key} holds a character that is none")
    return value


def resources(answer: Any, installation: str) -> list[Resource]:
    """The answer of `list`. Raises ProvisionerError."""
    items = [] if answer is None else answer
    if not isinstance(items, list):
        raise ProvisionerError("list must print a JSON list")
    return [resource("list", mapping("list", item), installation) for item in items]


def _failure(name: str, code: int, output: str) -> ProvisionerError:
    words = last_words(output, "no words")
    if code == _NEVER:
        return CannotBuildError(f"{name}: {words}")
    if code == _OVERTAKEN:
        return BuildStoppedError(f"{name}: {words}", reason="lost")
    how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
    return ProvisionerError(f"{name} {how}: {words}")


def _read(name: str, answer: bytearray) -> Any:
    text = answer.decode("utf-8", "replace").strip()
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProvisionerError(f"{name} must print JSON, or nothing, on standard output: {error}") from None
