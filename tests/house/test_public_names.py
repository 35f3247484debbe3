"""The public Python names that users import, with their signatures. A change here affects users."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import prebuild_tasks
import prebuild_tasks.client
from prebuild_tasks import errors, provisioners
from prebuild_tasks.claims.types import ClaimAnswer
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.views import WorkspaceView
from prebuild_tasks.json_views import rows_of
from prebuild_tasks.model.vocabulary import ClaimState, WorkspaceState
from tests.support.builders import PRESET, declare, fill

PAGES = Path(__file__).parents[2] / "docs"
PAGE = (PAGES / "python-api.md").read_text()
CLIENT = {
    "Client": "(database_url: 'str' = '', *, redis_url: 'str' = '', settings: 'Settings | None' = None) -> 'None'",
    "claim": "(self, *presets: 'str', owner: 'str', name: 'str' = '', template: 'str' = '', "
    "parameters: 'Mapping[str, str] | None' = None, request_id: 'str' = '', wait: 'float' = 0.0) -> 'ClaimAnswer'",
    "release": "(self, workspace: 'str', *, actor: 'str') -> 'None'",
    "workspaces": "(self, *, owner: 'str' = '') -> 'list[WorkspaceView]'",
    "close": "(self) -> 'None'",
}
ANSWERS = {
    "ClaimAnswer": "(workspace: 'str', workspace_id: 'str', preset: 'str', owner: 'str', url: 'str', directory: 'str', "
    "resource_id: 'str', host: 'str', request_id: 'str', claimed_at: 'datetime', state: 'ClaimState', "
    "claimed_until: 'datetime | None' = None, warning: 'str' = '') -> None",
    "WorkspaceView": "(*, workspace: 'str', id: 'str', owner: 'str', preset: 'str', state: 'WorkspaceState', "
    "url: 'str', directory: 'str', resource_id: 'str', host: 'str', created_at: 'datetime', "
    "claimed_at: 'datetime | None', claimed_until: 'datetime | None', ends_soon: 'bool', reason: 'str', "
    "retry_at: 'datetime | None' = None) -> None",
}
REMEDY = "(kind: 'RemedyKind', subject: 'str' = '', version: 'str' = '') -> None"
REMEDY_KINDS = (
    "start_everything start_control_worker start_builds_worker start_beat start_redis start_container_with_init "
    "restart_or_forget_host "
    "forget_host_and_its_claimed_workspaces create_database create_database_on_server "
    "upgrade_schema show_settings show_schema_of_pools_file "
    "apply_pools_file plan_pools_file list_pools explain_pool reconcile resume unblock_pool promote_version "
    "claim_workspace release_workspace delete_workspace list_workspaces show_disk_use_of_workspaces list_builds "
    "list_running_builds list_failed_builds show_log follow_log diagnose_installation serve_metrics_elsewhere "
    "find_the_large_keys_in_redis forbid_eviction_in_redis show_state_of_redis serve_queue stop_process "
    "make_data_directory_writable show_state_of_clock update_timezones "
    "wait_for_workspace name_the_owner name_the_preset choose_another_name_or_leave_it_out "
    "repeat_request make_a_new_request_id apply_as_source confirm_deletion confirm_loss look_for_strays "
    "begin_the_period_before_its_end_and_not_in_the_future"
)
MESSAGE = "(message: 'str', *, hint: 'str' = '', remedy: 'Remedy | None' = None) -> 'None'"
ERRORS = {
    "PrebuildError": (MESSAGE, 1, "error"),
    "InputError": (MESSAGE, 2, "bad_input"),
    "PoolsFileError": ("(problems: 'Sequence[Problem]') -> 'None'", 2, "bad_pools_file"),
    "NotFoundError": (MESSAGE, 3, "not_found"),
    "ClaimMissError": (MESSAGE.replace("*, ", "*, reason: 'str', "), 4, "claim_miss"),
    "BeingBuiltError": (MESSAGE.replace("*, ", "*, workspace: 'str', preset_id: 'int', "), 4, "claim_miss"),
    "RefusedError": (MESSAGE, 5, "refused"),
    "BusyError": (MESSAGE, 5, "busy"),
    "RequestEndedError": (
        MESSAGE.partition("*")[0]
        + "state: 'str' = 'ended', workspace: 'str' = '', workspace_id: 'str' = '', "
        + "ended_at: 'str' = '', ended_by: 'str' = '', reason: 'str' = '') -> 'None'",
        5,
        "request_ended",
    ),
    "WaitTimeoutError": (MESSAGE, 6, "timeout"),
    "WaitStoppedError": (MESSAGE, 130, "interrupted"),
    "UnreachableError": (MESSAGE, 7, "unreachable"),
    "AuditError": (MESSAGE, 8, "audit"),
    "ProvisionerError": (MESSAGE, 1, "provisioner_failed"),
    "CannotAskError": (MESSAGE, 1, "provisioner_unreachable"),
    "NeverReadyError": (MESSAGE, 1, "never_ready"),
    "CannotBuildError": (MESSAGE, 1, "validation_failed"),
    "BuildStoppedError": ("(message: 'str', *, reason: 'str') -> 'None'", 1, "build_stopped"),
}
CONFIG = "config: 'Mapping[str, object]'"
PORT = {
    "Provisioner": {
        "check_config": f"(self, {CONFIG}) -> 'None'",
        "start": "(self, spec: 'WorkspaceSpec', context: 'BuildContext') -> 'Resource'",
        "probe": "(self, spec: 'WorkspaceSpec') -> 'Probe'",
        "claim": "(self, spec: 'WorkspaceSpec', context: 'BuildContext') -> 'None'",
        "stop": "(self, spec: 'WorkspaceSpec', context: 'BuildContext') -> 'None'",
        "delete": "(self, spec: 'WorkspaceSpec', context: 'BuildContext') -> 'None'",
        "list": "(self, installation: 'str', configs: 'Iterable[Mapping[str, object]]' = ()) -> 'Iterable[Resource]'",
    },
    "BuildContext": {
        "log": "(self, text: 'str') -> 'None'",
        "check": "(self) -> 'None'",
        "wait": "(self, seconds: 'float') -> 'None'",
    },
    "MayNotList": {"lists": f"(self, {CONFIG}) -> 'bool'"},
    "MayNotProbe": {"probes": f"(self, {CONFIG}) -> 'bool'"},
    "ListsOnce": {"list_key": f"(self, {CONFIG}) -> 'str'"},
    "ReadinessContext": {"not_ready": "(self, answer: 'str') -> 'None'"},
    "KeepsOutput": {"served_output": "(self, spec: 'WorkspaceSpec') -> 'ServedOutput'"},
    "RestsWithHost": {"rest": "(self) -> 'int'", "serve_again": "(self) -> 'int'"},
}
VALUES = {
    "Probe": "(ready: 'bool', message: 'str' = '', gone: 'bool' = False, unknown: 'bool' = False) -> None",
    "Resource": "(workspace_id: 'str', resource_id: 'str', url: 'str' = '', directory: 'str' = '', "
    "installation: 'str' = '', claimed: 'bool' = False, owner: 'str' = '') -> None",
    "ServedOutput": "(text: 'str', parameters: 'Mapping[str, str]' = <factory>) -> None",
    "WorkspaceSpec": "(installation: 'str', workspace_id: 'str', attempt: 'int', name: 'str', owner: 'str', "
    "template: 'str', version: 'str', preset: 'str', config: 'Mapping[str, object]', "
    "parameters: 'Mapping[str, str]', ready_timeout: 'float' = 300.0) -> None",
    "refuse_claimed": "(owner: 'str', spec: 'WorkspaceSpec') -> 'None'",
    "parse_duration": "(value: 'object') -> 'float'",
}
AT = datetime(2026, 7, 1, tzinfo=UTC)
DEPRECATED = (
    "prebuild_tasks.ports",
    "prebuild_tasks.provisioners.marks",
    "config.parse_duration",
    "prebuild_tasks.apart",
)


def methods(kind: type) -> dict[str, str]:
    """Return the public methods of a class, with their signatures."""
    return {
        name: str(inspect.signature(value))
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def test_the_client() -> None:
    assert prebuild_tasks.Client is prebuild_tasks.client.Client
    assert {"Client": str(inspect.signature(prebuild_tasks.Client)), **methods(prebuild_tasks.Client)} == CLIENT


def test_the_errors() -> None:
    kinds = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert {name: (str(inspect.signature(kind)), kind.exit_code, kind.code) for name, kind in kinds.items()} == ERRORS


def test_the_answers() -> None:
    assert {name: str(inspect.signature(getattr(prebuild_tasks, name))) for name in ANSWERS} == ANSWERS
    assert {*ANSWERS, "Client"} == set(prebuild_tasks.__all__)
    assert prebuild_tasks.ClaimAnswer is ClaimAnswer
    assert prebuild_tasks.WorkspaceView is WorkspaceView


def test_the_remedy_of_an_error() -> None:
    assert str(inspect.signature(errors.Remedy)) == REMEDY
    assert [kind.value for kind in errors.RemedyKind] == REMEDY_KINDS.split()
    refused = errors.RefusedError("no", remedy=errors.Remedy(errors.RemedyKind.RELEASE_WORKSPACE))
    assert refused.remedy == errors.Remedy(errors.RemedyKind.RELEASE_WORKSPACE)
    assert refused.hint == "release a workspace"


def test_the_settings_that_provisioners_get() -> None:
    page = (PAGES / "settings.md").read_text()
    variables = re.findall(r"^\| `PREBUILD_([A-Z_]+)`", page, re.MULTILINE)
    listed = {name.lower() for name in variables}
    assert len(listed) > 30
    assert listed - {*Settings.model_fields} == set()


def test_the_port_of_provisioners() -> None:
    assert {name: methods(getattr(provisioners, name)) for name in PORT} == PORT
    assert {name: str(inspect.signature(getattr(provisioners, name))) for name in VALUES} == VALUES
    assert {*PORT, *VALUES} <= set(provisioners.__all__)


def test_the_page_lists_them() -> None:
    public, deprecated = PAGE.split("## Public Python names")[1].split("## Deprecated names")
    assert "`prebuild_tasks.Client`, `prebuild_tasks.client.Client`" in public
    assert 'Client(database_url="", *, redis_url="", settings=None)' in public
    named = set(re.findall(r"`([\w.]+)`", public))
    assert {"prebuild_tasks.errors", "prebuild_tasks.provisioners", *PORT, *VALUES} <= named
    assert {"prebuild_tasks.ClaimAnswer", "prebuild_tasks.WorkspaceView", "prebuild_tasks.config.Settings"} <= named
    assert {"message", "hint", "remedy", "code", "exit_code", "Remedy", "RemedyKind"} <= named
    assert [name for name in DEPRECATED if name not in deprecated] == []


def test_importing_the_client_by_its_public_name_loads_no_celery() -> None:
    script = (
        "import sys; from prebuild_tasks import Client; sys.exit(any(n.split('.')[0] == 'celery' for n in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_client_in_a_with_statement(database: Database, settings: Settings, redis_url: str) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    urls = {"database_url": database.url, "redis_url": redis_url}
    with prebuild_tasks.Client(settings=settings.model_copy(update=urls)) as client:
        answer = client.claim(PRESET, owner="ada")
        assert isinstance(answer, ClaimAnswer)
        [row] = client.workspaces(owner="ada")
        assert isinstance(row, WorkspaceView)
        assert (row.id, row.host, row.workspace) == (answer.workspace_id, answer.host, answer.workspace)
        assert client.claim(PRESET, owner="ada", request_id=answer.request_id) == answer
        client.release(answer.workspace_id, actor="ada")
        assert [row.state for row in client.workspaces(owner="ada")] == ["deleting"]


@pytest.fixture
def view() -> WorkspaceView:
    return WorkspaceView(
        workspace="w", id="1", owner="ada", preset="dev/small", state=WorkspaceState.USABLE, url="", directory="",
        resource_id="", host="", created_at=AT, claimed_at=AT, claimed_until=None, ends_soon=False, reason="",
    )  # fmt: skip


def test_a_workspace_still_answers_items_as_in_release_0_1(view: WorkspaceView) -> None:
    with pytest.warns(DeprecationWarning, match=r"use \.state instead"):
        assert view["state"] == "usable"
    with pytest.warns(DeprecationWarning, match="no longer a dict"):
        assert (view["created_at"], view["claimed_until"]) == (AT.isoformat(), None)
    with pytest.raises(KeyError):
        view["colour"]


ROW_0_1: dict[str, Callable[[WorkspaceView], object]] = {
    "get": lambda row: (row.get("state"), row.get("claimed_until", 1), row.get("colour"), row.get("colour", 7)),
    "in": lambda row: ("state" in row, "colour" in row),
    "iter": list,
    "len": len,
    "keys": lambda row: list(row.keys()),
    "values": lambda row: list(row.values()),
    "items": lambda row: list(row.items()),
    "dict": dict,
    "copy": lambda row: row.copy(),
    "or": lambda row: (row | {"state": "x", "colour": 7}, {"state": "x", "colour": 7} | row),
    "eq": lambda row: (row == dict(row), dict(row) == row, row == {}, row != dict(row)),
    "splat": lambda row: {**row},  # type: ignore[dict-item]
}
"""What programs written for release 0.1 do with a row, which was a dict."""


@pytest.mark.parametrize("use", ROW_0_1)
def test_a_workspace_can_be_used_as_the_dict_of_release_0_1(use: str, view: WorkspaceView) -> None:
    row = {
        "workspace": "w", "id": "1", "owner": "ada", "preset": "dev/small", "state": "usable", "url": "",
        "directory": "", "resource_id": "", "host": "", "created_at": AT.isoformat(), "claimed_at": AT.isoformat(),
        "claimed_until": None, "ends_soon": False, "reason": "", "retry_at": None,
    }  # fmt: skip
    with pytest.warns(DeprecationWarning, match="no longer a dict") as warned:
        assert ROW_0_1[use](view) == ROW_0_1[use](row)  # type: ignore[arg-type]
    assert {one.filename for one in warned} == {__file__}, "the caller is named"


def test_workspaces_are_compared_without_a_warning(view: WorkspaceView) -> None:
    other = replace(view, owner="bob")
    assert view == replace(view)
    assert view not in (other, None, 7)
    assert {view: 1, other: 2}[replace(view)] == 1


def test_a_workspace_cannot_be_changed(view: WorkspaceView) -> None:
    """The documentation lists what broke."""
    for name in ("pop", "popitem", "setdefault", "update", "clear"):
        assert not hasattr(view, name)
        assert f"`{name}`" in (Path(__file__).parents[2] / "docs/python-api.md").read_text()
    with pytest.raises(TypeError):
        view["state"] = "x"  # type: ignore[index]


def test_a_workspace_reports_itself_as_json_without_a_warning(view: WorkspaceView) -> None:
    assert view
    assert [view.report()] == rows_of([view])
    assert json.loads(json.dumps(view.report())) == view.report()
    with pytest.raises(TypeError):
        json.dumps(view)


def test_the_json_of_a_claims_answer_stays_as_it_is() -> None:
    """`prebuild claim --json`, the task and `report()` have these keys in this order."""
    texts = dict.fromkeys(
        ("workspace", "workspace_id", "preset", "owner", "url", "directory", "resource_id", "host", "request_id"), "x"
    )
    answer = ClaimAnswer(**texts, claimed_at=AT, state=ClaimState.PERSONALISING)
    expected = {**texts, "claimed_at": "2026-07-01T00:00:00+00:00", "state": "personalising"}
    assert json.dumps(answer.report()) == json.dumps(expected)
    ending = replace(answer, claimed_until=AT)
    assert json.dumps(ending.report()) == json.dumps({**expected, "claimed_until": "2026-07-01T00:00:00+00:00"})
