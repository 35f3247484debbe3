"""Words that code, documentation and help do without, because readers had to guess their meaning."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import typer

from prebuild_tasks.cli.main import app

ROOT = Path(__file__).parents[2]
TEXTS = (
    "*.md",
    "Makefile",
    "Procfile",
    "Dockerfile",
    "docker-compose.yml",
    "docs/**/*.md",
    "deploy/**/*",
    "examples/**/*",
    "prebuild_tasks/**/*.j2",
    ".env.example",
    "pyproject.toml",
)
CODE = ("prebuild_tasks/**/*.py", "benchmarks/**/*.py", "examples/**/*.py")
TESTS = ("tests/**/*.py",)
LEFT_OUT = (
    "prebuild_tasks/schema/migrations/versions/",  # migrations stay as they were released
    "tests/provisioners/release_0_1/",  # a true copy of an example of release 0.1
    "tests/support/moved_tests.py",  # former names of tests
    "tests/house/test_words.py",  # the list itself
)

PHRASES = {
    "lease": r"\b[Hh]eart\b|_heart\b|\bheart_",
    "isolated": r"\bApart\b|\b(?:is|are|runs?|ran|builds?|built|attempt) apart\b|\bapart_|_apart\b",
    "contender": r"[Hh]ungry",
    "shared limit": r"\b[Pp]ots?\b",
    "context, or what it holds": r"\b[Ss]cenes?\b|\bStaff\b|\b[Ff]ates?\b|\bclass (?:Standing|Past|Place)\b",
    "assessment": r"[Jj]udgement",
    "safe output": r"\blossy\b",
    "fix, repair or remedy": r"\b[Mm]end(?:s|ed|ing)?\b",
    "deletion guard": r"\b[Ll]osses\b",
    "other versions": r"[Ss]ibling",
    "claim markers": r"\bshared[./]marks\b",
    "prepared statements": r"\bprepared\b(?! statement)",
    "gradually": r"\bby and by\b",
    "RestsWithHost": r"\bSuspendable\b",
    "gets no turn": r"\bis_suspended\b|[Pp]ools? (?:is|are) suspended\b",
    "is not a": r"(?<![Tt]here )\bis no\b(?! (?:longer|more)\b)",
    "no scheduler is running": r"\bno beat is alive\b|\bno tick (?:comes|has come)\b",
    "running, or not being reconciled": r"\bis alive, so nothing\b|\bso nothing is decided\b",
    "crashed their worker": r"\bended with their process\b",
    "a noun or an imperative": r"\bWhom\b",
    "announced, reported or noted": r"\bnot said\b",
    "text, or what it says": r"\bdef (?!test_)\w+_words\b",
    "a sentence that stands by itself": r"\"\"\"The same\b|\bThe same, for\b",
}
"""The words to write, and a pattern of those not to."""
NAMES = frozenset({"found", "words", "given", "said", "here", "mine", "everybody"})
"""Names of variables and fields that do not say what they hold. Tests may still use them."""
OPENINGS = re.compile(r"(?:What|How|Who|Whom)\b")
"""Openings that a module's docstring must not have: it begins with a noun phrase or an imperative."""
KEPT = {
    "prebuild_tasks/tasks.py": "here",  # an argument of a task, as release 0.1 sends it
    "prebuild_tasks/ports.py": "Suspendable",
    "prebuild_tasks/provisioners/__init__.py": "Suspendable",
    "prebuild_tasks/provisioners/former_names.py": "Suspendable",
    "docs/python-api.md": "Suspendable",
    "tests/support/mutations.py": "losses",  # a module of release 0.1 that a mutation changes
}
"""Names of release 0.1, by the files that explain, quote or still understand them."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A word that should not be there."""

    path: str
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}: write {self.instead}"


def phrases(path: str, text: str) -> Iterator[Hit]:
    """Find the phrases in any text, also if underscores join their words."""
    spaced = text.replace("_", " ")
    # Few texts have any, and searching a whole text takes a fraction of the time of searching its lines. A pattern
    # without an underscore that is in the text is in what is left of it without underscores, too.
    present = {each: it for each, it in PHRASES.items() if re.search(it, spaced) or ("_" in it and re.search(it, text))}
    for number, line in enumerate(text.splitlines() if present else (), 1):
        for instead, pattern in present.items():
            matches = {
                match[0]: None for form in (line, line.replace("_", " ")) for match in re.finditer(pattern, form)
            }
            for match in matches:
                if match != KEPT.get(path):
                    yield Hit(path, number, match, instead)


def names(path: str, tree: ast.AST) -> Iterator[Hit]:
    """Find the names of variables, fields and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        else:
            continue
        if name in NAMES and name != KEPT.get(path):
            yield Hit(path, node.lineno, name, "what it holds")


def opening(path: str, tree: ast.Module) -> Iterator[Hit]:
    """Find a module's docstring that begins like a question."""
    if match := OPENINGS.match(ast.get_docstring(tree) or ""):
        yield Hit(path, 1, match[0], "a noun phrase or an imperative")


def files(*patterns: str) -> dict[str, str]:
    """Read the files, by their path from the root."""
    chosen = {path.relative_to(ROOT).as_posix(): path for pattern in patterns for path in ROOT.glob(pattern)}
    return {
        name: path.read_text()
        for name, path in sorted(chosen.items())
        if path.is_file() and not name.startswith(LEFT_OUT) and "__pycache__" not in name
    }


def everywhere() -> list[Hit]:
    """Find all hits."""
    hits, code = list[Hit](), files(*CODE)
    for path, text in files(*TEXTS, *CODE, *TESTS).items():
        hits += phrases(path, text)
    for path, text in files(*CODE, *TESTS).items():
        tree = ast.parse(text)
        hits += [*opening(path, tree), *(names(path, tree) if path in code else ())]
    return hits


def helps() -> Iterator[tuple[str, str]]:
    """Yield the help of every command."""
    root = typer.main.get_command(app)
    pending = [(root, click.Context(root, info_name="prebuild"))]
    while pending:
        command, context = pending.pop()
        yield context.command_path, command.get_help(context)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                pending.append((child, click.Context(child, info_name=name, parent=context)))


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("it is no preset", True), ("there is no preset", False), ("it is no longer there", False),
        ("a Heart beats", True), ("heartbeat_at", False), ("is replaced by and by", True),
        ("prepared statements", False), ("what is prepared", True), ("told apart", False),
        ("it runs apart", True), ("what mends it", True), ("recommended", False), ("spot", False),
        ("def test_what_is_no_case()", True), ("def test_there_is_no_case()", False), ("build_apart_died", True),
        ("presence_not_said", True), ("which_mends_it", True), ("heart_beats", True), ("the_same_fate", True),
        ("def _idle_words()", True), ("def test_words()", False),
    ],
)  # fmt: skip
def test_the_patterns(text: str, bad: bool) -> None:
    assert bool(list(phrases("x", text))) is bad


def test_the_names() -> None:
    tree = ast.parse('"""How it is."""\nfound = 1\ndef f(words): return words.found\n')
    assert [hit.text for hit in (*names("x", tree), *opening("x", tree))] == ["found", "words", "How"]


def test_code_and_documentation() -> None:
    assert [str(hit) for hit in everywhere()] == []


def test_every_help() -> None:
    seen = [(path, hit.text) for path, text in helps() for hit in phrases(path, text)]
    assert seen == []
