"""Steps that are answered from outside, and requests on a version that was seen."""

from __future__ import annotations

import pytest

from saga_orchestrator import RetryPolicy, SagaDefinition, SagaNotFoundError
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Direction, StepState
from saga_orchestrator.errors import (
    ForgedReplyError,
    NotAwaitedError,
    PayloadError,
    StaleVersionError,
)
from saga_orchestrator.participant.signals import Deferred, StepFailed
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    ONCE,
    Service,
    open_manager,
    raising,
    until,
    virtual,
)

WHO = {"reason": "customer called", "principal": "ann"}


def deferring(service, name):
    """Let a handler leave its answer to somebody outside."""

    async def defer(ctx):
        return Deferred()

    service.does[name] = defer


async def deferred(manager, service, steps="ab", **options):
    """Start a saga whose step ``a`` waits for somebody outside; return its token."""
    deferring(service, "a")
    definition = SagaDefinition("s", steps=service.chain(steps, **options))
    saga = await manager.start(definition)

    async def is_accepted():
        return await entries(manager, saga.id, HistoryKind.STEP_ACCEPTED)

    await until(is_accepted)
    return saga.id, service.contexts[-1].completion_token


async def entries(manager, saga_id, kind):
    """Return the history entries of a kind."""
    history = (await manager.record(saga_id)).history
    return [entry for entry in history if entry.kind is kind]


@virtual
async def test_the_saga_goes_on_once():
    """The answer completes the step; the same one again changes nothing."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service)
        answer = {"output": {"paid": 5}, "update": {"seen": True}}
        saga = await manager.complete_step(saga_id, "a", token, **answer)
        assert saga.status("a").state is StepState.COMPLETED
        saga = await manager.wait(saga_id)
        assert saga.is_completed
        assert (saga.outputs["a"], saga.context) == ({"paid": 5}, {"seen": True})
        before = await manager.record(saga_id)
        again = await manager.complete_step(saga_id, "a", token, **answer)
        assert again.version == saga.version
        assert (await manager.record(saga_id)).history == before.history
        assert service.runs == ["a", "b"]


@virtual
async def test_another_answer_for_the_same_run_is_refused():
    """What the first answer said stands; the second one is told so."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service)
        await manager.complete_step(saga_id, "a", token, output=1)
        saga = await manager.wait(saga_id)
        with pytest.raises(NotAwaitedError, match="with another answer"):
            await manager.complete_step(saga_id, "a", token, output=True)
        with pytest.raises(NotAwaitedError, match="refused after its success"):
            await manager.fail_step(saga_id, "a", token, error="no")
        assert (await manager.get(saga_id)).version == saga.version


@virtual
async def test_a_failure_is_a_definite_no_unless_it_says_else():
    """A refusal undoes the saga at once; an unknown outcome is tried again."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service)
        await manager.fail_step(saga_id, "a", token, error="no funds")
        saga = await manager.wait(saga_id)
        assert saga.is_compensated
        assert saga.reason == "step a: StepFailed: no funds"
        assert service.runs == ["a"]
        repeated = await manager.fail_step(saga_id, "a", token, error="no funds")
        assert repeated.version == saga.version
        saga_id, first = await deferred(manager, service)
        await manager.fail_step(
            saga_id, "a", first, error="line lost", error_type="Lost", refused=False
        )
        await until(lambda: service.contexts[-1].completion_token != first)
        second = service.contexts[-1].completion_token
        with pytest.raises(NotAwaitedError):
            await manager.fail_step(saga_id, "a", first, error="other")
        await manager.complete_step(saga_id, "a", second)
        assert (await manager.wait(saga_id)).is_completed


@virtual
@pytest.mark.parametrize("first", [{"refused": True}, {"refused": False}])
async def test_a_failure_with_another_meaning_is_another_answer(first):
    """Whether it may have happened, and be tried again, is a part of what is told."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service)
        answer = {"error": "no", "error_type": "Lost"}
        await manager.fail_step(saga_id, "a", token, **answer, **first)
        await manager.fail_step(saga_id, "a", token, **answer, **first)
        other = {"refused": not first["refused"]}
        with pytest.raises(NotAwaitedError):
            await manager.fail_step(saga_id, "a", token, **answer, **other)
        if not first["refused"]:
            with pytest.raises(NotAwaitedError):
                await manager.fail_step(
                    saga_id, "a", token, **answer, **first, retryable=False
                )


@virtual
async def test_a_failure_that_its_policy_counts_as_refused_is_answered_alike():
    """What its type makes of it is not another answer."""
    service = Service()
    once = RetryPolicy(non_retryable=("Declined",))
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service, retry=once)
        answer = {"error": "no", "error_type": "Declined", "refused": False}
        await manager.fail_step(saga_id, "a", token, **answer)
        saga = await manager.wait(saga_id)
        again = await manager.fail_step(saga_id, "a", token, **answer)
        assert again.version == saga.version


