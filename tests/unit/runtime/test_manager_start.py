"""Starting sagas: by name, by definition, ad hoc, by key; what is refused."""

from __future__ import annotations

import asyncio
import math

import pytest

from saga_orchestrator import (
    DefinitionError,
    KeyConflict,
    PayloadError,
    SagaDefinition,
    SagaState,
    Step,
)
from saga_orchestrator.core.ids import is_saga_id
from saga_orchestrator.errors import StoreUnavailableError
from saga_orchestrator.ports.store import SagaFilter
from tests.unit.runtime.stage import (
    ONCE,
    Service,
    WatchedStore,
    open_manager,
    open_store,
    raising,
    virtual,
)


@virtual
async def test_a_saga_is_started_by_name_by_definition_or_ad_hoc():
    """All three run the same steps; ids are ULIDs that sort by their start."""
    service = Service()
    kind = SagaDefinition("order", service.chain())
    async with open_manager(service.handlers, definitions=[kind]) as manager:
        sagas = [
            await manager.start("order"),
            await manager.start(kind, context={"x": 1}),
            await manager.start("other", service.chain(), {"x": 1}),
        ]
        for saga in sagas:
            assert is_saga_id(saga.id)
            assert (await manager.wait(saga.id)).completed_steps == ("a", "b", "c")
    assert sorted(service.runs) == sorted("abc" * 3)


@virtual
async def test_an_unknown_name_is_refused():
    """The error lists the names that are known."""
    kind = SagaDefinition("order", [])
    async with open_manager(definitions=[kind]) as manager:
        with pytest.raises(DefinitionError, match=r"'ordre'.*known: order"):
            await manager.start("ordre")


@virtual
async def test_a_definition_with_steps_beside_it_is_refused():
    """Steps belong to an ad-hoc name."""
    async with open_manager() as manager:
        with pytest.raises(DefinitionError, match="has its own steps"):
            await manager.start(SagaDefinition("s", []), [])


@virtual
async def test_a_saga_without_steps_completes_at_once():
    """There is nothing to wait for."""
    async with open_manager() as manager:
        assert (await manager.start("s", [])).state is SagaState.COMPLETED


@virtual
async def test_a_key_finds_its_saga_whatever_its_state():
    """The same start again returns it: running, compensated, completed."""
    service = Service()
    gate = asyncio.Event()
    service.does["a"] = lambda _: gate.wait()
    service.does["c"] = raising(RuntimeError("no"))
    async with open_manager(service.handlers) as manager:

        async def start(steps: str):
            chain = service.chain(steps, retry=ONCE)
            return await manager.start(steps, chain, {"n": 1}, key="k")

        done, undone = await start("ab"), await start("ac")
        assert (await start("ab")).id == done.id
        gate.set()
        assert (await manager.wait(done.id)).is_completed
        assert (await manager.wait(undone.id)).is_compensated
        assert (await start("ab")).is_completed
        assert (await start("ac")).is_compensated


@virtual
async def test_a_key_with_another_body_is_a_conflict():
    """The error carries name, key and the saga that has it; nothing is started."""
    async with open_manager() as manager:
        saga = await manager.start("s", [], {"n": 1}, key="k")
        for body in (([], {"n": 2}), ([], {}), ([Step("x")], {"n": 1})):
            with pytest.raises(KeyConflict) as caught:
                await manager.start("s", *body, key="k")
            conflict = caught.value
            assert (conflict.name, conflict.key, conflict.saga_id) == (
                "s",
                "k",
                saga.id,
            )
        assert len(await manager.store.find(SagaFilter())) == 1


@virtual
async def test_a_key_is_unique_per_name():
    """Two kinds of sagas may use the same key."""
    async with open_manager() as manager:
        one = await manager.start("one", [], key="k")
        two = await manager.start("two", [], key="k")
        assert one.id != two.id


