"""The output of a build as markup: its colours become CSS classes, every other escape sequence is dropped.

Classes: `fg-0` to `fg-15` and `bg-0` to `bg-15` (the colours of terminals, in their order), `bold`, `faint`, `italic`,
`underline`, `strike`, `inverse`, and `cut` for the note about characters that are not shown. Colours of larger palettes
become the nearest of the sixteen.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from markupsafe import Markup, escape

from prebuild_tasks.model.terminal import escaped
from prebuild_tasks.model.text import number

LINE_SHOWN = 4000
"""The most characters of one line that are shown; the others are counted."""
COLORED = 10_000
"""The most changes of colour in a piece: a thousand take a process some 40 ms. The text after them is plain."""
_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[(?P<parameters>[0-?]{0,256})[ -/]{0,8}(?P<final>[@-~])"
    r"|[]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)"  # titles, links and other strings, with what ends them
    r"|[ -/]{1,8}[0-~]"
    r"|[0-OQ-WYZ\\`-~])"
)
_UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-?]{0,256}[ -/]{0,8}|[]PX^_][^\x07\x1b\n]{0,4096}\x1b?|[ -/]{0,8}))\Z")
"""What may be the beginning of a sequence, or of the end of a line, at the end of a piece."""
_LONGEST = 4100
"""No unfinished sequence is longer."""
_STATE = re.compile(r"\d+\.\d{1,3}(?:-\d{1,3}){0,20}\.[\w-]*", re.ASCII)
_DIGITS = 15
_ON = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "strike", 21: "underline"}
_OFF = {22: ("bold", "faint"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("strike",)}
_PALETTE = (
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255),
    (255, 255, 255),
)  # fmt: skip
"""The sixteen colours as xterm has them."""
_LEVELS = (0, 95, 135, 175, 215, 255)
"""The intensities of the 216 colours between the sixteen and the greys."""


@dataclass(frozen=True, slots=True)
class _Style:
    """The colours and the weight of the text that follows."""

    tags: frozenset[str] = frozenset()
    foreground: int | None = None
    background: int | None = None

    @property
    def classes(self) -> str:
        """The CSS classes; empty for plain text."""
        colors = [f"{kind}-{n}" for kind, n in (("fg", self.foreground), ("bg", self.background)) if n is not None]
        return " ".join([*colors, *sorted(self.tags)])

    @property
    def codes(self) -> list[int]:
        """The codes of the sequence that sets it."""
        tags = [min(code for code, tag in _ON.items() if tag == name) for name in sorted(self.tags)]
        colors = [
            (code + 60 - 8 if color > 7 else code) + color
            for code, color in ((30, self.foreground), (40, self.background))
            if color is not None
        ]
        return [0, *tags, *colors]


_PLAIN = _Style()


class LogMarkup:
    """The output of one build, which comes in pieces. Each piece's markup is complete, and can be appended."""

    def __init__(self, line_shown: int = LINE_SHOWN) -> None:
        """Begin with plain text. Of each line, `line_shown` characters are shown."""
        self._rest = ""
        self._style = _PLAIN
        self._line_shown = line_shown
        self._long = re.compile(rf"^[^\n]{{{line_shown + 1},}}", re.MULTILINE)
        self._column = 0
        """Characters of the current line so far, those that are not shown included."""

    @classmethod
    def at(cls, state: str) -> LogMarkup:
        """Return what goes on from a `state`, in any process. Raises ValueError for what is not one."""
        column, codes, rest = state.split(".")
        if not _STATE.fullmatch(state) or len(column) > _DIGITS or len(rest) > 2 * _LONGEST:
            raise ValueError("this is not the state of an output")
        markup = cls()
        markup._column, markup._style = int(column), _styled(_PLAIN, codes.replace("-", ";"))
        markup._rest = base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4)).decode()
        return markup

    @property
    def state(self) -> str:
        """The column, the style, and what is incomplete so far, as a text for an address."""
        rest = base64.urlsafe_b64encode(self._rest.encode("utf-8", "replace")).decode().rstrip("=")
        return f"{self._column}.{'-'.join(map(str, self._style.codes))}.{rest}"

    def add(self, piece: str) -> Markup:
        """Return the markup of a piece; a sequence that is not complete waits for the next one."""
        text = self._rest + piece
        unfinished = _UNFINISHED.search(text, max(len(text) - _LONGEST, 0))
        self._rest = unfinished.group() if unfinished else ""
        return self._show(text[: len(text) - len(self._rest)])

    def end(self) -> Markup:
        """Return the markup of what was still incomplete, after the last piece."""
        rest, self._rest = self._rest, ""
        shown = self._text(rest) + self._note()
        self._column, self._style = 0, _PLAIN
        return Markup(shown)  # noqa: S704 - _text and _note escape

    def _show(self, text: str) -> Markup:
        text = text.replace("\r\n", "\n")
        shown, at = [], 0
        for count, sequence in enumerate(_SEQUENCE.finditer(text)):
            if sequence.start() > at:
                shown.append(self._text(text[at : sequence.start()]))
            at = sequence.end()
            if sequence["final"] == "m":
                self._style = _styled(self._style, sequence["parameters"]) if count < COLORED else _PLAIN
        shown.append(self._text(text[at:]))
        return Markup("".join(shown))  # noqa: S704 - _text escapes

    def _text(self, text: str) -> str:
        """Return text in the present style, and of each line only as much as is shown."""
        first, line_feed, others = text.partition("\n")
        parts = [self._line(first)]
        if line_feed:
            whole, line_feed, last = others.rpartition("\n")
            parts += [self._note(), self._spanned("\n")]
            at = 0
            for long in self._long.finditer(whole):
                shown = long.start() + self._line_shown
                parts += [self._spanned(whole[at:shown]), _cut(long.end() - shown)]
                at = long.end()
            self._column = 0
            parts += [self._spanned(whole[at:] + line_feed), self._line(last)]
        return "".join(parts)

    def _line(self, text: str) -> str:
        """Return as much of a part of the current line as is shown."""
        room = max(self._line_shown - self._column, 0)
        self._column += len(text)
        return self._spanned(text[:room])

    def _note(self) -> str:
        """Return the note about the characters of the current line that are not shown, at its end."""
        return _cut(max(self._column - self._line_shown, 0))

    def _spanned(self, text: str) -> str:
        if not text:
            return ""
        safe, classes = escape(escaped(text)), self._style.classes
        return f'<span class="{classes}">{safe}</span>' if classes and text.strip("\n") else str(safe)


