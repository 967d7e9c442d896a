"""Poisonous payloads at every door, on every store: rows F63 to F65 of the faults.

Each is refused, or set aside, before anything of it is kept. Whatever was tried,
lists, searches and a new engine work, and the other sagas end.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from saga_orchestrator import Manager, SagaDefinition, Step
from saga_orchestrator.cli.exits import Exit
from saga_orchestrator.errors import DefinitionError, PayloadError
from saga_orchestrator.participant.signals import StepFailed
from saga_orchestrator.ports.store import SagaFilter
from tests.support.poison import EXACT, LARGE, REFUSED, REFUSED_TEXTS, nested, told
from tests.support.shell import Shell
from tests.support.stranger import stranger
from tests.unit.runtime.stage import Service, raising

if TYPE_CHECKING:
    from pathlib import Path

    from saga_orchestrator.core.saga import Saga

pytestmark = pytest.mark.slow

FAR = Service("far")
WHO = {"principal": "ann", "reason": "a test"}
FENCE = ("saga_id", "step", "direction", "generation", "token")
_names = itertools.count()


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store, of each kind in turn."""
    if request.param == "memory":
        return f"memory://payloads-{next(_names)}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/saga.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


async def _everything(manager: Manager) -> list[Saga]:
    """Return all sagas; each can be listed, searched, read and counted."""
    page = await manager.store.page(SagaFilter())
    assert page.unreadable == []
    for saga in page.items:
        assert (await manager.record(saga.id)).damage == ()
        assert saga in await manager.store.find(SagaFilter(name=saga.name))
    assert sum((await manager.store.counts()).values()) == len(page.items)
    return page.items


# -- programs and people ---------------------------------------------------------


async def test_what_a_program_hands_over_is_refused(store_url: str) -> None:
    """A start, a key, an output, a reason: refused by name, and nothing is kept."""
    near = Service("near")
    near.does["b"] = raising(StepFailed("no"))
    parks = SagaDefinition("parks", near.chain("ab"), on_failure="park")
    async with Manager.open(
        store=store_url, migrate=True, handlers=[near.handlers]
    ) as manager:
        parked = await manager.wait((await manager.start(parks)).id, timeout=60)
        for name, value in REFUSED.items():
            with pytest.raises(PayloadError, match=r"^context") as refused:
                await manager.start(parks, context={"deep": [value]})
            assert len(str(refused.value)) < 500, name
            with pytest.raises(PayloadError, match=r"^output"):
                await manager.resolve(parked.id, "b", output=value, **WHO)
            with pytest.raises(DefinitionError, match="input"):
                SagaDefinition("s", near.chain("a", input={"x": value}))
        for text in ("a\0b", "\ud800", "x" * 2**20, "", 7, None):
            if text is not None:
                with pytest.raises(PayloadError, match=r"^key"):
                    await manager.start(parks, key=text)
            for name in WHO:
                with pytest.raises(PayloadError, match=f"^{name}"):
                    await manager.compensate(parked.id, **WHO | {name: text})
            with pytest.raises(DefinitionError):
                await manager.start(text, near.chain("a"))
        assert await manager.get(parked.id) == parked
    async with Manager.open(store=store_url, handlers=[near.handlers]) as again:
        (saga,) = await _everything(again)
        assert saga.id == parked.id
        await again.resolve(parked.id, "b", output=EXACT, **WHO)
        assert (await again.wait(parked.id, timeout=60)).is_completed


