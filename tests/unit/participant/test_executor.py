"""However a handler ends, there is one answer and the worker lives on."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, ConfigDict, Field

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.executor import execute, execute_long
from saga_orchestrator.participant.handlers import Handler, Handlers
from saga_orchestrator.participant.signals import (
    Deferred,
    HandlerSignal,
    RetryLater,
    Skip,
    StepFailed,
    Superseded,
)
from saga_orchestrator.participant.threads import HandlerThreads
from tests.support.participants import NOW, StillClock, action, undo

BLINK = dt.timedelta(milliseconds=30)


class Request(BaseModel):
    """Read in strict mode: its JSON is text all the same."""

    model_config = ConfigDict(strict=True)
    amount: Decimal
    on: dt.date = dt.date(2030, 1, 1)


class Charge(BaseModel):
    """Has an alias, which its JSON carries."""

    charge_id: str
    amount: Decimal = Field(default=Decimal(0), alias="total")


@dataclass
class Money:
    """A result that is no model."""

    cents: int


def registered(function: Callable[..., Any], *, undoes: bool = False) -> Handler:
    """Return the handler that a service would register."""
    handlers = Handlers()
    register = handlers.compensation if undoes else handlers.step
    register("a")(function)
    way = Direction.COMPENSATION if undoes else Direction.ACTION
    handler = handlers.get(way, "a")
    assert handler is not None
    return handler


async def run(
    function: Callable[..., Any],
    command: Command | None = None,
    threads: HandlerThreads | None = None,
    **options: Any,
) -> Reply:
    """Run the function as the handler of a command."""
    command = action() if command is None else command
    undoes = command.fence.direction is Direction.COMPENSATION
    return await execute(
        command,
        registered(function, undoes=undoes),
        clock=StillClock(),
        threads=HandlerThreads() if threads is None else threads,
        **options,
    )


async def test_a_result_is_sent_as_json() -> None:
    """The request is read and the result written by the annotations."""

    async def charge(ctx: StepContext, request: Request) -> Charge:
        ctx.update({"paid": True})
        return Charge(charge_id="c-1", total=request.amount)

    command = action({"amount": "9.90", "on": "2030-02-03"})
    reply = await run(charge, command)

    assert reply.answer is Answer.SUCCEEDED
    assert reply.output == {"charge_id": "c-1", "total": "9.90"}
    assert reply.update == {"paid": True}
    assert (reply.fence, reply.token) == (command.fence, command.token)
    assert reply.effect


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, None),
        (Money(5), {"cents": 5}),
        ({"a": (1,)}, {"a": [1]}),
        (NOW.date(), "2030-01-01"),
    ],
)
async def test_without_annotations_anything_json_goes(
    result: object, expected: object
) -> None:
    """A function may leave its types out, and may take the context only."""

    def handler(ctx):  # type: ignore[no-untyped-def]  # the point
        return result

    assert (await run(handler)).output == expected


async def test_sync_handlers_do_not_block_the_loop() -> None:
    """A sync handler runs in a thread: the loop goes on meanwhile."""
    gate = threading.Event()

    def handler(ctx: StepContext) -> str:
        gate.wait(10)
        return threading.current_thread().name

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(handler))
        gate.set()
    assert task.result().output == "saga-handler"


async def test_an_input_that_does_not_fit_is_refused() -> None:
    """The handler is not run; the text names the fields, not their values."""

    async def handler(ctx: StepContext, request: Request) -> None:
        pytest.fail("must not run")

    reply = await run(handler, action({"amount": "secret", "on": 7}))

    assert (reply.answer, reply.retryable) == (Answer.REFUSED, False)
    assert reply.error_type == "InvalidInput"
    assert "amount:" in reply.error
    assert "on:" in reply.error
    assert "secret" not in reply.error


async def test_an_undo_without_output_needs_a_handler_that_takes_none() -> None:
    """None where a value is needed is refused; where None fits, it runs."""

    async def strict(ctx: StepContext, done: Charge) -> None: ...

    async def lenient(ctx: StepContext, done: Charge | None) -> str:
        return ctx.action_key if done is None else done.charge_id

    refused = await run(strict, undo(None))
    unknown = await run(lenient, undo(None))
    known = await run(lenient, undo({"charge_id": "c-1", "total": "1"}))

    assert (refused.answer, refused.error_type) == (Answer.REFUSED, "InvalidInput")
    assert unknown.output == undo().action_key
    assert known.output == "c-1"


class Odd:
    """Nothing that JSON knows."""


class Dirty(BaseModel):
    """A model that does not keep its promise."""

    amount: int


def _dirty() -> Dirty:
    dirty = Dirty(amount=1)
    dirty.amount = Odd()  # type: ignore[assignment]  # the point
    return dirty


@pytest.mark.parametrize(
    "result",
    [
        Odd(),
        {"x": Odd()},
        float("nan"),
        "\0",
        "\ud800",
        2**70,
        {1: Odd},
        b"\xff",
        _dirty(),
    ],
)
async def test_a_result_that_cannot_travel_is_unknown(result: object) -> None:
    """It ran, so its effect may stand, and running it again would not help."""

    async def handler(ctx: StepContext) -> Any:
        return result

    reply = await run(handler)
    assert (reply.answer, reply.retryable) == (Answer.UNKNOWN, False)
    assert reply.error_type == "InvalidOutput"


async def test_a_result_of_another_type_is_unknown() -> None:
    """A result is held to the annotation, and to the size limit."""

    async def wrong(ctx: StepContext) -> Charge:
        return {"nothing": 1}  # type: ignore[return-value]  # the point

    async def large(ctx: StepContext) -> str:
        return "x" * 100

    reply = await run(wrong)
    assert (reply.answer, reply.error_type) == (Answer.UNKNOWN, "InvalidOutput")
    assert "charge_id" in reply.error
    reply = await run(large, bytes_max=100)
    assert (reply.answer, reply.error_type) == (Answer.UNKNOWN, "InvalidOutput")


class CardDeclined(StepFailed):
    """A named refusal."""


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("returned", [True, False])
@pytest.mark.parametrize(
    ("signal", "answer", "fields"),
    [
        (StepFailed("no"), Answer.REFUSED, {"retryable": False, "error": "no"}),
        (StepFailed("no", retryable=True), Answer.REFUSED, {"retryable": True}),
        (CardDeclined("no"), Answer.REFUSED, {"error_type": "CardDeclined"}),
        (Skip("paid"), Answer.SKIPPED, {"error": "paid", "update": {"k": 1}}),
        (RetryLater(BLINK, "b"), Answer.RETRY_LATER, {"delay": BLINK, "error": "b"}),
        (RetryLater(BLINK), Answer.RETRY_LATER, {"update": {}}),
        (Deferred(), Answer.ACCEPTED, {"heartbeat": False}),
        (Superseded("undone"), Answer.SUPERSEDED, {"effect": False}),
    ],
)  # fmt: skip
async def test_signals_are_answers(
    signal: HandlerSignal,
    answer: Answer,
    fields: dict[str, object],
    returned: bool,
    is_async: bool,
) -> None:
    """Raised or returned, in sync and async handlers, a signal is its answer."""

    def speak(ctx: StepContext) -> Charge | HandlerSignal:
        ctx.update({"k": 1})
        if returned:
            return signal
        raise signal

    async def speak_async(ctx: StepContext) -> Charge | HandlerSignal:
        return speak(ctx)

    reply = await run(speak_async if is_async else speak)
    assert reply.answer is answer
    assert {name: getattr(reply, name) for name in fields} == fields


class Mute(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise SystemExit(1)


class Base(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    ("error", "error_type", "text"),
    [
        (ValueError("wrong"), "ValueError", "wrong"),
        (TimeoutError("theirs"), "TimeoutError", "theirs"),
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (GeneratorExit(), "GeneratorExit", ""),
        (asyncio.CancelledError(), "CancelledError", ""),
        (Base("b"), "Base", "b"),
        (Mute(), "Mute", "its text cannot be read: SystemExit"),
        (ValueError("x" * 10_000_000), "ValueError", "x" * 2_000),
        (ValueError("a\0b\ud800c"), "ValueError", "abc"),
        (ExceptionGroup("m", [ValueError()]), "ExceptionGroup", "m (1 sub-exception)"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
async def test_any_other_exception_is_unknown(
    error: BaseException, error_type: str, text: str, is_async: bool
) -> None:
    """Nobody knows what happened; the text is safe to store and the worker lives."""

    def fail(ctx: StepContext) -> None:
        raise error

    async def fail_async(ctx: StepContext) -> None:
        raise error

    reply = await run(fail_async if is_async else fail)
    assert (reply.answer, reply.retryable) == (Answer.UNKNOWN, True)
    assert (reply.error_type, reply.error) == (error_type, text)


@pytest.mark.parametrize("is_async", [True, False])
async def test_stop_iteration_does_not_hang(is_async: bool) -> None:
    """Futures and coroutines refuse StopIteration; the answer comes all the same."""

    def stop(ctx: StepContext) -> None:
        next(iter(()))

    async def stop_async(ctx: StepContext) -> None:
        next(iter(()))

    reply = await asyncio.wait_for(run(stop_async if is_async else stop), 5)
    assert reply.answer is Answer.UNKNOWN
    assert "StopIteration" in reply.error


async def test_a_type_name_is_fit_for_the_wire() -> None:
    """Classes made at run time may have any name."""
    odd = type("Odd" + "N" * 300, (Exception,), {})

    async def fail(ctx: StepContext) -> None:
        raise odd

    assert (await run(fail)).error_type == "Odd" + "N" * 197


async def test_a_run_over_its_timeout_is_cancelled_and_unknown() -> None:
    """An async handler is cancelled after the command's timeout."""
    cancelled = asyncio.Event()

    async def handler(ctx: StepContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    reply = await run(handler, action(timeout=BLINK))
    assert (reply.answer, reply.error_type) == (Answer.UNKNOWN, "Timeout")
    assert reply.retryable
    assert cancelled.is_set()


async def test_a_success_in_spite_of_the_timeout_counts() -> None:
    """A handler that finishes when it is cancelled has finished."""

    async def handler(ctx: StepContext) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        return "never"

    reply = await run(handler, action(timeout=BLINK))
    assert (reply.answer, reply.output) == (Answer.SUCCEEDED, "done")


async def test_a_thread_that_overruns_keeps_its_place() -> None:
    """A thread cannot be stopped: unknown, and its place stays taken until it ends."""
    gate = threading.Event()
    threads = HandlerThreads(threads_max=1)
    ended: list[bool] = []

    def stuck(ctx: StepContext) -> None:
        ended.append(gate.wait(10))

    def quick(ctx: StepContext) -> str:
        return "ok"

    overrun = await run(stuck, action(timeout=BLINK), threads)
    crowded = await run(quick, action(timeout=BLINK), threads)
    gate.set()
    after = await run(quick, action(), threads)

    assert (overrun.answer, overrun.error_type) == (Answer.UNKNOWN, "Timeout")
    assert (crowded.answer, crowded.effect) == (Answer.RETRY_LATER, True)
    assert crowded.delay > dt.timedelta(0)
    assert (after.output, ended) == ("ok", [True])


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_drain_passes_through(is_async: bool) -> None:
    """A cancellation from outside is no answer."""
    begun = asyncio.Event()
    gate = threading.Event()
    loop = asyncio.get_running_loop()

    async def wait(ctx: StepContext) -> None:
        begun.set()
        await asyncio.Event().wait()

    def block(ctx: StepContext) -> None:
        loop.call_soon_threadsafe(begun.set)
        gate.wait(10)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(wait if is_async else block))
        await begun.wait()
        task.cancel()
    gate.set()
    assert task.cancelled()


