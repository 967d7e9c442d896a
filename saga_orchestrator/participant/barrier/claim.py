"""What both barriers share: the claim, the statements, the output's text."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Generic, TypeVar, cast

from pydantic import TypeAdapter

from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.signals import Superseded
from saga_orchestrator.participant.signature import describe, result_adapter
from saga_orchestrator.participant.values import dump, parse

T = TypeVar("T")

_HEADING = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the barrier's row says.

    Attributes:
        is_new: True: have the effect now, in this transaction, then record.
            False: it was had before, or there is nothing to undo.
        output: what was recorded, as JSON; None before that.
    """

    is_new: bool
    output: Json = None


NEW = Claim(is_new=True)
NOTHING_TO_UNDO = Claim(is_new=False)


class RowVanishedError(RuntimeError):
    """A row was deleted while its command was open: pruned too early."""

    def __init__(self, ctx: StepContext) -> None:
        super().__init__(
            f"saga_barrier has lost the row of step {ctx.step!r} of saga "
            f"{ctx.saga_id}; delete rows only long after their saga ended"
        )


class Output(Generic[T]):
    """Turns an effect's result into the row's JSON and back.

    The first run's result goes through JSON too, so that a handler sees the
    same whether its effect was had now or before.
    """

    def __init__(self, effect: Callable[..., T | Awaitable[T]]) -> None:
        self._adapter: TypeAdapter[T] = result_adapter(effect)

    def dump(self, value: object) -> Json:
        """Return the JSON to record; raises ``InvalidOutput``."""
        return dump(self._adapter, value)

    def load(self, output: Json) -> T:
        """Return a recorded result as the effect's annotation has it."""
        # An undo with nothing to undo has no result, whatever its effect returns.
        return cast("T", None) if output is None else parse(self._adapter, output)


def found(row: tuple[str, str | None] | None, ctx: StepContext) -> Claim:
    """Judge the row of an earlier run of the same direction.

    Raises:
        Superseded: the action's row was claimed by its undo.
    """
    if row is None:
        raise RowVanishedError(ctx)
    claimed_by, output = row
    if claimed_by != ctx.direction:
        raise Superseded(f"step {ctx.step!r} was undone before its action came")
    return Claim(is_new=False, output=None if output is None else json.loads(output))


def never_ran(row: tuple[str, str | None] | None, ctx: StepContext) -> bool:
    """Tell whether the action's row says that the action never ran.

    What is known to have happened did so without this barrier: a person did it
    by hand, or its row was pruned. It has to be undone all the same.
    """
    if row is None:
        raise RowVanishedError(ctx)
    return row[0] == Direction.COMPENSATION and not ctx.is_known


def check_once(ctx: StepContext, barrier: object, effect: Callable[..., Any]) -> None:
    """Refuse a second effect in one run.

    It would find the first one's row and silently not happen.
    """
    if ctx.is_noted(barrier):
        raise RuntimeError(
            f"{describe(effect)}: the handler went through this barrier before; a "
            "step has one row, so put all its effects into one function"
        )


def statements(dialect: str) -> dict[str, str]:
    """Return the statements of ``<dialect>.sql`` by name."""
    text = resources.files(__package__).joinpath(f"{dialect}.sql").read_text("utf-8")
    _, *parts = _HEADING.split(text)
    return {
        name: "\n".join(
            line for line in body.splitlines() if not line.startswith("--")
        ).strip()
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
