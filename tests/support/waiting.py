"""Waiting for something to become true, never for a fixed time."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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
