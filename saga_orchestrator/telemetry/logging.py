"""Log lines: structured, on stderr, JSON or for a console.

Tracebacks come without the values of local variables: these hold passwords and
customers' data.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any, Literal

import structlog

from saga_orchestrator.telemetry.taming import escaped, tamed, tamed_text

FRAMES_MAX = 20
_MARGIN = "  | "
"""Before each line of a traceback: none can pass for a line of the log."""

LogFormat = Literal["auto", "console", "json"]


class _Lines(structlog.WriteLogger):
    """Writes lines to stderr as long as it takes them.

    A line and its end at once: several processes may write to one place.

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


def _tamed(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Bound what a line holds, and hide its secrets."""
    exception = line.pop("exception", None)
    told: structlog.typing.EventDict = tamed(line)
    if exception is not None:
        # Of our own making, and deeper than the rest.
        told["exception"] = (
            tamed_text(exception) if isinstance(exception, str) else _frames(exception)
        )
    return told


def _frames(exception: list[dict[str, Any]]) -> list[Any]:
    return [
        {key: tamed(value, depth=-2) for key, value in one.items()} for one in exception
    ]


def _for_console(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape what could start a line of its own, or speak to the terminal."""
    told: structlog.typing.EventDict = {}
    for key, value in line.items():
        if key == "exception":
            rows = str(value).splitlines()
            told[key] = "\n".join(_MARGIN + escaped(row) for row in rows)
        else:
            told[escaped(key)] = escaped(value) if isinstance(value, str) else value
    return told


def spare_stdout() -> None:
    """Send log lines to stderr in a program that has not set structlog up."""
    if not structlog.is_configured():
        structlog.configure(processors=_processors(pretty=True), logger_factory=_lines)


def configure(level: str = "info", fmt: LogFormat = "auto") -> None:
    """Set up structlog for a process of ours; a library user sets up their own.

    Args:
        level: debug, info, warning or error.
        fmt: ``auto`` is console on a terminal, else JSON.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    pretty = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    for name in ("aiormq", "aio_pika"):
        # The broker's adapter tells of its troubles itself, once, in our format.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=_processors(pretty=pretty),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_lines,
        cache_logger_on_first_use=False,
    )


def _processors(*, pretty: bool) -> list[structlog.typing.Processor]:
    """Return what makes a line of an event, the last one its text."""
    tracebacks: structlog.typing.Processor = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(
            show_locals=False, max_frames=FRAMES_MAX
        )
    )
    rendering: list[structlog.typing.Processor] = [
        structlog.processors.JSONRenderer(ensure_ascii=True)
    ]
    if pretty:
        tracebacks = structlog.processors.format_exc_info
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        rendering = [_for_console, structlog.dev.ConsoleRenderer(colors=colors)]
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tracebacks,
        _tamed,
        *rendering,
    ]
