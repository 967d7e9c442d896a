"""What handlers get, what they say, and what becomes of their saga."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading

import pytest
from pydantic import BaseModel

from saga_orchestrator import (
    Handlers,
    Manager,
    Outcome,
    RetryLater,
    RetryPolicy,
    Skip,
    Step,
    StepContext,
    StepFailed,
    StepState,
)
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    ONCE,
    Service,
    open_manager,
    raising,
    seconds,
    until,
    virtual,
)


class Order(BaseModel):
    """What the typed handler takes."""

    customer: str
    amount: int
    due: dt.date


class Charge(BaseModel):
    """What it gives."""

    charge_id: str


@virtual
async def test_typed_handlers_get_and_give_models():
    """Pydantic in, pydantic out; the compensation reads what the action wrote."""
    service = Handlers("pay")
    seen: list[object] = []

    @service.step("pay.charge")
    async def charge(ctx: StepContext, order: Order) -> Charge:
        seen.append(order)
        return Charge(charge_id=f"{order.customer}-{order.amount}")

    @service.compensation("pay.refund")
    async def refund(ctx: StepContext, done: Charge | None) -> None:
        seen.append(done)

    @service.step("pay.fail")
    async def fail(ctx: StepContext) -> None:
        raise StepFailed("closed")

    steps = [
        Step("charge", action="pay.charge", compensation="pay.refund"),
        Step("fail", action="pay.fail"),
    ]
    context = {"customer": "c", "amount": 5, "due": "2026-02-03"}
    async with open_manager(service) as manager:
        saga = await manager.wait((await manager.start("s", steps, context)).id)
    assert saga.outputs == {"charge": {"charge_id": "c-5"}}
    due = dt.date(2026, 2, 3)
    assert seen == [
        Order(customer="c", amount=5, due=due),
        Charge(charge_id="c-5"),
    ]


@virtual
async def test_an_argument_that_does_not_fit_is_refused_without_a_run():
    """The fields are named, their values are not: they may be secrets."""
    service = Handlers("pay")

    @service.step("pay.charge")
    async def charge(ctx: StepContext, order: Order) -> None:
        raise AssertionError("must not run")

    async with open_manager(service) as manager:
        steps = [Step("charge", action="pay.charge")]
        saga = await manager.start("s", steps, {"customer": 4111, "amount": "much"})
        saga = await manager.wait(saga.id)
    assert saga.status("charge").outcome is Outcome.REFUSED
    assert saga.status("charge").attempt == 1
    assert "due: Field required" in saga.reason
    assert "4111" not in saga.reason


async def test_sync_handlers_run_in_threads():
    """They may block; the loop goes on."""
    service = Handlers("near")
    threads: list[str] = []

    @service.step("near.sync")
    def sync(ctx):
        threads.append(threading.current_thread().name)
        return {"ok": True}

    async with Manager.open(handlers=[service]) as manager:
        saga = await manager.start("s", [Step("x", action="near.sync")])
        saga = await manager.wait(saga.id, timeout=20)
    assert saga.outputs == {"x": {"ok": True}}
    assert threads != [threading.current_thread().name]


@virtual
async def test_an_update_is_seen_by_later_steps():
    """Per top-level key; None deletes one; the last step sees all of it."""
    service = Service()

    async def first(ctx):
        ctx.update({"added": 1, "gone": None, "changed": "new"})

    service.does["a"] = first
    context = {"gone": 1, "changed": "old", "kept": True}
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("ab"), context)
        saga = await manager.wait(saga.id)
    after = {"added": 1, "changed": "new", "kept": True}
    assert service.given == [context, after]
    assert saga.context == after


@virtual
async def test_an_update_of_a_failed_run_is_not_merged():
    """What a handler gathered before it failed is dropped with it."""
    service = Service()

    async def fail(ctx):
        ctx.update({"x": ctx.attempt})
        if ctx.attempt == 1:
            raise RuntimeError("no")

    service.does["a"] = fail
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("ab"))
        saga = await manager.wait(saga.id)
    assert service.given == [{}, {}, {"x": 2}]


@virtual
async def test_a_step_gets_the_outputs_it_directly_depends_on():
    """And no others, so that a command does not grow with its saga."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        await manager.wait(saga.id)
    given = [dict(ctx.outputs) for ctx in service.contexts]
    assert given == [{}, {"a": {"by": "a"}}, {"b": {"by": "b"}}]


