"""`saga list`, narrowed by instants and by a part of the reason."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
import typer

from saga_orchestrator.cli.instants import parse_when
from saga_orchestrator.core.events import StepFailed
from saga_orchestrator.ports.store import Store
from tests.conformance.builders import apply, begin, fence_of, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    Run = Callable[..., Result]

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)


def _instant(text: str) -> dt.datetime:
    when = parse_when("--created-after", text)
    assert when is not None
    return when.instant(NOW)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1h", NOW - dt.timedelta(hours=1)),
        (" 90s ", NOW - dt.timedelta(seconds=90)),
        ("30d", NOW - dt.timedelta(days=30)),
        ("2026-11-29T14:30Z", NOW.replace(hour=14, minute=30)),
        ("2026-11-29T14:30:00.5+02:00", NOW.replace(minute=30, microsecond=500_000)),
        ("20261129T120000Z", NOW),
    ],
)
def test_instants_as_people_write_them(text: str, instant: dt.datetime) -> None:
    """ISO 8601 with its zone, or a duration: so long before the store's now."""
    assert _instant(text) == instant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yesterday", "is no instant; write 2026-11-29T14:30Z, or 90s"),
        ("", "is no instant"),
        ("1w", "is no instant"),
        ("-1h", "is no instant"),
        ("99999999999d", "is no instant"),
        ("1764426600", "is no instant"),
        ("2026-11-29T14:30", "has no time zone; write 2026-11-29T14:30Z"),
        ("2026-11-29", "has no time zone; write 2026-11-29T00:00Z"),
        ("2026-02-30T00:00Z", "is no instant"),
        ("0001-01-01T00:00+14:00", "years 1 to 9999"),
        ("'; DROP TABLE sagas; --", "is no instant"),
    ],
)
def test_what_is_no_instant_names_the_flag(text: str, told: str) -> None:
    """The error says which flag, what it was given, and what to write."""
    with pytest.raises(typer.BadParameter) as refused:
        parse_when("--created-after", text)
    assert str(refused.value).startswith("--created-after: ")
    assert told in str(refused.value)


@pytest.fixture
def sagas(store: None, directory: Path) -> list[str]:
    """A saga that stopped, and one that runs."""

    async def make() -> list[str]:
        opened = await Store.open(f"sqlite:///{directory}/saga.db")
        try:
            parked = await begin(opened, plan_of("a", on_failure="park"))
            await apply(
                opened,
                StepFailed(
                    fence_of(parked, "a"), refused=True, error="CardDeclined: 100%"
                ),
            )
            return [parked.id, (await begin(opened, plan_of("a"))).id]
        finally:
            await opened.close()

    del store  # it makes the file
    return asyncio.run(make())


def _listed(saga: Run, *options: str) -> list[str]:
    done = saga("list", "--json", *options)
    assert done.exit_code == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def test_list_is_narrowed(saga: Run, sagas: list[str]) -> None:
    """Each flag narrows the list, and all of them together do."""
    parked, running = sagas
    both = [running, parked]
    assert _listed(saga) == both
    for flag in ("created", "updated"):
        assert _listed(saga, f"--{flag}-after", "1h") == both
        assert _listed(saga, f"--{flag}-before", "1h") == []
        assert _listed(saga, f"--{flag}-after", "2999-01-01T00:00Z") == []
        assert _listed(saga, f"--{flag}-before", "2999-01-01T00:00Z") == both
    assert _listed(saga, "--reason", "carddeclined: 100%") == [parked]
    assert _listed(saga, "--reason", "%") == [parked]
    assert _listed(saga, "--reason", "_") == []
    every = ["--created-after", "1h", "--updated-before", "2999-01-01T00:00Z"]
    assert _listed(saga, *every, "--reason", "CARD", "--state", "failed") == [parked]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--created-before", "soon"], "--created-before: 'soon' is no instant"),
        (["--updated-after", "2026-11-29"], "--updated-after: '2026-11-29' has no"),
        (["--reason", ""], "--reason: must be 1 to 200"),
        (["--reason", "x" * 201], "--reason: must be 1 to 200"),
        (["--name", "\udcff"], "--name: holds"),
    ],
)
def test_bad_flags_are_usage_errors(
    saga: Run, sagas: list[str], options: list[str], told: str
) -> None:
    """Code 2, and the flag is named."""
    done = saga("list", *options)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert sagas
