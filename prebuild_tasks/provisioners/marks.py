"""The former place of `refuse_claimed`, kept for release 0.2: import it from `prebuild_tasks.provisioners`."""

from __future__ import annotations

import warnings

from prebuild_tasks.provisioners.shared.marks import refuse_claimed

__all__ = ["refuse_claimed"]

warnings.warn(
    "prebuild_tasks.provisioners.marks is deprecated: import refuse_claimed from prebuild_tasks.provisioners",
    DeprecationWarning,
    stacklevel=2,
)
