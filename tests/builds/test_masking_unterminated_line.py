"""Output without line ends is not kept in memory until the build ends, and secrets are masked where it is cut.

Previously, if a template had a secret, the unfinished line was kept whole and joined with each new piece: 20 MB of a
progress bar or of a binary took 6.5 s of the only reading thread, and stayed in memory until the end. And a secret
with a NUL in the middle was not recognized, and the NUL was removed afterwards.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.builds import masking
from prebuild_tasks.builds.masking import Masking, masked

SECRETS = st.lists(st.text("ab-", min_size=1, max_size=7), min_size=1, max_size=4)
PIECES = st.lists(st.text("ab-c\n\0", max_size=9), max_size=40)


def shown(secrets: list[str], pieces: list[str]) -> str:
    masks = Masking(secrets)
    return "".join([*map(masks.take, pieces), masks.rest()])


@pytest.mark.parametrize("held", [0, 5, 1 << 16])
def test_wherever_it_is_cut_no_secret_shows(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(masking, "HELD", held)

    @given(SECRETS, PIECES)
    def check(secrets: list[str], pieces: list[str]) -> None:
        text = shown(secrets, pieces)
        assert [secret for secret in secrets if secret in text] == []
        visible = text.replace("*", "").replace("\n", "")
        assert len(visible) <= len("".join(pieces))

    check()


@pytest.mark.parametrize("held", [0, 5])
def test_it_is_the_same_as_in_one_piece(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """Draw secrets that do not overlap themselves; one may still be a prefix or a part of another."""
    monkeypatch.setattr(masking, "HELD", held)
    secrets = ["token", "token-of-mine", "of-m", "mine!"]

    @given(st.lists(st.sampled_from([*secrets, "tok", "en", "x", "of", "-", "\n", "mine"]), max_size=40), st.data())
    def check(words: list[str], data: st.DataObject) -> None:
        text = "".join(words)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert shown(secrets, pieces) == masked(text, secrets)

    check()


@pytest.mark.parametrize("line", ["\r 12.3% of 4096", "-" * 70])
def test_little_is_held_of_a_line_without_an_end(line: str) -> None:
    masks = Masking(["s3cr3t-0f-mine", "--"])
    piece, come = line * 500, 0
    for _ in range(40):
        come += len(masks.take(piece))
        assert masks.held <= masking.HELD + 100
    assert come > 20 * len(masking.MASK) * 1000