@virtual
async def test_an_input_refers_to_any_ancestor():
    """References are resolved when the step is sent; its undo sees the same."""
    service = Service()
    service.does["c"] = raising(StepFailed("no"))
    a, b, c = service.chain()
    b = Step(
        "b",
        action=b.action,
        compensation=b.compensation,
        input={
            "who": {"$ref": "outputs.a.by"},
            "n": {"$ref": "context.list.1"},
            "fixed": [1, None],
        },
    )
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", [a, b, c], {"list": [5, 6]})
        await manager.wait(saga.id)
    expected = {"who": "a", "n": 6, "fixed": [1, None]}
    assert service.given[1] == expected
    undo = service.contexts[service.runs.index("undo_b")]
    assert undo.input == expected
    assert undo.output == {"by": "b"}


@virtual
@pytest.mark.parametrize(
    ("context", "runs"),
    [({"big": True}, ["a", "b", "c"]), ({"big": 1}, ["a", "c"])],
)
async def test_a_condition_decides_whether_a_step_runs(context, runs):
    """A skipped step satisfies its dependents and is not undone."""
    service = Service()
    a, _, c = service.chain()
    b = Step(
        "b",
        action="near.b",
        compensation="near.undo_b",
        when={"context.big": True},
    )
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", [a, b, c], context)
        saga = await manager.wait(saga.id)
        assert saga.is_completed
        assert service.runs == runs
        skipped = saga.status("b").state is StepState.SKIPPED
        assert skipped == ("b" not in runs)


@virtual
async def test_a_condition_on_what_is_missing_undoes():
    """Neither run nor skipped; the reason names the path."""
    service = Service()
    a, b, c = service.chain()
    b = dataclasses.replace(b, when={"context.big": True})
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", [a, b, c], {})
        saga = await manager.wait(saga.id)
        assert saga.is_compensated
        assert service.runs == ["a", "undo_a"]
        assert saga.reason == "step b: when: 'context.big' has no 'big'"


@virtual
async def test_a_step_that_skips_itself_is_not_undone():
    """``Skip`` means that nothing happened."""
    service = Service()
    service.does["b"] = raising(Skip("nothing to reserve"))
    service.does["c"] = raising(StepFailed("no"))
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        saga = await manager.wait(saga.id)
    assert saga.status("b").state is StepState.SKIPPED
    assert service.runs == ["a", "b", "c", "undo_a"]


@virtual
async def test_retry_later_uses_no_attempt():
    """The handler runs again after the delay, as often as it says so."""
    service = Service()
    service.does["a"] = raising(RetryLater(seconds(100), "busy"), times=5)
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a", retry=ONCE))
        saga = await manager.wait(saga.id)
        assert saga.is_completed
        assert 499.9 < LoopClock().monotonic() < 506
    assert service.runs == ["a"] * 6
    assert [ctx.attempt for ctx in service.contexts] == [1] * 6


@virtual
async def test_a_refusal_ends_a_step_at_once_and_it_is_not_undone():
    """A definite no: nothing happened, so there is nothing to undo."""
    service = Service()
    service.does["b"] = raising(StepFailed("declined"))
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        saga = await manager.wait(saga.id)
    assert service.runs == ["a", "b", "undo_a"]
    assert saga.reason == "step b: StepFailed: declined"


@virtual
async def test_a_refusal_may_be_retried():
    """``retryable=True`` follows the step's policy."""
    service = Service()
    service.does["a"] = raising(StepFailed("busy", retryable=True), times=2)
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a"))
        assert (await manager.wait(saga.id)).is_completed
    assert service.runs == ["a"] * 3


@virtual
async def test_a_named_error_is_not_retried():
    """``non_retryable`` names an exception's class."""

    class CardDeclined(Exception):
        pass

    service = Service()
    service.does["a"] = raising(CardDeclined("no"))
    retry = RetryPolicy(5, non_retryable=("CardDeclined",))
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a", retry=retry))
        saga = await manager.wait(saga.id)
    assert service.runs == ["a"]
    assert saga.status("a").outcome is Outcome.REFUSED


