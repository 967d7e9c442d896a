"""What a bench has to say in the end."""

from __future__ import annotations

import importlib.util
import os
import platform
from dataclasses import asdict, dataclass
from typing import Any

from saga_orchestrator.bench.figures import Figures, median_of
from saga_orchestrator.bench.plan import Plan


@dataclass(frozen=True, slots=True)
class Report:
    """The runs of a bench, each with its figures."""

    plan: Plan
    runs: tuple[Figures, ...]

    @property
    def ok(self) -> bool:
        """Whether every saga of every run ended as it should."""
        return all(run.ok for run in self.runs)

    @property
    def medians(self) -> dict[str, Any]:
        """The figures, each the median of the runs."""
        return median_of(self.runs)

    def to_json(self) -> dict[str, Any]:
        """Return it as one object: what was run, the medians, each run."""
        plan = self.plan
        return {
            "ok": self.ok,
            "mode": plan.mode,
            "load": plan.load,
            "store": plan.store.partition(":")[0],
            "broker": plan.broker.partition(":")[0],
            "sagas": plan.sagas,
            **asdict(plan.shape),
            "steps": plan.shape.step_count,
            "in_flight": None if plan.rate is not None else plan.in_flight,
            "rate": plan.rate,
            "orchestrators": plan.orchestrators,
            "workers": plan.workers,
            "repeat": plan.repeat,
            "seed": plan.seed,
            **self.medians,
            "machine": machine(),
            "runs": [asdict(run) for run in self.runs],
        }


def machine() -> dict[str, Any]:
    """Return what figures depend on and a reader should know."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "loop": "uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
    }
