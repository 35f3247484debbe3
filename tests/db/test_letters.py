"""Texts from outside may have letters that an existing database cannot store."""

from __future__ import annotations

import pytest

from prebuild_tasks.db.letters import codec_of, encodable


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("LATIN1", "iso8859-1"),
        ("LATIN9", "iso8859-15"),
        ("WIN1252", "cp1252"),
        ("EUC_JP", "euc_jp"),
        ("MULE_INTERNAL", "ascii"),
    ],
)
def test_an_encoding_has_its_codec(encoding: str, codec: str) -> None:
    assert codec_of(encoding) == codec


@pytest.mark.parametrize(
    ("codec", "text", "stored"),
    [
        ("utf-8", "ü → 😀", "ü → 😀"),
        ("utf-8", "caf\udce9 \0x", r"caf\udce9 x"),
        ("iso8859-1", "ü → 😀", r"ü \u2192 \U0001f600"),
        ("ascii", "ü", r"\xfc"),
    ],
)
def test_only_letters_without_a_form_are_escaped(codec: str, text: str, stored: str) -> None:
    assert encodable(text, codec) == stored
