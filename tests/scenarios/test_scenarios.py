"""Every scenario on every store; and the table itself is held to account."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from saga_orchestrator.core.states import SagaState
from saga_orchestrator.testing import Expected, Unexpected
from tests.scenarios import (
    camel,
    dbos,
    dtm,
    dtm_callers,
    dtm_messages,
    durable_workflow,
    eventuate,
    eventuate_orders,
    jobs,
    lra,
    lra_participants,
    masstransit,
    masstransit_engine,
    narayana,
    restate,
    seata,
    seata_loops,
    seata_timeouts,
    servicecomb,
    temporal,
    temporal_cases,
    zeebe,
)
from tests.scenarios.ids import IDS
from tests.scenarios.table import Later, Row, Scenario, Stage, name_of

_MODULES = (
    *(dtm, dtm_callers, dtm_messages, eventuate, eventuate_orders),
    *(masstransit, masstransit_engine, seata, seata_loops, seata_timeouts),
    *(lra, lra_participants, narayana, servicecomb, temporal, temporal_cases),
    *(durable_workflow, camel, zeebe, restate, dbos, jobs),
)

SCENARIOS: list[Scenario] = [one for module in _MODULES for one in module.SCENARIOS]
LATER: list[Later] = [one for module in _MODULES for one in module.LATER]
ROWS = [one for one in SCENARIOS if isinstance(one, Row)]

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
async def test_scenario(scenario: Scenario, stage: Stage) -> None:
    """The saga ends, and runs its actions and undos, as the peer asserts."""
    await scenario.run(stage)


def test_every_id_is_there_once() -> None:
    """Each is a scenario, or is left for later with what it needs; none is both."""
    asserted = {one.id for one in SCENARIOS}
    later = {one.id for one in LATER}
    assert asserted | later == set(IDS)
    assert not asserted & later
    assert all(one.needs for one in LATER)
    twice = [name for name, n in Counter(map(name_of, SCENARIOS)).items() if n > 1]
    assert not twice


def test_the_readme_counts_right() -> None:
    """What it says of this table is true."""
    numbers = (len({one.id for one in SCENARIOS}), len(SCENARIOS), len(LATER))
    found = re.search(
        r"(\d+) ids, (\d+) cases with\s+their variants; (\d+) wait",
        README.read_text(encoding="utf-8"),
    )
    assert found, "the README does not tell the numbers"
    assert tuple(map(int, found.groups())) == numbers


@pytest.mark.parametrize("row", ROWS, ids=name_of)
async def test_a_changed_expectation_fails(row: Row) -> None:
    """A row that could not fail would assert nothing."""
    outcome = await row.given.play()
    outcome.expect(row.state, **row.expected)
    for changed in _changed(row):
        with pytest.raises(Unexpected):
            outcome.expect(changed.state, **changed.expected)


def _changed(row: Row) -> Iterator[Row]:
    """Yield the row with one of its expectations changed, each in turn."""
    for state in SagaState:
        if state != row.state:
            yield dataclasses.replace(row, state=state)
    names = [step.name for step in row.given.definition.steps]
    for key in ("calls", "executed", "undone"):
        expected = row.expected.get(key)
        if isinstance(expected, set | frozenset):
            yield from (_expecting(row, key, {*expected} ^ {name}) for name in names)
        elif expected is not None:
            yield from (_expecting(row, key, [*expected, name]) for name in names)
            backwards = list(reversed(list(expected)))
            if expected:
                yield _expecting(row, key, list(expected)[1:])
            if backwards != list(expected):
                yield _expecting(row, key, backwards)


def _expecting(row: Row, key: str, value: object) -> Row:
    expected = cast("Expected", {**row.expected, key: value})
    return dataclasses.replace(row, expected=expected)
