"""The metrics of several processes as one exposition.

Prometheus asks one address, and there are several processes behind it. Each keeps its
numbers for itself, as replicas do; a label says whose a sample is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

PROCESS_LABEL = "saga_process"
"""Of a name that handlers' own metrics will not have."""

UP = "saga_process_up"
"""Of each process: 1 where it answered."""

Families = list[Any]
"""Metrics as JSON has them."""


def families() -> Families:
    """Return all metrics of this process."""
    return [
        [
            *(family.name, family.documentation, family.type),
            [[sample.name, sample.labels, sample.value] for sample in family.samples],
        ]
        for family in REGISTRY.collect()
    ]


def exposition_of(processes: Mapping[int, Families | None]) -> bytes:
    """Return the metrics of all in Prometheus' text format.

    Args:
        processes: each one's, by its number; None: it did not answer.
    """
    merged: dict[str, Metric] = {}
    up = GaugeMetricFamily(
        UP, "Whether a process of this `saga serve` answered.", labels=[PROCESS_LABEL]
    )
    for number, found in processes.items():
        up.add_metric([str(number)], found is not None)
        for name, documentation, kind, samples in found or ():
            family = merged.setdefault(name, Metric(name, documentation, kind))
            for sample, labels, value in samples:
                own = labels | {PROCESS_LABEL: str(number)}
                family.add_sample(sample, own, value)
    return generate_latest(_Collected([*merged.values(), up]))


class _Collected(Collector):
    """Metrics that were collected elsewhere."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._found
