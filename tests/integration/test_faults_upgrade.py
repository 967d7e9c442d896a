"""Two releases at once, with sagas in flight: row F80 of the faults.

The next release is a copy of this one whose messages say more, run as processes
beside those of this one.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager
from saga_orchestrator.errors import StoreDataError
from tests.support.books import Books, chain
from tests.support.engine_process import engine_process
from tests.support.releases import ROOT, environment_of, next_release
from tests.support.waiting import eventually
from tests.support.worker_process import worker_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from saga_orchestrator.core.saga import Saga

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 60
TOGETHER = 8

Release = "Callable[..., AbstractAsyncContextManager[None]]"


@pytest.fixture
def release(
    postgres_url: str, rabbit_url: str, tmp_path: Path, client: Manager
) -> Release:
    """Run an engine and a worker of a release; the schema is there."""
    del client

    @contextlib.asynccontextmanager
    async def run(root: Path, *, serves: bool = False) -> AsyncIterator[None]:
        with (
            engine_process(
                postgres_url, rabbit_url, tmp_path, serves=serves, root=root
            ) as engine,
            worker_process(rabbit_url, tmp_path, name=root.name, root=root) as worker,
        ):
            await engine.ready()
            await worker.ready()
            yield

    return run


async def _start(client: Manager, count: int = TOGETHER) -> list[Saga]:
    refuse = {"refuse": "c"}
    contexts = [refuse if number % 4 == 0 else {} for number in range(count)]
    return [await client.start(chain(), context=context) for context in contexts]


async def _all_end(client: Manager, sagas: list[Saga]) -> None:
    for saga in sagas:
        ended = await client.wait(saga.id, SECONDS)
        refused = "refuse" in ended.context
        assert ended.is_compensated if refused else ended.is_completed
        assert {status.attempt for status in ended.steps} == {1}


async def test_one_release_goes_and_the_other_comes_and_back(
    release: Release, client: Manager, books: Books, tmp_path: Path
) -> None:
    """Sagas go on under whichever runs; no attempt is used, no effect had twice."""
    after = next_release(tmp_path / "next")
    sagas: list[Saga] = []
    for root in (ROOT, after, ROOT):
        sagas += await _start(client)
        async with release(root):
            before = len(sagas)
            await eventually(lambda at_least=before: len(books.effects()) > at_least)
            sagas += await _start(client)
    async with release(ROOT), release(after):
        sagas += await _start(client)
        await _all_end(client, sagas)
        both = {worker for step in "abc" for _, worker in books.runs(step)}
    assert both == {ROOT.name, after.name}
    assert set(books.effects().values()) == {1}


async def test_a_plan_of_the_next_release(
    release: Release, postgres_url: str, client: Manager, books: Books, tmp_path: Path
) -> None:
    """This release leaves it as it is and says so; beside the next one it goes on."""
    after = next_release(tmp_path / "next", new_plans=True)
    new = _started_by(after, postgres_url)
    async with release(ROOT):
        await _all_end(client, await _start(client))
        with pytest.raises(StoreDataError, match="a stored plan has version 2"):
            await client.get(new[0])
    assert not {saga for saga, _, _ in books.effects()} & set(new)
    # An engine that runs handlers has answers that it cannot commit itself.
    async with release(ROOT, serves=True), release(after):
        await eventually(lambda: _had(books, new) == 3 * TOGETHER, seconds=SECONDS)
    assert set(books.effects().values()) == {1}
    assert all(len(books.runs(step)) == len({*books.runs(step)}) for step in "abc")


def _had(books: Books, sagas: list[str]) -> int:
    """Count the effects of these sagas."""
    return sum(count for (saga, *_), count in books.effects().items() if saga in sagas)


_START = """
import asyncio, sys
from saga_orchestrator import Manager
from saga_orchestrator.errors import StoreDataError
from tests.support.books import chain
async def main():
    async with Manager.open(store=sys.argv[1]) as client:
        for _ in range(int(sys.argv[2])):
            print((await client.start(chain())).id)
asyncio.run(main())
"""


def _started_by(root: Path, store: str) -> list[str]:
    """Let a release start sagas; return their ids."""
    done = subprocess.run(
        [sys.executable, "-c", _START, store, str(TOGETHER)],
        cwd=root,
        env=environment_of(root),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()
