"""A person at the command line, in the test's process."""

from __future__ import annotations

import asyncio

from typer.testing import CliRunner, Result

from saga_orchestrator.cli.main import app


class Shell:
    """Runs `saga` commands on a store, in this process."""

    def __init__(self, *parts: str) -> None:
        """Keep the options that each command gets, as ``--store`` and a URL."""
        self._parts = parts

    async def __call__(self, *words: str) -> Result:
        """Return what a command said."""
        arguments = [*words, *self._parts]
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)
