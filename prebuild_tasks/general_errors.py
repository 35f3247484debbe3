"""Errors that any domain raises, and those of provisioners. Users import them from `prebuild_tasks.errors`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from prebuild_tasks.remedies import Remedy, RemedyKind

_LENGTH_MAX = 1500
"""Maximum length of a message in characters, so that a refused value of 10 MB is not repeated in full."""


class PrebuildError(Exception):
    """Base class of the project's errors. The message is one sentence for people.

    `hint` and `remedy` say what to do next. The hint is a sentence that stands by itself and does not name a command;
    without one it is the remedy's own sentence, and it is empty if the message already tells the next step. Each face
    spells the remedy in its own way, with the words that join it to the hint.
    """

    exit_code: ClassVar[int] = 1
    code: str = "error"
    """That of the class, except for an error that came over HTTP, which may have one that no class here has."""

    def __init__(self, message: str, *, hint: str = "", remedy: Remedy | None = None) -> None:
        self.message = message if len(message) <= _LENGTH_MAX else f"{message[:_LENGTH_MAX]}…"
        hint = hint or (str(remedy) if remedy else "")
        self.hint = hint if len(hint) <= _LENGTH_MAX else f"{hint[:_LENGTH_MAX]}…"
        self.remedy = remedy
        super().__init__(self.message)

    def __str__(self) -> str:
        """Return the message with the hint."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(PrebuildError):
    """Bad usage or a bad value. Nothing was changed."""

    exit_code = 2
    code = "bad_input"


class UnfitDatabaseError(InputError):
    """The database does not serve this release or this user, which only an operator can change.

    The message may name its address.
    """


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a pools file. `line` and `column` count from 1; 0 means that the position is unknown."""

    message: str
    fix: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return the message with its place in the file and the fix."""
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else (f"{self.file}: " if self.file else "")
        return f"{place}{self.message.rstrip('.')}. Fix: {self.fix}" if self.fix else f"{place}{self.message}"


class PoolsFileError(InputError):
    """An invalid pools file. The error lists all problems at once."""

    code = "bad_pools_file"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("", hint="correct it and try again", remedy=Remedy(RemedyKind.SHOW_FILE_SCHEMA))
        self.message = "\n".join(str(problem) for problem in self.problems)  # not truncated: the file's size bounds it


class NotFoundError(PrebuildError):
    """The named thing does not exist."""

    exit_code = 3
    code = "not_found"


class RefusedError(PrebuildError):
    """A valid request was refused: it exceeds a quota, the name is taken, or it conflicts with the current state."""

    exit_code = 5
    code = "refused"


class BusyError(RefusedError):
    """A row or a connection that it needs was in use for longer than it may wait. Nothing was changed; try again."""

    code = "busy"


class WaitTimeoutError(PrebuildError):
    """The awaited state was not reached in time."""

    exit_code = 6
    code = "timeout"


class WaitStoppedError(PrebuildError):
    """The caller stopped waiting, as with Ctrl-C."""

    exit_code = 130
    code = "interrupted"


class UnreachableError(PrebuildError):
    """The database or Redis did not answer. The message names the address that was tried."""

    exit_code = 7
    code = "unreachable"


class AuditError(PrebuildError):
    """The audit found a broken invariant, the doctor found a problem, or `health` found no live process."""

    exit_code = 8
    code = "audit"


class ProvisionerError(PrebuildError):
    """The provisioner failed this time; another attempt may succeed."""

    code = "provisioner_failed"


class CannotAskError(ProvisionerError):
    """The provisioner could not be asked, as while its API is away. That says nothing about any workspace.

    A build is held and asked again, and a probe or a list decides nothing.
    """

    code = "provisioner_unreachable"
    alone = False
    """Whether it says nothing about other builds either."""


class InterruptedStartError(CannotAskError):
    """A start was cut short by something outside of it, such as a registry that is away. Other builds may go on."""

    alone = True


class NeverReadyError(ProvisionerError):
    """A workspace was started, and did not become ready within its preset's `ready_timeout`."""

    code = "never_ready"


class CannotBuildError(ProvisionerError):
    """The recipe can never be built: the provisioner refuses its config or a parameter."""

    code = "validation_failed"


class BuildStoppedError(ProvisionerError):
    """The build was stopped from outside. `reason` is `canceled`, `timeout` or `lost`."""

    code = "build_stopped"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
