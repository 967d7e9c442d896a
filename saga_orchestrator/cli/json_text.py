"""JSON on the command line: as it is given, and as a line shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from saga_orchestrator.cli.terminal import one_line
from saga_orchestrator.core.payload import PAYLOAD_BYTES_MAX, Json

SHOWN_CHARS_MAX = 60
CHARS_MAX = 8 * PAYLOAD_BYTES_MAX
"""Spaces included, which the limit of a payload does not count."""


def parsed(text: str, option: str) -> Json:
    """Return what was given as JSON, as ``@FILE``, or as ``-`` for stdin.

    Args:
        text: what stood on the command line.
        option: where; errors name it.

    Raises:
        typer.BadParameter: it cannot be read, or is not JSON; names the option.
    """
    try:
        if text == "-":
            text = sys.stdin.read(CHARS_MAX + 1)
        elif text.startswith("@"):
            with Path(text[1:]).open(encoding="utf-8") as file:
                text = file.read(CHARS_MAX + 1)
        if len(text) > CHARS_MAX:
            raise typer.BadParameter(
                f"{option}: is more than {CHARS_MAX} characters of JSON, which is the "
                "limit; store it elsewhere and pass a reference"
            )
        return json.loads(text)
    except FileNotFoundError as error:
        raise typer.BadParameter(f"{option}: there is no file {text[1:]}") from error
    except json.JSONDecodeError as error:
        raise typer.BadParameter(
            f"{option}: is not JSON: {error}; text needs its quotes, as '\"text\"', "
            "a file its @, as @FILE"
        ) from error
    except RecursionError as error:
        raise typer.BadParameter(f"{option}: is nested too deep") from error
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{option}: {error}") from error


def shown(value: Json) -> str:
    """Return a value's JSON as a part of a line, shortened."""
    text = one_line(json.dumps(value, ensure_ascii=False))
    if len(text) <= SHOWN_CHARS_MAX:
        return text
    return f"{text[: SHOWN_CHARS_MAX - 3]}..."
