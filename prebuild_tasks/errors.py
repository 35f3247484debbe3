"""The errors that the project raises on purpose, with the exit code of the command line.

PrebuildError                    the base class of all of them                                        exit 1
├── InputError                   bad usage, a bad file or a bad value; nothing was changed            exit 2
│   └── PoolsFileError           an invalid pools file; every problem with its line and column        exit 2
├── NotFoundError                no such preset, workspace, build or template                         exit 3
├── ClaimMissError               no prebuild can be claimed at the moment                             exit 4
│   └── BeingBuiltError          one is being built for the owner; repeat the request to get it       exit 4
├── RefusedError                 valid but refused: quota, paused, name taken, conflict               exit 5
│   ├── BusyError                another process holds the row; nothing was changed, try again        exit 5
│   ├── RequestEndedError        a repeated claim whose workspace is gone, or is being deleted        exit 5
│   ├── RequestReusedError       a claim by an id that another request already used                   exit 5
│   └── OwnerNotAllowedError     a token may not act for the owner that was named                     exit 5
├── AuthenticationError          a token that nobody has                                              exit 5
│   ├── TokenExpiredError        a token after its expiry                                             exit 5
│   └── TokenRevokedError        a token that was revoked                                             exit 5
├── WaitTimeoutError             the awaited state was not reached in time                            exit 6
├── WaitStoppedError             the caller stopped waiting                                           exit 130
├── UnreachableError             the database or Redis did not answer                                 exit 7
├── AuditError                   the audit or the doctor found a problem                              exit 8
└── ProvisionerError             the provisioner failed; its output is the message                    exit 1
    ├── CannotAskError           the provisioner could not be asked: no verdict, ask again later           exit 1
    ├── NeverReadyError          a started workspace did not become ready in time                     exit 1
    ├── CannotBuildError         the recipe can never be built: do not retry until it changes         exit 1
    └── BuildStoppedError        the build was canceled, ran out of time, or lost its lease           exit 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from prebuild_tasks.remedies import Remedy, RemedyKind

__all__ = [
    "AuditError",
    "AuthenticationError",
    "BeingBuiltError",
    "BuildStoppedError",
    "BusyError",
    "CannotAskError",
    "CannotBuildError",
    "ClaimMissError",
    "InputError",
    "NeverReadyError",
    "NotFoundError",
    "OwnerNotAllowedError",
    "PoolsFileError",
    "PrebuildError",
    "Problem",
    "ProvisionerError",
    "RefusedError",
    "Remedy",
    "RemedyKind",
    "RequestEndedError",
    "RequestReusedError",
    "TokenExpiredError",
    "TokenRevokedError",
    "UnreachableError",
    "WaitStoppedError",
    "WaitTimeoutError",
]

_LENGTH_MAX = 1500
"""Maximum length of a message in characters, so that a refused value of 10 MB is not repeated in full."""


class PrebuildError(Exception):
    """Base class of the project's errors. The message is one sentence for people.

    `hint` and `remedy` say what to do next. The hint is a sentence that stands by itself and does not name a command;
    without one it is the remedy's own sentence, and it is empty if the message already tells the next step. Each face
    spells the remedy in its own way, with the words that join it to the hint.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"

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


class ClaimMissError(PrebuildError):
    """No prebuild was claimable. `reason` is a value of `model.vocabulary.MissReason`.

    `retry_after` is the number of seconds after which another try makes sense, from 1 to 300; `retryable` tells whether
    the same claim may succeed later although nobody does anything.
    """

    exit_code = 4
    code = "claim_miss"

    def __init__(  # many arguments: each is told to a program
        self,
        message: str,
        *,
        reason: str,
        hint: str = "",
        remedy: Remedy | None = None,
        retry_after: int = 60,
        retryable: bool = True,
    ) -> None:
        super().__init__(message, hint=hint, remedy=remedy)
        self.reason, self.retry_after, self.retryable = reason, retry_after, retryable


class BeingBuiltError(ClaimMissError):
    """No prebuild was ready, so one is being built for the owner. Repeat the request to get it."""

    def __init__(
        self, message: str, *, workspace: str, preset_id: int, hint: str = "", remedy: Remedy | None = None
    ) -> None:
        super().__init__(message, reason="being_built", hint=hint, remedy=remedy)
        self.workspace = workspace
        self.preset_id = preset_id


class RefusedError(PrebuildError):
    """A valid request was refused: it exceeds a quota, the name is taken, or it conflicts with the current state."""

    exit_code = 5
    code = "refused"


class BusyError(RefusedError):
    """Another transaction held the row for longer than the lock timeout. Nothing was changed; try again."""

    code = "busy"


class RequestEndedError(RefusedError):
    """A repeated claim: the workspace that the request got is gone, or is being deleted.

    The arguments after the message have defaults and hold plain text, so that the result of a task carries them.
    """

    code = "request_ended"

    def __init__(  # many arguments: each is a key of the error's JSON
        self,
        message: str,
        state: str = "ended",
        workspace: str = "",
        workspace_id: str = "",
        ended_at: str = "",
        ended_by: str = "",
        reason: str = "",
    ) -> None:
        """Take the sentence, and what is known of the end.

        Args:
            message: The sentence for people.
            state: `ending` while the workspace is being deleted, then `ended`.
            workspace: The workspace's name.
            workspace_id: Its id.
            ended_at: The time at which its end began, in ISO 8601.
            ended_by: Who ended it.
            reason: The code of the reason, such as `released`, `operator` or `claimed_ttl`.
        """
        super().__init__(message, remedy=Remedy(RemedyKind.NEW_REQUEST))
        self.state, self.workspace, self.workspace_id = state, workspace, workspace_id
        self.ended_at, self.ended_by, self.reason = ended_at, ended_by, reason
        self.args = (self.message, state, workspace, workspace_id, ended_at, ended_by, reason)


class RequestReusedError(RefusedError):
    """A claim with the id of an earlier request that asked for something else. The id stays bound to that one."""

    code = "request_reused"


class OwnerNotAllowedError(RefusedError):
    """The token is for another owner than the one that was named."""

    code = "owner_not_allowed"


class AuthenticationError(PrebuildError):
    """The token is not one of this installation."""

    exit_code = 5
    code = "token_unknown"


class TokenExpiredError(AuthenticationError):
    """The token has expired."""

    code = "token_expired"


class TokenRevokedError(AuthenticationError):
    """The token was revoked."""

    code = "token_revoked"


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
