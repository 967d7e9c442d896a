"""``given(...).when(...).expect(...)``: a saga's test in one sentence.

given(order, {"sku": "book"}, handlers=[orders, payments])
.when(action("charge_payment").refuses("declined"))
.expect("compensated", undone=["reserve_inventory", "create_order"])
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.ids import ulids
from saga_orchestrator.runtime.registry import Registry, checked_list
from saga_orchestrator.runtime.starting import Catalogue, saga_started
from saga_orchestrator.testing.clock import ManualClock
from saga_orchestrator.testing.expectation import Expected
from saga_orchestrator.testing.operating import Act
from saga_orchestrator.testing.outcome import Outcome
from saga_orchestrator.testing.participants import Participants
from saga_orchestrator.testing.play import Play
from saga_orchestrator.testing.script import Line


@dataclass(frozen=True, slots=True)
class Given:
    """A saga, who takes part, and what goes otherwise than well.

    Attributes:
        definition: what is started.
        context: what it is started with.
        handlers: run for the actions they have; the others have stand-ins that
            succeed with None.
        lines: how runs go that do not go well.
        acts: what a person does.
        seed: of the ids. Equal plays have equal ids: two of them on one database
            of a participant need two seeds.
    """

    definition: SagaDefinition
    context: Mapping[str, Any]
    handlers: tuple[Handlers, ...] = ()
    lines: tuple[Line, ...] = ()
    acts: tuple[Act, ...] = ()
    seed: int = 0

    def when(self, *script: Line | Act) -> Given:
        """Add what goes otherwise than well, and what a person does.

        Raises:
            TypeError: not a line, nor an act: the brackets are missing?
            ValueError: a step that the definition does not have, one without
                what is scripted, or one that was scripted before.
        """
        lines = list(self.lines)
        acts = list(self.acts)
        for item in script:
            if isinstance(item, Act):
                acts.append(item)
            else:
                _check_line(self.definition, item)
                _check_new(item, lines)
                lines.append(item)
        return replace(self, lines=tuple(lines), acts=tuple(acts))

    def expect(self, state: str, **expected: Unpack[Expected]) -> Outcome:
        """Play it, on a memory store, and hold the outcome against this.

        In an async test: ``(await given(...).play()).expect(...)``.

        Args:
            state: the saga's, as ``compensated``.
            expected: the rest, as ``Expected`` names it.

        Returns:
            The outcome, for more assertions.

        Raises:
            Unexpected: tells every difference, each line of the script that nothing
                came of, and what happened.
            TypeError, ValueError: no such expectation, state or step.
            RuntimeError: called in an async test.
        """
        __tracebackhide__ = True  # pytest then shows the line of the test
        if _is_in_loop():
            raise RuntimeError(
                "expect() plays in an event loop of its own; in an async test write "
                "(await given(...).when(...).play()).expect(...)"
            )
        return asyncio.run(self.play()).expect(state, **expected)

    async def play(self, *, until: dt.timedelta | None = None) -> Outcome:
        """Play it on a memory store, to its end or to a time after its start.

        Raises:
            EndlessPlay, TransitionRefused: as ``Play.run`` does.
            PayloadError, HandlerNotFoundError, ConfigurationError: as ``begin``.
        """
        clock = ManualClock()
        store = await Store.open("memory://", clock=clock)
        try:
            play = await self.begin(store, clock)
            outcome = await play.run(until)
            is_over = until is None
            return replace(outcome, unused=play.unused) if is_over else outcome
        finally:
            await store.close()

    async def begin(
        self, store: Store, clock: ManualClock, *, seed: int | None = None
    ) -> Play:
        """Start it on a store, to be run by and by.

        Args:
            store: opened with ``clock``; any number of plays may use it.
            clock: the play moves it.
            seed: of the ids: another one for each play on the store; None: the
                play's.

        Raises:
            PayloadError, HandlerNotFoundError, ConfigurationError: as
                ``Manager.open`` and ``Manager.start`` do.
            ValueError: the store has another clock, or this seed's saga already.
        """
        if await store.now() != clock.now():
            raise ValueError(
                "begin: the store has another clock; open it with the play's, as "
                "Store.open(url, clock=clock)"
            )
        registry = Registry(self.handlers)
        plan = Catalogue(registry, ()).plan_of(self.definition, None)
        rng = random.Random(self.seed if seed is None else seed)  # noqa: S311 - ids of a test
        new_id = ulids(clock, rng)
        play = Play(
            store,
            clock,
            Participants(registry, self.lines, clock=clock),
            acts=self.acts,
            new_id=new_id,
        )
        event = saga_started(new_id(), plan, self.context, None, ad_hoc=False)
        await play.start(event)
        return play


def given(
    definition: SagaDefinition,
    context: Mapping[str, Any] | None = None,
    *,
    handlers: Iterable[Handlers] = (),
    seed: int = 0,
) -> Given:
    """Begin a test: which saga, with which context, and whose handlers.

    Args:
        definition: what is started.
        context: what it is started with; None: nothing.
        handlers: run for the actions they have. An action that has none is
            played by a stand-in, which succeeds with None; but where handlers
            are given for some actions of a service, all of it must be there.
        seed: of the ids: another one for each play on one participant's database.

    Raises:
        TypeError: not a definition.
        ConfigurationError: ``handlers`` is no list of ``Handlers``.
    """
    kind: object = definition
    if not isinstance(kind, SagaDefinition):
        raise TypeError(f"given: {kind!r} is no SagaDefinition")
    services = checked_list("handlers", handlers, Handlers)
    return Given(definition, {} if context is None else context, services, seed=seed)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check_line(definition: SagaDefinition, line: object) -> None:
    """Hold a line of the script against the definition."""
    if not isinstance(line, Line):
        raise TypeError(
            f"when: {line!r} is no part of a script; write action('step').…(), "
            "undo('step').…() or operator.…(), each with its brackets"
        )
    steps = {step.name: step for step in definition.steps}
    step = steps.get(line.step)
    if step is None:
        raise ValueError(
            f"saga {definition.name!r} has no step {line.step!r}; its steps are "
            f"{', '.join(steps)}"
        )
    is_action = line.direction is Direction.ACTION
    if not (step.action if is_action else step.compensation):
        raise ValueError(f"step {line.step!r} has no {line.direction} to script")
    if not line.fates:
        raise ValueError(
            f"the {line.direction} of step {line.step!r} is left open; say how it "
            "goes, as .refuses()"
        )


def _check_new(line: Line, lines: Iterable[Line]) -> None:
    same = (line.step, line.direction)
    if any((other.step, other.direction) == same for other in lines):
        raise ValueError(
            f"the {line.direction} of step {line.step!r} is scripted twice; chain "
            "its runs on one line"
        )
