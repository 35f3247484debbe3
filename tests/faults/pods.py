"""A pool of the command provisioner, whose pods are files, and whose API can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools import operations
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE
from prebuild_tasks.upkeep.dispatch import ask_for_resources
from prebuild_tasks.workspaces import is_pool_start_sql
from tests.faults.cluster import Cluster, pools_file

POOL, DESIRED = "pods/small", 6
_SCRIPT = """
if [ "$1" != claim ] && [ -e "$PLACE/away" ]; then echo "no route to the API" >&2; exit 4; fi
case $1 in
start) : >"$PLACE/$PREBUILD_WORKSPACE_ID" ;;
probe) [ -e "$PLACE/$PREBUILD_WORKSPACE_ID" ] || echo '{"ready": false, "gone": true, "message": "no such pod"}' ;;
delete) rm -f "$PLACE/$PREBUILD_WORKSPACE_ID" ;;
list)
    if [ -e "$PLACE/flap" ]; then echo '[]'; exit 0; fi
    cd "$PLACE" && ls | grep -- - | sed 's/.*/{"workspace_id": "&"}/' | paste -sd, | sed 's/.*/[&]/' ;;
esac
"""


def pods_template(name: str, desired: int, place: Path) -> str:
    """Write the script beside `place`, where the pods are, and return a template of them as lines of a pools file."""
    place.mkdir(exist_ok=True)
    script = place.parent / "workspace.sh"
    script.write_text(f"PLACE={place}\n{_SCRIPT}")
    config = ", ".join(f"{call}: [sh, {script}, {call}]" for call in ("start", "probe", "claim", "delete", "list"))
    return (
        f"  - name: {name}\n    provisioner: command\n    config: {{{config}}}\n"
        f"    presets: [{{name: small, desired: {desired}}}]\n"
    )


class Pods:
    """A pool of pods, which are files, and the API in front of them."""

    def __init__(self, deployment: Cluster, place: Path) -> None:
        self._it, self.place = deployment, place
        deployment.apply(pools_file(extra=pods_template(POOL.partition("/")[0], DESIRED, place)))
        self.database = Database.of(deployment.settings)
        self._messages = Messages(deployment.settings)

    def ready(self) -> set[str]:
        """Return the ids of the prebuilds that can be claimed."""
        query = (
            select(m.Workspace.id)
            .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
            .join(m.TemplateVersion, m.TemplateVersion.id == m.Preset.template_version_id)
            .where(IS_CLAIMABLE, m.TemplateVersion.provisioner == "command")
        )
        with self.database.read() as connection:
            return set(connection.execute(query).scalars())

    def taken_out(self) -> int:
        """Return how many prebuilds were ever taken out of a pool as lost."""
        with self.database.read() as connection:
            query = select(func.count()).select_from(m.History).where(m.History.event == "unhealthy")
            return connection.execute(query).scalar_one()

    def failures(self) -> list[str]:
        """Return the errors of this pool's starts that have counted as failed."""
        query = (
            select(m.Build.error)
            .join(m.Preset, m.Preset.id == m.Build.preset_id)
            .join(m.TemplateVersion, m.TemplateVersion.id == m.Preset.template_version_id)
            .where(is_pool_start_sql(), m.Build.status == BuildStatus.FAILED)
            .where(m.TemplateVersion.provisioner == "command")
        )
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def unblock(self) -> None:
        """Let the pool be as one that has lost nothing: one that loses more than it holds, again and again, waits."""
        operations.unblock(self.database, POOL, actor="test")

    def look(self) -> None:
        """Have the resources listed, as beat does every few minutes."""
        ask_for_resources(self.database, self._it.settings, self._messages)

    @contextmanager
    def trouble(self, name: str) -> Iterator[None]:
        """Let the API not answer (`away`), or list nothing (`flap`), for as long as the block lasts."""
        (self.place / name).touch()
        try:
            yield
        finally:
            (self.place / name).unlink()
