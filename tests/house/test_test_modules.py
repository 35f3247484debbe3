"""Tests import only helpers of their own folder and of `tests/support/`, and no private name of the product."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RELEASED = "provisioners/release_0_1/"
"""Unchanged code of release 0.1."""


def is_private(name: str) -> bool:
    """Tell whether a name is private to its module or class."""
    return name.startswith("_") and not name.endswith("__")


def imported(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Yield module, name and local name of every import; the name is empty for a whole module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module or "", alias.name, alias.asname or alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", alias.asname or alias.name.partition(".")[0]


def forbidden_imports(name: str, tree: ast.AST) -> list[str]:
    """Return what a module of the tests imports from another test module, a conftest, or another folder's helpers."""
    own = name.partition("/")[0]
    found = []
    for module, member, _ in imported(tree):
        path = f"{module}.{member}" if member else module
        parts = path.split(".")
        if parts[0] != "tests" or len(parts) == 1:
            continue
        if parts[1] not in (own, "support") or any(part.startswith(("test_", "conftest")) for part in parts):
            found.append(path)
    return found


def private_names(tree: ast.AST) -> list[str]:
    """Return the private names of the product that a module imports, reads, or sets.

    An attribute counts if it is read from a name of the product, from an object made by one, or from any name except
    `self` whose value is unknown. Documented methods of named tuples and SQLAlchemy begin with an underscore, too.
    """
    imports = list(imported(tree))
    product = {local for module, _, local in imports if module.partition(".")[0] == "prebuild_tasks"}
    foreign = {local for _, _, local in imports} - product
    found = [
        f"{module}.{name}"
        for module, name, _ in imports
        if module.partition(".")[0] == "prebuild_tasks" and is_private(name)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in DOCUMENTED:
            owner = node.value
            if not (isinstance(owner, ast.Name) and owner.id in {"self", "cls", *foreign}):
                found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "setattr",
            "getattr",
            "delattr",
        ):
            found += [
                ast.unparse(node)
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                if any(map(is_private, argument.value.split(".")))
            ]
    return found


DOCUMENTED = {"_asdict", "_replace", "_fields", "_make", "_mapping", "_columns"}
"""Public attributes of named tuples, and of SQLAlchemy's rows and tables."""


def modules() -> dict[str, ast.Module]:
    """Read the tests and their helpers."""
    paths = {path.relative_to(TESTS).as_posix(): path for path in sorted(TESTS.rglob("*.py"))}
    return {name: ast.parse(path.read_text()) for name, path in paths.items() if not name.startswith(RELEASED)}


def test_what_is_noticed() -> None:
    code = ast.parse(
        "from prebuild_tasks.a import _b\n"
        "from tests.a.test_b import c\n"
        "from prebuild_tasks import d\n"
        "import os\n"
        "d._e\nos._exit(0)\nself._f\nrow._mapping\nd.made()._g\n"
        "monkeypatch.setattr(d, '_h', 1)\nmonkeypatch.setattr('prebuild_tasks.d._i', 1)\n"
    )
    assert forbidden_imports("a/test_d.py", code) == ["tests.a.test_b.c"]
    assert private_names(code) == [
        "prebuild_tasks.a._b", "d._e", "d.made()._g", "monkeypatch.setattr(d, '_h', 1)",
        "monkeypatch.setattr('prebuild_tasks.d._i', 1)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "is_forbidden"),
    [
        ("from tests.a.helper import b", False),
        ("from tests.support.wait import wait_until", False),
        ("from tests.support import servers", False),
        ("from prebuild_tasks.a import b", False),
        ("from tests.other.helper import b", True),
        ("from tests.other import helper", True),
        ("import tests.other.helper", True),
        ("from tests.a import test_b", True),
        ("from tests.a.conftest import b", True),
        ("from tests import conftest", True),
    ],
)
def test_which_imports_are_forbidden(code: str, *, is_forbidden: bool) -> None:
    assert bool(forbidden_imports("a/deeper/test_c.py", ast.parse(code))) == is_forbidden


def test_no_test_module_imports_another_or_another_folders_helper() -> None:
    assert {name: names for name, tree in modules().items() if (names := forbidden_imports(name, tree))} == {}


def test_no_private_name_of_the_product() -> None:
    found = {name: private_names(tree) for name, tree in modules().items()}
    assert {name: names for name, names in found.items() if names} == {}


def test_every_package_has_its_folder() -> None:
    """A stranger looks for a package's tests under its name."""
    packages = {path.parent.name for path in (TESTS.parent / "prebuild_tasks").glob("*/__init__.py")}
    assert {name for name in packages if not list((TESTS / name).rglob("test_*.py"))} == set()


def test_what_needs_a_browser_is_marked() -> None:
    """`make test` runs on machines that have none."""
    files = [*(TESTS / "web" / "browser").glob("test_*.py")]
    assert files
    assert [file.name for file in files if "pytest.mark.browser" not in file.read_text()] == []
