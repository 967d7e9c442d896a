"""What a person may ask of sagas, with the engine at work."""

from __future__ import annotations

import math

import pytest

from saga_orchestrator import RetryPolicy, SagaDefinition, SagaNotFoundError
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.errors import (
    PayloadError,
    StoreUnavailableError,
    TransitionRefused,
)
from saga_orchestrator.participant.signals import Deferred, StepFailed
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    ONCE,
    Service,
    WatchedStore,
    open_manager,
    open_store,
    raising,
    seconds,
    until,
    virtual,
)

WHO = {"reason": "customer called", "principal": "ann"}
NOBODY = "01JGFJJZ00000000000000000A"


async def last(manager, saga_id, kind):
    """Return what the last history entry of a kind tells, but for the request's id."""
    entries = (await manager.record(saga_id)).history
    told = [entry for entry in entries if entry.kind is kind][-1].data
    return {name: value for name, value in told.items() if name != "request_id"}


async def parked(manager, service, step="b"):
    """Start a saga whose step gives up, and which then waits for a person."""
    service.does[step] = raising(StepFailed("no"))
    definition = SagaDefinition("s", steps=service.chain(), on_failure="park")
    saga = await manager.start(definition, context={"n": 1})
    return await manager.wait(saga.id)


async def late(manager, service):
    """Start a saga whose step answers after it was given up and undone."""

    async def answer_late(ctx):
        await LoopClock().sleep(50)
        return {"by": ctx.step}

    service.does["a"] = answer_late
    saga = await manager.start("s", service.chain("a", retry=ONCE), context={"n": 1})
    await until(lambda: "a" in service.runs)
    await manager.give_up(saga.id, "a", **WHO)
    assert (await manager.wait(saga.id)).is_compensated
    await until(manager.residuals)
    return saga


@virtual
async def test_retry_goes_on_forward():
    """What gave up is tried again, with fresh attempts; who and why is kept."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await parked(manager, service)
        del service.does["b"]
        await manager.retry(saga.id, **WHO)
        saga = await manager.wait(saga.id)
        assert saga.is_completed
        assert service.runs == ["a", "b", "b", "c"]
        data = await last(manager, saga.id, HistoryKind.RETRY_REQUESTED)
        assert data == WHO


@virtual
async def test_retry_goes_on_undoing():
    """A saga whose undo gave up is undone once the cause is gone."""
    service = Service()
    service.does["b"] = raising(StepFailed("no"))
    service.does["undo_a"] = raising(StepFailed("refund desk closed"))
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        saga = await manager.wait(saga.id)
        assert saga.is_failed
        assert "refund desk closed" in saga.reason
        del service.does["undo_a"]
        await manager.retry(saga.id, **WHO)
        assert (await manager.wait(saga.id)).is_compensated


@virtual
async def test_resolved_step_counts_as_done():
    """Its output is what later steps read, and what its undo is given."""
    service = Service()
    service.does["c"] = raising(StepFailed("no"))
    async with open_manager(service.handlers) as manager:
        saga = await parked(manager, service)
        await manager.resolve(saga.id, "b", output={"id": 7}, **WHO)
        saga = await manager.wait(saga.id)
        assert (saga.is_failed, saga.outputs["b"]) == (True, {"id": 7})
        ran = {ctx.step: ctx for ctx in service.contexts}
        assert ran["c"].outputs == {"b": {"id": 7}}
        await manager.compensate(saga.id, **WHO)
        assert (await manager.wait(saga.id)).is_compensated
        assert service.runs[-2:] == ["undo_b", "undo_a"]
        assert service.given[-2] == {"id": 7}


@virtual
async def test_resolved_undo_counts_as_undone():
    """A person refunded by hand; the rest is undone by the machine."""
    service = Service()
    service.does["c"] = raising(StepFailed("no"))
    service.does["undo_b"] = raising(StepFailed("card expired"))
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        assert (await manager.wait(saga.id)).is_failed
        await manager.resolve(saga.id, "b", **WHO)
        saga = await manager.wait(saga.id)
        assert saga.is_compensated
        assert service.runs[-1] == "undo_a"


@virtual
async def test_give_up_settles_what_nobody_will_answer():
    """The open dispatch is unknown, now: its step is undone with the others."""
    service = Service()
    service.does["b"] = raising(Deferred())
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain(retry=ONCE))
        await until(lambda: "b" in service.runs)
        await manager.give_up(saga.id, "b", **WHO)
        saga = await manager.wait(saga.id)
        assert saga.is_compensated
        assert service.runs[-2:] == ["undo_b", "undo_a"]
        assert LoopClock().monotonic() < 60, "nobody waited for the limit"
        data = await last(manager, saga.id, HistoryKind.WAIT_GIVEN_UP)
        assert (data["principal"], data["reason"]) == ("ann", "customer called")


@virtual
async def test_residual_is_undone_by_a_saga_of_its_own():
    """With the output of the late answer, the input, the owner's id and key."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await late(manager, service)
        (residual,) = await manager.residuals()
        runs = len(service.runs)
        undo = await manager.undo_residual(saga.id, residual.number, **WHO)
        undo = await manager.wait(undo.id)
        assert (undo.is_compensated, undo.undoes) == (True, saga.id)
        assert service.runs[runs:] == ["undo_a"]
        assert service.given[-1] == {"by": "a"}
        ctx = service.contexts[-1]
        assert (ctx.saga_id, ctx.fence.saga_id) == (saga.id, undo.id)
        assert ctx.action_key == f"{saga.id}:a:action"
        assert ctx.idempotency_key.startswith(undo.id)
        assert ctx.context == {"n": 1}
        assert await manager.residuals() == []
        assert (await manager.get(saga.id)).residuals == 0
        data = await last(manager, saga.id, HistoryKind.RESIDUAL_UNDO_REQUESTED)
        assert data == {**WHO, "residual": residual.number, "undo_id": undo.id}


