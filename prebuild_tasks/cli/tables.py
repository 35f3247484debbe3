"""Layout of tables as lines of text, in a given width or in none. Pure.

Nothing is lost in a narrow terminal: a column that does not fit stands on lines of its own below its row, sentences are
wrapped, and what a user may copy, such as a name or a URL, is neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap

GAP = 2
"""Blanks between columns."""
_SENTENCE_MIN = 24
"""The narrowest column in which a sentence is wrapped; in a narrower one it would be a stack of single words."""
_INDENT = "  "
_NOT_BELOW = ("", "0")
"""Cells that get no line of their own below their row."""

Cells = Mapping[str, str]
"""The cells of one row, by the key of their column."""


def lay_out(
    rows: Sequence[Cells],
    columns: Mapping[str, str],
    width: int | None = None,
    *,
    below: Collection[str] = (),
    gives_way: Sequence[str] = (),
) -> list[list[str]]:
    """Return the lines of the heading, and then those of each row.

    Args:
        rows: The rows. A column that is empty in all of them is left out.
        columns: The heading of each key, in the order of the columns.
        width: The columns of the terminal; None: as wide as the rows are.
        below: Keys whose cells always stand on a line of their own.
        gives_way: Keys whose cells stand below their row where the table is too wide, the first of them first; by
            default all but the first column, from the right.
    """
    filled = [key for key in columns if any(row[key] for row in rows)]
    beside = [key for key in filled if key not in below]
    moved: list[str] = []
    for key in gives_way or tuple(reversed(beside[1:])):
        if width is None or _fit(rows, columns, beside, width) is not None:
            break
        if key in beside:
            beside.remove(key)
            moved.append(key)
    widths = (None if width is None else _fit(rows, columns, beside, width)) or _natural(rows, columns, beside)
    heading = [_joined([columns[key] for key in beside], list(widths.values()))]
    moved = [key for key in filled if key in moved]
    own_line = [key for key in filled if key in below]
    return [heading, *(_row(row, columns, widths, [moved, *([key] for key in own_line)], width) for row in rows)]


def cut_end(text: str, width: int) -> str:
    """Shorten a text to a width, with an ellipsis at its end."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _natural(rows: Sequence[Cells], columns: Mapping[str, str], keys: Sequence[str]) -> dict[str, int]:
    return {key: max(len(columns[key]), *(len(row[key]) for row in rows), 0) for key in keys}


def _fit(rows: Sequence[Cells], columns: Mapping[str, str], keys: Sequence[str], width: int) -> dict[str, int] | None:
    """Return widths within which these columns fit, with their sentences wrapped; None if there are none."""
    widths = _natural(rows, columns, keys)
    if sum(widths.values()) + GAP * (len(keys) - 1) <= width:
        return widths
    sentences = [key for key in keys[1:] if any(" " in row[key] for row in rows)]
    room = width - GAP * (len(keys) - 1) - sum(size for key, size in widths.items() if key not in sentences)
    narrow_first = sorted(sentences, key=lambda key: widths[key])
    for left, key in zip(range(len(sentences), 0, -1), narrow_first, strict=True):
        size = min(widths[key], room // left)
        if size < max(len(columns[key]), min(widths[key], _SENTENCE_MIN)):
            return None
        widths[key] = size
        room -= size
    return widths if sentences else None


def _row(
    row: Cells,
    columns: Mapping[str, str],
    widths: Mapping[str, int],
    below: Sequence[Sequence[str]],
    width: int | None,
) -> list[str]:
    """Return the lines of one row. Each of `below` is the keys whose cells share a line below it.

    So does a cell with a word that is longer than its column.
    """
    too_long = [key for key, size in [*widths.items()][1:] if any(len(word) > size for word in row[key].split())]
    wrapped = [[""] if key in too_long else _wrapped(row[key], size) for key, size in widths.items()]
    height = max(map(len, wrapped), default=0)
    lines = [
        _joined([cell[number] if number < len(cell) else "" for cell in wrapped], list(widths.values()))
        for number in range(height)
    ]
    for keys in [too_long, *below]:
        parts = [f"{columns[key].lower()}: {row[key]}" for key in keys if row[key] not in _NOT_BELOW]
        lines += _packed(parts, width)
    return lines


def _packed(parts: Sequence[str], width: int | None) -> list[str]:
    """Return indented lines of as many parts each as fit."""
    lines: list[str] = []
    for part in parts:
        if lines and (width is None or len(lines[-1]) + GAP + len(part) <= width):
            lines[-1] += " " * GAP + part
        elif width is None or len(_INDENT) + len(part) <= width:
            lines.append(_INDENT + part)
        else:
            lines += wrap(
                part, width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return lines


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return wrap(cell, width, break_long_words=False, break_on_hyphens=False)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * GAP).join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()
