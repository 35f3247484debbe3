"""Every error the project raises on purpose.

PrebuildError                    the root; carries the exit code of the command line
├── InputError                   bad usage, a bad file, a bad value: nothing was changed                  exit 2
│   └── PoolsFileError           a broken pools file; every problem with its line and column
├── NotFoundError                no such preset, workspace, build or template                             exit 3
├── ClaimMissError               nobody's fault: no claimable prebuild right now                          exit 4
│   └── BeingBuiltError          one is being built for the owner: repeat the request to get it
├── RefusedError                 understood and refused: quota, paused, taken name, conflict              exit 5
│   └── BusyError                somebody else holds the row right now; nothing was changed, try again        exit 5
├── WaitTimeoutError             what was waited for did not come in time                                 exit 6
├── WaitStoppedError             who waited has stopped it                                                exit 130
├── UnreachableError             the database or Redis did not answer                                     exit 7
├── AuditError                   the audit or the doctor found something                                  exit 8
└── ProvisionerError             the provisioner could not do it; its words are the message               exit 1
    ├── CannotBuildError         and never will: trying again is pointless until the recipe changes
    └── BuildStoppedError        the build was told to stop: canceled, out of time, or its lease was lost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from prebuild_tasks.remedies import Remedy, RemedyKind

_LENGTH_MAX = 1500
"""Characters of a message: a value of 10 MB that was refused is not repeated."""


class PrebuildError(Exception):
    """Root of the tree. The message is one sentence for people.

    What to do next are the `hint`, free text that names no command, and the `remedy`, which each face spells in its own
    way; with both, the hint introduces the remedy.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "", remedy: Remedy | None = None) -> None:
        self.message = message if len(message) <= _LENGTH_MAX else f"{message[:_LENGTH_MAX]}…"
        self.hint = hint if len(hint) <= _LENGTH_MAX else f"{hint[:_LENGTH_MAX]}…"
        self.remedy = remedy
        super().__init__(self.message)

    def __str__(self) -> str:
        step = ": ".join(str(part) for part in (self.hint, self.remedy) if part)
        return f"{self.message} ({step})" if step else self.message


class InputError(PrebuildError):
    """Bad usage or a bad value."""

    exit_code = 2
    code = "bad_input"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a pools file. `line` and `column` count from 1; 0 where there is no place to name."""

    message: str
    fix: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else (f"{self.file}: " if self.file else "")
        return f"{place}{self.message}" + (f" Fix: {self.fix}" if self.fix else "")


class PoolsFileError(InputError):
    """A pools file that can't be applied. All problems are named at once."""

    code = "bad_pools_file"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "", hint="correct it and run the command again; its schema", remedy=Remedy(RemedyKind.SHOW_FILE_SCHEMA)
        )
        self.message = "\n".join(str(problem) for problem in self.problems)  # whole: the file's size bounds it


class NotFoundError(PrebuildError):
    """The named thing does not exist."""

    exit_code = 3
    code = "not_found"


class ClaimMissError(PrebuildError):
    """No prebuild was claimable. `reason` is a reason code of `core.model.MissReason`."""

    exit_code = 4
    code = "claim_miss"

    def __init__(self, message: str, *, reason: str, hint: str = "", remedy: Remedy | None = None) -> None:
        super().__init__(message, hint=hint, remedy=remedy)
        self.reason = reason


class BeingBuiltError(ClaimMissError):
    """No prebuild was ready, so one is being built for the owner. The same request, repeated, will answer it."""

    def __init__(
        self, message: str, *, workspace: str, preset_id: int, hint: str = "", remedy: Remedy | None = None
    ) -> None:
        super().__init__(message, reason="being_built", hint=hint, remedy=remedy)
        self.workspace = workspace
        self.preset_id = preset_id


class RefusedError(PrebuildError):
    """Understood, and refused: over a quota, a name that is taken, a conflict with what is there."""

    exit_code = 5
    code = "refused"


class BusyError(RefusedError):
    """Somebody else held the row for longer than the lock timeout. Nothing was changed; trying again is right."""

    code = "busy"


class WaitTimeoutError(PrebuildError):
    """What was waited for did not come in time."""

    exit_code = 6
    code = "timeout"


class WaitStoppedError(PrebuildError):
    """Who waited does not want to any longer: Ctrl-C."""

    exit_code = 130
    code = "interrupted"


class UnreachableError(PrebuildError):
    """The database or Redis did not answer; the message says what was tried."""

    exit_code = 7
    code = "unreachable"


class AuditError(PrebuildError):
    """The audit found an invariant broken, the doctor something wrong, or `health` nobody alive."""

    exit_code = 8
    code = "audit"


class ProvisionerError(PrebuildError):
    """The provisioner could not do it, this time."""

    code = "provisioner_failed"


class CannotBuildError(ProvisionerError):
    """The recipe can never be built: a config or parameter the provisioner refuses."""

    code = "validation_failed"


class BuildStoppedError(ProvisionerError):
    """The build was stopped from outside; `reason` is canceled, timeout or lost."""

    code = "build_stopped"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