@virtual
async def test_an_exception_leaves_the_outcome_unknown_and_is_undone():
    """Nobody knows what happened, so the undo gets None and finds out by key."""
    service = Service()
    service.does["a"] = raising(RuntimeError("cut"))
    async with open_manager(service.handlers) as manager:
        steps = service.chain("a", retry=ONCE)
        saga = await manager.start("s", steps, {"x": 1})
        await manager.wait(saga.id)
    act, undo = service.contexts
    assert service.runs == ["a", "undo_a"]
    assert service.given == [{"x": 1}, None]
    assert undo.input == {"x": 1}
    assert undo.action_key == act.idempotency_key != undo.idempotency_key


@virtual
async def test_a_run_is_bounded_by_its_timeout():
    """It is cancelled, its outcome is unknown, and the next attempt follows."""
    service = Service()

    async def slow(ctx):
        if ctx.attempt == 1:
            await LoopClock().sleep(3600)
        return "second"

    service.does["a"] = slow
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a", timeout=seconds(10)))
        saga = await manager.wait(saga.id, timeout=15)
    assert saga.outputs == {"a": "second"}


@virtual
async def test_attempts_share_an_idempotency_key():
    """The same across attempts; another one for the undo."""
    service = Service()
    service.does["a"] = raising(RuntimeError("no"))
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a"))
        await manager.wait(saga.id)
    keys = [ctx.idempotency_key for ctx in service.contexts]
    assert len(set(keys[:3])) == 1
    assert keys[3] not in keys[:3]


class _Strange:
    pass


@virtual
@pytest.mark.parametrize(
    "value",
    [_Strange(), "x" * (1024 * 1024), float("nan"), {"a": "\0"}],
    ids=["object", "large", "nan", "nul"],
)
async def test_an_output_that_cannot_travel_leaves_the_outcome_unknown(value):
    """The handler did run: it is not run again, and it is undone."""
    service = Service()

    async def give(ctx):
        return value

    service.does["a"] = give
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a"))
        saga = await manager.wait(saga.id)
    assert service.runs == ["a", "undo_a"]
    assert saga.status("a").outcome is Outcome.UNKNOWN
    assert "InvalidOutput" in saga.reason


@virtual
async def test_a_result_of_the_wrong_type_leaves_the_outcome_unknown():
    """An annotation is a promise to the compensation; breaking it undoes the step."""
    service = Handlers("near")
    undone: list[object] = []

    @service.step("near.a")
    async def act(ctx) -> Charge:
        return {"wrong": 1}

    @service.compensation("near.undo")
    async def undo(ctx, done: Charge | None) -> None:
        undone.append(done)

    async with open_manager(service) as manager:
        steps = [Step("a", action="near.a", compensation="near.undo")]
        saga = await manager.wait((await manager.start("s", steps)).id)
    assert saga.is_compensated
    assert undone == [None]


@virtual
async def test_independent_steps_run_together():
    """Where a step names what it depends on, the others do not wait for it."""
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(10)
    steps = [Step("r"), *service.chain("a", depends_on=["r"])]
    steps += [Step(f"p{n}", action="near.a", depends_on=["r"]) for n in range(9)]
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", steps)
        await manager.wait(saga.id)
        assert LoopClock().monotonic() < 11


@virtual
async def test_an_undo_is_repeated_until_it_succeeds():
    """A failed compensation is never counted as done."""
    service = Service()
    service.does["b"] = raising(StepFailed("no"))
    service.does["undo_a"] = raising(RuntimeError("later"), times=7)
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("ab"))
        saga = await manager.wait(saga.id)
        assert saga.is_compensated
    assert service.runs.count("undo_a") == 8


@virtual
async def test_an_undo_that_is_refused_needs_a_person():
    """The saga stops as failed, and its step is not compensated."""
    service = Service()
    service.does["b"] = raising(StepFailed("no"))
    service.does["undo_a"] = raising(StepFailed("never"))
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("ab"))
        saga = await manager.wait(saga.id)
    assert saga.is_failed
    assert saga.failed_steps == ("a", "b")
    assert saga.status("a").state is StepState.COMPENSATING


@virtual
async def test_a_handler_that_exits_the_process_politely_is_an_error_of_its_own():
    """``SystemExit`` in a handler ends its attempt, not the engine."""
    service = Service()

    async def leave(ctx):
        if ctx.attempt == 1:
            raise SystemExit(3)

    service.does["a"] = leave
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a"))
        assert (await manager.wait(saga.id)).is_completed
        await until(lambda: manager.problems() == [])
