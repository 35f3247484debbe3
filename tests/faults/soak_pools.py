"""The pools of the soak: simulated ones of two versions, and one of the command provisioner, whose pods are files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

POD = "pod/small"
"""The pool of the command provisioner, whose pods are files."""
VERSIONS = {"quick": "{uniform: [0.02, 0.1]}", "slow": "{uniform: [0.1, 0.4]}"}
"""The versions of the templates between which promotions switch, with their build times."""
_SCRIPT = """
if [ "$1" != claim ] && [ -e "$PLACE/away" ]; then echo "no route to the API" >&2; exit 4; fi
case $1 in
start) : >"$PLACE/$PREBUILD_WORKSPACE_ID" ;;
probe) [ -e "$PLACE/$PREBUILD_WORKSPACE_ID" ] || echo '{"ready": false, "gone": true, "message": "no such pod"}' ;;
delete) rm -f "$PLACE/$PREBUILD_WORKSPACE_ID" ;;
list)
    if [ -e "$PLACE/empty" ]; then echo '[]'; exit 0; fi
    cd "$PLACE" && ls | grep -- - | sed 's/.*/{"workspace_id": "&"}/' | paste -sd, | sed 's/.*/[&]/' ;;
esac
"""


def soak_pools(sizes: Mapping[str, int], versions: Mapping[str, str], place: Path) -> str:
    """Return a pools file with simulated pools of these versions, every second one rolling, and the pool of pods."""
    place.mkdir(exist_ok=True)
    script = place.parent / "workspace.sh"
    script.write_text(f"PLACE={place}\n{_SCRIPT}")
    lines = ["schema: 1", "templates:"]
    for number, (name, version) in enumerate(versions.items()):
        config = f"{{build_time: {VERSIONS[version]}, delete_time: {{uniform: [0, 0.05]}}}}"
        replace = ", replace: {strategy: rolling, max_surge: 1}" if number % 2 else ""
        lines.append(f"  - name: {name.partition('/')[0]}\n    provisioner: simulated\n    version: {version}")
        lines.append(f"    config: {config}\n    presets: [{{name: small, desired: {sizes[name]}{replace}}}]")
    config = ", ".join(f"{call}: [sh, {script}, {call}]" for call in ("start", "probe", "claim", "delete", "list"))
    lines.append(f"  - name: {POD.partition('/')[0]}\n    provisioner: command\n    config: {{{config}}}")
    lines.append(f"    presets: [{{name: small, desired: {sizes[POD]}}}]")
    return "\n".join(lines) + "\n"