async def test_what_is_accepted_comes_back_exactly(store_url: str) -> None:
    """To the handlers, to the undo, and to who reads it later: type and value."""
    near = Service("near")

    async def answer(_ctx: Any) -> Any:
        return EXACT

    near.does["a"] = answer
    near.does["b"] = raising(StepFailed("no"))
    async with Manager.open(
        store=store_url, migrate=True, handlers=[near.handlers]
    ) as manager:
        saga = await manager.start("s", near.chain("ab"), context=EXACT)
        assert (await manager.wait(saga.id, timeout=60)).is_compensated
    given = dict(zip(near.runs, near.given, strict=True))
    assert told(given["a"]) == told(EXACT)
    assert told(given["undo_a"]) == told(EXACT)
    async with Manager.open(store=store_url) as again:
        kept = await again.get(saga.id)
    assert told(kept.context) == told(EXACT)
    assert told(kept.outputs["a"]) == told(EXACT)


BAD_STEPS: dict[str, Any] = {
    "a -> b -> a": [Step("a", depends_on="b"), Step("b", depends_on="a")],
    "there is no step 'x'": [Step("a", depends_on="x")],
    "used twice": [Step("a"), Step("a")],
    "limit is 2000": [Step(f"s{n}") for n in range(10_000)],
    "limit is 2000;": [Step(f"s{n}", depends_on=f"s{n - 1}") for n in range(1, 10_001)],
    "is nested": [Step("a", input=nested(10_000))],
}


async def test_a_definition_that_cannot_run_starts_nothing(
    store_url: str, tmp_path: Path
) -> None:
    """Refused where it is made, and so by a start that brings its steps along."""
    async with Manager.open(store=store_url, migrate=True) as manager:
        for problem, steps in BAD_STEPS.items():
            with pytest.raises(DefinitionError, match=problem):
                SagaDefinition("s", steps)
            with pytest.raises(DefinitionError, match=problem):
                await manager.start("s", steps)
        assert await _everything(manager) == []
    (tmp_path / "bad.py").write_text(
        "from saga_orchestrator import SagaDefinition, Step\n"
        "s = SagaDefinition('s', [Step('a', depends_on='a')])\n"
    )
    if not store_url.startswith("memory"):
        shell = Shell("--store", store_url, "--app-dir", str(tmp_path))
        refused = await shell("start", "bad:s")
        assert refused.exit_code == Exit.USAGE
        assert "a -> a" in refused.stderr


# -- strangers -------------------------------------------------------------------


async def test_what_a_stranger_answers_is_set_aside(
    store_url: str, rabbit_url: str
) -> None:
    """Once each, with the reason; its saga waits as before, and takes a good one."""
    urls: Any = {"store": store_url, "broker": rabbit_url, "engine": True}
    async with (
        Manager.open(**urls, migrate=True) as manager,
        stranger(rabbit_url) as other,
    ):
        saga = await manager.start("s", FAR.chain("a"))
        command = await other.command("a")
        before = await manager.get(saga.id)
        for name, text in REFUSED_TEXTS.items():
            body = _answer(command, text)
            await other.send(body)
            parked = await other.parked()
            assert parked.body == body, name
            assert parked.headers["saga-reason"], name
            assert parked.headers["saga-queue"] == "saga.replies"
            assert await manager.get(saga.id) == before
        assert await other.waiting("saga.dead") == 0
        assert manager.problems() == []
    async with Manager.open(**urls) as again, stranger(rabbit_url) as other:
        assert [one.id for one in await _everything(again)] == [saga.id]
        await other.send(_answer(command, json.dumps(EXACT)))
        saga = await again.wait(saga.id, timeout=60)
        assert told(saga.outputs["a"]) == told(EXACT)


def _answer(command: dict[str, Any], output: str) -> bytes:
    """Return a good reply but for its output, which is put in as text."""
    fields = {name: command[name] for name in FENCE} | {"answer": "succeeded"}
    item = json.dumps(fields).removesuffix("}")
    return f'{{"v":1,"replies":[{item},"output":{output}}}]}}'.encode()


