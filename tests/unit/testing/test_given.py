"""``given``, ``when`` and ``expect``: what they take, and what they refuse."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from saga_orchestrator import (
    ConfigurationError,
    Handlers,
    PayloadError,
    SagaDefinition,
    Step,
    Store,
)
from saga_orchestrator.errors import HandlerNotFoundError
from saga_orchestrator.testing import (
    Given,
    ManualClock,
    Outcome,
    action,
    given,
    operator,
    undo,
)
from tests.unit.testing.plays import saga, seconds, step

AB = saga("a", "b")


def test_all_goes_well_by_itself() -> None:
    """A definition alone is played by stand-ins, which succeed with None."""
    AB.expect(
        "completed",
        executed=["a", "b"],
        undone=[],
        outputs={"a": None, "b": None},
        context={"n": 1},
        reason="",
    )


def test_a_saga_without_context() -> None:
    """The context may be left out; it is then empty."""
    given(AB.definition).expect("completed", context={})


def test_a_play_is_a_value() -> None:
    """``when`` returns a longer play and leaves the shorter one as it was."""
    refused = AB.when(action("b").refuses())
    both = refused.when(undo("a").errs(times=1))
    AB.expect("completed")
    refused.expect("compensated", calls=["a", "b: refused", "undo a"])
    both.expect("compensated", calls=["a", "b: refused", "undo a: error", "undo a"])
    both.expect("compensated", calls=["a", "b: refused", "undo a: error", "undo a"])


async def test_an_async_test_plays_and_expects() -> None:
    """In a loop that runs, ``play`` is awaited."""
    outcome = await AB.when(action("b").refuses()).play()
    assert outcome.expect("compensated") is outcome


async def test_expect_in_a_loop_says_what_to_write() -> None:
    """And leaves no coroutine behind that was never awaited."""
    with pytest.raises(
        RuntimeError, match=r"await given\(\.\.\.\).*\.play\(\)\)\.expe"
    ):
        AB.expect("completed")


async def test_a_play_to_a_time() -> None:
    """What is due at that time is done, what comes later is not."""
    slow = AB.when(action("b").answers_after(seconds(10)))
    (await slow.play(until=seconds(9))).expect("started", executed=["a", "b"])
    (await slow.play(until=seconds(10))).expect("completed")
    rested = await AB.play(until=seconds(99))
    assert rested.saga.ended_at == rested.saga.created_at


async def test_a_person_acts_before_the_time_is_over() -> None:
    """Who waits for the saga to rest is not kept waiting by ``until``."""
    parked = saga("a", on_failure="park").when(
        action("a").refuses(times=1), operator.retries()
    )
    (await parked.play(until=seconds(60))).expect("completed")


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        (action("c").refuses(), ValueError, "has no step 'c'; its steps are a, b"),
        (action("a"), ValueError, "the action of step 'a' is left open; say how"),
        (undo("a"), ValueError, "the compensation of step 'a' is left open"),
        (action("a").refuses, TypeError, r"no part of a script; .* its brackets"),
        (operator.retries, TypeError, r"no part of a script; .* its brackets"),
        ("a", TypeError, "'a' is no part of a script"),
        (None, TypeError, "None is no part of a script"),
    ],
)
def test_a_script_that_makes_no_sense(
    script: Any, error: type[Exception], message: str
) -> None:
    """It is refused where it is written, not in the middle of a play."""
    with pytest.raises(error, match=message):
        AB.when(script)


def test_a_line_for_what_the_step_does_not_have() -> None:
    """A step may lack an undo, or even an action: neither can be scripted."""
    lacking = saga(step("a", compensation=""), step("b", action="", compensation=""))
    with pytest.raises(ValueError, match="step 'a' has no compensation to script"):
        lacking.when(undo("a").refuses())
    with pytest.raises(ValueError, match="step 'b' has no action to script"):
        lacking.when(action("b").refuses())


def test_a_step_is_scripted_once() -> None:
    """In one ``when`` or in two; its undo is another line."""
    once = AB.when(action("a").refuses(), undo("a").refuses())
    with pytest.raises(ValueError, match="the action of step 'a' is scripted twice"):
        once.when(action("a").errs())
    with pytest.raises(ValueError, match="compensation of step 'a' is scripted twice"):
        once.when(undo("a").errs())


@pytest.mark.parametrize("definition", ["sample", None, [Step("a", action="do.a")]])
def test_given_no_definition(definition: Any) -> None:
    """What is no definition is named."""
    with pytest.raises(TypeError, match="is no SagaDefinition"):
        given(definition)


def test_given_handlers_that_are_none() -> None:
    """One service without its list, or a module, is refused with the fix."""
    service: Any = Handlers("a")
    for wrong in (service, [given], None):
        with pytest.raises(ConfigurationError, match=r"as handlers=\[mine\]"):
            given(AB.definition, handlers=wrong)


def test_a_context_that_is_no_json() -> None:
    """It is refused as ``Manager.start`` does, and names the place."""
    with pytest.raises(PayloadError, match=r"context\.at: is of type timedelta"):
        given(AB.definition, {"at": seconds(1)}).expect("completed")


def test_a_handler_that_is_missing() -> None:
    """Handlers of a service stand for all of it; other services are played."""
    service = Handlers("do")

    @service.step("do.a")
    async def do_a(ctx) -> str:
        return "done"

    steps = [step("a", action="do.a"), step("b", action="do.b")]
    with pytest.raises(HandlerNotFoundError, match=r"step 'b': action 'do\.b' has no"):
        given(SagaDefinition("s", steps=steps), handlers=[service]).expect("completed")
    elsewhere = SagaDefinition("s", steps=[steps[0], step("b")])
    given(elsewhere, handlers=[service]).expect(
        "completed", outputs={"a": "done", "b": None}
    )


async def test_a_store_with_another_clock() -> None:
    """Its timers would never come: it is refused at once."""
    store = await Store.open("memory://")
    with pytest.raises(ValueError, match=r"Store\.open\(url, clock=clock\)"):
        await AB.begin(store, ManualClock())


async def test_a_seed_makes_one_saga_on_a_store() -> None:
    """A second play takes a seed of its own; the first saga stays as it is."""
    clock = ManualClock()
    store = await Store.open("memory://", clock=clock)
    (await (await AB.begin(store, clock)).run()).expect("completed")
    with pytest.raises(ValueError, match="a seed of its own"):
        await AB.begin(store, clock)
    other = await AB.when(action("a").refuses()).begin(store, clock, seed=1)
    (await other.run()).expect("compensated")


def told(outcome: Outcome) -> list[Any]:
    """Return all that a play leaves behind."""
    return [*outcome.record.history, *outcome.calls, *outcome.timeline, outcome.saga]


EVENTFUL = saga("a", "b", "c").when(
    action("a").errs(times=1),
    action("b").never_arrives(times=1).comes_later(seconds(5), times=2),
    action("c").times_out(times=2).refuses(),
    undo("a").refuses(),
    operator.resolves("a"),
)


def test_a_play_is_always_the_same() -> None:
    """Ids, jitter and order: two plays leave the same behind, to the microsecond."""
    one, other = (asyncio.run(EVENTFUL.play()) for _ in range(2))
    assert told(one) == told(other)
    assert one.timeline


async def on(url: str, play: Given, *, seed: int) -> Outcome:
    """Play it on a store of one's own."""
    clock = ManualClock()
    store = await Store.open(url, clock=clock, migrate=True)
    try:
        return await (await play.begin(store, clock, seed=seed)).run()
    finally:
        await store.close()


async def test_on_sqlite_it_goes_the_same_way(tmp_path: Path) -> None:
    """A file takes the store's place, and any number of plays."""
    url = f"sqlite:///{tmp_path}/saga.db"
    outcome = await on(url, EVENTFUL, seed=0)
    assert told(outcome)[:-1] == told(await EVENTFUL.play())[:-1]
    (await on(url, AB, seed=1)).expect("completed")


async def test_on_postgresql_it_goes_the_same_way(postgres_url: str) -> None:
    """A server takes the store's place."""
    outcome = await on(postgres_url, EVENTFUL, seed=0)
    assert told(outcome)[:-1] == told(await EVENTFUL.play())[:-1]
