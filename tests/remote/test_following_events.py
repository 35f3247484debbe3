"""Events that are followed over HTTP: none is lost or doubled when the process that streams is replaced."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Queue

import pytest

from prebuild_tasks.access.tokens import revoke_token
from prebuild_tasks.errors import AuthenticationError, EventsGoneError, PrebuildError
from prebuild_tasks.events import Event, EventFilter
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.remote.calls import Answer
from prebuild_tasks.remote.event_steps import SentEvents
from prebuild_tasks.remote.logins import Login
from prebuild_tasks.remote.problems import error_of
from prebuild_tasks.remote.session import RemoteSession
from tests.support.door import FULL, Doors, doors
from tests.support.http import free_port

DATA = (
    'data: {"id": 7, "at": "2026-03-02T09:05:00+00:00", "kind": "claim", "pool": "dev/small", "owner": "ada",'
    ' "workspace": "w", "actor": "ada", "reason": "claim", "data": {"a": 1}}'
)


def test_what_lines_tell() -> None:
    resets: list[str] = []
    sent = SentEvents(EventFilter(owner="ada"), lambda: resets.append(sent.last), "")
    assert [sent.add(line) for line in ("id: 5", "")] == [None, None]
    assert sent.last == "5"
    *_, event = (sent.add(line) for line in ("id: 7", "event: claim", DATA, ""))
    assert event
    assert (event.id, event.kind, str(event.pool), event.data) == (7, EventKind.CLAIM, "dev/small", {"a": 1})
    for line in (
        ":",
        "",
        "event: reset",
        'data: {"oldest": 9}',
        "",
        "id: 9",
        "event: new",
        'data: {"kind": "new"}',
        "",
    ):
        assert sent.add(line) is None
    assert (resets, sent.last) == (["7"], "9")
    others = DATA.replace('"owner": "ada"', '"owner": "bob"')
    assert [sent.add(line) for line in (others, "", "retry: 2500", "")] == [None] * 4
    assert sent.pause == 2.5


def test_what_is_no_longer_kept() -> None:
    content = b'{"type": "/docs#events-gone", "detail": "gone", "code": "events_gone", "oldest": 12}'
    error = error_of(Answer(410, {}, content), "http://door")
    assert isinstance(error, EventsGoneError)
    assert (error.oldest, error.exit_code) == (12, 5)


def follow(url: str, token: str, heard: Queue[Event | PrebuildError]) -> threading.Thread:
    """Follow pauses and their ends in a thread, until that fails."""

    def run() -> None:
        session = RemoteSession(Login(url, token))
        wanted = EventFilter(kinds=frozenset({EventKind.PAUSED, EventKind.RESUMED}))
        try:
            for event in session.follow_events(0, wanted, lambda: None):
                heard.put(event)
        except PrebuildError as error:
            heard.put(error)
        finally:
            session.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def change(service: Doors, number: int) -> None:
    act = (pause, resume)[number % 2]
    service.asked(lambda database, _: act(database, FULL, actor="test"))


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.thorough
def test_a_process_that_is_replaced_loses_nothing(tmp_path: Path, postgres_url: str) -> None:
    heard: Queue[Event | PrebuildError] = Queue()
    with doors(tmp_path, postgres_url) as service:
        service.stock(1)
        token, port = service.token(), free_port()
        url, process = service.serve(port=port)
        follower, kinds = follow(url, token, heard), []

        def hear() -> None:
            event = heard.get(timeout=30)
            assert isinstance(event, Event), event
            kinds.append(event.kind.value)

        for number in range(4):
            change(service, number)
            hear()
            if number % 2:
                process.terminate() if number == 1 else process.kill()
                process.wait(15)
                change(service, number + 1)
                change(service, number + 2)
                _, process = service.serve(port=port)
                hear()
                hear()
        assert kinds == ["paused", "resumed"] * 4
        service.asked(lambda database, _: revoke_token(database, "portal", actor="test"))
        assert isinstance(heard.get(timeout=30), AuthenticationError)
        follower.join(10)
        assert not follower.is_alive()
