"""The state vector: a saga's steps as bytes, for the hot row of a store.

Twenty bytes a step, plus twenty for each step that has something open, so that
a transition writes little however many steps a saga has. The layout is fixed;
the view ``saga_steps`` decodes it in SQL. Little-endian::

    steps:   state u8, outcome u8, phase u8, resends u8,
             generation u32, heard u32, mark u32, attempt u16, revision u16
    timers:  number u16, (2 bytes pad), opened_at i64, due_at i64   per open step

Instants are microseconds since 1970; -1 stands for none.
"""

from __future__ import annotations

import datetime as dt
import struct

from saga_orchestrator.core.saga import StepStatus
from saga_orchestrator.core.states import Outcome, Phase, StepState

STATES = tuple(StepState)
OUTCOMES = tuple(Outcome)
PHASES = tuple(Phase)
"""A code is the position in these; they only ever grow at the end."""

_STEP = struct.Struct("<BBBBIIIHH")
_TIMER = struct.Struct("<Hxxqq")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_NONE = -1
_U16_MAX = 0xFFFF

_STATE_CODE = {state: code for code, state in enumerate(STATES)}
_OUTCOME_CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_PHASE_CODE = {phase: code for code, phase in enumerate(PHASES)}


def encode_steps(steps: tuple[StepStatus, ...]) -> tuple[bytes, bytes]:
    """Return the vector and the timers of a saga's steps."""
    vector = b"".join([_packed(step) for step in steps])
    timers = [
        _TIMER.pack(number, _micros(step.opened_at), _micros(step.due_at))
        for number, step in enumerate(steps)
        if step.is_open
    ]
    return vector, b"".join(timers)


def decode_steps(vector: bytes, timers: bytes) -> tuple[StepStatus, ...]:
    """Return the steps that ``encode_steps`` was given."""
    instants = {
        number: (_instant(opened_at), _instant(due_at))
        for number, opened_at, due_at in _TIMER.iter_unpack(timers)
    }
    steps = []
    for number, fields in enumerate(_STEP.iter_unpack(vector)):
        state, outcome, phase, resends, generation, heard, mark, attempt, rev = fields
        opened_at, due_at = instants.get(number, (None, None))
        steps.append(
            StepStatus(
                STATES[state],
                OUTCOMES[outcome],
                PHASES[phase],
                generation,
                attempt,
                heard,
                mark,
                rev,
                opened_at,
                due_at,
                resends,
            )
        )
    return tuple(steps)


def _packed(step: StepStatus) -> bytes:
    return _STEP.pack(
        _STATE_CODE[step.state],
        _OUTCOME_CODE[step.outcome],
        _PHASE_CODE[step.phase],
        step.resends,
        step.generation,
        step.heard,
        step.mark,
        min(step.attempt, _U16_MAX),
        step.revision,
    )


def _micros(instant: dt.datetime | None) -> int:
    return _NONE if instant is None else (instant - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> dt.datetime | None:
    return None if micros == _NONE else _EPOCH + dt.timedelta(microseconds=micros)
