"""What a fault is, and what faults wait for."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Protocol

from tests.chaos.stage import Stage
from tests.support.proxy import TcpProxy, Trap


class NotProvenError(Exception):
    """Nothing shows that the fault happened."""


class Fault(Protocol):
    """Breaks something, proves it, mends it."""

    async def __call__(self, stage: Stage, rng: random.Random, /) -> str:
        """Return the evidence, as a sentence.

        Raises:
            NotProvenError, AssertionError: there is none.
        """
        ...


@contextlib.contextmanager
def trapped(
    proxies: Sequence[TcpProxy], name: str, *, from_server: bool, cuts: bool = False
) -> Iterator[list[Trap]]:
    """Set a trap of a kind in each proxy; take them away in the end."""
    traps = [Trap(name, from_server=from_server, cuts=cuts) for _ in proxies]
    for proxy, trap in zip(proxies, traps, strict=True):
        proxy.set_trap(trap)
    try:
        yield traps
    finally:
        for proxy, trap in zip(proxies, traps, strict=True):
            proxy.take_trap(trap)


async def sprung(traps: Sequence[Trap], seconds: float) -> Trap:
    """Return the first trap that springs.

    Raises:
        NotProvenError: none does in time.
    """
    waits = [asyncio.create_task(trap.sprung.wait()) for trap in traps]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for trap in traps:
        if trap.sprung.is_set():
            return trap
    raise NotProvenError(f"no {traps[0].name} in {seconds} s")
