"""The table of scenarios: each row is named by its id and judged on every store.

The ids are those under which the projects' own tests were collected: DTM (dtm),
EVT (Eventuate Tram Sagas), MT (MassTransit Courier), SEA (Seata), LRA
(MicroProfile LRA TCK), NAR (Narayana), SCB (ServiceComb Pack), TMP (Temporal),
DWF (durable-workflow), CAM (Apache Camel), ZEE (Camunda Zeebe), RES (Restate),
DBO (DBOS), JOB (River, Oban, procrastinate).

A ``Row`` is a play and what it must come to. What no single play can show (a
start that is repeated, a participant's database, an engine that stops) is a
``Case``: a function of the ``Stage``.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from saga_orchestrator.ports.store import Store
from saga_orchestrator.testing import Given, ManualClock
from saga_orchestrator.testing.outcome import Expected


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a scenario is played: a kind of store, and a clock to move.

    Attributes:
        url: of the store; the schema is there.
        clock: of every handle, and of plays.
        folder: for a participant's own database.
    """

    url: str
    clock: ManualClock
    folder: Path

    async def migrate(self) -> None:
        """Make the schema, where there is none yet."""
        await (await Store.open(self.url, clock=self.clock, migrate=True)).close()

    async def open_store(self) -> Store:
        """Open one more handle; the caller closes it."""
        return await Store.open(self.url, clock=self.clock, migrate=False)


@dataclass(frozen=True, slots=True)
class Row:
    """A play, and what it must come to.

    Attributes:
        id: the scenario's.
        given: the saga, with what goes wrong.
        state: how it must end.
        expected: what else must hold.
        variant: tells rows of one id apart.
        deviation: where this project chose otherwise than the peer, and why.
    """

    id: str
    given: Given
    state: str
    expected: Expected = field(default_factory=Expected)
    variant: str = ""
    deviation: str = ""

    async def run(self, stage: Stage) -> None:
        """Play it and hold the outcome against the expectation."""
        store = await stage.open_store()
        try:
            seed = zlib.crc32(name_of(self).encode())  # ids of its own on the store
            play = await self.given.begin(store, stage.clock, seed=seed)
            (await play.run()).expect(self.state, **self.expected)
        finally:
            await store.close()


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario that needs more than one play.

    Attributes:
        id: the scenario's.
        run: asserts it on a stage.
        variant: tells cases of one id apart.
        deviation: where this project chose otherwise than the peer, and why.
    """

    id: str
    run: Callable[[Stage], Awaitable[None]]
    variant: str = ""
    deviation: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """A scenario that needs what this project does not have yet.

    Attributes:
        id: the scenario's.
        needs: the feature: child sagas, schedules, signals.
    """

    id: str
    needs: str


Scenario = Row | Case


def row(
    id: str,  # noqa: A002 - what it is called everywhere
    given: Given,
    state: str,
    *,
    variant: str = "",
    deviation: str = "",
    **expected: Unpack[Expected],
) -> Row:
    """Return a row of the table."""
    return Row(id, given, state, expected, variant, deviation)


def name_of(scenario: Scenario) -> str:
    """Return what a test of the scenario is called."""
    variant = f"-{scenario.variant}" if scenario.variant else ""
    return f"{scenario.id}{variant}"
