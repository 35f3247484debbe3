"""A request that was let in, whether to the HTTP API or to the page: what its path names, and who acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.requests import Request

from prebuild_tasks.access import Principal
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.workspaces import FollowUp

if TYPE_CHECKING:
    from prebuild_tasks.web.api.door import Door


class AdmittedRequest:
    """One request, and what is sent after its answer."""

    def __init__(self, door: Door, request: Request) -> None:
        """Take the request."""
        self.door, self.request = door, request
        self.follow_up = FollowUp()
        """What is sent after the answer, also after that of an error."""

    @property
    def principal(self) -> Principal:
        """Who asks."""
        raise NotImplementedError

    @property
    def names(self) -> Mapping[str, str]:
        """The names in the path."""
        return {name: str(value) for name, value in self.request.path_params.items()}

    def actor(self, subject: str = "") -> Actor:
        """Return who acts, for the history, on behalf of the owner `subject` if there is one."""
        return self.principal.acting_for(subject)

    def named(self, part: str) -> str:
        """Return a part of the path. Raises NotFoundError for one that nothing can be named."""
        name = str(self.request.path_params[part])
        if not name.isprintable():
            raise NotFoundError(f"there is nothing named {name!r}")
        return name

    def send_later(self, follow_up: FollowUp) -> None:
        """Send a follow-up once the answer was sent."""
        self.follow_up |= follow_up