@virtual
async def test_undo_of_a_residual_is_retried_and_shows_where_it_fails():
    """It has the step's policy; when it gives up, its saga is listed as failed."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await late(manager, service)
        service.does["undo_a"] = raising(ConnectionError())
        (residual,) = await manager.residuals()
        undo = await manager.undo_residual(saga.id, residual.number, **WHO)
        undo = await manager.wait(undo.id)
        assert undo.is_failed
        assert service.runs.count("undo_a") == 1 + 20
        assert [one.id for one in await manager.list_active()] == [undo.id]
        del service.does["undo_a"]
        await manager.retry(undo.id, **WHO)
        assert (await manager.wait(undo.id)).is_compensated


@virtual
async def test_dismissed_residual_is_settled():
    """Nothing is sent; the saga may be deleted now."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await late(manager, service)
        (residual,) = await manager.residuals()
        runs = len(service.runs)
        with pytest.raises(TransitionRefused, match="open residual"):
            await manager.store.delete(saga.id)
        await manager.dismiss_residual(saga.id, residual.number, **WHO)
        assert (await manager.residuals(), len(service.runs)) == ([], runs)
        await manager.store.delete(saga.id)


@virtual
async def test_a_lost_commit_starts_one_undo_only():
    """The answer to the commit was lost: the same event is decided again."""
    service = Service()
    store = WatchedStore(await open_store())
    async with open_manager(service.handlers, store=store) as manager:
        saga = await late(manager, service)
        (residual,) = await manager.residuals()
        lost = _lose_answer(store, lambda all_: any(one.started for one in all_))
        undo = await manager.undo_residual(saga.id, residual.number, **WHO)
        assert lost
        assert (await manager.wait(undo.id)).is_compensated
        assert service.runs.count("undo_a") == 1 + 1


@virtual
@pytest.mark.parametrize("ask", ["compensate", "retry", "resolve"])
async def test_a_request_whose_commit_was_not_answered_is_not_refused(ask):
    """It is decided again, and answers as if it had been heard the first time."""
    service = Service()
    store = WatchedStore(await open_store())
    async with open_manager(service.handlers, store=store) as manager:
        saga = await parked(manager, service, step="a")
        lost = _lose_answer(store, lambda decisions: decisions[0].changed)
        await _asks(manager, saga.id, **WHO)[ask]()
        assert lost
        history = (await manager.record(saga.id)).history
        asked = [entry for entry in history if entry.data.get("principal") == "ann"]
        assert [len(entry.data["request_id"]) for entry in asked] == [26]


def _lose_answer(store, when):
    """Let the answer to the first such commit be lost; return what was lost."""
    transact = store.inner.transact
    lost = []

    async def lose_one(events, **options):
        decisions = await transact(events, **options)
        if not lost and when(decisions):
            lost.append(events)
            raise StoreUnavailableError("the connection broke")
        return decisions

    store.inner.transact = lose_one
    return lost


