"""Logs: one event with its fields per line, as JSON unless standard error is a terminal.

A command does not load structlog, which takes longer than a claim, for the sentences that it writes instead.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from prebuild_tasks.clock import utcnow
from prebuild_tasks.model.terminal import escaped

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from structlog.stdlib import BoundLogger
    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

    from prebuild_tasks.config import Settings

_QUIET = ("kombu", "amqp", "urllib3", "alembic", "tornado.access")
_EACH_TASK = ("celery.worker.strategy", "celery.app.trace")
"""Loggers of Celery that report each task's arrival and success: two lines for each turn that changes nothing. The
project logs changes itself, Flower shows every task, and failures are logged as errors."""
_FIELDS = "fields"
"""The attribute of a record that holds an event's fields."""
_ENCODER = json.JSONEncoder(default=str)
_OF_EVERY_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class Logger:
    """A logger of events. It loads structlog when it is first used."""

    def __init__(self, name: str) -> None:
        """Take the name of the module that logs."""
        self._name = name
        self._logger: BoundLogger | None = None

    def debug(self, event: str, **fields: object) -> None:
        """Log an event for those who look for a fault."""
        if not self._say(logging.DEBUG, event, fields):
            self._bound().debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Log an event of normal operation."""
        if not self._say(logging.INFO, event, fields):
            self._bound().info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log an event that somebody should look at if it goes on."""
        if not self._say(logging.WARNING, event, fields):
            self._bound().warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Log a failure."""
        if not self._say(logging.ERROR, event, fields):
            self._bound().error(event, **fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log a failure with the traceback of the exception that is being handled."""
        if not self._say(logging.ERROR, event, fields, exc_info=True):
            self._bound().exception(event, **fields)

    def info_of_many(self, event: str, **fields: object) -> None:
        """Log an event of normal operation that is too frequent for structlog, which takes five times as long.

        What is bound to the context is left out.
        """
        root = logging.getLogger()
        if root.level <= logging.INFO and root.handlers and isinstance(root.handlers[0], _JsonHandler):
            root.handlers[0].write(_json_of(self._name, event, "info", utcnow(), fields))
        else:
            self.info(event, **fields)

    def _say(self, level: int, event: str, fields: Mapping[str, object], *, exc_info: bool = False) -> bool:
        """Hand an event to the standard library, if this is a command, or a program that does not use structlog.

        Return whether it was handed over. A traceback as JSON needs structlog.
        """
        handlers = logging.getLogger().handlers
        in_command = any(isinstance(handler, (_SentenceHandler, _LaterHandler)) for handler in handlers)
        if exc_info and not any(isinstance(handler, _SentenceHandler) for handler in handlers):
            return False
        if in_command:
            logging.getLogger(self._name).log(level, "%s", event, exc_info=exc_info, extra={_FIELDS: fields})
        elif "structlog" not in sys.modules:
            logging.getLogger(self._name).log(level, "%s%s", event, _details(fields), extra={_FIELDS: fields})
        else:
            return False
        return True

    def _bound(self) -> BoundLogger:
        if self._logger is None:
            import structlog

            _LaterHandler.configure_now()
            self._logger = structlog.get_logger(self._name)
        return self._logger


def get_logger(name: str) -> Logger:
    """Return the logger of a module, given by its name."""
    return Logger(name)


