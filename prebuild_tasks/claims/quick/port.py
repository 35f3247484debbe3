"""The port of a quick claim, on any database."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from prebuild_tasks.claims.types import Attempt, Claimed


class UnusableDatabaseError(Exception):
    """The database cannot be used, and trying again in the usual way would only take as long once more."""

    def __init__(self, error: Exception) -> None:
        """Take the driver's error."""
        super().__init__(str(error))
        self.error = error


class QuickClaim(Protocol):
    """One claim on a connection of its own. It marks the claim's build as well, as `Marks` of follow-ups do."""

    def claim(self, attempt: Attempt) -> Claimed | None:
        """Claim from the first preset of the request; None if the claim has to be made in the usual way.

        Raises UnusableDatabaseError.
        """

    def published(self, build_ids: Collection[str]) -> None:
        """Record that messages of these builds are sent. Raises PrebuildError."""

    def unpublished(self, build_ids: Collection[str]) -> None:
        """Record that they could not be sent. Raises PrebuildError."""

    def close(self) -> None:
        """Close the connection."""
