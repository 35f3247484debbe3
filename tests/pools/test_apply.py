"""`apply` stores exactly what is declared."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, RefusedError
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.pools.declare import apply, is_declared
from prebuild_tasks.pools.operations import promote
from prebuild_tasks.pools.options import ApplyOptions, ApplyReport
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.workspaces.follow_ups import FollowUp
from tests.support.builders import declare, fill, preset_id, workspaces
from tests.support.pool_files import LONG, load_text, many


def put(database: Database, settings: Settings, text: str, **options: Any) -> ApplyReport:
    return apply(database, settings, load_text(text), ApplyOptions(actor="ada", **options))


def signs(report: ApplyReport) -> list[str]:
    return [str(change).split(":")[0] for change in report.changes]


def test_the_same_file_twice_changes_nothing(database: Database, settings: Settings) -> None:
    with database.read() as connection:
        assert not is_declared(connection)
    first = declare(database, settings, 2, extra='timezone: UTC, schedules: [{cron: "* 8 * * *", desired: 1}]')
    assert signs(first) == ["+ template dev", first and signs(first)[1], "+ preset dev/small"]
    again = declare(database, settings, 2, extra='timezone: UTC, schedules: [{cron: "* 8 * * *", desired: 1}]')
    assert (again.changes, again.follow_up, again.revision) == ([], FollowUp(), first.revision)


def test_sizes_schedules_and_limits_change_in_place(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    before = preset_id(database)
    report = declare(database, settings, 4, extra="ttl: 2h, max_builds_in_flight: 1, timezone: UTC")
    assert signs(report) == ["~ preset dev/small"]
    assert "desired 2 -> 4" in report.changes[0].detail
    assert preset_id(database) == before


def test_a_changed_recipe_makes_a_new_version_and_promotes_it(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    old = preset_id(database)
    report = declare(database, settings, 1, extra='parameters: {A: "1"}')
    assert [sign[0] for sign in signs(report)] == ["+", "+", "~"]
    assert preset_id(database) != old
    assert old in report.follow_up.wake or not workspaces(database)


def test_no_promote_stores_without_activating(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    old = preset_id(database)
    declare(database, settings, 1, start="false", promote=False)
    assert preset_id(database) == old
    declare(database, settings, 1, start="false")
    assert preset_id(database) != old


def test_going_back_to_an_old_recipe_activates_the_old_version(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    old = preset_id(database)
    declare(database, settings, 1, start="false")
    declare(database, settings, 1)
    assert preset_id(database) == old


def test_another_preset_is_not_another_recipe(database: Database, settings: Settings) -> None:
    text = 'schema: 1\ntemplates:\n  - name: dev\n    config: {start: "true"}\n    presets:\n'
    text += "      - {name: small, desired: 1}\n"
    put(database, settings, text)
    old = preset_id(database)
    put(database, settings, text + "      - {name: big, desired: 1}\n")
    assert preset_id(database) == old
    report = put(database, settings, text)
    assert signs(report) == ["! preset dev/big"]
    assert signs(put(database, settings, text, prune=True)) == ["- preset dev/big"]


def test_a_changed_config_under_an_old_versions_name_is_refused(database: Database, settings: Settings) -> None:
    put(database, settings, LONG.format(active="v1", start="false"))
    with pytest.raises(InputError, match=r"the config changed under the version name v2.*new version name"):
        put(database, settings, LONG.format(active="v2", start="exit 3"))
    report = put(database, settings, LONG.format(active="v2", start="false"))
    assert [str(change) for change in report.changes] == ["~ template dev: v1 -> v2"]


def test_only_the_same_source_removes_and_only_with_prune(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    empty = "schema: 1\ntemplates: []\n"
    assert put(database, settings, empty, source="other", prune=True).changes == []
    assert signs(put(database, settings, empty)) == ["! template dev"]
    assert signs(put(database, settings, empty, prune=True)) == ["- template dev"]
    assert signs(declare(database, settings, 0)) == ["~ template dev"], "declared again, it is back"


def test_deleting_more_than_half_of_everything_needs_yes(database: Database, settings: Settings) -> None:
    declare(database, settings, 4)
    fill(database, settings)
    with pytest.raises(RefusedError, match="delete 4 of all 4"):
        declare(database, settings, 4, start="false")
    with database.read() as connection:
        assert len(connection.execute(select(m.TemplateVersion.id)).all()) == 1, "nothing was changed"
    declare(database, settings, 4, start="false", yes=True)
    assert len(workspaces(database, m.Workspace.transition == Transition.START)) == 4


def test_organizations_and_limits(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, organizations="[{name: default, max_workspaces: 9}, {name: other}]")
    with database.read() as connection:
        rows = connection.execute(select(m.Organization.name, m.Organization.max_workspaces)).all()
    assert sorted(tuple(row) for row in rows) == [("default", 9), ("other", None)]


def test_secrets_are_stored_as_references(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra="parameters: {T: {from_env: GIT_TOKEN}, P: {from_file: /run/t}, V: 8}")
    with database.read() as connection:
        table = m.PresetParameter
        rows = connection.execute(select(table.name, table.value, table.from_env, table.from_file)).all()
    assert sorted(tuple(row) for row in rows) == [
        ("P", None, None, "/run/t"),
        ("T", None, "GIT_TOKEN", None),
        ("V", "8", None, None),
    ]


def test_every_change_is_in_the_history(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    with database.read() as connection:
        row = connection.execute(select(m.History)).one()
    assert (row.actor, row.event, row.details["revision"]) == ("test", "applied", 1)


def test_only_who_has_something_to_do_is_woken(database: Database, settings: Settings) -> None:
    assert len(put(database, settings, many(20)).follow_up.wake) == 20
    fill(database, settings, "t0/p3")
    first = preset_id(database, "t0/p3")
    report = put(database, settings, many(20) + "\norganizations: [{name: default, max_workspaces: 50}]\n")
    assert report.changes
    assert int(first) not in report.follow_up.wake


def test_a_revision_that_is_gone_is_refused(database: Database, settings: Settings) -> None:
    first = declare(database, settings, 1)
    assert declare(database, settings, 2, if_revision=first.revision).revision == first.revision + 1
    with pytest.raises(RefusedError, match="is at revision 2, not at 1") as refused:
        declare(database, settings, 3, if_revision=first.revision)
    assert refused.value.exit_code == 5
    assert declare(database, settings, 2).revision == 2, "nothing was changed"


def test_a_promotion_is_a_new_revision_and_undoing_it_is_said(database: Database, settings: Settings) -> None:
    put(database, settings, LONG.format(active="v1", start="false"))
    promote(database, "dev", "v2", actor="ada")
    with pytest.raises(RefusedError, match="not at 1"):
        put(database, settings, LONG.format(active="v1", start="false"), if_revision=1)
    assert put(database, settings, LONG.format(active="v1", start="false"), promote=False).drift == []
    report = put(database, settings, LONG.format(active="v1", start="false"), if_revision=2)
    assert [str(change) for change in report.changes] == ["~ template dev: v2 -> v1, undoing ada's promotion of v2"]
    assert [(item.template, item.active, item.declared, item.by) for item in report.drift] == [
        ("dev", "v2", "v1", "ada")
    ]
    put(database, settings, LONG.format(active="v2", start="false"))
    report = put(database, settings, LONG.format(active="v1", start="false"))
    assert report.drift == [], "the last who made v2 active was the file"


def test_the_number_of_statements_does_not_grow_with_the_file(database: Database, settings: Settings) -> None:
    counted: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))

    def statements(text: str, **options: Any) -> int:
        counted.clear()
        put(database, settings, text, **options)
        return len(counted)

    created = statements(many(20))
    assert statements(many(20)) < 20, "nothing to change"
    changed = statements(many(20, desired=3))
    replaced = statements(many(20, start="false"))
    drained = statements("schema: 1\ntemplates: []\n", prune=True)
    # The driver decides in how many batches it sends the rows of one statement.
    assert statements(many(200)) <= created + 10
    assert statements(many(200, desired=3)) <= changed + 10
    assert statements(many(200, start="false")) <= replaced + 10
    assert statements("schema: 1\ntemplates: []\n", prune=True) <= drained + 10
    with database.read() as connection:
        ranges = connection.execute(select(m.PresetSchedule.preset_id, m.PresetSchedule.desired)).all()
        names = connection.execute(
            select(m.Template.name, m.Preset.name).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)
            .where(m.Template.active_version_id == m.TemplateVersion.id).select_from(m.Preset)
        ).all()  # fmt: skip
    assert len(names) == len(set(names)) == 200
    assert {row.desired for row in ranges} == {2, 4}
