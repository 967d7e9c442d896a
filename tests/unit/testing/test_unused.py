"""A line of the script that nothing came of is a mistake of the test."""

from __future__ import annotations

import pytest

from saga_orchestrator import Store
from saga_orchestrator.testing import Line, ManualClock, Unexpected, action, undo
from tests.unit.testing.plays import saga, seconds

POST = saga("pay_in", "letter")
REFUSED = POST.when(action("pay_in").refuses())


@pytest.mark.parametrize(
    ("line", "whose"),
    [
        (action("letter").errs(), "the action of letter"),
        (action("letter").goes_well(times=1).refuses(), "the action of letter"),
        (action("letter").returns(1, times=1).errs(), "the action of letter"),
        (undo("letter").errs(times=1), "the undo of letter"),
    ],
)
def test_a_line_that_is_never_reached(line: Line, whose: str) -> None:
    """It fails, though all that was expected is so, and is named."""
    with pytest.raises(Unexpected) as info:
        REFUSED.when(line).expect("compensated", calls=["pay_in: refused"])
    assert str(info.value).startswith(
        f"saga sample:\n  never used: {whose}\nwhat happened:\n"
    )


def test_an_undo_in_a_saga_that_completes() -> None:
    """Nothing was undone: how it would have gone is not shown."""
    with pytest.raises(Unexpected, match="never used: the undo of pay_in"):
        POST.when(undo("pay_in").errs(times=1)).expect("completed")


def test_it_is_told_beside_the_differences() -> None:
    """They may well be its cause."""
    with pytest.raises(Unexpected) as info:
        POST.when(undo("pay_in").skips(), undo("letter").errs()).expect("compensated")
    assert str(info.value).splitlines()[1:4] == [
        "  state: expected 'compensated', is 'completed'",
        "  never used: the undo of pay_in",
        "  never used: the undo of letter",
    ]


@pytest.mark.parametrize(
    "line",
    [
        action("letter").goes_well(),
        action("letter").goes_well(times=2).returns({"sent": True}),
        undo("letter").returns(update={"sent": False}),
    ],
)
def test_what_goes_well_may_be_left_over(line: Line) -> None:
    """It promises no fault, and several tests may share it."""
    REFUSED.when(line).expect("compensated")


def test_a_line_that_is_used_in_part() -> None:
    """One command that came to it is enough."""
    POST.when(
        action("pay_in").errs(times=1).refuses(),
        undo("pay_in").goes_well(times=1).errs(),
    ).expect("compensated", calls=["pay_in: error", "pay_in: refused", "undo pay_in"])


def test_a_command_that_was_lost_has_used_its_line() -> None:
    """It was sent; that nobody ran it is what the line says."""
    POST.when(action("letter").never_arrives(times=1)).expect("completed")


async def test_an_async_test_is_told_as_well() -> None:
    """A play to its end knows; one that stops before may yet come to the line."""
    late = POST.when(
        action("pay_in").answers_after(seconds(9)), action("letter").errs(times=1)
    )
    (await late.play(until=seconds(5))).expect("started")
    (await late.play()).expect("completed")
    outcome = await REFUSED.when(action("letter").errs()).play()
    assert outcome.unused == ("the action of letter",)
    with pytest.raises(Unexpected, match="never used: the action of letter"):
        outcome.expect("compensated")


async def test_step_by_step_the_play_tells() -> None:
    """Its outcomes are not held against lines that may yet be used."""
    clock = ManualClock()
    store = await Store.open("memory://", clock=clock)
    late = POST.when(
        action("pay_in").answers_after(seconds(9)), action("letter").errs(times=1)
    )
    play = await late.begin(store, clock)
    (await play.run(seconds(5))).expect("started")
    assert play.unused == ("the action of letter",)
    (await play.run()).expect("completed")
    assert play.unused == ()
    await store.close()
