"""The judge of a chaos run can say no: each promise, broken once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from saga_orchestrator import Manager
from saga_orchestrator.core.states import Direction, SagaState
from saga_orchestrator.demo.effects import Effects, create_effects, read_effects
from tests.chaos.judge import Evidence, Verdict, judge
from tests.chaos.sagas import context_of, definition_of
from tests.chaos.services import Services

if TYPE_CHECKING:
    from pathlib import Path

    from saga_orchestrator.ports.records import SagaRecord

SEED = 7
SAGAS = 40


@pytest.fixture
async def evidence(tmp_path: Path) -> Evidence:
    """A run without any fault but those of its handlers, in this process."""
    ledger = tmp_path / "effects.db"
    await create_effects(ledger)
    effects = Effects(ledger)
    handlers = Services(SEED, effects).handlers()
    async with Manager.open(handlers=[handlers]) as manager:
        started = {
            number: (
                await manager.start(
                    definition_of(number), context=context_of(SEED, number)
                )
            ).id
            for number in range(SAGAS)
        }
        for saga_id in started.values():
            await manager.wait(saga_id)
        records = {
            str(saga_id): await manager.record(saga_id) for saga_id in started.values()
        }
    effects.close()
    return Evidence(SEED, started, records, read_effects(ledger))


def changed(evidence: Evidence, record: SagaRecord, **changes: object) -> Verdict:
    """Judge with one record changed."""
    altered = structs.replace(record, **changes)  # type: ignore[arg-type] # field by field
    return judge(
        replace(evidence, records={**evidence.records, record.saga.id: altered})
    )


def one(evidence: Evidence, name: str, state: SagaState) -> SagaRecord:
    """Return a saga of a kind that came to a state."""
    return next(
        record
        for record in evidence.records.values()
        if record.saga.name == name and record.saga.state is state
    )


async def test_each_promise_broken_once(evidence: Evidence) -> None:
    """A run that kept all passes; then every single break is found."""
    assert judge(evidence).problems == []
    done = one(evidence, "order", SagaState.COMPLETED)
    undone = one(evidence, "loan", SagaState.COMPENSATED)

    lost = dict(evidence.records)
    del lost[done.saga.id]
    assert judge(replace(evidence, records=lost)).lost

    for state in (SagaState.STARTED, SagaState.FAILED):
        broken = structs.replace(done.saga, state=state, wake_at=None)
        verdict = changed(evidence, done, saga=broken)
        assert verdict.stuck
        assert verdict.violations

    assert changed(evidence, done, history=done.history[:-1]).violations
    assert changed(evidence, done, history=done.history[1:]).violations

    twice = [*evidence.effects, evidence.effects[0]]
    assert judge(replace(evidence, effects=twice)).duplicate_effects
    for effect in evidence.effects:
        if effect.saga_id in (done.saga.id, undone.saga.id):
            rest = [other for other in evidence.effects if other is not effect]
            assert judge(replace(evidence, effects=rest)).violations

    backwards = [
        replace(effect, number=-effect.number)
        for effect in evidence.effects
        if effect.direction is Direction.COMPENSATION
    ]
    actions = [e for e in evidence.effects if e.direction is Direction.ACTION]
    shuffled = [*actions, *reversed(backwards)]
    assert judge(replace(evidence, effects=shuffled)).violations
