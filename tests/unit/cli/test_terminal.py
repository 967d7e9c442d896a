"""What is written where, and in which characters."""

from __future__ import annotations

import io

import pytest

from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.cli.terminal import columns, emit, encodable, one_line


def _stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def test_ascii_where_stdout_is_not_utf8() -> None:
    """Glyphs have a stand-in, other letters are escaped; nothing fails."""
    line = "↩ ✓ ✗ · Zürich →"
    assert encodable(line, _stream("utf-8")) == line
    assert encodable(line, _stream("ascii")) == r"< + x - Z\xfcrich \u2192"
    assert encodable("Zürich", _stream("latin-1")) == "Zürich"


def test_no_colour_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not a terminal gets the text and nothing else, however long."""
    line = "✓ " + "x" * 300
    emit([line])
    assert capsys.readouterr().out == f"{line}\n"


def test_columns() -> None:
    """Rows are aligned, without blanks at the end."""
    assert columns([("ID", "STATE"), ("1", "completed"), ("22", "")]) == [
        "ID  STATE",
        "1   completed",
        "22",
    ]


def test_one_line() -> None:
    """A user's text stays on its line."""
    assert one_line("a\tb\r\n\x00ü✓") == r"a\tb\r\n\x00ü✓"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://guest:p:w@mq:5672/", "amqp://guest:***@mq:5672/"),
        (
            "postgresql://db/saga?password=x&pool=3",
            "postgresql://db/saga?password=***&pool=3",
        ),
        ("postgresql://saga@db/saga", "postgresql://saga@db/saga"),
        ("amqp://guest:p@ss@mq/", "amqp://guest:***@mq/"),
        ("sqlite:///saga.db", "sqlite:///saga.db"),
        ("memory://", "memory://"),
        ("saga.steps", "saga.steps"),
    ],
)
def test_masked(url: str, shown: str) -> None:
    """Passwords are never shown."""
    assert masked(url) == shown
