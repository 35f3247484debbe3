"""Workspaces on IPv6: their URL had no brackets, they listened on IPv4, and a port taken on IPv6 counted as free."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest

from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.errors import InputError, ProvisionerError
from prebuild_tasks.provisioners import Ports, WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import WorkspaceDirectory
from prebuild_tasks.provisioners.shared.environment import bind_address
from tests.provisioners.context import Context
from tests.support.wait import wait_until

SERVE = 'exec "$PYTHON" -m http.server --bind "$PREBUILD_WORKSPACE_BIND" "$PORT"'


def listening() -> socket.socket:
    """Return a socket that listens on the IPv6 loopback alone."""
    try:
        taken = socket.socket(socket.AF_INET6)
        taken.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    taken.listen()
    return taken


@pytest.mark.parametrize(
    ("public", "bind", "expected"),
    [
        ("::1", "", "::1"), ("[::1]", "", "::1"), ("2001:db8::7", "", "::"), ("localhost", "", "127.0.0.1"),
        ("127.0.0.2", "", "127.0.0.1"), ("box.example.com", "", "0.0.0.0"), ("2001:db8::7", "[fe80::1]", "fe80::1"),
    ],
)  # fmt: skip
def test_the_address_to_listen_on_is_of_the_public_hosts_kind(public: str, bind: str, expected: str) -> None:
    environment = {"PREBUILD_PUBLIC_HOST": public, "PREBUILD_WORKSPACE_BIND": bind}
    assert bind_address(load_settings(environment)) == expected


def test_a_host_with_a_port_is_refused() -> None:
    with pytest.raises(InputError, match=r"PREBUILD_PUBLIC_HOST: .*'box:80' is not a host name"):
        load_settings({"PREBUILD_PUBLIC_HOST": "box:80"})


def test_a_port_that_is_taken_on_ipv6_is_not_given(settings: Settings, tmp_path: Path) -> None:
    with closing(listening()) as taken:
        port = taken.getsockname()[1]
        workspace = WorkspaceDirectory(tmp_path, str(uuid.uuid4()))
        workspace.begin("i", 1)
        ports = Ports(settings.model_copy(update={"workspace_ports": f"{port}-{port}"}))
        with pytest.raises(ProvisionerError, match="no free port"):
            workspace.reserve_port(ports, Context())


@pytest.fixture
def served(settings: Settings, request: pytest.FixtureRequest) -> Iterator[ProcessProvisioner]:
    listening().close()
    adapter = ProcessProvisioner(
        settings.model_copy(update={"public_host": request.param[0], "workspace_bind": request.param[1]})
    )
    yield adapter
    adapter.rest()


@pytest.mark.parametrize("served", [("::1", ""), ("::1", "::"), ("127.0.0.1", "::")], indirect=True)
def test_a_workspace_is_served_and_probed_there(served: ProcessProvisioner) -> None:
    spec = WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": "true", "serve": SERVE}, parameters={"PYTHON": sys.executable},
    )  # fmt: skip
    resource = served.start(spec, Context())
    wait_until(lambda: served.probe(spec).ready, what="it answers")
    with urlopen(resource.url, timeout=10) as answer:
        assert answer.status == 200