@virtual
async def test_a_late_success_is_kept_for_a_person():
    """Its saga was undone; the caller is told that its effect is a residual."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service, retry=ONCE)
        await manager.give_up(saga_id, "a", **WHO)
        saga = await manager.wait(saga_id)
        assert saga.is_compensated
        with pytest.raises(NotAwaitedError, match="kept as residual") as late:
            await manager.complete_step(saga_id, "a", token, output={"paid": 5})
        (residual,) = await manager.residuals()
        assert (residual.number, residual.output) == (late.value.residual, {"paid": 5})
        with pytest.raises(NotAwaitedError, match="kept as residual") as again:
            await manager.complete_step(saga_id, "a", token, output={"paid": 5})
        assert again.value.residual == residual.number
        with pytest.raises(NotAwaitedError, match="with another answer") as other:
            await manager.complete_step(saga_id, "a", token, output={"paid": 6})
        assert other.value.residual is None
        assert len(await manager.residuals()) == 1
        assert (await manager.get(saga_id)).is_compensated


@virtual
async def test_heartbeats_hold_and_their_end_counts():
    """Beats keep a run; 60 s of silence after one lose it; without any it waits."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service, retry=ONCE)
        clock = LoopClock()
        await clock.sleep(3600)
        for _ in range(3):
            await manager.heartbeat_step(saga_id, "a", token)
            await clock.sleep(50)
        assert (await manager.get(saga_id)).status("a").state is StepState.STARTED
        await clock.sleep(20)
        assert await entries(manager, saga_id, HistoryKind.HEARTBEAT_LOST)
        with pytest.raises(NotAwaitedError):
            await manager.heartbeat_step(saga_id, "a", token)


@virtual
async def test_an_undo_may_be_answered_from_outside():
    """A deferred compensation has a token of its own, and takes no action's."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        deferring(service, "undo_a")
        service.does["b"] = raising(StepFailed("no"))
        saga = await manager.start("s", service.chain("ab"))
        await until(lambda: service.runs[-1:] == ["undo_a"])
        done, undo = service.contexts[0], service.contexts[-1]
        assert undo.direction is Direction.COMPENSATION
        with pytest.raises(NotAwaitedError):
            await manager.complete_step(saga.id, "a", done.completion_token)
        await manager.complete_step(saga.id, "a", undo.completion_token)
        assert (await manager.wait(saga.id)).is_compensated
        await manager.complete_step(saga.id, "a", undo.completion_token)


@virtual
async def test_forged_tokens():
    """A token is good for its saga, step and run only; nothing changes."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service)
        other, _ = await deferred(manager, service)
        direction, generation, proof = token.split(".")
        forged = [
            (saga_id, "b", token),
            (other, "a", token),
            (saga_id, "a", f"{direction}.{int(generation) + 1}.{proof}"),
            (saga_id, "a", f"compensation.{generation}.{proof}"),
            (saga_id, "a", f"{direction}.{generation}.{'0' * 32}"),
            (saga_id, "a", proof),
            (saga_id, "a", ""),
            (saga_id, "a", f"{token}\n"),
        ]
        before = await manager.record(saga_id)
        for place in forged:
            with pytest.raises(ForgedReplyError, match="token: was not issued"):
                await manager.complete_step(*place)
        with pytest.raises(SagaNotFoundError):
            await manager.complete_step("no-id", "a", token)
        assert await manager.record(saga_id) == before


@virtual
async def test_an_answer_that_cannot_travel():
    """What is no JSON, too long or empty is named, and the step still waits."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service)
        place = (saga_id, "a", token)
        with pytest.raises(PayloadError, match=r"^output\.x: is inf"):
            await manager.complete_step(*place, output={"x": float("inf")})
        with pytest.raises(PayloadError, match=r"^update: must be an object"):
            await manager.complete_step(*place, update=["x"])
        with pytest.raises(PayloadError, match=r"^error: must be 1 to 2000"):
            await manager.fail_step(*place, error=" ")
        with pytest.raises(PayloadError, match=r"^error_type: must be 1 to 200"):
            await manager.fail_step(*place, error="no", error_type="x" * 201)
        await manager.complete_step(*place)
        assert (await manager.wait(saga_id)).is_completed


@virtual
async def test_requests_on_a_version_that_is_past():
    """Every request may name the version that was seen; a stale one does nothing."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        service.does["b"] = raising(StepFailed("no"))
        retry = RetryPolicy(max_attempts=1)
        definition = SagaDefinition(
            "s", steps=service.chain(retry=retry), on_failure="park"
        )
        saga = await manager.wait((await manager.start(definition)).id)
        stale = {**WHO, "if_version": saga.version - 1}
        requests = [
            manager.compensate(saga.id, **stale),
            manager.retry(saga.id, **stale),
            manager.resolve(saga.id, "b", **stale),
            manager.give_up(saga.id, "b", **stale),
            manager.dismiss_residual(saga.id, 1, **stale),
        ]
        for request in requests:
            with pytest.raises(StaleVersionError) as refused:
                await request
            assert refused.value.version == saga.version
        assert await manager.get(saga.id) == saga
        seen = {**WHO, "if_version": saga.version}
        await manager.resolve(saga.id, "b", **seen)
        with pytest.raises(StaleVersionError):
            await manager.compensate(saga.id, **seen)
        assert (await manager.wait(saga.id)).is_completed


@virtual
async def test_an_undo_of_a_residual_on_a_version_that_is_past():
    """The residual stays open."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga_id, token = await deferred(manager, service, retry=ONCE)
        await manager.give_up(saga_id, "a", **WHO)
        await manager.wait(saga_id)
        with pytest.raises(NotAwaitedError):
            await manager.complete_step(saga_id, "a", token)
        (residual,) = await manager.residuals()
        version = (await manager.get(saga_id)).version
        with pytest.raises(StaleVersionError):
            await manager.undo_residual(
                saga_id, residual.number, **WHO, if_version=version - 1
            )
        assert await manager.residuals() == [residual]
        await manager.undo_residual(saga_id, residual.number, **WHO, if_version=version)
        assert await manager.residuals() == []
