"""What cannot be measured is refused: the option is named, and the fix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from saga_orchestrator.bench.plan import Plan, Shape
from saga_orchestrator.errors import ConfigurationError

EMBEDDED = Plan(sagas=10, shape=Shape(), store="sqlite:///saga.db")
ON_SERVERS = replace(EMBEDDED, store="postgresql://db/saga", broker="amqp://mq/")


@pytest.mark.parametrize(
    ("plan", "mode"),
    [
        (EMBEDDED, "embedded"),
        (ON_SERVERS, "in-process"),
        (replace(ON_SERVERS, orchestrators=3), "in-process"),
        (replace(ON_SERVERS, workers=1), "remote"),
    ],
)
def test_what_can_be_measured(plan: Plan, mode: str) -> None:
    """A plan whose parts fit is taken, and has a mode."""
    plan.check()
    assert plan.mode == mode


@pytest.mark.parametrize(
    ("plan", "changes", "option", "fix"),
    [
        (EMBEDDED, {"store": "memory://"}, "--store", "use sqlite"),
        (EMBEDDED, {"workers": 1}, "--broker", "need amqp://"),
        (EMBEDDED, {"orchestrators": 2}, "--broker", "need amqp://"),
        (ON_SERVERS, {"store": "sqlite:///x", "orchestrators": 2}, "--store", "needs"),
        (EMBEDDED, {"rate": 0.0}, "--rate", "over 0"),
        (EMBEDDED, {"rate": float("nan")}, "--rate", "over 0"),
        (EMBEDDED, {"shape": Shape(steps=4, fan_out=9)}, "--fan-out", "leave out"),
        (EMBEDDED, {"shape": Shape(steps=2001)}, "--steps", "smaller"),
        (EMBEDDED, {"shape": Shape(fan_out=1999)}, "--fan-out", "smaller"),
        (EMBEDDED, {"shape": Shape(steps=1, compensate=True)}, "--compensate", "2"),
        (EMBEDDED, {"shape": Shape(payload=2**20)}, "--payload", "at most"),
    ],
)
def test_what_cannot(
    plan: Plan, changes: dict[str, Any], option: str, fix: str
) -> None:
    """An error begins with the option, and says what to use instead."""
    with pytest.raises(ConfigurationError) as caught:
        replace(plan, **changes).check()
    assert str(caught.value).startswith(f"{option}: ")
    assert fix in str(caught.value)
