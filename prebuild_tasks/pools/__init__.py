"""Declaration of pools from a pools file, and operations on pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.pools.affected import Affected, left_alone, would_invalidate
    from prebuild_tasks.pools.declare import apply, apply_in, is_declared
    from prebuild_tasks.pools.file.load import ConfigCheck, DeclaredPools, load_pools
    from prebuild_tasks.pools.file.model import config_schema
    from prebuild_tasks.pools.lapsed_pauses import end_lapsed_pauses
    from prebuild_tasks.pools.operations import (
        OperationResult,
        invalidate,
        pause,
        promote,
        require_later_end,
        resume,
        unblock,
    )
    from prebuild_tasks.pools.options import DEFAULT_SOURCE, ApplyOptions, ApplyReport, Change
    from prebuild_tasks.pools.store.revision import read_applied_revision, read_revision

__all__ = [
    "DEFAULT_SOURCE",
    "Affected",
    "ApplyOptions",
    "ApplyReport",
    "Change",
    "ConfigCheck",
    "DeclaredPools",
    "OperationResult",
    "apply",
    "apply_in",
    "config_schema",
    "end_lapsed_pauses",
    "invalidate",
    "is_declared",
    "left_alone",
    "load_pools",
    "pause",
    "promote",
    "read_applied_revision",
    "read_revision",
    "require_later_end",
    "resume",
    "unblock",
    "would_invalidate",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "affected": ("Affected", "left_alone", "would_invalidate"),
            "declare": (
                "apply",
                "apply_in",
                "is_declared",
            ),
            "file.load": (
                "ConfigCheck",
                "DeclaredPools",
                "load_pools",
            ),
            "file.model": ("config_schema",),
            "lapsed_pauses": ("end_lapsed_pauses",),
            "operations": (
                "OperationResult",
                "invalidate",
                "pause",
                "promote",
                "require_later_end",
                "resume",
                "unblock",
            ),
            "options": (
                "ApplyOptions",
                "ApplyReport",
                "Change",
                "DEFAULT_SOURCE",
            ),
            "store.revision": (
                "read_applied_revision",
                "read_revision",
            ),
        },
    )