class _SentenceHandler(logging.Handler):
    """Writes sentences to standard error, such as `warning: wake up not sent (presets: 2, error: not within 0.2 s)`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(_sentence(record), file=sys.stderr)
        except Exception:  # noqa: BLE001 - as in every handler: what cannot be logged ends no command
            self.handleError(record)


def _sentence(record: logging.LogRecord) -> str:
    what = record.getMessage().replace("_", " ")
    cause = logging.Formatter().formatException(record.exc_info).rpartition("\n")[2] if record.exc_info else ""
    end = _details(_fields_of(record)) + (f": {cause}" if cause else "")
    return escaped(f"{record.levelname.lower()}: {what}{end}")


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    named: dict[str, object] = {key: value for key, value in vars(record).items() if key not in _OF_EVERY_RECORD}
    fields = named.pop(_FIELDS, None)
    return named | fields if isinstance(fields, dict) else named


def _details(fields: Mapping[str, object]) -> str:
    """Return the fields of an event as in ` (presets: 2, error: not within 0.2 s)`."""
    parts = [f"{key.replace('_', ' ')}: {value}" for key, value in fields.items() if value not in ("", None)]
    return f" ({', '.join(parts)})" if parts else ""


class _LaterHandler(logging.Handler):
    """Writes JSON lines as structlog does, and configures that for the first traceback."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self.log_format = log_format

    def emit(self, record: logging.LogRecord) -> None:
        if not record.exc_info:
            try:
                print(_json_line(record), file=sys.stderr)
            except Exception:  # noqa: BLE001 - as in every handler: what cannot be logged ends no command
                self.handleError(record)
            return
        self.configure_now()
        for handler in logging.getLogger().handlers:
            handler.handle(record)

    @staticmethod
    def configure_now() -> None:
        """Configure the logs if that was put off until now."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, _LaterHandler):
                _configure("WARNING", handler.log_format)
                return


def _json_line(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return _json_of(record.name, record.getMessage(), record.levelname.lower(), at, _fields_of(record))


def _json_of(logger: str, event: str, level: str, at: datetime, fields: Mapping[str, object]) -> str:
    """Return an event as structlog writes it."""
    timestamp = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    own = {"event": event, "logger": logger, "level": level, "timestamp": timestamp}
    return _ENCODER.encode({**fields, **own})


class _JsonHandler(logging.StreamHandler[TextIO]):
    """Writes records, and lines that are JSON already."""

    def write(self, line: str) -> None:
        """Write a line. What cannot be logged ends no request."""
        self.acquire()
        try:
            with suppress(OSError, ValueError):
                self.stream.write(line + self.terminator)
                self.stream.flush()
        finally:
            self.release()


def configure_command_logging(*, as_json: bool = False) -> None:
    """Log warnings and errors to standard error, for one-shot commands; standard output is for the answer.

    They are sentences among the command's own, unless it prints JSON.
    """
    root = logging.getLogger()
    root.handlers = [_LaterHandler("json") if as_json else _SentenceHandler()]
    root.setLevel(logging.WARNING)
    # A wake-up that outlives its deadline may log while the process ends; that must not print a traceback.
    logging.raiseExceptions = False


def configure_logging(settings: Settings) -> None:
    """Send the project's events and the libraries' records to standard error in one format. May be called again."""
    _configure(settings.log_level, settings.log_format)


def _configure(level: str, log_format: str) -> None:
    import structlog

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _JsonHandler(sys.stderr) if _is_json(log_format) else logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in (*_QUIET, *(_EACH_TASK if root.level > logging.DEBUG else ())):
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_json(log_format: str) -> bool:
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def _last(log_format: str) -> list[Processor]:
    """Return the processors that write an event."""
    import structlog

    if _is_json(log_format):
        # Local variables hold passwords and secret parameters, and structlog shows their values by default.
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [structlog.processors.ExceptionRenderer(transformer), structlog.processors.JSONRenderer(default=str)]
    return [_escape_values, structlog.dev.ConsoleRenderer(exception_formatter=_escaped_traceback)]


def _escape_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape the texts of an event, which the console would otherwise get as they are: a recipe's output is among them.

    Values of other types are shown by their `repr`, which escapes.
    """
    return {key: escaped(value) if isinstance(value, str) else value for key, value in event.items()}


def _escaped_traceback(stream: TextIO, error: ExcInfo) -> None:
    import structlog

    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    stream.write(escaped(text.getvalue()))
