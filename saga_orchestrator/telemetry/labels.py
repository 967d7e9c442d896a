"""Label values that users choose, bounded: an exposition must not grow with its users.

Names of definitions and steps come from programs, and a program may make them up:
``start("order-4711", steps)``. So the first so many keep their names, and all
later ones share one.
"""

from __future__ import annotations

OTHER = "other"
"""The label of what came after the limit."""


class BoundedNames:
    """Lets the first so many names through; the others become ``other``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[tuple[str, ...]] = set()

    def label(self, *names: str) -> tuple[str, ...]:
        """Return the names, or as many times ``other``."""
        if names in self._known:
            return names
        if len(self._known) < self._most:
            self._known.add(names)
            return names
        return (OTHER,) * len(names)


SAGAS = BoundedNames(200)
"""Definitions, in this process."""
STEPS = BoundedNames(1000)
"""Pairs of a definition and a step."""
ACTIONS = BoundedNames(200)
QUEUES = BoundedNames(200)


def saga_label(name: str) -> str:
    """Return the label of a definition."""
    return SAGAS.label(name)[0]


def step_labels(saga: str, step: str) -> tuple[str, ...]:
    """Return the labels of a step: its definition's, and its own."""
    return STEPS.label(saga, step) if saga_label(saga) == saga else (OTHER, OTHER)
