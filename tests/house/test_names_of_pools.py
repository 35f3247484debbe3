"""Only their own types split and join the names of pools and presets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "prebuild_tasks"
TYPES = ROOT / "model" / "names.py"
URLS = {ROOT / "messaging" / "transport.py"}
"""Places in which the @ belongs to an address."""
TEMPLATE_AND_PRESET = re.compile(r"\{[^{}]*template[^{}]*\}/\{[^{}]*\}")
POOL_AND_VERSION = re.compile(r"\{[^{}]*\}@\{[^{}]*\}")
SPLITTERS = {"partition", "rpartition", "split", "rsplit", "index", "rindex", "find", "rfind", "join"}


def by_hand(tree: ast.Module) -> Iterator[int]:
    """Yield lines that split a name at its @, or join a template's and a preset's name."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name, value=value)) if name in SPLITTERS:
                passed = [*node.args, *(keyword.value for keyword in node.keywords), value]
                if any(isinstance(item, ast.Constant) and item.value == "@" for item in passed):
                    yield node.lineno
            case ast.JoinedStr():
                text = ast.unparse(node)
                if TEMPLATE_AND_PRESET.search(text) or POOL_AND_VERSION.search(text):
                    yield node.lineno
            case ast.BinOp(op=ast.Add(), left=ast.BinOp(op=ast.Add(), left=name, right=ast.Constant(sign))):
                if sign == "@" or (sign == "/" and "template" in ast.unparse(name)):
                    yield node.lineno


def test_no_module_spells_or_reads_them_by_hand() -> None:
    modules = [path for path in sorted(ROOT.rglob("*.py")) if path != TYPES and path not in URLS]
    found = {path.relative_to(ROOT).as_posix(): list(by_hand(ast.parse(path.read_text()))) for path in modules}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        "ref.partition('@')[0]",
        "ref.rpartition('@')",
        "f'{row.template_name}/{row.name}'",
        "f'{template}/{name}'",
        "ref.partition(sep='@')",
        "ref.split(maxsplit=1, sep='@')",
        "f'{pool}@{version}'",
        "template + '/' + preset",
        "pool + '@' + version",
        "ref[:ref.index('@')]",
        "ref[ref.rfind('@') + 1:]",
        "'@'.join((pool, version))",
        "row.template_name + '/' + row.preset_name",
    ],
)
def test_what_is_done_by_hand_is_found(text: str) -> None:
    assert list(by_hand(ast.parse(text))) == [1]


@pytest.mark.parametrize("text", ["f'{owner}/{name}'", "folder + '/' + name", "ref.partition('/')", "'@' in ref"])
def test_what_is_something_else_is_not_found(text: str) -> None:
    assert list(by_hand(ast.parse(text))) == []


PARTS = {
    "PoolName.preset", "PresetRef.preset", "TakenBuild.preset", "StoredSpec.preset", "WorkspaceSpec.preset",
    "PoolNumbers.preset", "Key.preset",
}  # fmt: skip
"""Fields that hold only the preset's part of a pool's name, beside the template's."""
TEXTS = {
    "ClaimAnswer.preset", "WorkspaceView.preset", "BeingBuilt.presets", "BuildReport.preset", "TurnReport.preset",
    "PresetResult.preset", "_Advice.preset", "Wishes.preset", "PoolAvailability.preset", "WorkspaceAnswer.preset",
    "EventAnswer.preset", "PoolAnswer.preset", "ExplainedAnswer.preset", "BuildAnswer.preset", "ClaimedAnswer.preset",
    "BeingBuiltAnswer.preset", "AuditFilter.preset",
}  # fmt: skip
"""Answers of Client and the HTTP API, results as Flower shows them, words of a message or page, and what was typed."""


def texts_in(tree: ast.Module) -> Iterator[str]:
    """Yield the fields that hold the name of a preset or a pool as text."""
    for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for item in kind.body:
            match item:
                case ast.AnnAssign(target=ast.Name(id="preset" | "presets" | "ref" as name), annotation=annotation):
                    if ast.unparse(annotation) in ("str", "str | None"):
                        yield f"{kind.name}.{name}"


def test_views_hold_names_as_values() -> None:
    modules = sorted(ROOT.rglob("*.py"))
    assert {field for path in modules for field in texts_in(ast.parse(path.read_text()))} == PARTS | TEXTS
