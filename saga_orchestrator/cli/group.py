"""The one place where an error of ours becomes a line and an exit code."""

from __future__ import annotations

import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from saga_orchestrator.cli.exits import Exit, exit_of_error
from saga_orchestrator.cli.terminal import note
from saga_orchestrator.errors import SagaError


class SagaGroup(TyperGroup):
    """Runs a command; says in one line why it could not.

    What is not a ``SagaError`` is a defect of ours, and keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer hides its base's type
        """Run the command; turn a ``SagaError`` into its exit code."""
        try:
            return super().invoke(ctx)
        except SagaError as error:
            code = tell(error, debug=bool(ctx.params.get("debug")))
            raise typer.Exit(code) from error


def tell(error: SagaError, *, debug: bool) -> Exit:
    """Say on stderr what went wrong; return the exit code that says it too.

    Args:
        error: what a command could not do.
        debug: with the traceback.
    """
    if debug:
        note("".join(traceback.format_exception(error)).rstrip())
    note(f"error: {error}")
    return exit_of_error(error)
