"""What the demo can run: one module for each scenario, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping

from saga_orchestrator.demo.scenarios.breakfast import BREAKFAST
from saga_orchestrator.demo.scenarios.investment import INVESTMENT
from saga_orchestrator.demo.scenarios.order import ORDER
from saga_orchestrator.demo.scenarios.scenario import Balance, Refusal, Scenario
from saga_orchestrator.demo.scenarios.trip import TRIP

__all__ = ["SCENARIOS", "Balance", "Refusal", "Scenario"]

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario for scenario in (ORDER, TRIP, INVESTMENT, BREAKFAST)
}
"""By name, in the order to list them; the first is the default."""
