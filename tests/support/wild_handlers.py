"""A worker whose handlers return and raise what nobody expects."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Strict

from saga_orchestrator import Handlers, StepContext, StepFailed
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class _Returns:
    """What a handler does: return this."""

    def __init__(self, value: Callable[[], Any]) -> None:
        self.value = value


def _cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> int:
    return _deep() + 1


def _loud() -> Exception:
    return RuntimeError("x" * 100 * 2**20)


_DOES: dict[str, tuple[_Returns | Callable[[], BaseException], str]] = {
    "an object": (_Returns(object), "object"),
    "a number that is none": (_Returns(lambda: math.nan), "nan"),
    "a text with NUL": (_Returns(lambda: {"a": "\0"}), "NUL"),
    "a lone surrogate": (_Returns(lambda: "\ud800"), "output"),
    "a large integer": (_Returns(lambda: 10**30), "64 bits"),
    "a cycle": (_Returns(_cycle), "InvalidOutput"),
    "a million values": (_Returns(lambda: list(range(10**6))), "values"),
    "100 MiB": (_Returns(lambda: "x" * 100 * 2**20), "reference"),
    "no text": (_Mute, "its text cannot be read: RuntimeError"),
    "a text that exits": (_Exits, "its text cannot be read: SystemExit"),
    "a text of 100 MiB": (_loud, "RuntimeError: xxx"),
    "a text with all sorts": (lambda: ValueError("a\0\ud800\x1b[2J"), "ValueError"),
    "an exit": (lambda: SystemExit(1), "SystemExit"),
    "an interrupt": (KeyboardInterrupt, "KeyboardInterrupt"),
    "a cancellation": (asyncio.CancelledError, "CancelledError"),
    "the end of a generator": (GeneratorExit, "GeneratorExit"),
    "the end of an iteration": (StopIteration, "StopIteration"),
    "a group": (
        lambda: BaseExceptionGroup("all", [KeyboardInterrupt(), SystemExit()]),
        "BaseExceptionGroup",
    ),
    "too deep": (lambda: RecursionError(_recursion()), "RecursionError"),
}
WILD = {name: reason for name, (_, reason) in _DOES.items()}
"""What the handlers can do, and a word of the reason that it gives."""


def _recursion() -> str:
    try:
        return str(_deep())
    except RecursionError as error:
        return f"{error} {len(str(error.__traceback__))}"


def _do(name: str) -> object:
    what = _DOES[name][0]
    if isinstance(what, _Returns):
        return what.value()
    raise what()


class Typed(BaseModel):
    """What a careful service takes."""

    count: int = 0
    exact: Annotated[int, Strict()] = 0
    amount: Decimal = Decimal(0)
    at: AwareDatetime | None = None


service = Handlers("wild")


@service.step("wild.do")
async def do(ctx: StepContext) -> Any:
    """Do what the context names."""
    return _do(ctx.context["does"])


@service.step("wild.sync")
def do_in_a_thread(ctx: StepContext) -> Any:
    """Do the same in a thread."""
    return _do(ctx.context["does"])


@service.step("wild.well")
async def well(ctx: StepContext) -> dict[str, int]:
    """Tell which process this is."""
    del ctx
    return {"pid": os.getpid()}


@service.step("wild.typed")
async def typed(ctx: StepContext, given: Typed) -> Typed:
    """Return what pydantic made of the input."""
    del ctx
    return given


@service.compensation("wild.untyped")
async def untyped(ctx: StepContext, done: Typed | None) -> None:
    """Tell what the undo was given."""
    ctx.update({"undo_saw": repr(done)})


@service.step("wild.refuse")
async def refuse(ctx: StepContext) -> None:
    """Say no."""
    del ctx
    raise StepFailed("no")


async def _main() -> None:
    async with open_worker(Settings(broker=sys.argv[1]), [service]) as worker:
        await worker.run()


if __name__ == "__main__":
    asyncio.run(_main())
