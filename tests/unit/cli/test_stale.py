"""`saga stale` and `saga why`, on a store that no engine works on."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, SagaDefinition, Step
from saga_orchestrator.runtime import stale as runtime_stale
from saga_orchestrator.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("store")

ORDER = SagaDefinition("order", steps=[Step("pay", action="payment.charge")])


async def _start(ago: dt.timedelta) -> str:
    """Start a saga so long ago, where no engine works."""
    clock = ManualClock(dt.datetime.now(dt.UTC) - ago)
    url = "sqlite:///saga.db"
    async with Manager.open(store=url, engine=False, clock=clock) as manager:
        return (await manager.start(ORDER)).id


@pytest.fixture
def old(directory: Path) -> str:
    """Start a saga two hours ago; nobody took its command."""
    del directory
    return asyncio.run(_start(dt.timedelta(hours=2)))


def test_a_stale_saga_is_listed_with_its_reason(saga: Run, old: str) -> None:
    """Who it is, why it waits, for how long; on stderr how to go on."""
    done = saga("stale")
    assert done.exit_code == 0
    row = done.stdout.splitlines()[1]
    assert row.split()[:3] == [old, "order", "overdue"]
    assert "2 h" in row
    assert "no engine has taken it" in row
    assert "saga why ID" in done.stderr


def test_a_monitor_fails_on_so_many(saga: Run, old: str) -> None:
    """`--fail-on N` is code 20 from N stale sagas on."""
    del old
    codes = [saga("stale", "--fail-on", number).exit_code for number in ("1", "2")]
    assert codes == [20, 0]


def test_the_threshold_can_be_given(saga: Run, old: str) -> None:
    """`--older-than` counts for all; what is younger is not listed."""
    assert old in saga("stale", "--older-than", "1h").stdout
    done = saga("stale", "--older-than", "3h", "--fail-on", "1")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no stale sagas" in done.stderr


def test_thresholds_are_set_by_definition(saga: Run, old: str, directory: Path) -> None:
    """The table [stale] of saga.toml beats the default for its definition."""
    (directory / "saga.toml").write_text('stale_after = "1s"\n[stale]\norder = "1d"\n')
    assert saga("stale").stdout == ""
    (directory / "saga.toml").write_text('stale_after = "1d"\n[stale]\norder = "1h"\n')
    assert old in saga("stale").stdout


@pytest.mark.parametrize("text", ["1", "x", "1w", "0s", "-1h", "1h30m", ""])
def test_a_duration_that_is_none_is_refused(saga: Run, text: str) -> None:
    """The message says how one is written."""
    done = saga("stale", "--older-than", text)
    assert done.exit_code == 2
    assert "--older-than" in done.stderr
    assert "write 90s, 10m, 1h or 30d" in done.stderr


def test_a_threshold_that_is_none_is_refused(saga: Run, directory: Path) -> None:
    """The setting is named, and how it is written."""
    (directory / "saga.toml").write_text('[stale]\norder = "soon"\n')
    done = saga("stale")
    assert done.exit_code == 2
    assert "stale.order" in done.stderr
    assert "write 90s, 10m, 1h or 30d" in done.stderr


def test_stale_sagas_as_json(saga: Run, old: str) -> None:
    """A line each, with the reason and what to do."""
    (line,) = saga("stale", "--json").stdout.splitlines()
    found = json.loads(line)
    picked = {key: found[key] for key in ("id", "name", "state", "reason", "step")}
    assert picked == {
        "id": old,
        "name": "order",
        "state": "started",
        "reason": "overdue",
        "step": "pay",
    }
    assert found["age_seconds"] > 7000
    assert "saga serve" in found["fix"]


def test_a_search_that_was_cut_says_so(
    saga: Run, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the list is to know that there may be more; on stderr."""
    assert "that have not ended" not in saga("stale").stderr
    asyncio.run(_start(dt.timedelta(hours=1, minutes=1)))
    monkeypatch.setattr(runtime_stale, "SAGAS_MAX", 1)
    done = saga("stale", "--older-than", "1h", "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [old]
    assert "that have not ended were looked at" in done.stderr


def test_why_says_what_to_do(saga: Run, old: str) -> None:
    """The cause, since when, and the fix, for people and for programs."""
    done = saga("why", old)
    assert done.exit_code == 0
    assert "pay: overdue for 2 h" in done.stdout
    assert "fix: start `saga serve` on this store" in done.stdout
    (cause,) = json.loads(saga("why", old, "--json").stdout)["causes"]
    assert (cause["reason"], cause["action"]) == ("overdue", "payment.charge")


def test_why_of_a_saga_that_is_not_there(saga: Run) -> None:
    """An unknown id is code 3."""
    assert saga("why", "01JGFJJZ00000000000000000A").exit_code == 3
