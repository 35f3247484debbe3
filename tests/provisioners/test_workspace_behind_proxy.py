"""Behind a proxy, the requests of a workspace's probe to the workspace itself went to the proxy: the pools of the
shipped example never filled."""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.command import CommandProvisioner
from prebuild_tasks.provisioners.docker import DockerProvisioner
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.shared.environment import proxy_exceptions
from tests.provisioners.context import Context
from tests.provisioners.engine import INSTALLATIONS, LIMITS, PLAIN, Engine

PROXY = "http://127.0.0.1:9"
"""Nothing answers there."""
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]", "0.0.0.0"}
REQUEST = (
    "import os, urllib.request as r; address = os.environ['PREBUILD_WORKSPACE_BIND'], os.environ['PORT'];"
    " r.urlopen('http://%s:%s' % address, timeout=5)"
)


@pytest.fixture(autouse=True)
def _proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, PROXY)


@pytest.fixture
def spec() -> WorkspaceSpec:
    return WorkspaceSpec(
        installation=INSTALLATIONS[0], workspace_id=str(uuid.uuid4()), attempt=1, name="prebuild-a-b-1",
        owner="prebuilds", template="t", version="v", preset="p", config={}, parameters={}, ready_timeout=20,
    )  # fmt: skip


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0", "127.0.0.3"])
@pytest.mark.parametrize("by_parameter", [False, True])
def test_a_probe_reaches_the_workspace_that_it_is_for(
    tmp_path: Path, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch, bind: str, by_parameter: bool
) -> None:
    parameters = {}
    if by_parameter:
        monkeypatch.delenv("HTTP_PROXY")
        monkeypatch.delenv("http_proxy")
        parameters = {"HTTP_PROXY": PROXY, "http_proxy": PROXY}
    provisioner = ProcessProvisioner(Settings(data_dir=tmp_path, workspace_bind=bind))
    config = {
        "start": "true",
        "serve": f'exec {sys.executable} -m http.server --bind {bind} "$PORT"',
        "ready": [sys.executable, "-c", REQUEST],
    }
    served = replace(spec, config=config, parameters=parameters)
    provisioner.start(served, context := Context())
    try:
        for _ in range(50):
            if (probe := provisioner.probe(served)).ready:
                break
            context.wait(0.1)
        assert probe.ready, probe.message
    finally:
        provisioner.delete(served, Context())


def test_executables_get_the_exceptions_too(tmp_path: Path, spec: WorkspaceSpec) -> None:
    script = f"""{sys.executable} -c 'import json, os; print(json.dumps({{"url": os.environ["NO_PROXY"]}}))'"""
    provisioner = CommandProvisioner(Settings(data_dir=tmp_path, public_host="dev1.example.org"))
    made = provisioner.start(replace(spec, config={"start": script, "delete": "true"}), Context())
    assert {*LOOPBACK, "dev1.example.org"} <= set(made.url.split(","))


@pytest.mark.docker
@pytest.mark.parametrize("source", ["parameter", "template", "client"])
def test_a_container_gets_the_exceptions_if_it_gets_a_proxy(
    engine: Engine, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    config: dict[str, object] = {
        "image": PLAIN,
        "pull": "never",
        "command": "sleep 1000",
        "ready": "true",
        "ulimits": LIMITS,
    }
    parameters = {}
    if source == "template":
        config["environment"] = {"http_proxy": PROXY}
    elif source == "parameter":
        parameters = {"http_proxy": PROXY, "NO_PROXY": "example.org"}
    else:
        (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": PROXY}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    made = DockerProvisioner(Settings(data_dir=tmp_path)).start(
        replace(spec, config=config, parameters=parameters), Context()
    )
    with engine.api() as api:
        pairs = api.inspect_container(made.resource_id)["Config"]["Env"]
    variables = dict(pair.split("=", 1) for pair in pairs)
    expected = LOOPBACK | ({"example.org"} if source == "parameter" else set())
    assert variables["no_proxy"] == variables["NO_PROXY"]
    assert expected <= set(variables["no_proxy"].split(","))


def test_without_a_proxy_nothing_is_added() -> None:
    assert proxy_exceptions({"NO_PROXY": "a", "HTTP_PROXY": "", "X": "y"}, ["127.0.0.1"]) == {}


def test_the_exceptions_of_both_spellings_are_kept() -> None:
    environment = {"https_proxy": PROXY, "NO_PROXY": "a.example, LOCALHOST", "no_proxy": "b.example a.example"}
    added = proxy_exceptions(environment, ["10.0.0.1", "fd00::1"])
    assert added["NO_PROXY"] == added["no_proxy"]
    entries = added["NO_PROXY"].split(",")
    assert entries[:3] == ["a.example", "LOCALHOST", "b.example"]
    assert {"127.0.0.1", "10.0.0.1", "fd00::1", "[fd00::1]"} <= set(entries)
    assert len({entry.lower() for entry in entries}) == len(entries)


def test_an_exception_for_everything_stays_alone() -> None:
    assert proxy_exceptions({"all_proxy": PROXY, "no_proxy": "*"}, []) == {"NO_PROXY": "*", "no_proxy": "*"}
