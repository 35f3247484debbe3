"""The pages of the documentation: their code blocks, commands and anchors."""

from __future__ import annotations

import re
import shlex

_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """Return the page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[tuple[str, str]]:
    """Return each `$ ` line of the page's console blocks, without its comment, with the output shown below it."""
    return [
        (_plain(command), output)
        for block in blocks(page, "console")
        for command, output in _COMMAND.findall(block)
    ]  # fmt: skip


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes from a page's headings, and those that the page sets itself."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"></a>', page))


def _plain(command: str) -> str:
    return " ".join(shlex.split(command, comments=True)) if re.search(r"\s# ", command) else command
