"""Logs: one event per line with fields; JSON where no terminal reads along. And the names of all metrics."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

from prebuild_tasks.config import Settings

_QUIET = ("kombu", "amqp", "urllib3", "alembic", "tornado.access")
_EACH_TASK = ("celery.worker.strategy", "celery.app.trace")
"""That a task came, and that it went well: two lines for each turn that finds nothing. What changed we log ourselves;
Flower shows every task; failures are errors."""

# The values of local variables hold passwords and secret parameters: structlog shows them unless told otherwise.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure_command_logging() -> None:
    """For one-shot commands: warnings and worse, on standard error; standard output is the answer's alone."""
    _configure("WARNING", "auto")
    # A wake-up that outlives its deadline may log while the process ends: no reason for a traceback.
    logging.raiseExceptions = False


def configure_logging(settings: Settings) -> None:
    """Send our events and every library's records to standard error, in one format. Safe to call again."""
    _configure(settings.log_level, settings.log_format)


def _configure(level: str, log_format: str) -> None:
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer(default=str)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in (*_QUIET, *(_EACH_TASK if root.level > logging.DEBUG else ())):
        logging.getLogger(name).setLevel(logging.WARNING)
