"""Every problem of a broken pools file is reported with its line, column and fix, and never as another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prebuild_tasks.errors import CannotBuildError, NotFoundError, PoolsFileError
from prebuild_tasks.pools.file import nodes
from prebuild_tasks.pools.file.load import DeclaredPools, auto_version_name, load_pools
from prebuild_tasks.pools.file.model import config_schema
from tests.support.pool_files import load_text

GOOD = """\
schema: 1
templates:
  - name: python-dev
    provisioner: process
    config:
      start: "true"
    presets:
      - name: small
        desired: 3
        timezone: Europe/Berlin
        schedules: [{cron: "* 8-18 * * 1-5", desired: 10}]
        ttl: 8h
        claimed_ttl: 14d
        parameters: {REPO: "https://x", N: 3, ON: true, TOKEN: {from_env: GIT_TOKEN}}
organizations: [{name: default, max_workspaces: 200}]
"""


def test_a_good_file() -> None:
    [template] = load_text(GOOD).templates
    [preset] = template.versions[0].presets
    assert (preset.desired, preset.ttl, preset.claimed_ttl, preset.ready_timeout) == (3, 28800, 1209600, 300)
    assert {name: preset.parameters[name] for name in ("N", "ON")} == {"N": "3", "ON": "true"}


@pytest.mark.parametrize(("number", "text"), [("-3", "-3"), ("3.5", "3.5"), ("'3.10'", "3.10"), ("'022'", "022")])
def test_a_parameter_is_the_text_that_was_written(number: str, text: str) -> None:
    [template] = load_text(GOOD.replace("N: 3", f"N: {number}")).templates
    assert template.versions[0].presets[0].parameters["N"] == text


BROKEN = [
    ("schema: 1\ntemplates:\n\t- name: x\n", 3, 1, "character", "indent with spaces"),
    ("schema: 1\nschema: 1\n", 2, 1, "duplicate key", "remove one"),
    ("schema: 1\ntemplates: [\n", 3, 1, "bad YAML", "check the indentation"),
    ("", 1, 1, "is empty", "schema: 1"),
    ("- 1\n", 1, 1, "is not a mapping", "schema: 1"),
    ("templates: []\n", 1, 1, "schema is missing", "add schema:"),
    ("schema: 2\n", 1, 9, "schema 2", "write schema: 1"),
    (GOOD.replace("desired: 3", "desird: 3"), 9, 9, "unknown key desird", "did you mean desired?"),
    (GOOD.replace("templates:", "template:"), 2, 1, "unknown key template", "did you mean templates?"),
    (GOOD.replace("desired: 3", "desired: -3"), 9, 18, "-3, which is too small", "greater than or equal to 0"),
    (GOOD.replace("desired: 3", "desired: many"), 9, 18, "desired", ""),
    (GOOD.replace("ttl: 8h", "ttl: 8 fortnights"), 12, 14, "is not a duration", ""),
    (GOOD.replace("Europe/Berlin", "Europe/Berln"), 10, 19, "unknown timezone Europe/Berln", "Europe/Berlin?"),
    (GOOD.replace("timezone: Europe/Berlin", "timezone: ''"), 11, 20, "without a timezone", "timezone: UTC"),
    (GOOD.replace("* 8-18 * * 1-5", "0 8-18 * * 1-5"), 11, 28, "the minute is '0' but must be *", ""),
    (GOOD.replace("* 8-18 * * 1-5", "* 22-2 * * *"), 11, 28, "write 22-23,0-2", ""),
    (GOOD.replace("* 8-18 * * 1-5", "* 8 * * 7"), 11, 28, "Sunday is 0", ""),
    (
        GOOD.replace("desired: 10}", 'desired: 10}, {cron: "* 18 1 * *", desired: 1}'),
        11, 67, "overlap at 2024-01-01 18:00 CET", "narrow one",
    ),
    (GOOD.replace("name: small", "name: Small!"), 8, 15, "is not a valid name", ""),
    (GOOD.replace("provisioner: process", "organization: nobody"), 4, 19, "nobody is not declared", "default"),
    (GOOD.replace("REPO:", "PATH:"), 14, 21, "PATH is set by prebuild_tasks", ""),
    (GOOD.replace("N: 3", "N: null"), 14, 44, "has no value", ""),
    (GOOD.replace("from_env: GIT_TOKEN", "from_env: A, from_file: B"), 14, 64, "either from_env or from_file", ""),
    (GOOD.replace("    provisioner: process\n", "    active_version: v1\n"), 3, 5, "without versions", ""),
    *(
        (GOOD.replace("N: 3", f"N: {written}"), 14, 44, f"number {written} would become the text {text}", "quote it: '")
        for written, text in (
            ("3.10", "3.1"), ("022", "22"), ("1e5", "100000.0"), ("0x1F", "31"), ("+1", "1"), (".5", "0.5"),
        )
    ),
    (GOOD.replace('start: "true"', "environment: {V: 3.10}"), 6, 24, "number 3.10 would become the text 3.1", ""),
    (GOOD.replace("N: 3", "N: " + "9" * 5000), 14, 44, "a number of 5,000 characters is too long", "quote it"),
    (GOOD.replace("desired: 3", "desired: 0x" + "f" * 5000), 9, 18, "a number of 5,002 characters is too long", ""),
    (GOOD.replace('start: "true"', "start: [1e999]"), 6, 7, "holds .inf or .nan", ""),
    (GOOD.replace("* 8-18 * * 1-5", "* 8" + ",8" * 100 + " * * 1-5"), 11, 28, "at most 200 characters", ""),
    (GOOD.replace("GIT_TOKEN", "A" * 201), 14, 75, "at most 200 characters", ""),
    (GOOD.replace("from_env: GIT_TOKEN", "from_file: /" + "a" * 1000), 14, 76, "at most 1000 characters", ""),
    (GOOD.replace("REPO:", "R" * 101 + ":"), 14, 21, "a name of more than 100 characters", ""),
    (GOOD.replace("ttl: 8h", "max_builds_in_flight: 2147483648"), 12, 31, "less than or equal to 100000", ""),
    (GOOD.replace("max_workspaces: 200", "max_builds_in_flight: 2147483648"), 15, 55, "less than or equal to", ""),
    ("schema: true\n", 1, 9, "unknown schema 'True'", "write schema: 1"),
    ("schema: 1.0\n", 1, 9, "unknown schema '1.0'", "write schema: 1"),
    (GOOD.replace("Europe/Berlin", "localtime"), 10, 19, "unknown timezone localtime", "use an IANA name"),
    (GOOD.replace("Europe/Berlin", "right/UTC"), 10, 19, "unknown timezone right/UTC", "did you mean Etc/UTC?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "words", "fix"), BROKEN)
def test_a_broken_file_names_the_place_and_the_fix(text: str, line: int, column: int, words: str, fix: str) -> None:
    with pytest.raises(PoolsFileError) as caught:
        load_text(text, "pools.yaml")
    problem = caught.value.problems[0]
    assert words in problem.message
    assert fix in problem.fix
    assert (problem.line, problem.column) == (line, column), str(problem)
    assert str(caught.value).startswith("pools.yaml:")


@pytest.mark.parametrize(
    ("doubled", "line", "words"),
    [
        ("      - name: small\n        desired: 1\n", 9, "preset name small is used twice, first in line 8"),
    ],
)
def test_duplicate_names_name_both_places(doubled: str, line: int, words: str) -> None:
    text = GOOD.replace("      - name: small\n", "      - name: small\n" + doubled.split("\n", maxsplit=1)[0] + "\n", 1)
    with pytest.raises(PoolsFileError, match=words) as caught:
        load_text(text)
    assert caught.value.problems[0].line == line


def test_an_active_version_that_does_not_exist_lists_those_that_do() -> None:
    text = "schema: 1\ntemplates:\n  - name: t\n    active_version: v3\n    versions: [{name: v1}, {name: v2}]\n"
    with pytest.raises(PoolsFileError, match=r"v3 does not exist.*v[12]") as caught:
        load_text(text)
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (4, 21)


def test_all_problems_are_named_at_once() -> None:
    text = GOOD.replace("desired: 3", "desired: -3").replace("ttl: 8h", "tttl: 8h")
    with pytest.raises(PoolsFileError) as caught:
        load_text(text)
    assert len(caught.value.problems) == 2


def test_the_provisioners_own_opinion_is_a_problem_in_its_place() -> None:
    def check(name: str, config: object) -> None:
        if name != "process":
            raise NotFoundError(f"there is no provisioner {name}", hint="did you mean process?")
        error = CannotBuildError("config.start must be a script")
        error.key = "start"  # type: ignore[attr-defined]
        raise error

    with pytest.raises(PoolsFileError, match="must be a script") as caught:
        load_text(GOOD, check_config=check)
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (6, 14)
    with pytest.raises(PoolsFileError, match="did you mean process") as caught:
        load_text(GOOD.replace("provisioner: process", "provisioner: proces"), check_config=check)
    assert caught.value.problems[0].line == 4


def test_overlays_merge_lists_by_name(tmp_path: Path) -> None:
    base, overlay = tmp_path / "pools.yaml", tmp_path / "production.yaml"
    base.write_text(GOOD)
    overlay.write_text(
        "templates:\n  - name: python-dev\n    presets: [{name: small, desired: 30}, {name: big, desired: 1}]\n"
    )
    [template] = load_pools([base, overlay]).templates
    assert {p.name: (p.desired, p.ttl) for p in template.versions[0].presets} == {
        "small": (30, 28800),
        "big": (1, None),
    }
    overlay.write_text("templates:\n  - {name: python-dev, presets: [{name: small, desired: -1}]}\n")
    with pytest.raises(PoolsFileError, match=r"production\.yaml:2:57"):
        load_pools([base, overlay])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PoolsFileError, match="cannot be read: No such file"):
        load_pools([tmp_path / "none.yaml"])


def test_the_auto_version_is_a_hash_of_config_and_parameters() -> None:
    def name(text: str) -> str:
        template = load_text(text).templates[0]
        return auto_version_name(template.provisioner, template.versions[0])

    assert name(GOOD) == name(GOOD.replace("desired: 3", "desired: 4").replace("8h", "9h"))
    assert name(GOOD) != name(GOOD.replace("https://x", "https://y"))
    assert name(GOOD) != name(GOOD.replace('start: "true"', 'start: "false"'))


def test_the_schema_describes_the_file() -> None:
    schema = config_schema()
    assert {"schema", "templates", "organizations"} == set(schema["properties"])


def test_aliases_that_blow_up_are_refused() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{c}: &{c} [{','.join(['*' + p] * 10)}]" for p, c in zip("abcdef", "bcdefg", strict=True)]
    with pytest.raises(PoolsFileError, match="too deeply or too large"):
        load_text("\n".join(lines))


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(PoolsFileError, match="larger than 5 MB"):
        load_text("#" * 10_000_000)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["schema", "templates", "name", "presets", "desired", "versions", "config", "schedules", "cron", "parameters"]
    ), inner, max_size=4), max_leaves=12,
).map(repr))  # fmt: skip
def test_whatever_comes_in_only_a_pools_file_error_comes_out(text: str) -> None:
    try:
        assert isinstance(load_text(text), DeclaredPools)
    except PoolsFileError as error:
        assert error.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("!!str 5", "5"), ("'5'", "5"),
        ("010", 10), ("0o10", 8), ("0x1f", 31), ("-3", -3), ("1e3", 1000.0), (".5", 0.5), ("true", True), ("~", None),
        ("", None), ("|\n    a\n    b\n", "a\nb\n"), ("[1, {b: c}]", [1, {"b": "c"}]), ("!mine x", "x"),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert nodes.read_text(f"a: {text}\n", "f").plain() == {"a": value}


def test_aliases_within_the_depth_bound_are_taken() -> None:
    text = "".join(f"k{n}: &a{n} {'[' * 4}{f'*a{n - 1}' * (n > 0)}{']' * 4}\n" for n in range(12))
    assert str(nodes.read_text(text, "f").plain()["k11"]).count("[") == 48


def test_aliases_and_merge_keys() -> None:
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nagain: *base\nmany: {<<: [*base, {c: 4}]}\n"
    node = nodes.read_text(text, "f")
    assert node.plain() == {
        "base": {"a": 1, "b": 2}, "other": {"a": 1, "b": 3}, "again": {"a": 1, "b": 2},
        "many": {"a": 1, "b": 2, "c": 4},
    }  # fmt: skip
    assert (node.value["again"].line, node.value["again"].column) == (3, 8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "".join(f"k{n}: &a{n} {'[' * 44}{f'*a{n - 1}' * (n > 0)}{']' * 44}\n" for n in range(40)),
            "nested too deeply",
        ),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("a: &a [*a]\n", r"the alias \*a has no anchor"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("a: {<<: 1}\n", "needs a mapping"),
        ("? [a]\n: b\n", "a key must be plain text"),
        ('a: "\\x"\n', "bad YAML"),
        ("a: \x01\n", "bad YAML"),
        ("# nothing\n", "is empty"),
    ],
)
def test_what_can_not_be_read_is_said(text: str, words: str) -> None:
    with pytest.raises(PoolsFileError, match=words):
        nodes.read_text(text, "f")
