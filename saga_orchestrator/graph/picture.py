"""What there is to draw: a definition's steps, or a saga's as they stand."""

from __future__ import annotations

import json
from dataclasses import dataclass

from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.saga import StepStatus
from saga_orchestrator.core.step import Step
from saga_orchestrator.graph.labels import LONG, cut, plain
from saga_orchestrator.graph.layout import Layout, lay_out
from saga_orchestrator.graph.marks import PLAIN, UNDO, UNDO_NOT_NEEDED, Mark


@dataclass(frozen=True, slots=True)
class Undo:
    """A step's compensation.

    Attributes:
        name: the compensation's name.
        mark: how it stands.
        details: what else a reader wants to know, in words.
        order: when it came to its end, among all actions and undos, from 1.
    """

    name: str
    mark: Mark = UNDO
    details: tuple[str, ...] = ()
    order: int | None = None

    @property
    def is_on_the_way(self) -> bool:
        """Whether the saga goes, or would go, through it on its way back."""
        return self.mark is not UNDO_NOT_NEEDED

    @property
    def words(self) -> str:
        """How it stands, on one line."""
        return ", ".join(filter(None, (self.mark.word, *self.details)))


@dataclass(frozen=True, slots=True)
class Node:
    """A step.

    Attributes:
        name: the step's name.
        action: the action's name; empty: it has none.
        mark: how it stands.
        details: what else a reader wants to know, in words.
        when: its condition in words; empty: none.
        pivot: whether after it there is no way back.
        order: when its action came to its end, from 1; None: not known.
        undo: its compensation; None: it has none.
        status: the step's status; None in a definition.
    """

    name: str
    action: str
    mark: Mark
    details: tuple[str, ...]
    when: str
    pivot: bool
    order: int | None
    undo: Undo | None
    status: StepStatus | None

    @property
    def words(self) -> str:
        """How it stands, on one line."""
        return ", ".join(filter(None, (self.mark.word, *self.details)))


@dataclass(frozen=True, slots=True)
class Picture:
    """A definition, or a saga at one instant; its texts are fit to be drawn.

    Attributes:
        name: the definition's name.
        saga_id: empty for a definition.
        mark: the saga's state; None for a definition.
        reason: why it aborted or stopped.
        nodes: the steps, in the plan's order.
        depends_on: per step all that it waits for.
        layout: where they stand.
        undo_together: its undos are sent all at once, in no order.
        residuals: effects that may stand outside its account, not yet settled.
    """

    name: str
    saga_id: str
    mark: Mark | None
    reason: str
    nodes: tuple[Node, ...]
    depends_on: tuple[tuple[int, ...], ...]
    layout: Layout
    undo_together: bool
    residuals: int = 0

    @property
    def alarm(self) -> str:
        """What a person must look at, though no step shows it; empty: nothing."""
        if not self.residuals:
            return ""
        plural = "s" if self.residuals > 1 else ""
        what = f"{self.residuals} open residual{plural}"
        return f"{what}: effects that may stand outside its account"


def picture_of_plan(plan: Plan) -> Picture:
    """Return what there is to draw of a definition."""
    nodes = tuple(
        Node(
            name=step.name,
            action=step.action,
            mark=PLAIN,
            details=(),
            when=condition_of(step),
            pivot=step.pivot,
            order=None,
            undo=Undo(step.compensation) if step.compensation else None,
            status=None,
        )
        for step in plan.steps
    )
    return Picture(
        name=plan.definition.name,
        saga_id="",
        mark=None,
        reason="",
        nodes=nodes,
        depends_on=plan.depends_on,
        layout=lay_out(plan.depends_on),
        undo_together=plan.definition.parallel_compensation,
    )


def condition_of(step: Step) -> str:
    """Return a step's condition in words; empty: it has none."""
    conditions = (
        f"{path} = {json.dumps(value, ensure_ascii=False)}"
        for path, value in (step.when or {}).items()
    )
    return cut(plain(" and ".join(conditions)), LONG)
