"""Log lines: structured, on stderr, JSON or for a console."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["auto", "console", "json"]


def spare_stdout() -> None:
    """Send log lines to stderr in a program that has not set structlog up."""
    if not structlog.is_configured():
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def configure(level: str = "info", fmt: LogFormat = "auto") -> None:
    """Set up structlog for a process of ours; a library user sets up their own.

    Args:
        level: debug, info, warning or error.
        fmt: ``auto`` is console on a terminal, else JSON.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    pretty = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
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
            structlog.processors.dict_tracebacks
            if not pretty
            else structlog.processors.UnicodeDecoder(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
