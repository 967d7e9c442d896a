"""The graph of a definition: who waits for whom. Steps are numbers here."""

from __future__ import annotations

from collections.abc import Sequence

from saga_orchestrator.core.step import Step


def dependencies_of(steps: Sequence[Step]) -> list[tuple[int, ...]]:
    """Return, per step, the steps it directly waits for.

    Where no step names ``depends_on`` each waits for the one before it.
    """
    if not any(step.depends_on for step in steps):
        return [() if i == 0 else (i - 1,) for i in range(len(steps))]
    number = {step.name: i for i, step in enumerate(steps)}
    return [
        tuple(dict.fromkeys(number[name] for name in step.depends_on)) for step in steps
    ]


def dependents_of(depends_on: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return, per step, the steps that directly wait for it."""
    waiting: list[list[int]] = [[] for _ in depends_on]
    for step, dependencies in enumerate(depends_on):
        for dependency in dependencies:
            waiting[dependency].append(step)
    return [tuple(steps) for steps in waiting]


def topological(depends_on: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the steps in an order of dependency; those in a cycle are left out."""
    missing = [len(dependencies) for dependencies in depends_on]
    waiting = dependents_of(depends_on)
    order = [step for step, count in enumerate(missing) if count == 0]
    for step in order:  # grows while it is walked
        for dependent in waiting[step]:
            missing[dependent] -= 1
            if missing[dependent] == 0:
                order.append(dependent)
    return order


def find_cycle(depends_on: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the steps of one cycle, the first repeated at the end; empty if none."""
    stuck = set(range(len(depends_on))) - set(topological(depends_on))
    if not stuck:
        return []
    # Every stuck step waits for a stuck step, so following them must come round.
    step = min(stuck)
    path: list[int] = []
    while step not in path:
        path.append(step)
        step = next(other for other in depends_on[step] if other in stuck)
    return [*path[path.index(step) :], step]


def ancestors_of(depends_on: Sequence[tuple[int, ...]]) -> list[int]:
    """Return, per step, every step that comes before it, as a bit mask.

    Needs a graph without cycle. Masks, because 2,000 steps in a row have two
    million pairs.
    """
    ancestors = [0] * len(depends_on)
    for step in topological(depends_on):
        for dependency in depends_on[step]:
            ancestors[step] |= ancestors[dependency] | 1 << dependency
    return ancestors
