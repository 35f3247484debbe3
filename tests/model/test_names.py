"""Names are generated and checked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.names import (
    PoolName,
    PresetRef,
    WorkspaceName,
    check_name,
    check_owner,
    claimed_name,
)
from prebuild_tasks.model.random_names import prebuild_name


def test_fresh_names_are_readable_valid_and_hardly_ever_alike() -> None:
    names = [prebuild_name() for _ in range(2000)]
    for name in names:
        assert re.fullmatch(r"prebuild-[a-z]+-[a-z]+-[0-9a-f]{4}", name)
        assert check_name("workspace", name) == name
        assert f"prebuild-{claimed_name(name)}" == name
    assert len(set(names)) > 1990


@pytest.mark.parametrize(
    ("value", "parsed"),
    [("ada/amber", ("ada", "amber")), ("amber", ("", "amber")), ("/amber", ("", "amber")), ("a/b/c", ("a/b", "c"))],
)
def test_a_workspace_is_named_with_or_without_its_owner(value: str, parsed: tuple[str, str]) -> None:
    assert WorkspaceName.parse(value) == parsed


def test_a_claimed_name_drops_the_prefix_once() -> None:
    assert claimed_name("prebuild-amber-otter-3f2a") == "amber-otter-3f2a"
    assert claimed_name("prebuild-prebuild-x") == "prebuild-x"
    assert claimed_name("amber-otter-3f2a") == "amber-otter-3f2a"


@pytest.mark.parametrize("name", ["a", "0", "python-dev", "py3.12", "a_b", "a--b", "x" * 63])
def test_names_that_are_taken(name: str) -> None:
    assert check_name("template", name) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "-a",
            "a-",
            ".",
            "..",
            ".a",
            "a.",
            "a..b",
            "_a",
            "A",
            "a/b",
            "a\\b",
            "a b",
            "a@b",
            "a\n",
            "a\0",
            "é",
        ),
        *("x" * 64, "../../etc/passwd", "a:b", "a*", "~", "$HOME", "%2e", "\u0430"),
    ],
)
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(InputError, match=r"is not a valid template name.*1 to 63 lower-case letters") as caught:
        check_name("template", name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("owner", ["anna", "Anna Ó Súilleabháin", "anna@example.com", "x" * 100, "prebuilds2", "李"])
def test_owners_that_are_taken(owner: str) -> None:
    assert check_owner(owner) == owner
    assert check_owner(f"  {owner}\t") == owner


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("", "empty"),
        (" \t\n", "empty"),
        ("prebuilds", "reserved"),
        ("PreBuilds", "reserved"),
        (" PREBUILDS ", "reserved"),
        ("prebuild\u017f", "reserved"),  # the long s folds to s
        ("a/b", "without slashes"),
        (".", "not . or .."),
        ("..", "not . or .."),
        ("a\\b", "without slashes"),
        ("a\nb", "printable"),
        ("a\x1b[31mb", "printable"),
        ("a\u202eb", "printable"),
        ("\ud800", "printable"),
        ("x" * 101, "up to 100"),
    ],
)
def test_owners_that_are_not(owner: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_owner(owner)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("value", "ref"),
    [
        ("dev/small", PresetRef("dev", "small")),
        ("dev/small@v2", PresetRef("dev", "small", "v2")),
        ("py3.12/x_l@2026-03-02", PresetRef("py3.12", "x_l", "2026-03-02")),
    ],
)
def test_a_preset_is_named(value: str, ref: PresetRef) -> None:
    assert PresetRef.parse(value) == ref
    assert str(ref) == value
    assert ref.pool == PoolName(ref.template, ref.preset)
    assert str(ref.pool) == f"{ref.template}/{ref.preset}"


@pytest.mark.parametrize(
    "value",
    [
        *("", "dev", "dev/", "/small", "/", "dev/small/x", "dev/small@", "dev@v2/small", "dev/@v2", "@v2"),
        *("dev/small@v2@v3", "dev/small@v/2", "dev/sm all", " dev/small", "dev/small\n", "dev@v2"),
    ],
)
def test_what_names_no_preset_is_told_the_form(value: str) -> None:
    with pytest.raises(InputError, match="template/preset@version"):
        PresetRef.parse(value)


@given(st.text(max_size=80))
def test_whatever_comes_in_is_taken_or_refused_in_words(value: str) -> None:
    for check in (lambda text: check_name("preset", text), check_owner, PresetRef.parse):
        try:
            check(value)
        except InputError as error:
            assert "\n" not in str(error)
