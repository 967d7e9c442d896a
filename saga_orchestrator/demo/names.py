"""The names of one run, on the store and on the broker.

They belong to one run, so that a demo never takes part in what others do there.
"""

from __future__ import annotations

from saga_orchestrator.wire.topology import Topology


def saga_name(scenario: str) -> str:
    """Return the name of a scenario's sagas; runs share it."""
    return f"demo_{scenario}"


def key_of(run: str, number: int) -> str:
    """Return a saga's start key."""
    return f"demo-{run}-{number}"


def own_action(run: str, action: str) -> str:
    """Return the run's own name of an action, or of a compensation."""
    return f"demo-{run}.{action}"


def topology_of(run: str) -> Topology:
    """Return the run's names on the broker."""
    return Topology.of_run(f"saga-demo.{run}")
