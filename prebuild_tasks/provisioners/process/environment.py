"""The environment that the commands of a process workspace run in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners.port import WorkspaceSpec
from prebuild_tasks.provisioners.shared.environment import (
    bind_address,
    check_variables,
    identity,
    own_addresses,
    passed_on,
    proxy_exceptions,
)

_PROBED = {"0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1")}  # noqa: S104
"""Where a process that was told to listen on every address is probed; one that listens on :: may take IPv4, too."""


class Environment:
    """The environments of commands, and the addresses that probes of served workspaces try."""

    def __init__(self, settings: Settings) -> None:
        self._cache = settings.data_dir / "cache"
        self._patterns = settings.provisioner_pass_env
        self._bind = bind_address(settings)
        self._addresses = own_addresses(settings)
        self.probe_addresses = _PROBED.get(self._bind, (self._bind,))

    def own(self, spec: WorkspaceSpec, directory: Path, port: int) -> dict[str, str]:
        """Return the workspace's own variables. Raises CannotBuildError for a parameter that cannot be a variable."""
        check_variables(spec.parameters)
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = dict(spec.parameters)
        if port:
            own |= {"PORT": str(port), "PREBUILD_WORKSPACE_PORT": str(port), "PREBUILD_WORKSPACE_BIND": self._bind}
        return (
            own
            | identity(spec)
            | {
                "HOME": str(directory),
                "TMPDIR": str(directory / ".tmp"),
                "PREBUILD_WORKSPACE_DIRECTORY": str(directory),
                "PREBUILD_WORKSPACE_CACHE": str(self._cache),
            }
        )

    def whole(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment: the variables that the worker passes on, and the workspace's own.

        The workspace's own addresses are excepted from a proxy in either.
        """
        whole = passed_on(self._patterns) | dict(own)
        return whole | proxy_exceptions(whole, self._addresses)
