"""Answers to a portal about pools and workspaces: the part of `Client` beside claims.

Nothing here is needed for a claim, so each method imports what it needs when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.actors import check_person

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from prebuild_tasks.claims import ClaimSession
    from prebuild_tasks.insight import PoolAvailability, WorkspaceView
    from prebuild_tasks.remote import RemoteSession


class Portal:
    """Look at pools and workspaces, wait for a workspace, and extend it. `Client` has these methods."""

    _session: ClaimSession | RemoteSession

    def availability(self, *presets: str) -> list[PoolAvailability]:
        """Return how many prebuilds of each preset can be claimed, in the order of the names.

        Without a name, it is every active pool, by name.

        Raises:
            NotFoundError: There is no such preset.
            InputError: A name is not that of a preset.
            UnreachableError: The database cannot be reached.
        """
        if is_remote(self._session):
            return self._session.availability(presets)
        from prebuild_tasks.insight import availability

        return availability(self._session.database, self._session.settings, presets)

    def get(self, workspace: str) -> WorkspaceView:
        """Return a workspace, named by id or as owner/name.

        Raises:
            NotFoundError: There is no such workspace, or it has been deleted.
            RefusedError: Several workspaces have this name, as of different owners.
            UnreachableError: The database cannot be reached.
        """
        if is_remote(self._session):
            return self._session.get(workspace)
        from prebuild_tasks.insight import read_workspace

        return read_workspace(self._session.database, workspace)

    def wait_until_usable(self, workspace: str, timeout: float = 60.0) -> WorkspaceView:
        """Wait, up to `timeout` seconds, until a person's workspace is built and personalised, and return it.

        The workspace is named by id or as owner/name. A timeout ends only the wait: nothing is given back, and the same
        call goes on waiting.

        Raises:
            WaitTimeoutError: It was not usable in time. The message has its state, and the error of a failed build.
            NotFoundError: There is no such workspace, or it has been deleted.
            RefusedError: Nobody has claimed it, or it is being deleted, or could not be built.
            UnreachableError: The database cannot be reached.
        """
        if is_remote(self._session):
            return self._session.wait_until_usable(workspace, timeout)
        from prebuild_tasks.insight import wait_until_usable

        return wait_until_usable(self._session.database, workspace, timeout)

    def extend(self, workspace: str, seconds: float, *, actor: str = "") -> WorkspaceView:
        """Move the end of a claimed workspace, `claimed_until`, by `seconds`, and return the workspace.

        The workspace is named by id or as owner/name. If its end has passed, the seconds count from now.
        `actor` is needed beside a database; over HTTP the token acts, and it has no effect.

        Raises:
            NotFoundError: There is no such workspace, or it has been deleted.
            RefusedError: It is not claimed, its preset had no `claimed_ttl`, it is being deleted, or it was changed at
                the same moment.
            InputError: The number of seconds is not one that can be added.
            UnreachableError: The database cannot be reached.
        """
        if is_remote(self._session):
            self._session.extend(workspace, seconds)
            return self._session.get(workspace)
        from prebuild_tasks.insight import read_workspace
        from prebuild_tasks.workspaces import extend

        with self._session.no_driver_errors():
            extend(self._session.database, workspace, seconds, actor=named_actor(actor))
        return read_workspace(self._session.database, workspace)


def is_remote(session: ClaimSession | RemoteSession) -> TypeIs[RemoteSession]:
    """Return whether a session asks an HTTP API, and not a database."""
    return session.is_remote


def named_actor(actor: str) -> str:
    """Return who acts, for the history of a database. Raises InputError for nobody, and for the name of a token."""
    if not actor:
        raise InputError("there is no actor for the history", hint="pass actor, the name of who does this")
    return check_person(actor)


def session_of_database(session: ClaimSession | RemoteSession) -> ClaimSession:
    """Return the session of a database. Raises InputError for that of an HTTP API."""
    if is_remote(session):
        raise InputError("an HTTP API shows neither its database nor its settings here", hint="use the database's URL")
    return session
