"""The ledger of effects: the world's account, which knows nothing of the engine.

It is the participants' barrier at the same time: a claim per saga, step and
direction, made together with the effect.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from saga_orchestrator import StepContext
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.signals import Superseded

TOMBSTONE = object()
UNSTORABLE = "unstorable"
"""An output that the world's store refuses."""
Key = tuple[str, str]
"""A saga's id and a step's name."""


class Effect(NamedTuple):
    """One thing that happened in the world."""

    saga_id: str
    step: str
    direction: Direction


class Ledger:
    """Who did what, as the participants know it.

    Attributes:
        has_barrier: False: actions do not look at their claims.
        effects: in the order in which they happened.
        runs: how often a handler was begun.
        refused_undos: steps whose undo was refused for good.
        doubtful: steps of which the world lost the only witness, or about which
            somebody lied; their sums prove nothing.
        declined: steps that were refused, or skipped, with the last generation.
        problems: what a participant saw that must not be.
    """

    has_barrier = True

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.runs: Counter[tuple[str, str, str]] = Counter()
        self.refused_undos: set[Key] = set()
        self.doubtful: set[Key] = set()
        self.problems: list[str] = []
        self.declined: dict[Key, int] = {}
        self._acted: dict[Key, object] = {}
        self._undone: set[Key] = set()
        self._inputs: dict[Key, tuple[Json, Json]] = {}

    def stands(self, key: Key) -> bool:
        """Tell whether a step's effect happened, undone or not."""
        return self._acted.get(key, TOMBSTONE) is not TOMBSTONE

    def net(self, key: Key) -> int:
        """Return a step's effects minus its undos."""
        signs = {Direction.ACTION: 1, Direction.COMPENSATION: -1}
        return sum(
            signs[effect.direction]
            for effect in self.effects
            if (effect.saga_id, effect.step) == key
        )

    # -- what handlers do --------------------------------------------------

    def decline(self, ctx: StepContext) -> None:
        """Say no to an action, or that there is nothing to do."""
        if ctx.direction is Direction.COMPENSATION:
            return
        key = (ctx.saga_id, ctx.step)
        last = self.declined.get(key, 0)
        self.declined[key] = max(last, ctx.fence.generation)

    def has_declined(self, ctx: StepContext) -> bool:
        """Tell whether a command, or a later one, was declined."""
        last = self.declined.get((ctx.saga_id, ctx.step), 0)
        return ctx.fence.generation <= last

    def begin(self, ctx: StepContext) -> int:
        """Note that a handler runs; return how often it has."""
        key = (ctx.saga_id, ctx.step)
        given = (ctx.input, dict(ctx.context))
        if self._inputs.setdefault(key, given) != given:
            self.problems.append(f"{key}: the input of a step changed")
        run = (ctx.saga_id, ctx.step, ctx.direction)
        self.runs[run] += 1
        return self.runs[run]

    def act(self, ctx: StepContext) -> dict[str, Json]:
        """Take effect once, unless the undo was here first."""
        key = (ctx.saga_id, ctx.step)
        if self._acted.get(key) is TOMBSTONE:
            raise Superseded("its undo came first")
        ctx.note_claim(self, is_new=key not in self._acted)
        if self.has_declined(ctx):
            # Whether that comes to light depends on which answer gets through.
            self.doubtful.add(key)
        return self.effect(key)

    def effect(self, key: Key) -> dict[str, Json]:
        """Let an action happen; return its output."""
        if key not in self._acted or not self.has_barrier:
            self._acted[key] = True
            self.effects.append(Effect(*key, Direction.ACTION))
        return {"step": key[1]}

    def undo(self, ctx: StepContext, done: Json) -> None:
        """Undo once; of what never happened there is nothing to undo."""
        key = (ctx.saga_id, ctx.step)
        if done is not None and not self.stands(key) and key not in self.doubtful:
            self.problems.append(f"{key}: told as done, and never happened")
        self.take_back(key)

    def take_back(self, key: Key) -> None:
        """Let an undo happen, or keep the action from ever happening."""
        if key in self._undone:
            return
        self._undone.add(key)
        if self._acted.setdefault(key, TOMBSTONE) is not TOMBSTONE:
            self.effects.append(Effect(*key, Direction.COMPENSATION))

    def is_buried(self, key: Key) -> bool:
        """Tell whether the undo came first."""
        return self._acted.get(key) is TOMBSTONE
