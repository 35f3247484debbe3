"""A registry of provisioners, found by name in the entry-point group `prebuild_tasks.provisioners`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import NotFoundError, PrebuildError, ProvisionerError
from prebuild_tasks.provisioners.former_names import as_rests_with_host
from prebuild_tasks.provisioners.missing import Missing
from prebuild_tasks.provisioners.port import ChecksMachine, Provisioner, RestsWithHost

GROUP = "prebuild_tasks.provisioners"


def names() -> list[str]:
    """Return the names of all installed provisioners, including third-party ones."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@cache
def load(name: str, settings: Settings) -> Provisioner:
    """Return the provisioner of this name, made once per process.

    Raises NotFoundError, with the names of the installed ones, or ProvisionerError when it cannot be loaded.
    """
    entries = list(entry_points(group=GROUP, name=name))
    if not entries:
        near = get_close_matches(name, names(), n=1)
        installed = f"installed: {', '.join(names())}"
        hint = f"did you mean {near[0]}? {installed}" if near else installed
        raise NotFoundError(f"there is no provisioner {name!r}", hint=hint)
    try:
        adapter: Provisioner = entries[0].load()(settings)
    except Exception as error:  # a third party's module may raise anything when it is imported
        raise ProvisionerError(f"the provisioner {name!r} ({entries[0].value}) cannot be loaded: {error}") from error
    return adapter


class Provisioners:
    """Provisioners made with one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get(self, name: str) -> Provisioner:
        """Return the provisioner of this name, as `load` does."""
        return load(name, self._settings)

    def get_or_missing(self, name: str) -> Provisioner:
        """Return the provisioner, or a stand-in that fails every build with the reason why it cannot be used."""
        try:
            return self.get(name)
        except PrebuildError as error:
            return Missing(name, self._settings.host, error)

    def warnings(self, names: Iterable[str]) -> list[str]:
        """Return a warning about each of these provisioners that cannot make workspaces from this machine."""
        warnings = []
        for name in sorted(set(names)):
            try:
                adapter = self.get(name)
                if isinstance(adapter, ChecksMachine):
                    adapter.check_machine()
            except PrebuildError as error:
                hint = f": {error.hint}" if error.hint else ""
                warnings.append(f"{error.message}; builds of the provisioner {name} fail on such a machine{hint}")
        return warnings

    def resting_with_host(self) -> list[RestsWithHost]:
        """Return the adapters whose workspaces rest with their host. Those that cannot be loaded are left out."""
        adapters = []
        for name in names():
            with suppress(ProvisionerError):
                adapters.append(self.get(name))
        return [resting for adapter in adapters if (resting := as_rests_with_host(adapter)) is not None]
