"""The pools of the soak: simulated ones of two versions, and one of the command provisioner, whose pods are files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.faults.pods import pods_template

POD = "pod/small"
"""The pool of the command provisioner, whose pods are files."""
VERSIONS = {"quick": "{uniform: [0.02, 0.1]}", "slow": "{uniform: [0.1, 0.4]}"}
"""The versions of the templates between which promotions switch, with their build times."""


def soak_pools(sizes: Mapping[str, int], versions: Mapping[str, str], place: Path) -> str:
    """Return a pools file with simulated pools of these versions, every second one rolling, and the pool of pods."""
    lines = ["schema: 1", "templates:"]
    for number, (name, version) in enumerate(versions.items()):
        config = f"{{build_time: {VERSIONS[version]}, delete_time: {{uniform: [0, 0.05]}}}}"
        replace = ", replace: {strategy: rolling, max_surge: 1}" if number % 2 else ""
        lines.append(f"  - name: {name.partition('/')[0]}\n    provisioner: simulated\n    version: {version}")
        lines.append(f"    config: {config}\n    presets: [{{name: small, desired: {sizes[name]}{replace}}}]")
    lines.append(pods_template(POD.partition("/")[0], sizes[POD], place))
    return "\n".join(lines)
