"""The bytes of a saga's steps in the hot row of a store."""

from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from saga_orchestrator.core.saga import StepStatus
from saga_orchestrator.core.states import Outcome, Phase, StepState
from saga_orchestrator.core.vector import (
    OUTCOMES,
    PHASES,
    STATES,
    decode_steps,
    encode_steps,
)
from tests.support.sagas import NOW

_U32 = st.integers(0, 2**32 - 1)
_U16 = st.integers(0, 2**16 - 1)
_INSTANTS = st.datetimes(
    dt.datetime(1970, 1, 1),  # noqa: DTZ001 - the strategy adds the zone itself
    dt.datetime(9000, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(dt.UTC),
)


@st.composite
def _statuses(draw: st.DrawFn) -> StepStatus:
    phase = draw(st.sampled_from(Phase))
    is_open = phase not in (Phase.IDLE, Phase.GAVE_UP)
    return StepStatus(
        state=draw(st.sampled_from(StepState)),
        outcome=draw(st.sampled_from(Outcome)),
        phase=phase,
        generation=draw(_U32),
        attempt=draw(_U16),
        heard=draw(_U32),
        mark=draw(_U32),
        revision=draw(_U16),
        opened_at=draw(_INSTANTS) if is_open else None,
        due_at=draw(st.none() | _INSTANTS) if is_open else None,
        resends=draw(st.integers(0, 255)),
    )


@settings(deadline=None)
@given(st.lists(_statuses(), max_size=20).map(tuple))
def test_round_trip(steps: tuple[StepStatus, ...]) -> None:
    """A store reads back what it wrote, to the microsecond."""
    assert decode_steps(*encode_steps(steps)) == steps


def test_layout() -> None:
    """Twenty bytes a step, twenty more where something is open; SQL reads them."""
    waiting = StepStatus(
        StepState.STARTED, Outcome.UNKNOWN, Phase.WAITING,
        generation=3, attempt=2, heard=0, mark=7, revision=1,
        opened_at=NOW, due_at=None, resends=4,
    )  # fmt: skip
    vector, timers = encode_steps((StepStatus(), waiting))
    assert vector[:20] == bytes(20)
    assert vector[20:].hex(" ", 4) == "01030204 03000000 00000000 07000000 02000100"
    assert (len(timers), timers[:4]) == (20, b"\1\0\0\0")
    assert int.from_bytes(timers[4:12], "little") == NOW.timestamp() * 1_000_000
    assert timers[12:] == b"\xff" * 8


def test_codes_never_change() -> None:
    """Rows of older releases must stay readable: codes are only added at the end."""
    assert [state.value for state in STATES[:7]] == [
        "pending", "started", "completed", "failed", "skipped", "compensating",
        "compensated",
    ]  # fmt: skip
    assert [outcome.value for outcome in OUTCOMES[:4]] == [
        "none", "succeeded", "refused", "unknown",
    ]  # fmt: skip
    assert [phase.value for phase in PHASES[:5]] == [
        "idle", "sent", "waiting", "accepted", "gave_up",
    ]  # fmt: skip


def test_attempts_beyond_the_field() -> None:
    """An unlimited policy may pass 65,535 attempts; that must not stop its saga."""
    (again,) = decode_steps(*encode_steps((StepStatus(attempt=70_000),)))
    assert again.attempt == 65_535
