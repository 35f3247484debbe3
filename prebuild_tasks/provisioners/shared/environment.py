"""Environment variables of the commands that provisioners run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from prebuild_tasks.config import EXAMPLE_REPO, Settings
from prebuild_tasks.errors import CannotBuildError
from prebuild_tasks.model.addresses import is_ipv6, is_loopback
from prebuild_tasks.provisioners.port import WorkspaceSpec
from prebuild_tasks.provisioners.shared import processes

_NEVER_PASSED = re.compile(
    r"(PREBUILD_.*|DATABASE_URL|REDIS_URL|CELERY_.*|FLOWER_.*|PG(PASSWORD|USER|HOST|DATABASE|PASSFILE|SERVICE.*))(_FILE)?"
)
"""The service's own addresses and credentials, which are never passed on, whatever the patterns match."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_PROXY = ("NO_PROXY", "no_proxy")
_ITSELF = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - nothing is bound to them here
"""A workspace's names for itself; clients also connect to the addresses that a server is bound to."""


def passed_on(patterns: Sequence[str]) -> dict[str, str]:
    """Return PATH, LANG and the worker's own variables whose names match one of the patterns.

    The repository of `prebuild up`'s example is among them, whatever the patterns are.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns) and not _NEVER_PASSED.fullmatch(name)
    }
    if repository := os.environ.get(EXAMPLE_REPO):
        passed[EXAMPLE_REPO] = repository
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"} | passed


def own_addresses(settings: Settings) -> tuple[str, ...]:
    """Return the addresses at which workspaces are served, besides those that every machine has for itself."""
    return (bind_address(settings), settings.public_host)


def proxy_exceptions(environment: Mapping[str, str], addresses: Sequence[str]) -> dict[str, str]:
    """Return the variables that keep a workspace's requests to itself away from a proxy.

    Without them, a proxy in the environment gets the requests that a probe makes to the workspace, and cannot reach it.

    Args:
        environment: The environment that the workspace gets.
        addresses: The workspace's own addresses, besides loopback ones.

    Returns:
        Both spellings, because programs read either, with the exceptions of both. Empty if the environment has no proxy
        or excepts everything.
    """
    if not any(value for name, value in environment.items() if _is_proxy(name)):
        return {}
    listed = [entry for name in _NO_PROXY for entry in re.split(r"[,\s]+", environment.get(name, "")) if entry]
    if "*" in listed:  # only valid alone
        return dict.fromkeys(_NO_PROXY, "*")
    own = [spelling for address in (*_ITSELF, *addresses) for spelling in _spellings(address)]
    entries: dict[str, str] = {}
    for entry in (*listed, *own):
        entries.setdefault(entry.lower(), entry)
    return dict.fromkeys(_NO_PROXY, ",".join(entries.values()))


def bind_address(settings: Settings) -> str:
    """Return the address that workspaces are served on."""
    if settings.workspace_bind:
        return settings.workspace_bind
    loopback, every = ("::1", "::") if is_ipv6(settings.public_host) else ("127.0.0.1", "0.0.0.0")  # noqa: S104
    return loopback if is_loopback(settings.public_host) else every


def is_variable(name: str, value: str) -> bool:
    """Return whether the kernel and every shell accept this as an environment variable."""
    return bool(_VARIABLE.fullmatch(name)) and "\0" not in value


def check_variables(parameters: Mapping[str, str]) -> None:
    """Raise CannotBuildError for a parameter that cannot be an environment variable."""
    for name, value in parameters.items():
        if not is_variable(name, value):
            raise CannotBuildError(f"the parameter {name!r} cannot be an environment variable")


def identity(spec: WorkspaceSpec) -> dict[str, str]:
    """Return the variables that identify the workspace and its owner."""
    return {
        processes.WORKSPACE: spec.workspace_id,
        processes.ATTEMPT: str(spec.attempt),
        "PREBUILD_WORKSPACE_NAME": spec.name,
        "PREBUILD_WORKSPACE_TEMPLATE": spec.template,
        "PREBUILD_WORKSPACE_VERSION": spec.version,
        "PREBUILD_WORKSPACE_PRESET": spec.preset,
    } | of_owner(spec.owner)


def of_owner(owner: str) -> dict[str, str]:
    """Return the two variables that have the owner."""
    return {"PREBUILD_WORKSPACE_OWNER": owner, "PREBUILD_OWNER": owner}


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy") and name not in _NO_PROXY


def _spellings(address: str) -> list[str]:
    """Return what clients compare with the list: some keep the brackets of an IPv6 address."""
    bare = address.strip("[]")
    return [bare, f"[{bare}]"] if ":" in bare else [bare] if bare else []
