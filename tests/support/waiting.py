"""Waiting for something to become true, never for a fixed time."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Process(Protocol):
    """Anything that can say what is wrong with it: a manager, a worker, a broker."""

    def problems(self) -> list[str]:
        """Name what is wrong now."""
        ...


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, seconds: float = 60
) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                holds = condition()
                if await holds if inspect.isawaitable(holds) else holds:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        text = inspect.getsource(condition).strip()
        msg = f"not within {seconds} s: {text}"
        raise AssertionError(msg) from None


async def until_well(process: Process, *, seconds: float = 60) -> None:
    """Return as soon as nothing is wrong with it; tell what is when it lasts."""
    try:
        await eventually(lambda: process.problems() == [], seconds=seconds)
    except AssertionError:
        msg = f"not well within {seconds} s: {process.problems()}"
        raise AssertionError(msg) from None
