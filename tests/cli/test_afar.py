"""The command line from afar: the same output and exit codes as beside the database. The API's answers are fixed."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from prebuild_tasks.cli.main import main

TIMES = {"created_at": "2026-11-28T12:00:00+00:00", "started_at": None, "completed_at": "2026-11-28T12:01:00+00:00"}
CLAIMED = {
    "id": "c1", "workspace": "calm-otter", "workspace_id": "w1", "preset": "dev/small", "owner": "ada",
    "url": "http://127.0.0.1:20000", "directory": "/d", "resource_id": "r", "host": "h", "request_id": "k1",
    "claimed_at": "2026-11-28T12:00:00+00:00", "state": "usable",
}  # fmt: skip
VIEW = {
    "workspace": "calm-otter", "id": "w1", "owner": "ada", "preset": "dev/small", "state": "usable", "url": "",
    "directory": "", "resource_id": "", "host": "", "created_at": "2026-11-28T12:00:00+00:00", "claimed_at": None,
    "claimed_until": None, "ends_soon": False, "reason": "", "retry_at": None,
}  # fmt: skip
POOL = {
    "preset": "dev/small", "desired": 3, "eligible": 1, "starting": 2, "deleting": 0, "failed": 0,
    "failed_deletions": 0, "reason": "starting", "next_action": "creates none", "last_error": "", "second_choices": 0,
    "claimed": 0, "next_change": None,
}  # fmt: skip
BUILD = {
    "build": "b1", "workspace": "calm-otter", "preset": "dev/small", "transition": "start", "status": "failed",
    "reason": "pool", "initiator": "reconciler", "attempt": 1, **TIMES, "waits": "", "seconds": None,
    "error_code": "exit", "error": "it failed",
}  # fmt: skip
EVENT = {
    "at": "2026-11-28T12:00:00+00:00", "actor": "ada", "event": "claimed", "workspace": "calm-otter",
    "preset": "dev/small", "reason": "", "details": None,
    "actor_kind": "token", "actor_name": "portal", "actor_subject": "ada",
}  # fmt: skip
EXPLAINED = {
    "preset": "dev/small", "at": "2026-11-28T12:00:00+00:00", "desired": 3, "eligible": 1, "starting": 2, "missing": 2,
    "next_turn": {"delete": 0, "cancel": 0, "create": 0}, "reason": "starting",
    "headline": "starting",
    "chain": [
        {"about": "desired", "reason": None, "words": "3"},
        {"about": "builds", "reason": "starting", "words": "2"},
    ],
    "remedies": [
        {
            "kind": "list_running_builds", "subject": "dev/small", "version": "", "sentence": "s", "call": None,
            "why": "w",
        }
    ],
}  # fmt: skip
ENDED = {
    "type": "/docs#request-ended", "detail": "it has ended", "hint": "", "remedy": None, "state": "ended",
    "workspace": "calm-otter", "workspace_id": "w1", "ended_at": "", "ended_by": "ada", "reason": "released",
}  # fmt: skip
ANSWERS: Mapping[str, tuple[int, object]] = {
    "POST /v1/claims": (201, CLAIMED),
    "GET /v1/workspaces": (200, {"items": [VIEW], "next": None}),
    "GET /v1/workspaces/ada/calm-otter": (200, VIEW),
    "POST /v1/workspaces/ada/calm-otter/release": (200, {"id": "w1"}),
    "POST /v1/workspaces/ada/calm-otter/extend": (200, {"claimed_until": "2026-11-29T12:00:00+00:00"}),
    "GET /v1/workspaces/ada/calm-otter/history": (200, {"items": [EVENT], "next": None}),
    "GET /v1/pools": (200, {"items": [POOL], "next": None}),
    "GET /v1/pools/dev/small/explain": (200, EXPLAINED),
    "POST /v1/pools/pause": (200, {"changed": True}),
    "POST /v1/pools/dev/small/resume": (200, {"changed": False}),
    "POST /v1/pools/dev/small/unblock": (200, {"changed": True}),
    "POST /v1/pools/dev/small/invalidate": (
        200, {"changed": True, "affected": {"replaced": 2, "starting": 1, "failed": 0, "claimed": 0, "superseded": 0}}
    ),
    "POST /v1/pools/dev/small/reconcile": (200, {"requested": "dev/small"}),
    "GET /v1/builds": (200, {"items": [BUILD], "next": None}),
    "GET /v1/builds/b1": (200, BUILD),
    "GET /v1/builds/b1/log": (200, "one\ntwo\n"),
}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        forced = self.server.forced  # type: ignore[attr-defined]
        status, value = forced or ANSWERS.get(f"{self.command} {urlsplit(self.path).path}", (404, {}))
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if forced:
            self.send_header("Retry-After", "30")  # longer than the client goes on
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - names of the library

    def log_message(self, *_: object) -> None:
        pass


class Door(ThreadingHTTPServer):
    forced: tuple[int, object] | None = None


@pytest.fixture(scope="module")
def server() -> Iterator[Door]:
    with Door(("127.0.0.1", 0), Handler) as made:
        Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def door(server: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Door]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PREBUILD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREBUILD_API_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("PREBUILD_API_TOKEN", "pbt_x")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield server
    server.forced = None


COMMANDS = {
    "claim dev/small --owner ada": "calm-otter  dev/small  http://127.0.0.1:20000  /d",
    "workspaces": "calm-otter",
    "release ada/calm-otter": "ada/calm-otter is being deleted",
    "release calm-otter": "calm-otter is being deleted",
    "extend ada/calm-otter 1d": "ada/calm-otter stays until 2026-11-29 12:00 UTC",
    "status": "dev/small",
    "explain dev/small": "dev/small: 1 of 3 eligible: starting",
    "builds": "it failed",
    "logs b1": "one\ntwo\n",
    "logs b1 --follow": "one\ntwo\n",
    "history ada/calm-otter": "for ada",
    "pause --for 2h --reason upgrade": "everything is paused for 2h",
    "resume dev/small": "dev/small was not paused",
    "unblock dev/small": "dev/small builds again",
    "invalidate dev/small": "2 prebuilds of dev/small are being replaced; left alone: 1 start under way",
    "reconcile dev/small": "asked to reconcile dev/small",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(command: str, door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 0, capsys.readouterr().err
    assert COMMANDS[command] in capsys.readouterr().out


JSON = {
    "claim dev/small --owner ada": CLAIMED,
    "workspaces": [VIEW],
    "release ada/calm-otter": {"workspace": "ada/calm-otter", "id": VIEW["id"], "state": "deleting"},
    "extend ada/calm-otter 1d": {"workspace": "ada/calm-otter", "claimed_until": "2026-11-29T12:00:00+00:00"},
    "status": [{name: value for name, value in POOL.items() if name != "next_change"}],
    "builds": [BUILD],
    "logs b1": {"build": "b1", "ended": True, "text": "one\ntwo\n", "waits": ""},
    "history ada/calm-otter": [EVENT],
    "resume dev/small": {"changed": False},
    "reconcile dev/small": {"requested": "dev/small"},
}


@pytest.mark.parametrize("command", JSON)
def test_the_json_of_a_command(command: str, door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == JSON[command]


def test_the_json_of_an_explanation_has_the_commands(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "dev/small", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["commands"] == [{"command": "prebuild builds --status running", "why": "w"}]
    assert set(shown) == {*EXPLAINED, "commands"} - {"remedies"}


@pytest.mark.parametrize(
    ("status", "fragment", "code"),
    [
        (401, "token-unknown", 5),
        (403, "scope-too-narrow", 5),
        (404, "not-found", 3),
        (409, "refused", 5),
        (410, "request-ended", 5),
        (413, "too-large", 2),
        (415, "unsupported-media-type", 2),
        (422, "bad-input", 2),
        (422, "request-reused", 5),
        (429, "miss/none-ready", 4),
        (400, "malformed-query", 2),
        (429, "rate-limited", 6),
        (503, "unreachable", 7),
    ],
)
def test_exit_codes(status: int, fragment: str, code: int, door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    door.forced = (status, {**ENDED, "type": f"/docs#{fragment}", "detail": "this needs operate"})
    assert main(["claim", "dev/small", "--owner", "ada"]) == code
    assert "this needs operate" in capsys.readouterr().err


def test_an_api_that_is_away(door: Door, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebuild_tasks.remote.session.DEADLINE", 0.05)
    monkeypatch.setenv("PREBUILD_API_URL", "http://127.0.0.1:1")
    assert main(["workspaces"]) == 7
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "code", "shown"),
    [
        (403, "scope_too_narrow", "scope_too_narrow"),
        (403, "reach_too_narrow", "reach_too_narrow"),
        (409, "build_failed", "build_failed"),
        (409, "refused", "refused"),
        (409, "", "refused"),
    ],
)
def test_an_error_in_json_has_the_code_of_the_answer(
    status: int, code: str, shown: str, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    door.forced = (status, {"type": f"/docs#{code.replace('_', '-')}", "detail": "x", "hint": "", "code": code})
    assert main(["pause", "--json"]) == 5
    assert json.loads(capsys.readouterr().err)["error"] == shown


@pytest.mark.parametrize(
    "command", ["apply pools.yaml", "doctor", "delete ada/x", "workspaces --disk", "history",
                "logs x --serve", "token list", "release ada/x --actor eve", "extend ada/x 1d --actor eve",
                "pause --actor eve", "unblock dev/small --actor=eve"]
)  # fmt: skip
def test_what_does_not_work_from_afar_says_so(command: str, door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    assert "does not work over HTTP" in capsys.readouterr().err


def test_help_works_everywhere(door: Door) -> None:
    assert main(["apply", "--help"]) == 0


def test_login(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = os.environ["PREBUILD_API_URL"]
    for name in ("PREBUILD_API_URL", "PREBUILD_API_TOKEN"):
        monkeypatch.delenv(name)
    door.forced = (401, {**ENDED, "type": "/docs#token-unknown", "detail": "the token is not known"})
    monkeypatch.setattr("sys.stdin", io.StringIO("pbt_wrong\n"))
    assert main(["login", url]) == 5
    assert not (tmp_path / "config").exists()
    door.forced = None
    monkeypatch.setattr("sys.stdin", io.StringIO("pbt_right\n"))
    assert main(["login", url]) == 0
    file = tmp_path / "config/prebuild/login.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = capsys.readouterr()
    assert "pbt_" not in shown.out + shown.err
    assert main(["workspaces"]) == 0
    assert "calm-otter" in capsys.readouterr().out
