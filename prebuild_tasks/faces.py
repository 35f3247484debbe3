"""Lazy package faces: importing a name from a package loads only the module that defines it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


def lazy(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """Return a module-level `__getattr__` for `package`.

    Args:
        package: full name of the package.
        homes: exported names by the submodule that defines them.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(_load(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load


@contextmanager
def collecting_no_garbage() -> Iterator[None]:
    """Collect no garbage while modules are imported: they stay, so looking for it would be in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load(module: str) -> ModuleType:
    with collecting_no_garbage():
        return import_module(module)
