"""The Python API for portals and scripts.

    with Client("postgresql://…", redis_url="redis://…") as client:
        answer = client.claim("python-dev/small", owner="ada")

It needs the database; Redis only makes the refill faster. It does not import Celery. With a web address in place of
the database's URL, and a token, it needs neither: it asks the HTTP API that `prebuild serve` has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from prebuild_tasks.claims import ClaimAnswer, ClaimRequest
from prebuild_tasks.errors import InputError
from prebuild_tasks.portal import Portal, is_remote, named_actor, session_of_database

if TYPE_CHECKING:  # not needed for a claim, which this module is kept quick for
    from prebuild_tasks.claims import ClaimSession
    from prebuild_tasks.config import Settings
    from prebuild_tasks.db.engine import Database
    from prebuild_tasks.insight import WorkspaceView
    from prebuild_tasks.remote import RemoteSession

__all__ = ["Client"]


class Client(Portal):
    """Claim and release workspaces, wait for them and extend them, and see what can be claimed.

    A client can be shared between threads. URLs that are not passed are read from the environment. Close it, or use it
    in a `with` statement.
    """

    def __init__(
        self,
        database_url: str = "",
        *,
        redis_url: str = "",
        settings: Settings | None = None,
        token: str = "",
        deadline: float | None = None,
    ) -> None:
        """Take the URLs, or all settings at once; nothing is connected to before the first call.

        Args:
            database_url: The database's URL, or the address of an HTTP API, such as https://prebuilds.example.com.
            redis_url: The URL of Redis; not for an HTTP API.
            settings: All settings, in place of the URLs.
            token: The token for the HTTP API.
            deadline: Seconds within which the HTTP API has answered, or the call fails, beside a claim's `wait`; by
                default 20.

        Raises:
            InputError: A setting is not valid.
        """
        self._session = _session(database_url, redis_url, settings, token, deadline)

    @property
    def settings(self) -> Settings:
        """All settings. Raises InputError for an HTTP API, which has its own."""
        return session_of_database(self._session).settings

    @property
    def database(self) -> Database:
        """The database. Raises InputError for an HTTP API."""
        return session_of_database(self._session).database

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def claim(
        self,
        *presets: str,
        owner: str = "",
        name: str = "",
        template: str = "",
        parameters: Mapping[str, str] | None = None,
        request_id: str = "",
        wait: float = 0.0,
    ) -> ClaimAnswer:  # 7 arguments: those of the command line, by name
        """Claim the oldest eligible prebuild of the first of `presets` that has one, or of the preset that matches.

        Over HTTP, the owner is that of the token if none is named.
        A preset matches by `template` and `parameters`. With `wait` (seconds), a workspace is built for the owner when
        none is ready. A retry with the same `request_id` answers with the same workspace, and raises RequestEndedError
        once that is gone or being deleted. RequestReusedError is raised for the id of a request for something else.

        Raises:
            ClaimMissError: No workspace is ready.
            BuildFailedError: The one that was being built could not be built. It is a ClaimMissError, too.
            WaitTimeoutError: No workspace was ready within `wait` seconds; the same request id returns it later.
            NotFoundError: There is no such preset, or none that matches.
            InputError: An argument is invalid.
            RefusedError: The owner has as many workspaces as allowed, or the request id belongs to another request.
            UnreachableError: The database cannot be reached.
        """
        request = ClaimRequest(
            owner=owner,
            presets=presets,
            name=name,
            template=template,
            parameters=dict(parameters or {}),
            wait=wait > 0,
        )
        if request_id:
            request = replace(request, request_id=request_id)
        with self._session.no_driver_errors():
            claimed = self._session.claim_waiting(request, wait) if wait > 0 else self._session.claim(request)
        self._session.send(claimed.follow_up)
        return claimed.answer

    def release(self, workspace: str, *, actor: str = "") -> None:
        """Give a workspace back, named by id or as owner/name: it is deleted.

        It is not an error if it is already being deleted. `actor` is needed beside a database; over HTTP the token
        acts, and it has no effect.

        Raises:
            NotFoundError: There is no such workspace, or it has been deleted.
            RefusedError: It is not claimed, or was changed at the same moment.
            UnreachableError: The database cannot be reached.
        """
        if is_remote(self._session):
            self._session.release(workspace)
            return
        from prebuild_tasks.workspaces import end_workspace

        with self._session.no_driver_errors():
            ended = end_workspace(self.database, workspace, actor=named_actor(actor))
        self._session.send(ended.follow_up)

    def workspaces(self, *, owner: str = "") -> list[WorkspaceView]:
        """List the owner's workspaces, or all that are not deleted.

        Raises:
            UnreachableError: The database cannot be reached.
        """
        if is_remote(self._session):
            return self._session.workspaces(owner=owner)
        from prebuild_tasks.insight import workspaces

        return workspaces(self.database, owner=owner)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _session(
    database_url: str, redis_url: str, settings: Settings | None, token: str, deadline: float | None
) -> ClaimSession | RemoteSession:
    if database_url.lower().startswith(("https://", "http://")):
        from prebuild_tasks.remote import RemoteSession, login_to

        if redis_url or settings:
            raise InputError("an HTTP API has settings of its own", hint="pass its address and a token, nothing else")
        return RemoteSession(login_to(database_url, token), deadline=deadline)
    if deadline is not None:
        raise InputError("a deadline is for an HTTP API", hint="pass the address of one, or leave the deadline out")
    if token:
        raise InputError("a token is for an HTTP API", hint="pass the address of one, or leave the token out")
    from prebuild_tasks.claims import ClaimSession

    urls = {"database_url": database_url, "redis_url": redis_url}
    passed = {name: url for name, url in urls.items() if url}
    return ClaimSession(settings) if settings else ClaimSession.from_environment(**passed)
