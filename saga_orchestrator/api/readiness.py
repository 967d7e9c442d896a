"""Whether the parts of this process work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Store

STORE_SECONDS = 2.0
"""A store that does not answer a trifle within this is down."""
KEPT_SECONDS = 1.0
"""Anybody may ask; the store is not asked more often than this."""

_REMARKS = "remarks"
"""What a person should look at, but with which the process works."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part.

    Attributes:
        name: store, engine, broker or remarks; of a worker worker, broker or remarks;
            or another process with the same address.
        problems: what is wrong; empty: it works.
        is_remark: a person should look, but the process works all the same.
        short: what everybody is told of it while it is not down.
    """

    name: str
    problems: tuple[str, ...] = ()
    is_remark: bool = False
    short: str = "ok"

    @property
    def is_down(self) -> bool:
        """Tell whether the process cannot work for it."""
        return bool(self.problems) and not self.is_remark


class Process(Protocol):
    """A manager or a worker."""

    def parts(self) -> dict[str, list[str]]:
        """Name what is wrong now, by part; all are there."""
        ...


class Readiness:
    """Looks at the parts; asks the store itself, too, as nobody else may just now.

    A worker has no store.

    Attributes:
        is_draining: the process stops, and takes no new work.
    """

    def __init__(self, process: Process, clock: Clock, store: Store | None) -> None:
        self._process = process
        self._store = store
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._store_problem = ""
        self.is_draining = False

    async def parts(self) -> list[Part]:
        """Return every part, and what is wrong with it."""
        problem = await self._problem_of(self._store) if self._store else ""
        parts = self._process.parts()
        if problem and not parts["store"]:
            parts["store"] = [f"store: {problem}"]
        return [
            Part(name, tuple(problems), is_remark=name == _REMARKS)
            for name, problems in parts.items()
        ]

    async def _problem_of(self, store: Store) -> str:
        async with self._asking:
            now = self._clock.monotonic()
            if self._asked_at is None or now - self._asked_at >= KEPT_SECONDS:
                self._store_problem = await _ask(store)
                self._asked_at = self._clock.monotonic()
            return self._store_problem


async def _ask(store: Store) -> str:
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await store.next_due()
    except TimeoutError:
        return f"no answer within {STORE_SECONDS:g} s"
    except StoreError as error:
        return str(error)
    return ""
