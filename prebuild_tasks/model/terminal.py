"""Text that others wrote, made safe for a terminal: control characters are shown instead of obeyed."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of the text after them
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line separators, and characters that show nothing
    "\ud800-\udfff]"  # bytes of an argument or a path that are not UTF-8
)
_COLOR = re.compile(
    r"\x1b\[(?:(?:(?:[345]8[;:](?:5[;:]\d{1,3}|2[;:]{1,2}\d{1,3}(?:[;:]\d{1,3}){2}))"
    r"|0?[0-4]|[79]|2[1-479]|[39][0-79]|4[0-79]|10[0-7]|)(?:;(?=[\d;m])|(?=m)))*m"
)
"""A sequence that only sets colors, bold, faint, italic, underlined, inverse or crossed out; not concealed or blinking,
which hide text."""
_RESET = "\x1b[0m"
_UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[\d;:]{0,60})?)\Z")
"""What may be the beginning of a color or of the end of a line, at the end of a piece of output."""


def escaped(text: str) -> str:
    r"""Return a text with its control characters as `\x1b` or `\u202e`. Line feeds and tabs stay."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def escaped_json(text: str) -> str:
    """Return JSON in which the control characters that JSON allows in its strings are escaped, too."""
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(_escape_json, text)


class OutputPieces:
    """The output of a build, which comes in pieces: its colors stay, every other control character is escaped."""

    def __init__(self) -> None:
        self._rest = ""
        self._colored = False

    def add(self, piece: str) -> str:
        """Return what can be shown after this piece; a sequence that is not complete waits for the next one."""
        text = self._rest + piece
        unfinished = _UNFINISHED.search(text)
        self._rest = unfinished.group() if unfinished else ""
        return self._show(text.removesuffix(self._rest))

    def end(self) -> str:
        """Return what was still incomplete, and a reset if a color is still set."""
        rest, self._rest = escaped(self._rest), ""
        reset, self._colored = _RESET if self._colored else "", False
        return rest + reset

    def _show(self, text: str) -> str:
        text = text.replace("\r\n", "\n")
        shown, at = [], 0
        for color in _COLOR.finditer(text):
            shown += [escaped(text[at : color.start()]), color.group()]
            at = color.end()
            self._colored = color.group() not in (_RESET, "\x1b[m")
        return "".join([*shown, escaped(text[at:])])


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == ord("\r"):  # the most frequent one, as progress bars are full of it
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_json(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