async def test_a_barrier_tells_that_nothing_changed() -> None:
    """The answer has no effect only when every barrier of the run says so."""

    async def repeated(ctx: StepContext) -> None:
        ctx.note_claim("one", is_new=False)

    async def mixed(ctx: StepContext) -> None:
        ctx.note_claim("one", is_new=False)
        ctx.note_claim("two", is_new=True)

    assert not (await run(repeated)).effect
    assert (await run(mixed)).effect


async def test_a_long_run_says_accepted_and_beats() -> None:
    """Accepted first, a heartbeat every 20 seconds, then the final answer alone."""
    clock = StillClock()
    answers: list[Reply] = []
    beaten = asyncio.Event()
    heard = asyncio.Semaphore(0)

    async def answer(reply: Reply) -> None:
        answers.append(reply)
        heard.release()
        if len(answers) == 3:
            beaten.set()

    async def handler(ctx: StepContext) -> str:
        await beaten.wait()
        return "done"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            execute_long(
                action(),
                registered(handler),
                answer,
                clock=clock,
                threads=HandlerThreads(),
            )
        )
        await heard.acquire()
        for _ in range(2):
            clock.tick()
            await heard.acquire()

    assert [each.answer for each in answers] == [
        Answer.ACCEPTED,
        Answer.HEARTBEAT,
        Answer.HEARTBEAT,
    ]
    assert answers[0].heartbeat
    assert set(clock.slept) == {20.0}
    assert task.result().output == "done"


