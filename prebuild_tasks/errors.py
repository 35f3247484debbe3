"""The errors that the project raises on purpose, with the exit code of the command line.

PrebuildError                    the base class of all of them                                        exit 1
├── InputError                   bad usage, a bad file or a bad value; nothing was changed            exit 2
│   ├── PoolsFileError           an invalid pools file; every problem with its line and column        exit 2
│   └── UnfitDatabaseError       the database does not serve this release, or this user               exit 2
├── NotFoundError                no such preset, workspace, build or template                         exit 3
├── ClaimMissError               no prebuild can be claimed at the moment                             exit 4
│   ├── BuildFailedError         the workspace that was being built for the owner could not be built      exit 5
│   └── BeingBuiltError          one is being built for the owner; repeat the request to get it       exit 4
├── RefusedError                 valid but refused: quota, paused, name taken, conflict               exit 5
│   ├── BusyError                what it needs is in use; nothing was changed, try again               exit 5
│   ├── RequestEndedError        a repeated claim whose workspace is gone, or is being deleted        exit 5
│   ├── RequestReusedError       a claim by an id that another request already used                   exit 5
│   ├── OwnerNotAllowedError     a token may not act for the owner that was named                     exit 5
│   └── EventsGoneError          events that are no longer kept                                       exit 5
├── AuthenticationError          a token that nobody has                                              exit 5
│   ├── TokenExpiredError        a token after its expiry                                             exit 5
│   └── TokenRevokedError        a token that was revoked                                             exit 5
├── WaitTimeoutError             the awaited state was not reached in time                            exit 6
│   └── RateLimitedError         more requests than the HTTP API takes from a token                   exit 6
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

from typing import TYPE_CHECKING

from prebuild_tasks.general_errors import (
    AuditError,
    BuildStoppedError,
    BusyError,
    CannotAskError,
    CannotBuildError,
    InputError,
    InterruptedStartError,
    NeverReadyError,
    NotFoundError,
    PoolsFileError,
    PrebuildError,
    Problem,
    ProvisionerError,
    RefusedError,
    UnfitDatabaseError,
    UnreachableError,
    WaitStoppedError,
    WaitTimeoutError,
)
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "AuditError",
    "AuthenticationError",
    "BeingBuiltError",
    "BuildFailedError",
    "BuildStoppedError",
    "BusyError",
    "CannotAskError",
    "CannotBuildError",
    "ClaimMissError",
    "EventsGoneError",
    "InputError",
    "InterruptedStartError",
    "NeverReadyError",
    "NotFoundError",
    "OwnerNotAllowedError",
    "PoolsFileError",
    "PrebuildError",
    "Problem",
    "ProvisionerError",
    "RateLimitedError",
    "RefusedError",
    "Remedy",
    "RemedyKind",
    "RequestEndedError",
    "RequestReusedError",
    "TokenExpiredError",
    "TokenRevokedError",
    "UnfitDatabaseError",
    "UnreachableError",
    "WaitStoppedError",
    "WaitTimeoutError",
]


class ClaimMissError(PrebuildError):
    """No prebuild was claimable. `reason` is a value of `model.vocabulary.MissReason`.

    `retry_after` is the number of seconds after which another try makes sense, from 1 to 300; `retryable` tells whether
    the same claim may succeed later although nobody does anything. `next_change` is the instant at which the pool is
    built again by itself, because a pause ends or a schedule begins; None where nothing is known to change.
    """

    exit_code = 4
    code = "claim_miss"
    choice: tuple[int, ...] = ()
    """The ids of the presets that were asked for; empty unless the claim was made in this process."""

    def __init__(  # many arguments: each is told to a program
        self,
        message: str,
        *,
        reason: str,
        hint: str = "",
        remedy: Remedy | None = None,
        retry_after: int = 60,
        retryable: bool = True,
        next_change: datetime | None = None,
    ) -> None:
        super().__init__(message, hint=hint, remedy=remedy)
        self.reason, self.retry_after, self.retryable = reason, retry_after, retryable
        self.next_change = next_change


class BeingBuiltError(ClaimMissError):
    """No prebuild was ready, so one is being built for the owner. Repeat the request to get it."""

    def __init__(
        self, message: str, *, workspace: str, preset_id: int, hint: str = "", remedy: Remedy | None = None
    ) -> None:
        super().__init__(message, reason="being_built", hint=hint, remedy=remedy)
        self.workspace = workspace
        self.preset_id = preset_id


class BuildFailedError(ClaimMissError):
    """No prebuild was ready, and the workspace that was to be built for the owner could not be built.

    The remedy is its log. The request is bound to that: unlike after another miss, it does not help to repeat it.
    """

    exit_code = 5
    code = "build_failed"

    def __init__(self, message: str, *, hint: str = "", remedy: Remedy | None = None) -> None:
        super().__init__(message, reason="build_failed", hint=hint, remedy=remedy, retryable=False)


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


class EventsGoneError(RefusedError):
    """Events after this number are no longer kept, or the database was restored and does not have it.

    Reading goes on with the events that are kept, and some were missed.
    """

    code = "events_gone"

    def __init__(self, message: str, *, oldest: int = 0, hint: str = "") -> None:
        """Take the sentence, and the number of the oldest event that is kept and that the reader sees.

        Without one, it is the number after the newest event.
        """
        super().__init__(message, hint=hint)
        self.oldest = oldest


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


class RateLimitedError(WaitTimeoutError):
    """The HTTP API takes no more requests of this token for now. Try again later."""

    code = "rate_limited"


for _name in __all__:
    if isinstance(_kind := globals()[_name], type) and issubclass(_kind, PrebuildError):
        _kind.__module__ = __name__  # where release 0.1 has them: results of tasks name an error by its module
del _name, _kind
