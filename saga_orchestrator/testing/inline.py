"""Sync handlers without threads."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable

from saga_orchestrator.participant.threads import HandlerThreads


class InlineThreads(HandlerThreads):
    """Runs sync handlers where it is called: in a play nothing else waits."""

    async def run(
        self,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        seconds: float,
    ) -> object:
        """Call the function and return what it returns.

        As in a thread no event loop runs meanwhile: the function may run one of
        its own, and libraries that refuse to block a loop see none.
        """
        del seconds
        loop = asyncio.get_running_loop()
        events._set_running_loop(None)  # noqa: SLF001 - public, for makers of loops
        try:
            return function(*arguments)
        finally:
            events._set_running_loop(loop)  # noqa: SLF001 - as above
