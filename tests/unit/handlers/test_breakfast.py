"""The breakfast: taken out in order, put back in reverse, if it is out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from handlers import breakfast as sample
from saga_orchestrator import Superseded
from tests.support.participants import action, context_of, undo
from tests.unit.handlers.books import books_of, ended, query, undone

CONTEXT = {"bowl": "blue bowl", "cereal": "oats", "milk": "oat milk"}
OATS = sample.Thing(name="oats")


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The kitchen's own file."""
    with books_of(sample, tmp_path, monkeypatch) as path:
        yield path


def missing(path: Path) -> dict[str, int]:
    """Return what is not in the cupboard."""
    rows = query(path, "SELECT name, left FROM cupboard WHERE left != 1000000")
    return {name: 1_000_000 - left for name, left in rows}


async def test_breakfast_is_made(database: Path) -> None:
    """One of each is out of the cupboard."""
    record = await ended(sample, sample.breakfast, CONTEXT)
    assert record.saga.is_completed
    assert missing(database) == {"blue bowl": 1, "oats": 1, "oat milk": 1}


@pytest.mark.parametrize(
    ("context", "put_back"),
    [
        ({"milk": "goat milk"}, ["add_cereal", "get_bowl"]),
        ({"cereal": "muesli"}, ["get_bowl"]),
        ({"bowl": "green bowl"}, []),
    ],
)
async def test_what_is_out_is_put_back(
    database: Path, context: dict[str, str], put_back: list[str]
) -> None:
    """In reverse, whichever thing there is none of; then nothing is missing."""
    record = await ended(sample, sample.breakfast, {**CONTEXT, **context})
    assert record.saga.is_compensated
    assert "NoneLeft" in record.saga.reason
    assert undone(record) == put_back
    assert missing(database) == {}


async def test_twice_is_as_good_as_once(database: Path) -> None:
    """A repeated command takes nothing more, and puts nothing more back."""
    for _ in range(2):
        assert await sample.take(context_of(action()), OATS) == OATS
        assert missing(database) == {"oats": 1}
    for _ in range(2):
        await sample.put_back(context_of(undo()), None)
        assert missing(database) == {}


async def test_what_was_never_out_is_not_put_back(database: Path) -> None:
    """The undo does nothing, and the take that comes late is kept out."""
    await sample.put_back(context_of(undo()), None)
    with pytest.raises(Superseded):
        await sample.take(context_of(action()), OATS)
    assert missing(database) == {}
