"""Reading this process's metrics."""

from __future__ import annotations

from prometheus_client import REGISTRY

from saga_orchestrator.telemetry import labels, transitions


def total(name: str, **wanted: str) -> float:
    """Add up a metric's samples that have these labels."""
    collector = REGISTRY._names_to_collectors[name]  # all of them would take long
    return sum(
        sample.value
        for family in collector.collect()
        for sample in family.samples
        if sample.name == name and wanted.items() <= sample.labels.items()
    )


def forget_names() -> None:
    """Let names be labels as in a new process: the tests before have used many."""
    for names in (labels.SAGAS, labels.STEPS, labels.ACTIONS, labels.QUEUES):
        names._known.clear()
    transitions._attempts.cache_clear()
    transitions._duration.cache_clear()
