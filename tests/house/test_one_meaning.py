"""A public name means one thing: no two packages define different functions or classes of one name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import prebuild_tasks

PACKAGE = Path(prebuild_tasks.__file__).parent
FACES = ("cli/commands/", "tasks.py")
"""A command and a task have the name of the service that they call, or of the view that they print."""
SHARED = {
    "Preset": "a declared preset: the rules' value, and the table's row",
    "connect": "open a connection, to Redis and to the container engine",
    "main": "the entry point of a process",
    "parse": "check a config and return its type, in each provisioner",
}
"""Names that stand for one thing in several modules."""


def public_names() -> dict[str, list[str]]:
    """Collect the modules that define each public function or class."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if "migrations" in place or place.startswith(FACES):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                found[node.name].append(place)
    return found


def test_no_two_modules_define_one_name() -> None:
    several = {name: places for name, places in public_names().items() if len(places) > 1}
    assert {name: places for name, places in several.items() if name not in SHARED} == {}
    assert set(SHARED) <= set(several), "a name that is no longer shared leaves the table"
