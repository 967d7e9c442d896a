"""What a play does with time, answers and commands: as the engine would."""

from __future__ import annotations

import pytest

from saga_orchestrator import (
    Deferred,
    RetryLater,
    RetryPolicy,
    Store,
)
from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.errors import ForgedReplyError
from saga_orchestrator.testing import (
    EndlessPlay,
    Given,
    ManualClock,
    Outcome,
    Play,
    action,
    undo,
)
from tests.unit.testing.plays import Witness, saga, seconds, step


def test_an_input_that_cannot_be_made() -> None:
    """A stand-in's None has no fields: the step is never sent, and it is told."""
    reads = step("b", input={"x": {"$ref": "outputs.a.number"}})
    outcome = saga("a", reads).expect(
        "compensated", calls=["a", "undo a"], reason="input: 'outputs.a.number' has no"
    )
    assert "· b: not sent: 'outputs.a.number' has no 'number'" in str(outcome)


def kinds(outcome: Outcome) -> list[HistoryKind]:
    """Return what happened to the saga."""
    return [entry.kind for entry in outcome.record.history]


def test_a_long_handler_is_accepted_first() -> None:
    """And sent no second time, however long it runs; its limit bounds it."""
    witness = Witness(long=True)
    hours = action("b").answers_after(seconds(7200))
    outcome = (
        saga("b", handlers=witness.handlers)
        .when(hours)
        .expect("completed", calls=["b"])
    )
    assert kinds(outcome)[1:] == [HistoryKind.STEP_ACCEPTED, HistoryKind.STEP_SUCCEEDED]


def test_a_long_handler_that_falls_silent() -> None:
    """A minute without a heartbeat is unknown, and tried again."""
    witness = Witness(long=True)
    silent = action("b").loses_its_answer(times=1)
    outcome = (
        saga("b", handlers=witness.handlers)
        .when(silent)
        .expect("completed", calls=["b: lost", "b"])
    )
    lost_at = next(
        entry.at
        for entry in outcome.record.history
        if entry.kind is HistoryKind.HEARTBEAT_LOST
    )
    assert lost_at == outcome.saga.created_at + seconds(60)


async def begun(play: Given) -> Play:
    """Begin a play on a store of its own."""
    clock = ManualClock()
    return await play.begin(await Store.open("memory://", clock=clock), clock)


async def deferred() -> tuple[Play, Reply]:
    """Return a play that waits for an answer from outside, and that answer."""
    witness = Witness(signal=Deferred())
    play = await begun(saga("b", "c", handlers=witness.handlers))
    (await play.run(seconds(3600))).expect("started", calls=["b: deferred"])
    (ctx,) = witness.runs
    return play, Reply(ctx.fence, ctx.token, Answer.SUCCEEDED, {"by": "hand"})


async def test_an_answer_from_outside_by_token() -> None:
    """A deferred handler hands fence and token on; the answer carries both."""
    play, reply = await deferred()
    await play.answer(reply)
    outcome = (await play.run()).expect(
        "completed",
        calls=["b: deferred", "b: answered", "c"],
        outputs={"b": {"by": "hand"}},
    )
    assert outcome.saga.ended_at == outcome.saga.created_at + seconds(3600)


async def test_a_refusal_from_outside() -> None:
    """Any answer may come from outside."""
    play, reply = await deferred()
    refused = Reply(
        reply.fence, reply.token, Answer.REFUSED, error="no", retryable=False
    )
    await play.answer(refused)
    (await play.run()).expect(
        "compensated", calls=["b: deferred", "b: refused"], reason="step b: no"
    )


async def test_a_forged_answer_from_outside() -> None:
    """A token that was not issued for the fence changes nothing."""
    play, reply = await deferred()
    with pytest.raises(ForgedReplyError, match="token"):
        await play.answer(Reply(reply.fence, "0" * 32, Answer.SUCCEEDED))
    (await play.run(seconds(3600))).expect("started")


def test_a_script_that_never_ends() -> None:
    """It is an error that says what the play does all the time."""
    forever = saga("b").when(action("b").comes_later(seconds(1), "busy"))
    with pytest.raises(EndlessPlay) as info:
        forever.expect("completed")
    assert str(info.value) == (
        "saga sample still moves after 20000 moments; give the script times=, or the "
        "play an end\n"
        "what happened last:\n"
        "     +0.000s  b: later  busy  (6667 times)"
    )


def test_a_day_of_retries() -> None:
    """Virtual time costs nothing, and nothing happens early."""
    policy = RetryPolicy(
        max_attempts=9,
        initial_delay=seconds(3_600),
        max_delay=seconds(3_600),
        jitter=0,
    )
    outcome = (
        saga(step("b", retry=policy))
        .when(action("b").errs(times=8))
        .expect("completed")
    )
    assert [
        (call.at - outcome.saga.created_at) / seconds(3_600) for call in outcome.calls
    ] == [*range(9)]


def test_steps_side_by_side_share_an_instant() -> None:
    """They are sent together; the first to answer wins no one's time."""
    steps = [step("a"), step("b"), step("c", depends_on=["a", "b"])]
    outcome = (
        saga(*steps)
        .when(action("a").answers_after(seconds(5)))
        .expect("completed", calls=["a", "b", "c"])
    )
    at = [(call.at - outcome.saga.created_at).total_seconds() for call in outcome.calls]
    assert at == [0, 0, 5]


def test_signals_keep_their_delay() -> None:
    """A handler's own ``RetryLater`` is waited out."""
    witness = Witness(signal=RetryLater(seconds(7), "busy"))
    with pytest.raises(EndlessPlay, match="busy"):
        saga("b", handlers=witness.handlers).expect("completed")
    first, second = witness.runs[:2]
    assert second.deadline - first.deadline == seconds(7)


def test_the_undo_goes_by_its_own_script() -> None:
    """Counted over the saga's whole life."""
    play = saga("a", "b", "c").when(
        action("c").refuses(), undo("b").errs(times=1), undo("a").times_out(times=1)
    )
    undos = ["undo b: error", "undo b", "undo a: timeout", "undo a"]
    play.expect("compensated", calls=["a", "b", "c: refused", *undos])
