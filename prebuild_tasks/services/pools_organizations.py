"""The limits of organizations: what a file changes of them, and those that it no longer declares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prebuild_tasks.services.pools_compare import difference
from prebuild_tasks.services.pools_options import ApplyOptions, Change
from prebuild_tasks.services.pools_schema import OrganizationModel

NOBODY = ""
"""The source of an organization whose limits no file declares."""


def limit_changes(
    stored: Sequence[Any], declared: Sequence[OrganizationModel], options: ApplyOptions
) -> Iterator[tuple[int, dict[str, Any], Change]]:
    """By row, the values that change and how people read it; no values where only `--prune` would change them.

    An organization may be of use to several sources: its limits belong to the one that changed them last.
    """
    wanted = {organization.name: organization.model_dump(exclude={"name"}) for organization in declared}
    none = dict.fromkeys(field for field in OrganizationModel.model_fields if field != "name")
    for row in stored:
        what = f"organization {row.name}"
        if values := wanted.get(row.name):
            if detail := difference(row, values):
                yield row.id, values | {"source": options.source}, Change("update", what, detail)
        elif row.source == options.source and (detail := difference(row, none)):
            if options.prune:
                yield row.id, none | {"source": NOBODY}, Change("update", what, f"no longer declared, {detail}")
            else:
                yield row.id, {}, Change("would_drain", what, f"no longer declared; with --prune {detail}")