async def test_a_long_run_survives_its_handler() -> None:
    """A long handler that exits is answered like any other."""

    async def answer(reply: Reply) -> None: ...

    async def handler(ctx: StepContext) -> None:
        sys.exit(1)

    reply = await execute_long(
        action(),
        registered(handler),
        answer,
        clock=StillClock(),
        threads=HandlerThreads(),
    )
    assert (reply.answer, reply.error_type) == (Answer.UNKNOWN, "SystemExit")


async def test_a_long_run_can_be_drained() -> None:
    """A cancellation from outside stops handler and heartbeats; no final answer."""
    begun = asyncio.Event()

    async def answer(reply: Reply) -> None: ...

    async def handler(ctx: StepContext) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            execute_long(
                action(),
                registered(handler),
                answer,
                clock=StillClock(),
                threads=HandlerThreads(),
            )
        )
        await begun.wait()
        task.cancel()
    assert task.cancelled()


async def test_a_handlers_own_bug_is_logged_with_its_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who wrote the bug finds file and line in the log."""

    async def broken(ctx: StepContext) -> None:
        {}["nokey"]

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        await run(broken)
    finally:
        structlog.reset_defaults()
    logged = capsys.readouterr().err
    assert "KeyError" in logged
    assert f"{__file__}:" in logged
