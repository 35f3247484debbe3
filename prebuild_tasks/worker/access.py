"""Refuse to start a worker or beat that Redis refuses."""

from __future__ import annotations

import sys

from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.messaging import access_refused, refused
from prebuild_tasks.worker.config import sentence


def require_access() -> None:
    """Exit with an error message if Redis refuses the credentials, or has a certificate that is not trusted.

    A Redis that does not answer ends nothing: workers and beat wait for it.
    """
    if error := access_refused(load_settings()):
        raise _ended(error)


def refuse(error: Exception) -> SystemExit:
    """Print what Redis refused, and return the exception that ends the process."""
    return _ended(refused(load_settings(), error))


def _ended(error: UnreachableError) -> SystemExit:
    sys.stderr.write(sentence(error))
    return SystemExit(error.exit_code)
