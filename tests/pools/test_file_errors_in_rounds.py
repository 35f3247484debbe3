"""Errors of the schema hid duplicates, time zones, references and the templates' configs until they were corrected.

A config's second error waited for a third round, and the problems were not in the order of the file.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from prebuild_tasks.errors import PoolsFileError
from prebuild_tasks.provisioners.shared.config import BadConfigError
from tests.support.pool_files import load_text


def test_all_problems_are_named_at_once_in_the_order_of_the_file() -> None:
    """Whatever the schema refuses, the rest is checked: duplicates, time zones, organizations, configs."""

    def check(name: str, config: Mapping[str, object]) -> None:
        if "srve" in config:
            others = [BadConfigError("config.ready must be a script", key="ready")]
            raise BadConfigError("config.srve is not a known key", key="srve", others=others)

    text = """schema: 1
templates:
  - name: a
    organization: other
    config: {ready: [], srve: x}
    presets:
      - {name: small, desird: 2, timezone: Mars}
      - {name: big, timezone: Mras/City}
      - {name: big, desired: -1}
      - {name: big}
  - {name: b, bogus: 1, organization: nobody}
  - {name: c, provisoner: none, organization: nobody}
  - {name: a}
organizations: [{name: mine}]
"""
    with pytest.raises(PoolsFileError) as caught:
        load_text(text, check_config=check)
    assert [(problem.line, problem.message.partition(":")[0]) for problem in caught.value.problems] == [
        (4, "the organization other is not declared"),
        (5, "config.ready must be a script"),
        (5, "config.srve is not a known key"),
        (7, "unknown key desird"),
        (7, "unknown timezone Mars"),
        (8, "unknown timezone Mras/City"),
        (9, "the preset name big is used twice, first in line 8"),
        (9, "templates.presets.desired is -1, which is too small"),
        (10, "the preset name big is used twice, first in line 8"),
        (11, "unknown key bogus"),
        (11, "the organization nobody is not declared"),
        (12, "unknown key provisoner"),
        (12, "the organization nobody is not declared"),
        (13, "the template name a is used twice, first in line 3"),
    ]
    [wrong] = [problem for problem in caught.value.problems if "-1" in problem.message]
    assert wrong.fix == "use a number greater than or equal to 0"


def test_what_is_checked_only_where_all_else_is_sound_hides_nothing() -> None:
    """An unknown key, and a bad parameter elsewhere, hid every duplicate, zone and schedule until both were fixed."""
    text = """schema: 1
templates:
  - {name: a, bogus: 1, presets: [{name: small, parameters: {a-b: '1'}}, {name: small, timezone: Mars}]}
  - {name: b, presets: [{name: big, schedules: [{cron: '5 8 * * *', desired: 2}], timezone: UTC}]}
  - {name: b}
"""
    with pytest.raises(PoolsFileError) as caught:
        load_text(text)
    messages = [(problem.line, problem.message) for problem in caught.value.problems]
    assert [line for line, _ in messages] == [3, 3, 3, 3, 4, 5]
    assert messages[0] == (3, "unknown key bogus")
    assert messages[1][1].endswith("cannot be an environment variable: use letters, digits and _")


def test_the_keys_of_one_preset_do_not_hide_each_other() -> None:
    """It took three rounds to be told of three."""
    preset = (
        "{name: small, desird: 2, parameters: {a-b: '1'}, schedules: [{cron: '5 8 * * *', desired: 2}], timezone: UTC}"
    )
    with pytest.raises(PoolsFileError) as caught:
        load_text(f"schema: 1\ntemplates: [{{name: a, presets: [{preset}]}}]\n")
    told = " | ".join(problem.message for problem in caught.value.problems)
    assert len(caught.value.problems) == 3, told
    assert "unknown key desird" in told
    assert "'a-b' cannot be" in told
    assert "the minute is '5'" in told


def test_a_misspelled_key_hides_nothing_else() -> None:
    """A template's misspelled key hid the rest of its template, and one of the file all that is under it."""

    def check(name: str, config: Mapping[str, object]) -> None:
        if name != "docker" or config != {"image": "x"}:
            raise BadConfigError(f"{name} refuses {config}", key="")

    text = """shema: 1
tempaltes:
  - nam: a
    organisation: nobody
    provisoner: docker
    confg: {image: x}
    deprecated: perhaps
    prests:
      - {nmae: small, tymezone: Mars}
      - {name: small, replce: {strategi: rolling, max_surge: 0}, parameters: {TOKEN: {from_evn: X}}}
      - {name: big, desird: -1, desired: 1, schedules: [{corn: '5 8 * * *', desired: 2}], timezone: UTC}
  - {name: a, provisioner: docker, config: {image: x}}
organisations: [{name: mine, max_workspacs: -1}]
"""
    with pytest.raises(PoolsFileError) as caught:
        load_text(text, check_config=check)
    assert [(problem.line, problem.message.partition(":")[0]) for problem in caught.value.problems] == [
        (1, "unknown key shema"),
        (2, "unknown key tempaltes"),
        (3, "unknown key nam"),
        (4, "unknown key organisation"),
        (4, "the organization nobody is not declared"),
        (5, "unknown key provisoner"),
        (6, "unknown key confg"),
        (7, "deprecated"),
        (8, "unknown key prests"),
        (9, "unknown key nmae"),
        (9, "unknown key tymezone"),
        (9, "unknown timezone Mars"),
        (10, "the preset name small is used twice, first in line 9"),
        (10, "unknown key replce"),
        (10, "replace"),
        (10, "unknown key strategi"),
        (10, "unknown key from_evn"),
        (11, "unknown key desird"),
        (11, "unknown key corn"),
        (11, "the minute is '5' but must be *"),
        (12, "the template name a is used twice, first in line 3"),
        (13, "unknown key organisations"),
        (13, "unknown key max_workspacs"),
        (13, "organizations.max_workspaces is -1, which is too small"),
    ]


def test_what_depends_on_a_refused_part_is_not_reported() -> None:
    text = """schema: 2
templates:
  - {name: a, organization: mine, presets: [{name: small, timezone: 3, schedules: [{cron: "* 8 * * *", desired: 1}]}]}
organizations: [{name: mine, bogus: 1}]
"""
    with pytest.raises(PoolsFileError) as caught:
        load_text(text)
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4]