@virtual
async def test_a_key_survives_a_new_release_of_its_definition():
    """A caller that repeats its start after a deployment finds its saga."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        old = await manager.start(SagaDefinition("s", service.chain("a")), key="k")
        new = await manager.start(SagaDefinition("s", service.chain("ab")), key="k")
        assert new.id == old.id


@virtual
async def test_fifty_starts_with_one_key_make_one_saga():
    """However they race, within a process and between two."""
    service = Service()
    store = await open_store()
    async with (
        open_manager(service.handlers, store=store) as one,
        open_manager(service.handlers, store=store) as two,
    ):
        steps = service.chain()
        sagas = await asyncio.gather(
            *(
                manager.start("s", steps, {"n": 1}, key="k")
                for _ in range(25)
                for manager in (one, two)
            )
        )
        assert len({saga.id for saga in sagas}) == 1
        await one.wait(sagas[0].id)
        assert service.runs == ["a", "b", "c"]


@virtual
async def test_a_start_whose_answer_was_lost_is_repeated_by_key():
    """Though the commit went through, there is one saga."""
    store = WatchedStore(await open_store())
    transact = store.inner.transact
    left = [1]

    async def lost(*args, **kwargs):
        decisions = await transact(*args, **kwargs)
        if left:
            left.pop()
            raise StoreUnavailableError("the answer was lost")
        return decisions

    store.inner.transact = lost
    async with open_manager(store=store) as manager:
        saga = await manager.start("s", [])
        assert saga.is_completed
        assert [s.id for s in await store.find(SagaFilter())] == [saga.id]


def _nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@virtual
@pytest.mark.parametrize(
    ("context", "place"),
    [
        ("text", "context"),
        (["list"], "context"),
        (5, "context"),
        ([], "context"),
        ("", "context"),
        (0, "context"),
        ({"a": {"b": math.nan}}, "context.a.b"),
        ({"a": [1, math.inf]}, "context.a[1]"),
        ({"a": "\0"}, "context.a"),
        ({"a\0": 1}, "context"),
        ({"a": "\ud800"}, "context.a"),
        ({"a": {1: 2}}, "context.a"),
        ({"a": 2**64}, "context.a"),
        ({"a": {1, 2}}, "context.a"),
        ({"a": object()}, "context.a"),
        ({"a": b"bytes"}, "context.a"),
        ({"a": "x" * (1024 * 1024)}, "context"),
        ({"a": _nested(64)}, "context.a"),
        ({"a": _nested(5000)}, "context.a"),
    ],
)
async def test_a_context_that_cannot_travel_is_refused(context, place):
    """The error names the place and the fix; nothing is started."""
    async with open_manager() as manager:
        with pytest.raises(PayloadError) as caught:
            await manager.start("s", [], context)
        assert caught.value.path.startswith(place)
        assert len(str(caught.value)) < 2000
        assert await manager.store.find(SagaFilter()) == []


@virtual
@pytest.mark.parametrize("key", ["", "x" * 256, 5, b"k", "\0", "\ud800"])
async def test_a_bad_key_is_refused(key):
    """A key is 1 to 255 characters of text."""
    async with open_manager() as manager:
        with pytest.raises(PayloadError) as caught:
            await manager.start("s", [], key=key)
        assert caught.value.path == "key"
        assert await manager.store.find(SagaFilter()) == []


@virtual
async def test_a_context_is_copied_at_the_start():
    """What the caller changes afterwards, the saga does not see."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        context = {"list": [1], "tuple": (1, 2)}
        saga = await manager.start("s", service.chain("a"), context)
        context["list"].append(2)
        await manager.wait(saga.id)
        assert service.given == [{"list": [1], "tuple": [1, 2]}]


@virtual
async def test_something_else_than_a_definition_is_refused_clearly():
    """The error says what may be started."""
    async with open_manager() as manager:
        with pytest.raises((DefinitionError, TypeError)):
            await manager.start(None)
