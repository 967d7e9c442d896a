"""Opening a manager: what is checked, what is released when it fails."""

from __future__ import annotations

import pytest

from saga_orchestrator import (
    ConfigurationError,
    Handlers,
    Manager,
    SagaDefinition,
    Step,
)
from saga_orchestrator.errors import HandlerNotFoundError, StoreLockedError
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    Service,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    seconds,
    virtual,
)


class _Closing:
    """A part's handle that notes that it was closed."""

    def __init__(self, inner, *, refuses: str = "") -> None:
        self._inner = inner
        self._refuses = refuses
        self.closed = 0

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    async def acquire_engine(self) -> None:
        if self._refuses:
            raise StoreLockedError(self._refuses)

    async def close(self) -> None:
        self.closed += 1
        await self._inner.close()


@virtual
async def test_a_manager_is_entered_or_awaited():
    """Both forms give an open manager; the first closes it."""
    async with open_manager() as manager:
        assert isinstance(manager, Manager)
    manager = await open_manager()
    assert (await manager.start("s", [])).is_completed
    await manager.close()


@virtual
async def test_closing_twice_is_closing_once():
    """A manager releases its parts once."""
    store = _Closing(await open_store())
    manager = await open_manager(store=store)
    await manager.close()
    await manager.close()
    assert store.closed == 1


@virtual
async def test_a_body_that_raises_closes_the_manager():
    """Its error comes out, and nothing is left open."""
    store = _Closing(await open_store())
    with pytest.raises(ZeroDivisionError):
        async with open_manager(store=store):
            raise ZeroDivisionError
    assert store.closed == 1


@virtual
@pytest.mark.parametrize(
    ("part", "url", "known"),
    [
        ("store", "mysql://x", ("memory://", "sqlite://", "postgresql://")),
        ("store", "nowhere", ("memory://", "sqlite://", "postgresql://")),
        ("broker", "kafka://x", ("memory://", "amqp://", "amqps://")),
    ],
)
async def test_an_unknown_scheme_is_refused(part, url, known):
    """The error says which part, what it got, and what there is."""
    with pytest.raises(ConfigurationError) as caught:
        await open_manager(Service().handlers, **{part: url})
    assert str(caught.value).startswith(f"{part}: ")
    for scheme in known:
        assert scheme in str(caught.value)


@virtual
async def test_a_broker_that_cannot_be_opened_closes_the_store():
    """``open`` leaves nothing open when it fails half-way."""
    store = _Closing(await open_store())
    with pytest.raises(ConfigurationError):
        await open_manager(Service().handlers, store=store, broker="kafka://x")
    assert store.closed == 1


@virtual
async def test_an_engine_that_cannot_be_opened_closes_both_parts():
    """As when another engine runs on this store."""
    store = _Closing(await open_store(), refuses="process 7 runs it")
    broker = _Closing(await open_broker(fresh_name()))
    with pytest.raises(StoreLockedError, match="process 7"):
        await open_manager(Service().handlers, store=store, broker=broker)
    assert (store.closed, broker.closed) == (1, 1)


def test_two_services_with_one_action_are_refused():
    """An action belongs to one queue."""
    one, two = Handlers("one"), Handlers("two")
    for service in (one, two):
        service.step("pay.charge")(lambda ctx: None)
    with pytest.raises(ConfigurationError, match=r"pay\.charge.*two services"):
        open_manager(one, two)


def test_two_services_with_one_name_are_refused():
    """Their queues would be one."""
    with pytest.raises(ConfigurationError, match="service name 'one'"):
        open_manager(Handlers("one"), Handlers("one"))


def test_two_definitions_with_one_name_are_refused():
    """A name stands for one definition."""
    service = Service()
    kinds = [SagaDefinition("s", service.chain(c)) for c in "ab"]
    with pytest.raises(ConfigurationError, match="two have the name 's'"):
        open_manager(service.handlers, definitions=kinds)


