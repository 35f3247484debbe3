"""Sessions of the page begin by a token or a code, and end by time, at log-out and with their token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, select

from prebuild_tasks.access.rules import digest
from prebuild_tasks.access.session_ids import form_token, is_form_token
from prebuild_tasks.access.sessions import PageSessions, Session, new_login_code
from prebuild_tasks.access.tokens import create_token, revoke_token
from prebuild_tasks.access.types import NewToken, NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention.run import prune
from tests.support.moving_time import Time

HOUR = 3600.0


@pytest.fixture
def reader(timed: Database) -> NewToken:
    return create_token(timed, NewTokenRequest(name="reader", scope=Scope.READ), actor="grace")


def names(*sessions: Session | None) -> list[str | None]:
    return [session and session.principal.name for session in sessions]


def digests(database: Database, table: type[m.PageSession | m.LoginCode]) -> set[str]:
    with database.read() as connection:
        return {*connection.execute(select(table.digest)).scalars()}


def test_a_session_acts_as_its_token(timed: Database, reader: NewToken) -> None:
    sessions = PageSessions(timed)
    session = sessions.find(sessions.begin(reader.view.id))
    assert session is not None
    assert (session.principal.name, session.principal.token_id) == ("reader", reader.view.id)
    assert session.principal.scope is Scope.READ


def test_many_sessions_are_looked_up_by_one_statement(timed: Database, reader: NewToken, time: Time) -> None:
    sessions, other = PageSessions(timed), PageSessions(timed)
    ids = [sessions.begin(reader.view.id) for _ in range(5)]
    assert names(*map(sessions.find, ids)) == ["reader"] * 5
    other.end(ids[0])
    sent: list[str] = []
    event.listen(timed.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    sessions.refresh([*ids, "no session"])
    assert names(*map(sessions.find, ids)) == [None, *["reader"] * 4]
    assert len([statement for statement in sent if "sessions" in statement]) == 1
    assert names(*map(sessions.remembered, ids)) == [None, *["reader"] * 4]
    time.seconds += 3
    assert names(*map(sessions.remembered, ids)) == [None] * 5


def test_neither_ids_nor_codes_are_stored_or_shown(timed: Database, reader: NewToken) -> None:
    sessions = PageSessions(timed)
    code, session_id = new_login_code(timed, reader.view.id), sessions.begin(reader.view.id)
    assert digests(timed, m.PageSession) == {digest(session_id)}
    assert digests(timed, m.LoginCode) == {digest(code)}
    assert session_id not in repr(sessions.find(session_id))


@pytest.mark.parametrize(
    "text", ["", "pbs_", "pbs_" + "x" * 43, "pbt_" + "x" * 43, "pbs_" + "\ud800" * 43, "x" * 10**6]
)
def test_what_is_not_a_session(timed: Database, text: str) -> None:
    sessions = PageSessions(timed)
    assert (sessions.find(text), sessions.remembered(text)) == (None, None)
    sessions.end(text)


def test_an_idle_session_ends_after_eight_hours(timed: Database, time: Time, reader: NewToken) -> None:
    sessions = PageSessions(timed)
    session_id = sessions.begin(reader.view.id)
    time.seconds += 8 * HOUR - 1
    session = sessions.find(session_id)
    assert session
    time.seconds += 1
    assert sessions.find(session_id) is None


def test_a_session_in_use_ends_after_a_day(timed: Database, time: Time, reader: NewToken) -> None:
    sessions = PageSessions(timed)
    session_id = sessions.begin(reader.view.id)
    for _ in range(23):
        time.seconds += HOUR
        session = sessions.find(session_id)
        assert session
        sessions.note_use(session)
    time.seconds += HOUR - 1
    assert sessions.find(session_id)
    time.seconds += 1
    assert sessions.find(session_id) is None


def watch(sessions: PageSessions, *session_ids: str) -> list[bool]:
    """Look at sessions as their streams do. Returns whether each goes on."""
    if sessions.refresh(session_ids):
        sessions.note_watched(session_ids)
    return [sessions.remembered(session_id) is not None for session_id in session_ids]


def test_a_session_that_is_watched_is_in_use_until_the_day_is_over(
    timed: Database, time: Time, reader: NewToken
) -> None:
    sessions, other = PageSessions(timed), PageSessions(timed)
    seen, unseen = sessions.begin(reader.view.id), sessions.begin(reader.view.id)
    for _ in range(9 * 60):
        time.seconds += 60
        assert watch(sessions, seen) == [True]
    assert names(other.find(seen), other.find(unseen)) == ["reader", None]
    assert watch(sessions, seen, unseen) == [True, False], "a look brings none back"
    time.seconds += 7 * HOUR
    assert watch(sessions, seen) == [True]
    time.seconds += 8 * HOUR - 1
    assert names(sessions.find(seen)) == ["reader"]
    time.seconds += 1
    assert watch(sessions, seen) == [False]


def test_a_session_that_is_no_longer_watched_ends_after_eight_hours(
    timed: Database, time: Time, reader: NewToken
) -> None:
    sessions = PageSessions(timed)
    session_id = sessions.begin(reader.view.id)
    time.seconds += HOUR
    assert watch(sessions, session_id) == [True]
    time.seconds += 8 * HOUR
    assert watch(sessions, session_id) == [False]


def test_that_sessions_are_watched_is_written_by_one_statement_in_minutes(
    timed: Database, time: Time, reader: NewToken
) -> None:
    sessions, other = PageSessions(timed), PageSessions(timed)
    ids = [sessions.begin(reader.view.id) for _ in range(5)]
    sent: list[str] = []
    event.listen(timed.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    for _ in range(200):
        time.seconds += 3
        watch(sessions, *ids)
        watch(other, *ids)
    assert len([statement for statement in sent if statement.startswith("UPDATE sessions")]) == 2


def test_the_last_use_is_written_once_a_minute(timed: Database, time: Time, reader: NewToken) -> None:
    sent: list[str] = []
    sessions, other = PageSessions(timed), PageSessions(timed)
    session = sessions.find(sessions.begin(reader.view.id))
    assert session
    time.seconds += 61

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE sessions"):
            sent.append(statement)

    event.listen(timed.engine, "before_cursor_execute", note)
    for seconds, is_due in ((0, True), (30, False), (29, False), (1, True)):
        time.seconds += seconds
        assert sessions.is_use_due(session) is is_due
        sessions.note_use(session)
    assert len(sent) == 2
    begun = time.now()
    time.seconds += 30
    other.note_use(session)  # another process, which does not know that it is written
    with timed.read() as connection:
        assert connection.execute(select(m.PageSession.last_seen_at)).scalar_one() == begun


@pytest.mark.parametrize("ends", ["revoked", "expired", "deleted"])
def test_a_session_ends_with_its_token(timed: Database, settings: Settings, time: Time, ends: str) -> None:
    request = NewTokenRequest(name="short", scope=Scope.READ, lifetime_s=None if ends == "revoked" else 60.0)
    sessions, other = PageSessions(timed), PageSessions(timed)
    session_id = sessions.begin(create_token(timed, request, actor="grace").view.id)
    assert names(sessions.find(session_id), other.find(session_id)) == ["short", "short"]
    time.seconds += 2
    if ends == "revoked":
        revoke_token(timed, "short", actor="grace")
    else:
        time.seconds += 58
    if ends == "deleted":
        prune(timed, settings.model_copy(update={"retention_events": -1.0}))
    assert names(sessions.find(session_id), other.find(session_id)) == [None, None]


def test_a_token_that_expires_within_the_two_seconds_ends_its_session_at_once(timed: Database, time: Time) -> None:
    request = NewTokenRequest(name="short", scope=Scope.READ, lifetime_s=1.0)
    sessions = PageSessions(timed)
    session_id = sessions.begin(create_token(timed, request, actor="grace").view.id)
    assert sessions.find(session_id)
    time.seconds += 1
    assert sessions.find(session_id) is None


def test_a_log_out_ends_the_session_in_every_process_within_two_seconds(
    timed: Database, time: Time, reader: NewToken
) -> None:
    sessions, other = PageSessions(timed), PageSessions(timed)
    session_id, another = sessions.begin(reader.view.id), sessions.begin(reader.view.id)
    assert names(sessions.find(session_id), other.find(session_id)) == ["reader", "reader"]
    sessions.end(session_id)
    assert sessions.find(session_id) is None
    assert sessions.remembered(session_id) is None
    time.seconds += 2
    assert other.find(session_id) is None
    assert names(other.find(another)) == ["reader"]


def test_a_look_up_is_used_for_two_seconds(timed: Database, time: Time, reader: NewToken) -> None:
    sent: list[str] = []
    sessions = PageSessions(timed)
    session_id = sessions.begin(reader.view.id)

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "sessions" in statement:
            sent.append(statement)

    event.listen(timed.engine, "before_cursor_execute", note)
    assert sessions.remembered(session_id) is None
    for _ in range(3):
        assert sessions.find(session_id)
        assert sessions.remembered(session_id)
    assert len(sent) == 1
    time.seconds += 2
    assert sessions.remembered(session_id) is None
    assert sessions.find(session_id)
    assert len(sent) == 2


def test_a_code_begins_one_session(timed: Database, reader: NewToken) -> None:
    sessions, code = PageSessions(timed), new_login_code(timed, reader.view.id)
    session_id = sessions.redeem(code)
    assert session_id
    assert names(sessions.find(session_id)) == ["reader"]
    assert sessions.redeem(code) is None


def test_of_many_at_once_one_gets_the_code(timed: Database, reader: NewToken) -> None:
    sessions, code = PageSessions(timed), new_login_code(timed, reader.view.id)
    with ThreadPoolExecutor(8) as threads:
        begun = list(threads.map(lambda _: sessions.redeem(code), range(8)))
    assert sum(session_id is not None for session_id in begun) == 1
    assert len(digests(timed, m.PageSession)) == 1


def test_a_code_ends_after_ten_minutes(timed: Database, time: Time, reader: NewToken) -> None:
    sessions = PageSessions(timed)
    first, second = new_login_code(timed, reader.view.id), new_login_code(timed, reader.view.id)
    time.seconds += 599
    assert sessions.redeem(first)
    time.seconds += 1
    assert sessions.redeem(second) is None


def test_a_code_of_a_revoked_token_begins_nothing_that_can_be_used(timed: Database, reader: NewToken) -> None:
    sessions, code = PageSessions(timed), new_login_code(timed, reader.view.id)
    revoke_token(timed, "reader", actor="grace")
    assert names(sessions.find(sessions.redeem(code) or "")) == [None]


@pytest.mark.parametrize("code", ["", "pbc_", "pbc_" + "x" * 43, "pbs_" + "x" * 43, "\ud800", "x" * 10**6])
def test_what_is_not_a_code(timed: Database, code: str) -> None:
    assert PageSessions(timed).redeem(code) is None


def test_retention_deletes_what_has_ended(timed: Database, settings: Settings, time: Time, reader: NewToken) -> None:
    sessions = PageSessions(timed)
    sessions.begin(reader.view.id)
    used = new_login_code(timed, reader.view.id)
    assert sessions.redeem(used)
    time.seconds += 8 * HOUR + 1
    new, unused = sessions.begin(reader.view.id), new_login_code(timed, reader.view.id)
    prune(timed, settings)
    assert digests(timed, m.PageSession) == {digest(new)}
    assert digests(timed, m.LoginCode) == {digest(unused)}
    for _ in range(24):
        time.seconds += HOUR
        if session := sessions.find(new):
            sessions.note_use(session)
    time.seconds += 1
    prune(timed, settings)
    assert digests(timed, m.PageSession) == set()
    assert digests(timed, m.LoginCode) == set()


def test_a_form_token_is_of_its_session_and_differs_each_time() -> None:
    first, second = form_token("pbs_a"), form_token("pbs_a")
    assert first != second
    assert is_form_token(first, "pbs_a")
    assert is_form_token(second, "pbs_a")
    for wrong in ("", first[:-1], first + "0", first[:32], "0" * 96, second[:32] + first[32:], "\ud800"):
        assert not is_form_token(wrong, "pbs_a")
    assert not is_form_token(first, "pbs_b")
