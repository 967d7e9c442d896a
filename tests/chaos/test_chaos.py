"""Two minutes of chaos on real servers: nothing is lost, nothing happens twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS

ROOT = Path(__file__).parents[2]


# The fixtures are not used: where there is no server, there is no chaos either.
@pytest.mark.usefixtures("postgres_server", "rabbit_server")
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_minutes() -> None:
    """Every fault fires, and every saga that was started is accounted for."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--minutes", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["lost"] == report["stuck"] == 0
    assert report["duplicate_effects"] == report["violations"] == 0
    assert report["completed"] > 0
    assert report["compensated"] > 0
    assert report["in_flight_when_faults_stopped"] > 0
    ended = report["completed"] + report["compensated"] + report["failed"]
    assert report["sagas"] == ended
    assert report["faults"].keys() == FAULTS.keys()
    assert min(report["faults"].values()) >= 1
