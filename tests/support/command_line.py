"""What a deployment file says to the program, tried on the program."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from typer.main import get_command

from saga_orchestrator.cli.apps import load
from saga_orchestrator.cli.main import app
from saga_orchestrator.settings import PREFIX, Settings, secret_file_variable

ROOT = Path(__file__).parents[2]
_REFERENCE = re.compile(r"handlers\.[\w.]+(:\w+)?")


def accept(arguments: Iterable[str]) -> None:
    """Parse a `saga` command line, and load what it names; raise as it would."""
    given = list(arguments)
    command = get_command(app)
    name = "saga"
    while hasattr(command, "commands"):
        name = given.pop(0)
        assert name in command.commands, f"there is no command {name!r}"
        command = command.commands[name]
    references = [each for each in given if _REFERENCE.fullmatch(each)]
    command.make_context(name, list(given))
    load(references, ROOT)


def unknown(variables: Iterable[str]) -> set[str]:
    """Return those `SAGA_` variables that the program does not read."""
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    known |= {secret_file_variable(field) or "" for field in Settings.model_fields}
    return {name for name in variables if name.startswith(PREFIX)} - known
