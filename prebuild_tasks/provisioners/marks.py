"""Deprecated: `refuse_claimed` under the name it had in release 0.1. Import it from `prebuild_tasks.provisioners`."""

from __future__ import annotations

import warnings

from prebuild_tasks.provisioners.shared.claim_markers import refuse_claimed

__all__ = ["refuse_claimed"]

warnings.warn(
    "prebuild_tasks.provisioners.marks is deprecated: import refuse_claimed from prebuild_tasks.provisioners",
    DeprecationWarning,
    stacklevel=2,
)
