"""Log lines that nobody can forge."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from saga_orchestrator.telemetry import logging

EVIL = "no\r\n2026-11-29 [error] all is well\x1b[2J\u202e\x9b1m"


@pytest.fixture(autouse=True)
def _usual_logging():
    yield
    structlog.reset_defaults()


def _break() -> None:
    raise ValueError(EVIL)


def _log_evil(kind: str, capsys: pytest.CaptureFixture[str]) -> str:
    logging.configure("info", kind)  # type: ignore[arg-type]  # one of the formats
    log = structlog.get_logger("test")
    log.warning(EVIL, error=EVIL, problems=[EVIL], cause=ValueError(EVIL))
    try:
        _break()
    except ValueError:
        log.exception("broke", name=EVIL)
    return capsys.readouterr().err


def test_on_a_console(capsys):
    """What others wrote stays in its line, and moves no cursor, tracebacks too."""
    text = _log_evil("console", capsys)
    forged = [line for line in text.splitlines() if line.startswith("2026-11-29 [err")]
    assert not forged
    assert "all is well" in text
    for harmful in ("\x1b[2J", "\u202e", "\x9b", "\r"):
        assert harmful not in text
    first, second, *traceback = text.removesuffix("\n").split("\n")
    assert "all is well" in first
    assert "broke" in second
    assert traceback
    assert all(line.startswith("  | ") for line in traceback)


def test_as_json(capsys):
    """One line an entry, whatever is in it, in ASCII."""
    text = _log_evil("json", capsys)
    assert text.isascii()
    assert "\x1b" not in text
    entries = [json.loads(line) for line in text.splitlines()]
    assert [entry["event"] for entry in entries] == [EVIL, "broke"]
    assert entries[0]["error"] == EVIL


def test_a_line_is_written_at_once(monkeypatch):
    """Processes share one stderr; where it is unbuffered, each write stands alone."""
    writes: list[str] = []

    class Unbuffered(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    monkeypatch.setattr("sys.stderr", Unbuffered())
    logging.configure("info", "json")
    structlog.get_logger("test").info("one")
    structlog.get_logger("test").info("two")
    assert [json.loads(text)["event"] for text in writes] == ["one", "two"]
    assert all(text.endswith("}\n") for text in writes)