@pytest.mark.parametrize(
    ("step", "missing"),
    [
        (Step("x", action="near.nothing"), "action 'near.nothing'"),
        (
            Step("x", action="near.a", compensation="near.nothing"),
            "compensation 'near.nothing'",
        ),
    ],
)
def test_a_missing_handler_is_found_when_opening(step, missing):
    """The error names the saga, the step and what has no handler."""
    kind = SagaDefinition("order", [step])
    with pytest.raises(HandlerNotFoundError, match=missing) as caught:
        open_manager(Service().handlers, definitions=[kind])
    assert "saga 'order': step 'x'" in str(caught.value)


@virtual
async def test_a_missing_handler_is_found_when_starting():
    """An ad-hoc saga is held to the same rule, and nothing is started."""
    async with open_manager(Service().handlers) as manager:
        with pytest.raises(HandlerNotFoundError, match=r"near\.nothing"):
            await manager.start("s", [Step("x", action="near.nothing")])
        assert await manager.list_active() == []


@virtual
async def test_steps_of_services_elsewhere_are_not_checked():
    """Only the actions of this process's own services must have handlers."""
    async with open_manager(Service().handlers) as manager:
        await manager.start("s", [Step("x", action="far.away", limit=seconds(60))])


def _undo_that_needs_its_output() -> Handlers:
    service = Handlers("near")

    @service.step("near.a")
    async def act(ctx) -> dict[str, int]:
        return {"id": 1}

    @service.compensation("near.undo")
    async def undo(ctx, done: dict[str, int]) -> None:
        del done

    return service


def test_a_compensation_must_take_none():
    """It gets None when nobody knows whether the action happened."""
    kind = SagaDefinition("s", [Step("x", action="near.a", compensation="near.undo")])
    with pytest.raises(ConfigurationError, match="does not take None"):
        open_manager(_undo_that_needs_its_output(), definitions=[kind])


@virtual
async def test_a_compensation_must_take_none_also_in_ad_hoc_sagas():
    """The same rule at the start, where the definition is first seen."""
    async with open_manager(_undo_that_needs_its_output()) as manager:
        steps = [Step("x", action="near.a", compensation="near.undo")]
        with pytest.raises(ConfigurationError, match="does not take None"):
            await manager.start("s", steps)


@virtual
async def test_a_compensation_that_is_never_asked_in_doubt_need_not_take_none():
    """``undo_failed="never"`` promises that it is only called with an output."""
    steps = [Step("x", action="near.a", compensation="near.undo", undo_failed="never")]
    async with open_manager(_undo_that_needs_its_output()) as manager:
        saga = await manager.start("s", steps)
        assert (await manager.wait(saga.id)).is_completed


@pytest.mark.parametrize("long", [False, True])
def test_over_a_quarter_of_an_hour_a_handler_must_be_long(long):
    """The broker takes back what is not acknowledged for half an hour."""
    service = Handlers("near")
    service.step("near.slow", long=long)(lambda ctx: None)
    kind = SagaDefinition(
        "s", [Step("x", action="near.slow", timeout=seconds(15 * 60 + 1))]
    )
    if long:
        open_manager(service, definitions=[kind])
        return
    with pytest.raises(ConfigurationError, match="long=True"):
        open_manager(service, definitions=[kind])


@virtual
async def test_definitions_that_are_made_anew_for_each_start_are_not_kept():
    """A program that builds its definition in a function does not grow for ever."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        for _ in range(300):
            await manager.start(SagaDefinition("s", service.chain("a")))
        assert len(manager._catalogue._plans) < 300


@virtual
async def test_without_handlers_no_engine_runs():
    """A client commits, and an engine elsewhere does the rest."""
    async with open_manager() as manager:
        saga = await manager.start("s", Service().chain("a"))
        await LoopClock().sleep(60)
        record = await manager.record(saga.id)
        assert len(record.outbox) == 1
        assert record.outbox[0].error == ""


@virtual
async def test_who_forgets_to_open_is_told():
    """``Manager.open`` gives something to await or to enter, and says so."""
    with pytest.raises(AttributeError, match="not open yet; write `async with"):
        Manager.open().start("s", [])


@virtual
@pytest.mark.parametrize("name", ["handlers", "definitions"])
async def test_what_must_be_a_list_says_so(name):
    """One service instead of a list of services is a mistake with a name."""
    with pytest.raises(ConfigurationError, match=f"{name}: must be a list of"):
        await Manager.open(**{name: Handlers("near")})
