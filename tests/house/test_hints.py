"""The hints of errors stand by themselves: portals show them to people who have no command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from prebuild_tasks.cli.main import COMMANDS
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.remedies import Remedy, RemedyKind

ROOT = Path(__file__).parents[2]
_OPEN_END = re.compile(r"(?:[:;,]|\b(?:see|(?:and|then|;) run|then|with|by|its schema))$")
"""The end of a sentence that lacks its second half."""
_CLAUSE = re.compile(r"(?:once|if|to|when|before|after)\b[^,;:]*$")
"""A clause without the main clause."""
_COMMAND = re.compile(
    r"\b(?:run|see): |\b(?:redis-cli|createdb|chown|pip|timedatectl)\b|\bkill (?:x|\d)|\bprebuild |\bcelery "
    r"|(?<![\w-])--?[A-Za-z]"
)
"""A command or an option, or the words that precede one."""
_FACE = "prebuild_tasks/cli/"
_SHELL = re.compile(
    rf"(?<![\w-])--[a-z]|\bcommands?\b|\brun [\w ]*again\b|(?<!no )\bprebuild (?:{'|'.join(sorted(COMMANDS))})\b"
)
"""Words of the command line: an option, a command, or that one runs it again."""
_ELSEWHERE = ("cli/", "remedy_commands.py", "start_commands.py", "worker/", "provisioners/", "schema/migrations/")
"""Faces for people with a shell, the spelling of remedies, and provisioners, whose recipes consist of commands."""
_PROVISIONER = "process, docker, command, simulated, or an installed one"
_SUBJECT = "ada/one"


def _hints() -> Iterator[tuple[str, str]]:
    """Yield each hint that is written as a string, with its place; what an f-string inserts becomes `x`."""
    for path in sorted((ROOT / "prebuild_tasks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case (
                    ast.keyword(arg="hint", value=value)
                    | ast.Assign(targets=[ast.Name(id="hint")], value=value)
                    | ast.Call(func=ast.Name(id="Finding"), args=[_, _, value, *_])
                    | ast.Call(func=ast.Name(id="Trouble"), args=[_, value, *_])
                ):
                    for text in _texts(value):
                        yield f"{path.relative_to(ROOT)}:{value.lineno}", text


def _texts(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Constant(value=str() as text) if text:
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(part.value if isinstance(part, ast.Constant) else "x" for part in parts)
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one)
            yield from _texts(other)


def _spoken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each string of several words with its line, except docstrings and other strings that stand alone."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as text) if " " in text and id(node) not in alone and text != _PROVISIONER:
                yield node.lineno, text


def _of_the_shell() -> Iterator[str]:
    """Yield each string below the faces that has words of the command line, with its place."""
    root = ROOT / "prebuild_tasks"
    for path in sorted(root.rglob("*.py")):
        if not path.relative_to(root).as_posix().startswith(_ELSEWHERE):
            for line, text in _spoken(ast.parse(path.read_text())):
                if _SHELL.search(text):
                    yield f"{path.relative_to(root)}:{line}: {text}"


def test_no_message_below_the_faces_has_words_of_the_command_line() -> None:
    """A program that called `Client.release` was told to run the command again."""
    assert list(_of_the_shell()) == []


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("try it with --wait", True), ("run the command again", True), ("run apply again", True),
        ("see prebuild up", True), ("no prebuild of dev/small is ready", False), ("try again", False),
        ("a well-known one", False),
    ],
)  # fmt: skip
def test_which_words_are_those_of_the_command_line(text: str, bad: bool) -> None:
    assert bool(_SHELL.search(text)) is bad


def test_no_hint_lacks_its_second_half() -> None:
    hints = list(_hints())
    assert len(hints) > 40
    assert [(place, hint) for place, hint in hints if _OPEN_END.search(hint) or _CLAUSE.match(hint)] == []


def test_no_hint_below_the_command_line_names_a_command() -> None:
    """The doctor's hints named commands of the shell, which this test did not look for."""
    hints = [(place, hint) for place, hint in _hints() if not place.startswith(_FACE)]
    assert any("/doctor/" in place for place, _ in hints)
    assert [(place, hint) for place, hint in hints if _COMMAND.search(hint)] == []


@pytest.mark.parametrize("kind", RemedyKind)
def test_a_remedy_without_a_hint_is_the_hint(kind: RemedyKind) -> None:
    for subject in ("", _SUBJECT):
        hint = NotFoundError("no", remedy=Remedy(kind, subject, "v2")).hint
        assert len(hint.split()) >= 2
        assert hint == " ".join(hint.split())
        assert "{" not in hint
        assert not _COMMAND.search(hint)
        assert not _OPEN_END.search(hint)
        assert not _CLAUSE.match(hint)
