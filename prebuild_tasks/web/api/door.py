"""The state that all requests of a process share: its threads, its database, and what is sent after answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from prebuild_tasks import __version__
from prebuild_tasks.access import Authenticator, PageSessions, Principal
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.claims import Choice, WaitStage, hits_of, read_openings, read_waiting
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import AuthenticationError, BusyError, PrebuildError
from prebuild_tasks.events import newest_event, number_all_events
from prebuild_tasks.insight import Exporter, Reading, render
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import DirectMessages
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.web.api.cursors import Cursors
from prebuild_tasks.web.api.event_log import log_of
from prebuild_tasks.web.api.places import Places
from prebuild_tasks.web.api.redis_calls import RedisCalls
from prebuild_tasks.web.api.sender import Sender
from prebuild_tasks.web.api.streams import EventStreams
from prebuild_tasks.web.api.threads import PATIENCE, Threads
from prebuild_tasks.web.api.token_watch import AGE_MAX, SESSIONS_PAUSE, TokenWatch
from prebuild_tasks.web.api.waits import Waits
from prebuild_tasks.workspaces import FollowUp, send_turns_first

log = get_logger(__name__)

_READY_WITHIN = 2.0
"""Seconds within which the database must answer."""
_READY_KEPT = 1.0
"""Seconds for which it is remembered whether it did."""

T = TypeVar("T")


class DoorOptions(Protocol):
    """The options of `prebuild serve` that the routes need."""

    @property
    def public_url(self) -> str:
        """Begins every link and Location; empty: they are paths."""

    @property
    def connections(self) -> int:
        """The most connections to the database that requests use at a time."""

    @property
    def streams(self) -> int:
        """The most streams of events at a time."""

    @property
    def streams_per_token(self) -> int:
        """The most of them for one token, and for one session of the page."""

    @property
    def metrics_open(self) -> bool:
        """Whether metrics need no token."""


class Limiter(Protocol):
    """Counts the requests of principals."""

    async def count(self, principal: Principal, *, claims: bool) -> None:
        """Count a request. Raises ProblemError for one too many."""

    async def count_bad(self, address: str) -> None:
        """Count a bad token, code or session of an address."""

    def require_patience(self, address: str) -> None:
        """Raise ProblemError for an address that has sent too many bad ones."""


class Door:
    """The state of a serving process. Only its synchronous methods may be used from any thread."""

    def __init__(self, runtime: Runtime, options: DoorOptions, limiter: Limiter | None = None) -> None:
        """Take the dependencies of the process, which stay its maker's to close."""
        self.runtime, self.options, self.limiter = runtime, options, limiter
        self.settings = runtime.settings
        self.base = options.public_url.rstrip("/")
        """Begins every link; empty: links are paths."""
        self.tokens = Authenticator(runtime.database)
        self.sessions = PageSessions(runtime.database)
        self.token_watch = TokenWatch(self._look_up_token)
        self.session_watch = TokenWatch(self._look_up_session, self._look_up_sessions, SESSIONS_PAUSE)
        self._noting: asyncio.Task[None] | None = None
        self.cursors = Cursors(runtime.keys.derive("cursors"))
        self.document: JsonObject = {}
        """The OpenAPI document."""
        self.stopping = asyncio.Event()
        """Set once the process is about to stop."""
        self.more_metrics: Callable[[], str] = str
        """Returns metrics of the server itself in the text format of Prometheus."""
        self.waits = Waits(self._read_waiting, self._read_openings, self.stopping)
        self._ready, self._ready_until, self._looking = False, 0.0, asyncio.Lock()
        claiming = options.connections // 2
        self.hits = hits_of(runtime.database, claiming, PATIENCE)
        """Claims without a thread, on half of the connections; None: this database allows none."""
        number = options.connections - (claiming if self.hits else 0)
        self._threads, self._look_thread, self._log_thread = Threads(number), Threads(1), Threads(1)
        self._most_each = max(1, number - 1)
        self._allowances: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """The threads that one principal may use at a time, so that there is one for the others."""
        self.redis = RedisCalls(self.settings)
        self._sender = Sender(self._send)
        self.places = Places(per_token=options.streams_per_token, in_all=options.streams)
        self.streams = EventStreams(log_of(runtime, self._in_log_thread), self.stopping)

    @cached_property
    def _messages(self) -> DirectMessages:
        return DirectMessages(self.settings.resolved_redis_url, self.settings.queue)

    async def in_thread(self, work: Callable[[], T], principal: str = "") -> T:
        """Call a function that uses the database, in a thread: there are as many of them as connections for it.

        One principal, given by its key, may use all of them but one.

        Raises what it raises, but no error of the database's driver; BusyError if none is free in time, and
        UnreachableError if the database does not answer for long.
        """
        allowance = self._allowances.setdefault(principal, asyncio.Semaphore(self._most_each))
        try:
            async with asyncio.timeout(PATIENCE if allowance.locked() else None):
                await allowance.acquire()
        except TimeoutError:
            raise BusyError("too many requests of this token are under way", hint="try again") from None
        try:
            return await self._threads.call(partial(self._work, work))
        finally:
            allowance.release()

    async def look(self, work: Callable[[], T]) -> T:
        """Call a quick read of the database in a thread of its own, which no request keeps busy. Raises the same."""
        return await self._look_thread.call(partial(self._work, work))

    @property
    def in_use(self) -> int:
        """Connections that requests use at present."""
        return self._threads.in_use + (self.hits.connections.in_use if self.hits else 0)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return self._threads.waiting + (self.hits.connections.waiting if self.hits else 0)

    async def is_ready(self) -> bool:
        """Return whether the database answers. It is asked at most once a second, because anyone may ask."""
        async with self._looking:
            if monotonic() >= self._ready_until:
                try:
                    async with asyncio.timeout(_READY_WITHIN):
                        await self.look(self.runtime.database.revision)
                    self._ready = True
                except (PrebuildError, TimeoutError):
                    self._ready = False
                self._ready_until = monotonic() + _READY_KEPT
            return self._ready

    async def number_events(self) -> None:
        """Give all events numbers that are committed by now."""
        await self.look(lambda: number_all_events(self.runtime.database))

    async def stops_within(self, seconds: float) -> bool:
        """Wait, and return whether the process is about to stop."""
        try:
            async with asyncio.timeout(seconds):
                return await self.stopping.wait()
        except TimeoutError:
            return False

    async def _look_up_token(self, text: str) -> None:
        if not self.tokens.remembered(text, AGE_MAX):
            await self.look(partial(self.tokens.authenticate, text, AGE_MAX))

    async def _look_up_sessions(self, session_ids: Collection[str]) -> None:
        is_due = await self.look(partial(self.sessions.refresh, session_ids))
        if is_due and (self._noting is None or self._noting.done()):
            self._noting = asyncio.create_task(self._note_watched(session_ids))

    async def _note_watched(self, session_ids: Collection[str]) -> None:
        """Note that sessions are in use. It may wait for a thread and for the database, and no look waits for it."""
        try:
            await self.in_thread(partial(self.sessions.note_watched, session_ids))
        except PrebuildError as error:
            log.warning("session_use_not_noted", error=error.message)

    async def _look_up_session(self, session_id: str) -> None:
        if self.sessions.remembered(session_id, AGE_MAX):
            return
        if await self.look(partial(self.sessions.find, session_id, AGE_MAX)) is None:
            raise AuthenticationError("the session has ended")

    async def newest_event(self) -> int:
        """Return the number after which no event has one yet."""
        return await self.look(lambda: newest_event(self.runtime.database))

    async def _in_log_thread(self, work: Callable[[], T]) -> T:
        """Call a read of the log in a thread of its own: what streams read holds up neither numbers nor tokens."""
        return await self._log_thread.call(partial(self._work, work))

    async def _read_waiting(self, claim_ids: Collection[str]) -> Mapping[str, WaitStage]:
        return await self.look(lambda: read_waiting(self.runtime.database, claim_ids))

    async def _read_openings(self, choices: Collection[Choice]) -> Mapping[Choice, int]:
        database, most = self.runtime.database, self.settings.max_builds_in_flight
        return await self.look(lambda: read_openings(database, choices, max_builds_in_flight=most))

    def _work(self, work: Callable[[], T]) -> T:
        with self.runtime.database.no_driver_errors():
            return work()

    async def after_answer(self, principal: Principal | None, follow_up: FollowUp | None = None) -> None:
        """Do what an answer need not wait for: send what follows from its commit, and note that the token was used."""
        try:
            if follow_up:
                self.send(follow_up)
            if principal is not None and self.tokens.is_use_due(principal):
                await self.in_thread(partial(self.tokens.note_use, principal))
        except PrebuildError as error:
            log.warning("not_followed_up", error=error.message)

    def send(self, follow_up: FollowUp) -> None:
        """Hand a follow-up to the thread that sends. The sweep and the tick make up for what is not sent."""
        self._sender.send_soon(follow_up)

    def _send(self, follow_up: FollowUp) -> None:
        with self.runtime.database.no_driver_errors():
            send_turns_first(self.runtime.database, self._messages, follow_up)

    def metrics(self) -> bytes:
        """Return the metrics of the installation in the text format of Prometheus. It may wait for the database."""
        return (render(list(self._exporter.collect())) + self.more_metrics()).encode()

    def reading(self) -> Reading | None:
        """Return the numbers behind the metrics, shared with all who ask at the time. It may wait for the database."""
        return self._exporter.reading()

    @cached_property
    def _exporter(self) -> Exporter:
        return Exporter(self.settings, __version__)

    async def close(self) -> None:
        """Wait for what runs in threads, and close what was opened here. The runtime is its maker's to close."""
        if self.hits:
            await self.hits.close()
        self._threads.close()
        self._look_thread.close()
        self._log_thread.close()
        self.redis.close()
        self._sender.close()
        if "_messages" in self.__dict__:
            self._messages.close()
        if "_exporter" in self.__dict__:
            self._exporter.close()
