"""A play that is looked at more than once: ``phases(id, given, at(...), ...)``."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Unpack

from saga_orchestrator.testing import Given
from saga_orchestrator.testing.outcome import Expected
from tests.scenarios.cases import begun
from tests.scenarios.table import Case, Stage


@dataclass(frozen=True, slots=True)
class Moment:
    """What must hold at a time after the start; None: when nothing more happens."""

    after: dt.timedelta | None
    state: str
    expected: Expected


def at(seconds: float, state: str, **expected: Unpack[Expected]) -> Moment:
    """Look at the play so many seconds after its start."""
    return Moment(dt.timedelta(seconds=seconds), state, expected)


def at_end(state: str, **expected: Unpack[Expected]) -> Moment:
    """Look at the play when nothing more happens."""
    return Moment(None, state, expected)


def phases(
    id: str,  # noqa: A002 - what it is called everywhere
    given: Given,
    *moments: Moment,
    variant: str = "",
    deviation: str = "",
) -> Case:
    """Return a case that stops one play at several moments."""

    async def run(stage: Stage) -> None:
        async with begun(stage, given, f"{id}-{variant}") as play:
            for moment in moments:
                outcome = await play.run(moment.after)
                outcome.expect(moment.state, **moment.expected)

    return Case(id, run, variant, deviation)
