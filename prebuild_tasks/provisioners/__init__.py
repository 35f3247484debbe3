"""Adapters of the Provisioner port, found by name in the entry-point group `prebuild_tasks.provisioners`."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.ports import Provisioner

GROUP = "prebuild_tasks.provisioners"


def names() -> list[str]:
    """Every provisioner that is installed, third parties' included."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


class Provisioners:
    """The provisioners of one process, made when first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Provisioner] = {}

    def get(self, name: str) -> Provisioner:
        """The adapter. Raises NotFoundError that lists what there is."""
        if name not in self._made:
            found = list(entry_points(group=GROUP, name=name))
            if not found:
                near = get_close_matches(name, names(), n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names())}"
                raise NotFoundError(f"there is no provisioner {name!r}", hint=hint)
            self._made[name] = found[0].load()(self._settings)
        return self._made[name]