def _cut(hidden: int) -> str:
    return f'<span class="cut">… {number(hidden, "more character")}</span>' if hidden else ""


@lru_cache(maxsize=1024)
def _styled(style: _Style, parameters: str) -> _Style:
    """Return the style after a sequence that sets it. What is not known is left out, as terminals do."""
    codes = [int(code) if code.isdecimal() else 0 for code in parameters.replace(":", ";").split(";")]
    at = 0
    while at < len(codes):
        code = codes[at]
        at += 1
        if code in (38, 48):
            color, at = _extended(codes, at)
            style = replace(style, foreground=color) if code == 38 else replace(style, background=color)
        else:
            style = _with_code(style, code)
    return style


def _with_code(style: _Style, code: int) -> _Style:
    if code in _ON:
        return replace(style, tags=style.tags | {_ON[code]})
    if code in _OFF:
        return replace(style, tags=style.tags.difference(_OFF[code]))
    bright, color = divmod(code, 10)
    match bright:
        case 0 if code == 0:
            return _PLAIN
        case 3 | 9 if color < 8:
            return replace(style, foreground=color + (8 if bright == 9 else 0))
        case 4 | 10 if color < 8:
            return replace(style, background=color + (8 if bright == 10 else 0))
        case 3 | 4 if color == 9:
            return replace(style, foreground=None) if bright == 3 else replace(style, background=None)
    return style


def _extended(codes: list[int], at: int) -> tuple[int | None, int]:
    """Return the nearest of the sixteen colours to one of a larger palette, and the position after it."""
    match codes[at : at + 1]:
        case [5] if len(codes) > at + 1:
            return _nearest(_indexed(codes[at + 1])), at + 2
        case [2] if len(codes) > at + 3:
            return _nearest((codes[at + 1], codes[at + 2], codes[at + 3])), at + 4
    return None, len(codes)


def _indexed(index: int) -> tuple[int, int, int]:
    """Return the colour of an index of the palette of 256."""
    if index < 16:
        return _PALETTE[index]
    if index < 232:
        red, rest = divmod(index - 16, 36)
        return _LEVELS[red % 6], _LEVELS[rest // 6], _LEVELS[rest % 6]
    return (grey := min(8 + 10 * (index - 232), 255)), grey, grey


@lru_cache(maxsize=4096)
def _nearest(color: tuple[int, int, int]) -> int:
    return min(range(16), key=lambda n: sum((a - b) ** 2 for a, b in zip(_PALETTE[n], color, strict=True)))
