"""Log lines: structured, on stderr, JSON or for a console."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Literal

import structlog

from saga_orchestrator.telemetry.safe_lines import escape_control, indented_traceback

LogFormat = Literal["auto", "console", "json"]


class _Lines(structlog.PrintLogger):
    """Writes lines to stderr as long as it takes them.

    A full disk, or a reader that is gone, costs the line and nothing else: an
    engine must not stop because nobody hears of it.
    """

    def msg(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _lines(*_: object) -> _Lines:
    return _Lines(sys.stderr)


def spare_stdout() -> None:
    """Send log lines to stderr in a program that has not set structlog up."""
    if not structlog.is_configured():
        structlog.configure(logger_factory=_lines)


def configure(level: str = "info", fmt: LogFormat = "auto") -> None:
    """Set up structlog for a process of ours; a library user sets up their own.

    Args:
        level: debug, info, warning or error.
        fmt: ``auto`` is console on a terminal, else JSON.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    pretty = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=indented_traceback)
        if pretty
        else structlog.processors.JSONRenderer(ensure_ascii=True)
    )
    for name in ("aiormq", "aio_pika"):
        # The broker's adapter tells of its troubles itself, once, in our format.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks if not pretty else escape_control,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_lines,
        cache_logger_on_first_use=False,
    )