def _asks(manager, saga_id, **who):
    return {
        "compensate": lambda: manager.compensate(saga_id, **who),
        "retry": lambda: manager.retry(saga_id, **who),
        "resolve": lambda: manager.resolve(saga_id, "a", **who),
        "give_up": lambda: manager.give_up(saga_id, "a", **who),
        "undo_residual": lambda: manager.undo_residual(saga_id, 1, **who),
        "dismiss_residual": lambda: manager.dismiss_residual(saga_id, 1, **who),
    }


@virtual
@pytest.mark.parametrize("ask", list(_asks(None, "")))
@pytest.mark.parametrize(
    ("who", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "a\0b"}, "reason"),
        ({"reason": "x", "principal": ""}, "principal"),
        ({"reason": "x", "principal": "\ud800"}, "principal"),
    ],
)
async def test_who_and_why_must_be_said(ask, who, field):
    """Whatever is asked; the error names the field, and nothing changes."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await parked(manager, service)
        with pytest.raises(PayloadError, match=f"^{field}: "):
            await _asks(manager, saga.id, **who)[ask]()
        assert await manager.get(saga.id) == saga


@virtual
@pytest.mark.parametrize("ask", list(_asks(None, "")))
@pytest.mark.parametrize("saga_id", [NOBODY, "nonsense"])
async def test_an_unknown_saga_is_told(ask, saga_id):
    """An id that is none, and an id of nobody."""
    async with open_manager() as manager:
        with pytest.raises(SagaNotFoundError):
            await _asks(manager, saga_id, **WHO)[ask]()


@virtual
@pytest.mark.parametrize("ask", ["retry", "resolve", "give_up", "undo_residual"])
async def test_a_completed_saga_refuses_and_says_its_state(ask):
    """The refusal names the state; nothing changed."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        saga = await manager.wait(saga.id)
        with pytest.raises(TransitionRefused) as refused:
            await _asks(manager, saga.id, **WHO)[ask]()
        assert refused.value.state == "completed"
        assert await manager.get(saga.id) == saga


@virtual
@pytest.mark.parametrize("ask", ["resolve", "give_up"])
async def test_an_unknown_step_is_refused(ask):
    """The refusal lists the steps there are."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await parked(manager, service)
        if ask == "give_up":
            await manager.compensate(saga.id, **WHO)
        with pytest.raises(TransitionRefused) as refused:
            await getattr(manager, ask)(saga.id, "nobody", **WHO)
        if ask == "resolve":
            assert "a, b, c" in str(refused.value)


@virtual
@pytest.mark.parametrize("output", [math.nan, {"x": "\0"}, object(), "x" * 2_000_000])
async def test_a_resolving_output_is_checked(output):
    """It travels to other services like any output."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await parked(manager, service)
        with pytest.raises(PayloadError, match=r"^output"):
            await manager.resolve(saga.id, "b", output=output, **WHO)
        assert await manager.get(saga.id) == saga


@virtual
async def test_force_undoes_a_completed_saga():
    """Without it the refusal says so."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        await manager.wait(saga.id)
        with pytest.raises(TransitionRefused, match="force"):
            await manager.compensate(saga.id, **WHO)
        await manager.compensate(saga.id, force=True, **WHO)
        assert (await manager.wait(saga.id)).is_compensated
        assert service.runs[3:] == ["undo_c", "undo_b", "undo_a"]
        data = await last(manager, saga.id, HistoryKind.COMPENSATE_REQUESTED)
        assert data == {**WHO, "force": True}


@virtual
async def test_retry_clears_the_deadline():
    """Else it would pass again at once."""
    service = Service()
    service.does["b"] = raising(ConnectionError(), times=1)
    steps = service.chain(retry=RetryPolicy(initial_delay=seconds(100), jitter=0.0))
    definition = SagaDefinition(
        "s", steps=steps, deadline=seconds(50), on_deadline="suspend"
    )
    async with open_manager(service.handlers) as manager:
        saga = await manager.start(definition)
        assert (await manager.wait(saga.id)).is_failed
        await manager.retry(saga.id, **WHO)
        saga = await manager.wait(saga.id)
        assert (saga.is_completed, saga.deadline_at) == (True, None)
