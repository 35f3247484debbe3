"""The style of the page: contrasts in both schemes, and what it leaves to the browser's settings."""

from __future__ import annotations

import re

import pytest

from prebuild_tasks.web.page.render import static_files

CSS = static_files()["page.css"].content.decode()
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
    for scheme in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
)
TEXTS = [
    ("ink", "page"), ("ink", "card"), ("ink", "field"), ("ink", "plain-back"), ("quiet", "page"), ("quiet", "card"),
    ("quiet", "plain-back"), ("accent", "page"), ("accent", "card"), ("on-accent", "accent"), ("good", "good-back"),
    ("warn", "warn-back"), ("bad", "bad-back"), ("bad", "card"),
    *((f"c{number}", back) for number in range(16) for back in (
        "card", "plain-back", "bad-back", "good-back", "warn-back", "track",
    )),
]  # fmt: skip
EDGES = [
    ("edge", "card"),
    ("edge", "page"),
    ("edge", "field"),
    ("accent", "card"),
    ("warn", "card"),
    ("quiet", "card"),
    ("good", "track"),
    ("warn", "track"),
]


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Return the contrast of WCAG 2."""
    darker, lighter = sorted(map(luminance, (first, second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_of_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrasts_are_those_of_aa(scheme: dict[str, str]) -> None:
    measured = {pair: contrast(scheme[pair[0]], scheme[pair[1]]) for pair in (*TEXTS, *EDGES)}
    assert {pair: value for pair, value in measured.items() if value < (4.5 if pair in TEXTS else 3)} == {}


def test_the_schemes_have_the_same_colors() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_every_color_and_variable_is_declared_once() -> None:
    rules = CSS[CSS.index("\n\n") :]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", rules) == []
    used = set(re.findall(r"var\(--([\w-]+)\)", CSS))
    assert used == {*LIGHT, "gap", "radius", "widest"}


def test_it_leaves_scheme_motion_and_fonts_to_the_browser() -> None:
    assert "color-scheme: light dark" in CSS
    assert "prefers-reduced-motion: reduce" in CSS
    assert "url(" not in CSS
    assert "@import" not in CSS
