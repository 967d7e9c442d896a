"""`--help` and `--version`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import saga_orchestrator
from saga_orchestrator.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

COMMANDS = [
    ["demo"], ["bench"], ["dev"], ["serve"], ["worker"],
    ["start"], ["get"], ["list"], ["watch"], ["why"], ["stale"], ["graph"],
    ["compensate"], ["retry"], ["resolve"], ["give-up"],
    ["residual", "list"], ["residual", "undo"], ["residual", "dismiss"],
    ["migrate"], ["doctor"], ["config", "show"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(
    saga: Callable[..., Result], command: list[str]
) -> None:
    """Each command shows how it is called, on a line of its own."""
    done = saga(*command, "--help")
    assert done.exit_code == 0
    assert f"  Example:\n      saga {' '.join(command)}" in done.stdout


def test_the_help_lists_all(saga: Callable[..., Result]) -> None:
    """`saga --help` names every command and every exit code."""
    text = saga("--help").stdout
    assert all(f"\n  {command[0]} " in text for command in COMMANDS)
    assert all(f"\n  {code.value:>5}  " in text for code in Exit)


def test_version(saga: Callable[..., Result]) -> None:
    """`saga --version` says which release this is."""
    expected = f"saga-orchestrator {saga_orchestrator.__version__}\n"
    assert saga("--version").stdout == expected


def test_heavy_imports_wait_for_their_command() -> None:
    """Help needs no broker client, no web framework, no settings library."""
    code = (
        "import sys, saga_orchestrator.cli.main;"
        "heavy = ('aio_pika', 'fastapi', 'pydantic_settings', 'uvloop');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
