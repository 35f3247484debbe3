"""A port rests when its workspace is gone, because somebody may still know the address.

It used to go to the next workspace at random, at once: an old address led to another person's workspace.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners import Ports, WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from tests.provisioners.context import Context

SERVE = {"start": "true", "serve": "exec sleep 1000", "ready": "true"}


@pytest.fixture
def narrow(settings: Settings) -> Settings:
    return settings.model_copy(update={"workspace_ports": "20500-20502", "port_rest": 600.0})


def rested(settings: Settings, port: int, seconds: float) -> None:
    """Make a port's rest longer by this."""
    path = settings.data_dir / "ports" / str(port)
    os.utime(path, (time.time() - seconds,) * 2)


def test_one_that_was_never_used_comes_first_then_the_one_that_rested_longest(narrow: Settings) -> None:
    ports, context = Ports(narrow), Context()
    first, second = ports.choose([], context), ports.choose([], context)
    third = ports.choose([], context)
    assert {first, second, third} == {20500, 20501, 20502}
    for seconds, port in ((700, first), (900, second), (800, third)):
        rested(narrow, port, seconds)
    assert [ports.choose([], context) for _ in range(3)] == [second, third, first]
    assert context.text == ""
    assert not ports.is_short(datetime.now(UTC))


def test_a_range_without_room_gives_the_longest_rested_and_says_so(narrow: Settings) -> None:
    ports, context = Ports(narrow), Context()
    for _ in range(3):
        ports.choose([], context)
    for seconds, port in ((70, 20500), (90, 20501), (500, 20502)):
        rested(narrow, port, seconds)
    assert ports.choose([20502], context) == 20501
    assert context.text == "port 20501 has rested for 90 s only: widen PREBUILD_WORKSPACE_PORTS\n"
    now = datetime.now(UTC)
    assert ports.is_short(now)
    assert not ports.is_short(now + timedelta(days=2))
    assert not Ports(narrow.model_copy(update={"workspace_ports": "20500-20599"})).is_short(now), "it was widened"
    with pytest.raises(ProvisionerError, match="no free port between 20500 and 20502"):
        ports.choose([20500, 20501, 20502], context)


def test_one_that_is_lost_without_a_word_rests_from_when_it_was_last_seen(narrow: Settings) -> None:
    ports, context = Ports(narrow), Context()
    lost = ports.choose([], context)
    rested(narrow, lost, 10_000)
    assert lost not in (ports.choose([lost], context), ports.choose([lost], context))
    assert not context.text
    ports.choose([], context)
    assert "has rested for" in context.text, "none has, as the lost one was seen just now"


def test_a_clock_that_was_set_back_does_not_count_as_rest(narrow: Settings) -> None:
    ports, context = Ports(narrow), Context()
    port = ports.choose([], context)
    rested(narrow, port, -86400)
    assert {ports.choose([], context), ports.choose([], context)} == {20500, 20501, 20502} - {port}


def test_without_room_for_what_is_remembered_ports_are_given_all_the_same(narrow: Settings) -> None:
    narrow.data_dir.mkdir(parents=True, exist_ok=True)
    (narrow.data_dir / "ports").write_text("in the way")
    ports = Ports(narrow)
    assert ports.choose([20500], Context()) in (20501, 20502)
    ports.let_go(20500)
    assert not ports.is_short(datetime.now(UTC))


def test_without_rest_nothing_is_short(narrow: Settings) -> None:
    ports, context = Ports(narrow.model_copy(update={"port_rest": 0.0})), Context()
    for _ in range(5):
        ports.choose([], context)
    assert context.text == ""


@pytest.fixture
def free_range() -> Iterator[str]:
    """Return a range of two ports that are free."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            first = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", first + 1))
            except (OSError, OverflowError):
                continue
        yield f"{first}-{first + 1}"
        return


def test_a_deleted_workspaces_port_goes_to_nobody_while_there_is_another(
    settings: Settings, spec: WorkspaceSpec, free_range: str
) -> None:
    process = ProcessProvisioner(settings.model_copy(update={"workspace_ports": free_range}))
    first = replace(spec, config=SERVE)
    address = process.start(first, Context()).url
    process.delete(first, Context())
    later = replace(first, workspace_id=str(uuid.uuid4()))
    context = Context()
    other = process.start(later, context).url
    assert other != address
    assert "rested" not in context.text
    third, context = replace(first, workspace_id=str(uuid.uuid4())), Context()
    assert process.start(third, context).url == address, "there is no other"
    assert "widen PREBUILD_WORKSPACE_PORTS" in context.text
    assert process.start(third, Context()).url == address, "which it then keeps"
    for one in (later, third):
        process.delete(one, Context())
    assert list(Path(process.root).glob("*/port")) == []
