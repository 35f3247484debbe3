"""Texts for people that come from outside: letters that the database cannot store are written escaped, not refused."""

from __future__ import annotations

import codecs
import re

from sqlalchemy import Dialect, Text, TypeDecorator

COMPLETE = ("UTF8", "SQL_ASCII")
"""Encodings of PostgreSQL that store every letter; SQL_ASCII stores bytes as they come."""
_CODEC = "prebuild_codec"
"""Attribute of a dialect: Python's name for the encoding of its database, if that has no form for some letters."""


class Prose(TypeDecorator[str]):
    r"""A text for people, such as an error or a piece of output. It is never compared with what was given.

    A letter without a form in the database's encoding, and half a surrogate pair, become an escape, as `\u2192`. NUL,
    which no database stores, is left out.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else encodable(value, noted_codec(dialect))


def encodable(text: str, codec: str) -> str:
    """Return the text with escapes for the letters that the codec does not have, and without NUL."""
    return text.replace("\0", "").encode(codec, "backslashreplace").decode(codec)


def note_encoding(dialect: Dialect, encoding: str) -> None:
    """Note the encoding of a dialect's database, by its name in PostgreSQL."""
    if encoding not in COMPLETE:
        setattr(dialect, _CODEC, codec_of(encoding))


def noted_codec(dialect: Dialect) -> str:
    """Return Python's name for the encoding of a dialect's database; UTF-8 if that stores every letter."""
    return str(getattr(dialect, _CODEC, "utf-8"))


def codec_of(encoding: str) -> str:
    """Return Python's codec for an encoding of PostgreSQL; ASCII, which all of them contain, if it has none."""
    name = re.sub(r"^WIN(?=\d)", "cp", encoding)
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "ascii"
