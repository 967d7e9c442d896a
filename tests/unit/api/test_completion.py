"""Steps that are answered from outside over HTTP: once, and by who has the token."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.api.stage import NOBODY, WHY, problem


async def test_the_saga_goes_on_when_the_call_comes(shop):
    """The output is the step's; the same call again is answered alike."""
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay/complete"
    answer = {"token": token, "output": {"paid": 5}, "update": {"seen": 1}}
    first = await shop.call("POST", path, answer)
    assert first.status_code == 200
    assert first.json()["steps"][0]["state"] == "completed"
    ended = await shop.ended(saga_id)
    assert (ended["state"], ended["outputs"]["pay"]) == ("completed", {"paid": 5})
    assert ended["context"]["seen"] == 1
    again = await shop.call("POST", path, answer)
    assert (again.status_code, again.json()["version"]) == (200, ended["version"])
    assert shop.shop.runs == ["pay", "send"]


async def test_many_calls_at_once_complete_it_once(shop):
    """All are answered alike, and the next step runs once."""
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay/complete"
    answers = await asyncio.gather(
        *(shop.call("POST", path, {"token": token}) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert (await shop.ended(saga_id))["state"] == "completed"
    assert shop.shop.runs == ["pay", "send"]


async def test_a_failure(shop):
    """A refusal undoes the saga; repeated it is answered alike, another one is not."""
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay"
    failure = {"token": token, "error": "card declined", "error_type": "CardDeclined"}
    assert (await shop.call("POST", f"{path}/fail", failure)).status_code == 200
    ended = await shop.ended(saga_id)
    assert ended["state"] == "compensated"
    assert ended["reason"] == "step pay: CardDeclined: card declined"
    assert (await shop.call("POST", f"{path}/fail", failure)).status_code == 200
    failure["error"] = "other"
    other = await shop.call("POST", f"{path}/fail", failure)
    assert problem(other) == (409, "not-awaited", ["body.token"])
    assert other.json()["state"] == "compensated"
    assert (await shop.call("GET", f"/v1/sagas/{saga_id}/wait")).json() == ended | {
        "ignored": 2
    }


async def test_an_unknown_outcome(shop):
    """``refused: false`` says that it may have happened: the step is undone, too."""
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay/fail"
    failure = {"token": token, "error": "line lost", "refused": False}
    assert (await shop.call("POST", path, failure)).status_code == 200
    assert (await shop.ended(saga_id))["state"] == "compensated"
    assert shop.shop.runs == ["pay", "unpay"]


async def test_heartbeats(shop):
    """A sign of life is taken while the run is open, and is 409 after it."""
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay"
    beat = await shop.call("POST", f"{path}/heartbeat", {"token": token})
    assert beat.status_code == 200
    assert beat.json()["steps"][0]["due_at"] is not None
    await shop.call("POST", f"{path}/complete", {"token": token})
    late = await shop.call("POST", f"{path}/heartbeat", {"token": token})
    assert problem(late) == (409, "not-awaited", ["body.token"])


async def test_a_success_after_the_end_is_kept_for_a_person(shop):
    """409 tells the residual's number; the saga's state is what it was."""
    saga_id, number = await shop.residual()
    saga = (await shop.call("GET", f"/v1/sagas/{saga_id}")).json()
    assert saga["state"] == "compensated"
    assert [one["number"] for one in saga["open_residuals"]] == [number]


async def test_another_answer_after_the_first(shop):
    """What the first one said stands."""
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay"
    await shop.call("POST", f"{path}/complete", {"token": token, "output": 1})
    ended = await shop.ended(saga_id)
    for verb, body in (
        ("complete", {"output": 2}),
        ("complete", {"output": 1, "update": {"x": 1}}),
        ("fail", {"error": "no"}),
    ):
        other = await shop.call("POST", f"{path}/{verb}", {"token": token, **body})
        assert problem(other) == (409, "not-awaited", ["body.token"])
        assert other.json()["residual"] is None
    assert (await shop.ended(saga_id))["outputs"] == ended["outputs"]


async def test_forged_tokens(shop):
    """403 for one of another saga, step, run or store; 422 for what is none."""
    saga_id, token = await shop.deferred()
    other, _ = await shop.deferred()
    before = (await shop.call("GET", f"/v1/sagas/{saga_id}")).json()
    path = "/v1/sagas/{}/steps/{}/{}"
    direction, generation, proof = token.split(".")
    for verb, more in (("complete", {}), ("fail", {"error": "x"}), ("heartbeat", {})):
        for place in ((other, "pay"), (saga_id, "send"), (NOBODY, "pay")):
            body = {"token": token, **more}
            answer = await shop.call("POST", path.format(*place, verb), body)
            assert problem(answer) == (403, "forged-token", ["body.token"])
        for forged in (
            f"{direction}.{int(generation) + 1}.{proof}",
            f"compensation.{generation}.{proof}",
            f"{direction}.{generation}.{'0' * 32}",
        ):
            body = {"token": forged, **more}
            answer = await shop.call("POST", path.format(saga_id, "pay", verb), body)
            assert problem(answer) == (403, "forged-token", ["body.token"])
        for no_token in (proof, "", 7, None, f"{token}\n", f"{token} "):
            body = {"token": no_token, **more}
            answer = await shop.call("POST", path.format(saga_id, "pay", verb), body)
            assert problem(answer) == (422, "invalid-request", ["body.token"])
    assert (await shop.call("GET", f"/v1/sagas/{saga_id}")).json() == before


async def test_an_undo_is_answered_from_outside(shop):
    """A deferred compensation has a token of its own."""
    saga_id, token = await shop.deferred("order", "pay", unpay="defer")
    path = f"/v1/sagas/{saga_id}"
    await shop.call("POST", f"{path}/steps/pay/complete", {"token": token})
    await shop.ended(saga_id)
    await shop.call("POST", f"{path}/compensate", {**WHY, "force": True})
    while (saga_id, "unpay") not in shop.shop.tokens:
        await shop.call("GET", f"{path}/wait?timeout=0.05")
    undo = shop.shop.tokens[saga_id, "unpay"]
    done = await shop.call("POST", f"{path}/steps/pay/complete", {"token": undo})
    assert done.status_code == 200
    assert (await shop.ended(saga_id))["state"] == "compensated"


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("complete", {"output": "\0"}, "body.output"),
        ("complete", {"update": []}, "body.update"),
        ("complete", {"update": {"a": 2**70}}, "body.update.a"),
        ("complete", {"outputs": 1}, "body.outputs"),
        ("fail", {}, "body.error"),
        ("fail", {"error": ""}, "body.error"),
        ("fail", {"error": "x" * 2001}, "body.error"),
        ("fail", {"error": "x", "error_type": ""}, "body.error_type"),
        ("fail", {"error": "x", "refused": "yes"}, "body.refused"),
        ("fail", {"error": "x", "retryable": 1}, "body.retryable"),
        ("heartbeat", {"output": 1}, "body.output"),
    ],
)
async def test_answers_that_are_not_valid(shop, verb, body, field):
    """The field is named, and the step still waits."""
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay/{verb}"
    answer = await shop.call("POST", path, {"token": token, **body})
    assert problem(answer) == (422, "invalid-request", [field])
    saga = (await shop.call("GET", f"/v1/sagas/{saga_id}")).json()
    assert saga["steps"][0]["state"] == "started"