async def test_what_a_stranger_commands_is_set_aside(
    postgres_url: str, rabbit_url: str
) -> None:
    """A command with such a context reaches no handler; the service goes on."""
    near = Service("near")
    async with (
        Manager.open(
            store=postgres_url,
            migrate=True,
            broker=rabbit_url,
            handlers=[near.handlers],
        ) as manager,
        stranger(rabbit_url) as other,
    ):
        heard = await other.overhear("step.near.a")
        await _ends(manager, near)
        (command,) = json.loads(await heard.get())["commands"]
        fields = json.dumps(command | {"context": {}}).replace(
            '"context": {}', '"context": {"x":%s}'
        )
        for name in REFUSED_TEXTS.keys() - LARGE:
            body = f'{{"v":1,"commands":[{fields % REFUSED_TEXTS[name]}]}}'.encode()
            await other.send(body, "saga.steps.near", type="saga.commands")
            parked = await other.parked()
            assert parked.body == body, name
            assert parked.headers["saga-queue"] == "saga.steps.near"
        await _ends(manager, near)
        assert near.runs == ["a", "a"]
        assert manager.problems() == []


async def _ends(manager: Manager, near: Service) -> None:
    saga = await manager.start("s", near.chain("a"))
    assert (await manager.wait(saga.id, timeout=60)).is_completed


async def test_what_no_broker_takes(postgres_url: str, rabbit_url: str) -> None:
    """130 MiB end their sender's channel; 16 MiB are set aside; the engine works."""
    async with (
        Manager.open(
            store=postgres_url, migrate=True, broker=rabbit_url, engine=True
        ) as manager,
        stranger(rabbit_url) as other,
    ):
        saga = await manager.start("s", FAR.chain("a"))
        command = await other.command("a")
        async with stranger(rabbit_url, serves=False) as sender:
            await sender.send(b"x" * 16 * 2**20)
            assert "limit" in (await other.parked()).headers["saga-reason"]
            with pytest.raises(aio_pika.exceptions.AMQPError):
                await sender.send(b"x" * 130 * 2**20)
        await other.reply(command)
        assert (await manager.wait(saga.id, timeout=60)).is_completed


# -- memory ----------------------------------------------------------------------

_STARTS = """
import asyncio, resource, sys
from saga_orchestrator import Manager
from saga_orchestrator.errors import PayloadError
def rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
async def main():
    async with Manager.open(store=sys.argv[1], migrate=True) as manager:
        for size in (16, 130, 300):
            text = "x" * size * 2**20
            before = rss()
            try:
                await manager.start("s", [], context={"text": text})
            except PayloadError as error:
                print(size, rss() - before)
        await manager.start("s", [])
        print(len(await manager.list_active()), len(await manager.store.counts()))
asyncio.run(main())
"""


def test_a_refused_payload_costs_no_memory(tmp_path: Path) -> None:
    """300 MiB are refused without a copy; the next start works."""
    done = subprocess.run(
        [sys.executable, "-c", _STARTS, f"sqlite:///{tmp_path}/saga.db"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    *sizes, last = [line.split() for line in done.stdout.splitlines()]
    assert [size for size, _ in sizes] == ["16", "130", "300"]
    assert all(int(grown) < 50 for _, grown in sizes), done.stdout
    assert last == ["0", "1"]


def test_the_command_line_reads_no_more_than_it_may(tmp_path: Path) -> None:
    """A file or a pipe of 300 MiB is refused as usage, from what was read of it."""
    (tmp_path / "shop.py").write_text(
        "from saga_orchestrator import SagaDefinition\ns = SagaDefinition('s')\n"
    )
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(300 * 2**20)
    command = [sys.executable, "-m", "saga_orchestrator", "start", "shop:s"]
    command += ["--store", f"sqlite:///{tmp_path}/saga.db", "--context"]
    limited = ["prlimit", f"--as={600 * 2**20}", *command]
    for given in ("@large.json", "-"):
        with (tmp_path / "large.json").open("rb") as stdin:
            done = subprocess.run(
                [*limited, given],
                cwd=tmp_path,
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == 2, done.stderr
        assert "--context: is more than" in done.stderr.replace("\n", " ")
