"""`saga demo --scenario`: each passes, is judged by its own rules, and can fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.demo_runs import passed, run_demo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCENARIOS = ("order", "trip", "investment", "breakfast")
IN_REVERSE = "steps are undone in reverse order"
IN_NO_ORDER = "once the undo has begun nothing goes forward"
RULES = {
    "order": {"every charge is shipped or refunded", IN_REVERSE},
    "trip": {"a trip is booked whole and confirmed, or not at all", IN_NO_ORDER},
    "investment": {"every payment is in a portfolio or refunded", IN_REVERSE},
    "breakfast": {"every bowl on the table is a breakfast", IN_REVERSE},
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario(tmp_path: Path, scenario: str) -> None:
    """Each holds its promises without any server, and says which one it was."""
    options = ("--scenario", scenario, "--sagas", "60")
    report = passed(run_demo(tmp_path, *options, "--json"), 60)
    assert report["scenario"] == scenario
    rules = {check["rule"] for check in report["checks"]}
    assert RULES[scenario] <= rules


def test_a_trip_for_people(tmp_path: Path) -> None:
    """The texts are about trips, and the next command is one too."""
    done = run_demo(tmp_path, "--scenario", "trip", "--sagas", "40")
    assert done.returncode == 0, done.stderr
    assert "40 trips:" in done.stdout
    assert "✓ a trip is booked whole and confirmed, or not at all" in done.stdout
    assert "demo --scenario trip" in done.stdout
    assert "book_hotel + book_flight + book_excursion" in done.stderr


def test_the_check_of_a_trip_can_fail(tmp_path: Path) -> None:
    """Without the barrier what was booked twice is not all or nothing."""
    options = ("--scenario", "trip", "--sagas", "60", "--without-barrier")
    done = run_demo(tmp_path, *options, "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["lost"] == 0
    broken = {check["rule"] for check in report["checks"] if check["problems"]}
    assert {"no effect is applied twice", *RULES["trip"]} - broken == {IN_NO_ORDER}


def test_an_unknown_scenario_is_a_usage_error(tmp_path: Path) -> None:
    """It lists those that there are, and nothing runs."""
    done = run_demo(tmp_path, "--scenario", "lunch")
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "'lunch' is none of order, trip, investment, breakfast" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scenario", SCENARIOS[1:])
def test_every_scenario_on_servers(
    tmp_path: Path, postgres_url: str, rabbit_url: str, scenario: str
) -> None:
    """With the handlers in a process of their own, which is killed too."""
    urls = ("--store", postgres_url, "--broker", rabbit_url)
    options = ("--scenario", scenario, "--sagas", "40", "--workers", "1")
    report = passed(run_demo(tmp_path, *urls, *options, "--json"), 40)
    assert report["scenario"] == scenario
    assert report["killed"] == ["orchestrator 1", "worker 1"]
