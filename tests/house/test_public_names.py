"""The public Python names that users import, with their signatures. A change here affects users."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import prebuild_tasks
import prebuild_tasks.client
from prebuild_tasks import errors, provisioners
from prebuild_tasks.claims.types import ClaimAnswer
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.views import WorkspaceView
from prebuild_tasks.model.vocabulary import ClaimState
from tests.support.builders import PRESET, declare, fill

PAGES = Path(__file__).parents[2] / "docs"
PAGE = (PAGES / "python-api.md").read_text()
CLIENT = {
    "Client": "(database_url: 'str' = '', *, redis_url: 'str' = '', settings: 'Settings | None' = None, "
    "token: 'str' = '', deadline: 'float | None' = None) -> 'None'",
    "claim": "(self, *presets: 'str', owner: 'str' = '', name: 'str' = '', template: 'str' = '', "
    "parameters: 'Mapping[str, str] | None' = None, request_id: 'str' = '', wait: 'float' = 0.0) -> 'ClaimAnswer'",
    "release": "(self, workspace: 'str', *, actor: 'str' = '') -> 'None'",
    "workspaces": "(self, *, owner: 'str' = '') -> 'list[WorkspaceView]'",
    "availability": "(self, *presets: 'str') -> 'list[PoolAvailability]'",
    "get": "(self, workspace: 'str') -> 'WorkspaceView'",
    "wait_until_usable": "(self, workspace: 'str', timeout: 'float' = 60.0) -> 'WorkspaceView'",
    "extend": "(self, workspace: 'str', seconds: 'float', *, actor: 'str' = '') -> 'WorkspaceView'",
    "close": "(self) -> 'None'",
}
ASYNC_CLIENT = {
    "AsyncClient": "(url: 'str', *, token: 'str', deadline: 'float' = 20.0) -> 'None'",
    **{name: signature for name, signature in CLIENT.items() if name != "Client"},
}
ANSWERS = {
    "ClaimAnswer": "(workspace: 'str', workspace_id: 'str', preset: 'str', owner: 'str', url: 'str', directory: 'str', "
    "resource_id: 'str', host: 'str', request_id: 'str', claimed_at: 'datetime', state: 'ClaimState', "
    "claimed_until: 'datetime | None' = None, warning: 'str' = '', id: 'str' = '') -> None",
    "WorkspaceView": "(*, workspace: 'str', id: 'str', owner: 'str', preset: 'str', state: 'WorkspaceState', "
    "url: 'str', directory: 'str', resource_id: 'str', host: 'str', created_at: 'datetime', "
    "claimed_at: 'datetime | None', claimed_until: 'datetime | None', ends_soon: 'bool', reason: 'str', "
    "retry_at: 'datetime | None' = None) -> None",
    "PoolAvailability": "(*, preset: 'str', available: 'int', eligible: 'int', desired: 'int', starting: 'int', "
    "paused: 'bool', reason: 'str') -> None",
}
REMEDY = "(kind: 'RemedyKind', subject: 'str' = '', version: 'str' = '') -> None"
REMEDY_KINDS = (
    "start_everything start_control_worker start_builds_worker start_webhooks_worker start_beat start_redis "
    "start_container_with_init "
    "restart_or_forget_host "
    "forget_host_and_its_claimed_workspaces create_database create_database_on_server "
    "upgrade_schema show_settings show_schema_of_pools_file "
    "apply_pools_file plan_pools_file list_pools list_pools_that_need_attention "
    "explain_pool reconcile resume unblock_pool promote_version "
    "claim_workspace release_workspace delete_workspace list_workspaces show_disk_use_of_workspaces list_builds "
    "list_running_builds list_failed_builds find_build_of_pool show_log follow_log diagnose_installation "
    "serve_metrics_elsewhere "
    "log_in_to_api serve_api_elsewhere serve_api_with_tls_or_behind_a_proxy "
    "make_a_secret_key_and_name_its_file let_only_its_owner_read_the_file "
    "find_the_large_keys_in_redis forbid_eviction_in_redis show_state_of_redis serve_queue stop_process "
    "make_data_directory_writable show_state_of_clock update_timezones "
    "wait_for_workspace name_the_owner name_the_preset choose_another_name_or_leave_it_out "
    "repeat_request make_a_new_request_id apply_as_source confirm_deletion confirm_loss look_for_strays "
    "begin_the_period_before_its_end_and_not_in_the_future "
    "give_stray_back give_stray_back_to_a_named_owner remove_stray remove_stray_in_the_name_of_its_owner show_history "
    "name_the_owner_of_the_token_or_any_owner create_token rotate_token list_tokens "
    "list_webhooks enable_webhook list_deliveries"
)
MESSAGE = "(message: 'str', *, hint: 'str' = '', remedy: 'Remedy | None' = None) -> 'None'"
ERRORS = {
    "PrebuildError": (MESSAGE, 1, "error"),
    "InputError": (MESSAGE, 2, "bad_input"),
    "PoolsFileError": ("(problems: 'Sequence[Problem]') -> 'None'", 2, "bad_pools_file"),
    "UnfitDatabaseError": (MESSAGE, 2, "bad_input"),
    "NotFoundError": (MESSAGE, 3, "not_found"),
    "ClaimMissError": (
        MESSAGE.replace("*, ", "*, reason: 'str', ").replace(
            ") ", ", retry_after: 'int' = 60, retryable: 'bool' = True, next_change: 'datetime | None' = None) "
        ),
        4,
        "claim_miss",
    ),
    "BeingBuiltError": (MESSAGE.replace("*, ", "*, workspace: 'str', preset_id: 'int', "), 4, "claim_miss"),
    "BuildFailedError": (MESSAGE, 5, "build_failed"),
    "RefusedError": (MESSAGE, 5, "refused"),
    "BusyError": (MESSAGE, 5, "busy"),
    "RequestEndedError": (
        MESSAGE.partition("*")[0]
        + "state: 'str' = 'ended', workspace: 'str' = '', workspace_id: 'str' = '', "
        + "ended_at: 'str' = '', ended_by: 'str' = '', reason: 'str' = '') -> 'None'",
        5,
        "request_ended",
    ),
    "RequestReusedError": (MESSAGE, 5, "request_reused"),
    "OwnerNotAllowedError": (MESSAGE, 5, "owner_not_allowed"),
    "EventsGoneError": ("(message: 'str', *, oldest: 'int' = 0, hint: 'str' = '') -> 'None'", 5, "events_gone"),
    "AuthenticationError": (MESSAGE, 5, "token_unknown"),
    "TokenExpiredError": (MESSAGE, 5, "token_expired"),
    "TokenRevokedError": (MESSAGE, 5, "token_revoked"),
    "WaitTimeoutError": (MESSAGE, 6, "timeout"),
    "RateLimitedError": (MESSAGE, 6, "rate_limited"),
    "WaitStoppedError": (MESSAGE, 130, "interrupted"),
    "UnreachableError": (MESSAGE, 7, "unreachable"),
    "AuditError": (MESSAGE, 8, "audit"),
    "ProvisionerError": (MESSAGE, 1, "provisioner_failed"),
    "CannotAskError": (MESSAGE, 1, "provisioner_unreachable"),
    "InterruptedStartError": (MESSAGE, 1, "provisioner_unreachable"),
    "NeverReadyError": (MESSAGE, 1, "never_ready"),
    "CannotBuildError": (MESSAGE, 1, "validation_failed"),
    "BuildStoppedError": ("(message: 'str', *, reason: 'str') -> 'None'", 1, "build_stopped"),
}
CONFIG = "config: 'Mapping[str, object]'"
CONTEXT = {
    "log": "(self, text: 'str') -> 'None'",
    "check": "(self) -> 'None'",
    "wait": "(self, seconds: 'float') -> 'None'",
}
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
    "BuildContext": CONTEXT,
    "MayNotList": {"lists": f"(self, {CONFIG}) -> 'bool'"},
    "ProbesInterruptibly": {
        "probe_interruptibly": "(self, spec: 'WorkspaceSpec', between: 'Callable[[], None]') -> 'Probe'"
    },
    "MayNotProbe": {"probes": f"(self, {CONFIG}) -> 'bool'"},
    "ListsOnce": {"list_key": f"(self, {CONFIG}) -> 'str'"},
    "ReadinessContext": {**CONTEXT, "not_ready": "(self, answer: 'str | None' = None) -> 'None'"},
    "KeepsOutput": {"served_output": "(self, spec: 'WorkspaceSpec') -> 'ServedOutput'"},
    "RestsWithHost": {"rest": "(self) -> 'int'", "serve_again": "(self) -> 'int'"},
}
VALUES = {
    "Probe": "(ready: 'bool', message: 'str' = '', gone: 'bool' = False, unknown: 'bool' = False) -> None",
    "Resource": "(workspace_id: 'str', resource_id: 'str', url: 'str' = '', directory: 'str' = '', "
    "installation: 'str' = '', claimed: 'bool' = False, owner: 'str' = '') -> None",
    "ServedOutput": "(text: 'str', parameters: 'Mapping[str, str]' = <factory>, running: 'bool | None' = None) -> None",
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
    """Return the public methods of a class and of its bases, with their signatures."""
    return {
        name: str(inspect.signature(value))
        for base in reversed(kind.__mro__)
        for name, value in vars(base).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def raised(text: str) -> set[str]:
    """Return the errors that the section `Raises:` of a docstring lists."""
    section = text.partition("Raises:\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^ +(\w+Error): ", section, re.MULTILINE))


def test_the_client() -> None:
    assert prebuild_tasks.Client is prebuild_tasks.client.Client
    assert {"Client": str(inspect.signature(prebuild_tasks.Client)), **methods(prebuild_tasks.Client)} == CLIENT
    kind = prebuild_tasks.AsyncClient
    assert {"AsyncClient": str(inspect.signature(kind)), **methods(kind)} == ASYNC_CLIENT


def test_each_method_says_what_it_raises() -> None:
    """Only `close` raises nothing."""
    documented = {name: raised(getattr(prebuild_tasks.Client, name).__doc__) for name in CLIENT if name != "Client"}
    assert {name for name, kinds in documented.items() if "UnreachableError" not in kinds} == {"close"}
    assert set().union(*documented.values()) <= {name for name in ERRORS if hasattr(errors, name)}
    assert raised(prebuild_tasks.Client.__init__.__doc__ or "") == {"InputError"}


def test_the_errors() -> None:
    kinds = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert {name: (str(inspect.signature(kind)), kind.exit_code, kind.code) for name, kind in kinds.items()} == ERRORS
    assert {kind.__module__ for kind in kinds.values()} == {"prebuild_tasks.errors"}, "results of tasks name it"


def test_the_answers() -> None:
    assert {name: str(inspect.signature(getattr(prebuild_tasks, name))) for name in ANSWERS} == ANSWERS
    assert {*ANSWERS, "AsyncClient", "Client"} == set(prebuild_tasks.__all__)
    assert prebuild_tasks.ClaimAnswer is ClaimAnswer
    assert prebuild_tasks.WorkspaceView is WorkspaceView
    assert all(dataclasses.is_dataclass(getattr(prebuild_tasks, name)) for name in ANSWERS)
    assert all(hasattr(getattr(prebuild_tasks, name), "to_json") for name in ANSWERS)


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
    assert 'Client(database_url="", *, redis_url="", settings=None, token="", deadline=None)' in public
    assert "AsyncClient(url, *, token, deadline=20.0)" in public
    named = set(re.findall(r"`([\w.]+)[`(]", public))
    assert {"prebuild_tasks.errors", "prebuild_tasks.provisioners", *PORT, *VALUES} <= named
    assert {f"prebuild_tasks.{name}" for name in (*ANSWERS, "AsyncClient")} <= named
    assert {f"Client.{name}" for name in CLIENT if name not in ("Client", "close")} <= named
    assert {"to_json", "report", "prebuild_tasks.config.Settings"} <= named
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


def test_the_json_of_a_claims_answer_stays_as_it_is() -> None:
    """`prebuild claim --json`, the task and `report()` have these keys in this order."""
    texts = dict.fromkeys(
        ("workspace", "workspace_id", "preset", "owner", "url", "directory", "resource_id", "host", "request_id"), "x"
    )
    answer = ClaimAnswer(**texts, claimed_at=AT, state=ClaimState.PERSONALISING)
    expected = {**texts, "claimed_at": "2026-07-01T00:00:00+00:00", "state": "personalising"}
    assert json.dumps(answer.report()) == json.dumps(answer.to_json()) == json.dumps(expected)
    ending = replace(answer, claimed_until=AT)
    assert json.dumps(ending.report()) == json.dumps({**expected, "claimed_until": "2026-07-01T00:00:00+00:00"})
