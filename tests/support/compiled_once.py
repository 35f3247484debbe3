"""Compile each statement once in a test process, not once for the engine of each test, which takes much of its time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from sqlalchemy import Compiled, Dialect, Engine
from sqlalchemy.util import LRUCache

from prebuild_tasks.db.letters import noted_codec

_STATEMENTS_MAX = 5000
_Key = tuple[Dialect, *tuple[Hashable, ...]]


class _Shared:
    """The cache of all engines. Its keys name the kind of database instead of the dialect of one engine."""

    def __init__(self) -> None:
        self._compiled = LRUCache[Hashable, Compiled](_STATEMENTS_MAX)

    def get(self, key: _Key) -> Compiled | None:
        return self._compiled.get(_kind(key))

    def __setitem__(self, key: _Key, compiled: Compiled) -> None:
        self._compiled[_kind(key)] = compiled


def _kind(key: _Key) -> Hashable:
    dialect = key[0]
    # A compiled statement keeps how its values are bound, which depends on the encoding, too.
    return type(dialect), dialect.server_version_info, noted_codec(dialect), key[1:]


def install() -> None:
    """Give the shared cache to every engine that is created from now on."""
    shared, original = _Shared(), Engine.__init__

    def with_the_cache(self: Engine, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.update_execution_options(compiled_cache=shared)

    Engine.__init__ = with_the_cache  # type: ignore[method-assign]
