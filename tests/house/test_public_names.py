"""The public Python names that users import, with their signatures. A change here affects users."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
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
from tests.support.builders import PRESET, declare, fill

PAGE = (Path(__file__).parents[2] / "docs" / "python-api.md").read_text()
CLIENT = {
    "Client": "(database_url: 'str' = '', *, redis_url: 'str' = '', settings: 'Settings | None' = None) -> 'None'",
    "claim": "(self, *presets: 'str', owner: 'str', name: 'str' = '', template: 'str' = '', "
    "parameters: 'Mapping[str, str] | None' = None, request_id: 'str' = '', wait: 'float' = 0.0) -> 'ClaimAnswer'",
    "release": "(self, workspace: 'str', *, actor: 'str') -> 'None'",
    "workspaces": "(self, *, owner: 'str' = '') -> 'list[WorkspaceView]'",
    "close": "(self) -> 'None'",
}
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
    "WaitTimeoutError": (MESSAGE, 6, "timeout"),
    "WaitStoppedError": (MESSAGE, 130, "interrupted"),
    "UnreachableError": (MESSAGE, 7, "unreachable"),
    "AuditError": (MESSAGE, 8, "audit"),
    "ProvisionerError": (MESSAGE, 1, "provisioner_failed"),
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
    "ListsOnce": {"list_key": f"(self, {CONFIG}) -> 'str'"},
    "RestsWithHost": {"rest": "(self) -> 'int'", "serve_again": "(self) -> 'int'"},
}
VALUES = {
    "Probe": "(ready: 'bool', message: 'str' = '', gone: 'bool' = False) -> None",
    "Resource": "(workspace_id: 'str', resource_id: 'str', url: 'str' = '', directory: 'str' = '', "
    "installation: 'str' = '', claimed: 'bool' = False) -> None",
    "WorkspaceSpec": "(installation: 'str', workspace_id: 'str', attempt: 'int', name: 'str', owner: 'str', "
    "template: 'str', version: 'str', preset: 'str', config: 'Mapping[str, object]', "
    "parameters: 'Mapping[str, str]', ready_timeout: 'float' = 300.0) -> None",
    "refuse_claimed": "(owner: 'str', spec: 'WorkspaceSpec') -> 'None'",
}
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


def test_a_workspace_still_answers_items_as_in_release_0_1() -> None:
    at = datetime(2026, 7, 1, tzinfo=UTC)
    view = WorkspaceView(
        workspace="w", id="1", owner="ada", preset="dev/small", state="usable", url="", directory="", resource_id="",  # type: ignore[arg-type]
        host="", created_at=at, claimed_at=at, claimed_until=None, ends_soon=False, reason="",
    )  # fmt: skip
    with pytest.warns(DeprecationWarning, match=r"use \.state instead"):
        assert view["state"] == "usable"
    with pytest.warns(DeprecationWarning, match="no longer a dict"):
        assert (view["created_at"], view["claimed_until"]) == (at.isoformat(), None)
    with pytest.raises(KeyError):
        view["colour"]
