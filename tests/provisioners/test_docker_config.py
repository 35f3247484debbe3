"""The docker provisioner's config, and its errors without an engine or its package."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from requests import Response

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotAskError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import Provisioner, Provisioners, WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner
from prebuild_tasks.provisioners.docker.config import parse
from prebuild_tasks.provisioners.docker.engine import engine_errors
from prebuild_tasks.provisioners.shared.config import BadConfigError
from tests.provisioners.context import Context
from tests.provisioners.docker_workspace import provisioner, recipe, spec

__all__ = ["provisioner", "spec"]


@pytest.mark.docker
def test_a_config_that_the_engine_refuses_is_said_in_its_words(
    provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    with pytest.raises(ProvisionerError, match="no-such-network"):
        provisioner.start(replace(spec, config=recipe(network="no-such-network")), Context())


def test_an_engine_that_does_not_answer_is_said_with_the_way_out(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    away = DockerProvisioner(settings)
    for operation in (lambda: away.start(spec, Context()), lambda: away.probe(spec), lambda: list(away.list("i"))):
        with pytest.raises(ProvisionerError, match=r"tcp://127.0.0.1:1 does not answer: .*DOCKER_HOST"):
            operation()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_its_engine_decides_nothing(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Its answer used to count as the engine's: builds failed, and probes said that workspaces were not ready."""
    pytest.importorskip("docker")

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        away = DockerProvisioner(settings)
        for operation in (lambda: away.start(spec, Context()), lambda: away.probe(spec), lambda: list(away.list("i"))):
            with pytest.raises(CannotAskError):
                operation()
        server.shutdown()


@pytest.mark.parametrize(("status", "kind"), [(500, ProvisionerError), (502, CannotAskError), (404, ProvisionerError)])
def test_an_answer_of_a_proxy_while_it_works(status: int, kind: type[Exception]) -> None:
    errors = pytest.importorskip("docker.errors")
    response = Response()
    response.status_code = status
    with pytest.raises(ProvisionerError) as caught, engine_errors():
        raise errors.APIError("bad gateway", response=response)
    assert type(caught.value) is kind


def test_without_the_package_the_extra_is_named(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    adapter = DockerProvisioner(settings)
    adapter.check_config(recipe())
    for operation in (lambda: adapter.start(spec, Context()), lambda: adapter.probe(spec)):
        with pytest.raises(ProvisionerError, match=r"prebuild-tasks\[docker\]"):
            operation()


def test_it_is_found_by_name(settings: Settings) -> None:
    found: Provisioner = Provisioners(settings).get("docker")
    assert isinstance(found, DockerProvisioner)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("", True),
        ("unix:///run/podman/podman.sock", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("tcp://build-1.example.com:2376", False),
        ("ssh://dev@build-1", False),
    ],
)
def test_locality_is_the_engines(settings: Settings, monkeypatch: pytest.MonkeyPatch, host: str, local: bool) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert DockerProvisioner(settings).local is local


@pytest.mark.parametrize("bad", ["../../etc", "x", "", "A" * 32])
def test_an_id_that_is_none_makes_no_name(settings: Settings, spec: WorkspaceSpec, bad: str) -> None:
    for operation in (DockerProvisioner(settings).start, DockerProvisioner(settings).delete):
        with pytest.raises(CannotBuildError, match="UUID"):
            operation(replace(spec, workspace_id=bad), Context())


def test_parameters_that_can_be_no_variables_are_refused(settings: Settings, spec: WorkspaceSpec) -> None:
    with pytest.raises(CannotBuildError, match="environment variable"):
        DockerProvisioner(settings).start(replace(spec, parameters={"A-B": "1"}), Context())


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({}, "image", "config.image is required"),
        ({"image": "x", "imag": "y"}, "imag", "config.imag is not a known key; the keys are image, command"),
        ({"image": ""}, "image", "the name of an image, such as debian:12"),
        ({"image": "a b"}, "image", "the name of an image"),
        ({"image": "x", "command": []}, "command", "a script or a list of strings, and not empty"),
        ({"image": "x", "ready": 5}, "ready", "a script or a list of strings"),
        ({"image": "x", "environment": ["A=1"]}, "environment", "names of variables with text"),
        ({"image": "x", "environment": {"A-B": "1"}}, "environment", "names of variables"),
        ({"image": "x", "environment": {"A": True}}, "environment", "write true and no in quotes"),
        ({"image": "x", "cpus": 0}, "cpus", "a number of processors"),
        ({"image": "x", "cpus": "2"}, "cpus", "a number of processors"),
        ({"image": "x", "cpus": True}, "cpus", "a number of processors"),
        ({"image": "x", "memory": "512 MB"}, "memory", "such as 512m or 2g"),
        ({"image": "x", "memory": 1024}, "memory", "at least 6m"),
        ({"image": "x", "volumes": "a:/b"}, "volumes", "a list of NAME:/path"),
        ({"image": "x", "volumes": ["a"]}, "volumes", "a list of NAME:/path"),
        ({"image": "x", "volumes": ["./a:/b"]}, "volumes", "a list of NAME:/path"),
        ({"image": "x", "volumes": ["a:/b:rx"]}, "volumes", ":ro at the end"),
        ({"image": "x", "workspace": "home"}, "workspace", "begins with /"),
        ({"image": "x", "network": ""}, "network", "the name of a network"),
        ({"image": "x", "port": 0}, "port", "between 1 and 65535"),
        ({"image": "x", "port": "80"}, "port", "between 1 and 65535"),
        ({"image": "x", "port": 80, "network": "none"}, "port", "cannot be published from the network none"),
        ({"image": "x", "pull": "sometimes"}, "pull", "missing, never or always"),
        ({"image": "x", "ulimits": {"nofile": "many"}}, "ulimits", "such as {nofile: 1024}"),
        ({"image": "x", "user": ""}, "user", "such as dev or 1000:1000"),
        ({"image": "x", "working_dir": "~"}, "working_dir", "begins with /"),
    ],
)
def test_a_bad_config_is_refused_in_words(settings: Settings, config: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        DockerProvisioner(settings).check_config(config)
    assert caught.value.key == key
    assert words in caught.value.message


def test_a_good_config_is_taken() -> None:
    parsed = parse(
        {
            "image": "registry.example.com:5000/team/dev@sha256:" + "0" * 64,
            "environment": {"A": 1, "B": 1.5, "C": ""},
            "cpus": 2, "memory": "2G", "volumes": ["cache:/cache:ro", "/srv/x:/x"], "user": 1000, "network": "dev",
            "workspace": "/home/dev", "port": 8080, "ulimits": {"core": -1}, "claim": ["true"],
        }
    )  # fmt: skip
    assert (parsed.memory, parsed.user, parsed.environment) == (2 << 30, "1000", {"A": "1", "B": "1.5", "C": ""})
    assert parsed.directory == "/home/dev"
