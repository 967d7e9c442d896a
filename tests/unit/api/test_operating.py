"""What a person asks over HTTP: with a reason, on the version that was seen."""

from __future__ import annotations

import asyncio

import pytest

from saga_orchestrator.ports.keys import Role
from tests.unit.api.stage import NOBODY, WHY, problem, served


async def history(shop, saga_id, kind):
    """Return what a saga's history tells of a kind."""
    saga = (await shop.call("GET", f"/v1/sagas/{saga_id}")).json()
    found = [entry["data"] for entry in saga["history"] if entry["kind"] == kind]
    return [{k: v for k, v in data.items() if k != "request_id"} for data in found]


async def parked(shop, **context):
    """Start a saga that stops as failed, for a person; return its id and ETag."""
    saga_id = await shop.start("parked", **({"pay": "fail"} | context))
    saga = await shop.ended(saga_id)
    assert saga["state"] == "failed"
    return saga_id, f'"{saga["version"]}"'


async def test_compensate(shop):
    """A started saga is undone; one that completed only by force."""
    saga_id = await shop.start()
    assert (await shop.ended(saga_id))["state"] == "completed"
    path = f"/v1/sagas/{saga_id}/compensate"
    refused = await shop.call("POST", path, WHY)
    assert problem(refused) == (409, "refused", [])
    assert refused.json()["state"] == "completed"
    done = await shop.call("POST", path, {**WHY, "force": True})
    assert (done.status_code, done.json()["state"]) == (200, "compensating")
    assert done.headers["etag"] == f'"{done.json()["version"]}"'
    assert (await shop.ended(saga_id))["state"] == "compensated"
    assert shop.shop.runs == ["pay", "send", "unsend", "unpay"]
    again = await shop.call("POST", path, WHY)
    assert (again.status_code, again.json()["state"]) == (200, "compensated")


async def test_retry_and_resolve(shop):
    """What gave up is tried again; or a person did it by hand, with an output."""
    saga_id, _ = await parked(shop)
    retried = await shop.call("POST", f"/v1/sagas/{saga_id}/retry", WHY)
    assert (retried.status_code, retried.json()["state"]) == (200, "started")
    assert (await shop.ended(saga_id))["state"] == "failed"
    assert shop.shop.runs == ["pay", "pay"]
    by_hand = {**WHY, "output": {"paid": "cash"}, "direction": "action"}
    path = f"/v1/sagas/{saga_id}/steps/pay/resolve"
    resolved = await shop.call("POST", path, by_hand)
    assert resolved.status_code == 200
    ended = await shop.ended(saga_id)
    assert (ended["state"], ended["outputs"]["pay"]) == ("completed", {"paid": "cash"})
    assert problem(await shop.call("POST", path, WHY))[:2] == (409, "refused")


async def test_resolve_names_what_was_done(shop):
    """A step that was done forward does not count as undone."""
    saga_id, _ = await parked(shop)
    path = f"/v1/sagas/{saga_id}/steps/pay/resolve"
    undone = {**WHY, "direction": "compensation"}
    assert problem(await shop.call("POST", path, undone))[:2] == (409, "refused")


async def test_give_up(shop):
    """The awaited step counts as unknown, now, and the saga is undone."""
    saga_id, _ = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/steps/pay/give-up"
    given_up = await shop.call("POST", path, WHY)
    assert (given_up.status_code, given_up.json()["state"]) == (200, "compensating")
    assert (await shop.ended(saga_id))["state"] == "compensated"
    assert problem(await shop.call("POST", path, WHY))[:2] == (409, "refused")
    assert (await history(shop, saga_id, "wait_given_up"))[0]["reason"] == WHY["reason"]


async def test_residuals_are_listed_undone_and_dismissed(shop):
    """One is undone by a saga of its own, the other needs none; both are settled."""
    first, second = await shop.residual(), await shop.residual()
    page = (await shop.call("GET", "/v1/residuals?limit=1")).json()
    assert [(one["saga_id"], one["number"]) for one in page["residuals"]] == [first]
    rest = await shop.call("GET", f"/v1/residuals?cursor={page['next_cursor']}")
    (residual,) = rest.json()["residuals"]
    assert (residual["saga_id"], residual["number"]) == second
    assert rest.json()["next_cursor"] is None
    path = "/v1/sagas/{}/residuals/{}"
    undone = await shop.call("POST", f"{path.format(*first)}/undo", WHY)
    assert undone.status_code == 202
    assert undone.headers["location"] == f"/v1/sagas/{undone.json()['id']}"
    assert undone.json()["undoes"] == first[0]
    assert (await shop.ended(undone.json()["id"]))["state"] == "compensated"
    dismissed = await shop.call("POST", f"{path.format(*second)}/dismiss", WHY)
    assert (dismissed.status_code, dismissed.json()["residuals"]) == (200, 0)
    assert (await shop.call("GET", "/v1/residuals")).json()["residuals"] == []
    for place in (first, second, (first[0], 999)):
        for verb in ("undo", "dismiss"):
            again = await shop.call("POST", f"{path.format(*place)}/{verb}", WHY)
            assert problem(again)[:2] == (409, "refused")


REQUESTS = ("compensate", "retry", "steps/pay/resolve", "steps/pay/give-up")


@pytest.mark.parametrize("request_path", REQUESTS)
async def test_a_stale_version_changes_nothing(shop, request_path):
    """412 tells the version; the saga and its history are what they were."""
    saga_id, etag = await parked(shop)
    before = (await shop.call("GET", f"/v1/sagas/{saga_id}")).json()
    path = f"/v1/sagas/{saga_id}/{request_path}"
    stale = await shop.call("POST", path, WHY, If_Match='"1"')
    assert problem(stale) == (412, "stale-version", ["header.If-Match"])
    assert f'"{stale.json()["version"]}"' == etag
    assert (await shop.call("GET", f"/v1/sagas/{saga_id}")).json() == before
    bare = await shop.call("POST", path, WHY, If_Match="1")
    assert problem(bare)[:2] == (412, "stale-version")
    for wrong in ('"1', "-1", 'W/"1"', '"1", "2"', '"x"', ""):
        answer = await shop.call("POST", path, WHY, If_Match=wrong)
        assert problem(answer) == (422, "invalid-request", ["header.If-Match"])


async def test_one_of_two_people_wins(shop):
    """Both have seen the same version; one request is done, the other is 412."""
    saga_id, etag = await parked(shop)
    answers = await asyncio.gather(
        *(
            shop.call("POST", f"/v1/sagas/{saga_id}/{verb}", WHY, If_Match=etag)
            for verb in ("retry", "compensate")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    star = await shop.call("POST", f"/v1/sagas/{saga_id}/compensate", WHY, If_Match="*")
    assert star.status_code in (200, 409)


async def test_a_residual_of_a_stale_version(shop):
    """It is neither undone nor dismissed."""
    saga_id, number = await shop.residual()
    for verb in ("undo", "dismiss"):
        path = f"/v1/sagas/{saga_id}/residuals/{number}/{verb}"
        stale = await shop.call("POST", path, WHY, If_Match='"1"')
        assert problem(stale)[:2] == (412, "stale-version")
    assert len((await shop.call("GET", "/v1/residuals")).json()["residuals"]) == 1


async def test_the_history_names_the_key():
    """Who asked is the API key's name, whatever the body would like."""
    async with served(with_keys=True) as shop:
        shop.client.headers["Authorization"] = f"Bearer {shop.keys[Role.OPERATE]}"
        who = {"principal": "operate", **WHY}
        saga_id, _ = await parked(shop)
        path = f"/v1/sagas/{saga_id}"
        wrong = await shop.call("POST", f"{path}/retry", {**WHY, "principal": "boss"})
        assert problem(wrong) == (422, "invalid-request", ["body.principal"])
        for request, kind in (
            ("retry", "retry_requested"),
            ("steps/pay/resolve", "step_resolved"),
        ):
            assert (await shop.call("POST", f"{path}/{request}", WHY)).is_success
            await shop.ended(saga_id)
            (told,) = await history(shop, saga_id, kind)
            assert told == who
        await shop.call("POST", f"{path}/compensate", {**WHY, "force": True})
        (told,) = await history(shop, saga_id, "compensate_requested")
        assert told == {**who, "force": True}
        for verb in ("undo", "dismiss"):
            residual_of, number = await shop.residual()
            (told,) = await history(shop, residual_of, "wait_given_up")
            assert told["principal"] == "operate"
            place = f"/v1/sagas/{residual_of}/residuals/{number}/{verb}"
            assert (await shop.call("POST", place, WHY)).is_success
            saga = (await shop.call("GET", f"/v1/sagas/{residual_of}")).json()
            (settled,) = saga["settled_residuals"]
            assert settled["settled"]["principal"] == "operate"


@pytest.mark.parametrize(
    "request_path",
    [*REQUESTS, "residuals/1/undo", "residuals/1/dismiss"],
)
async def test_a_reason_is_required(shop, request_path):
    """Nobody asks without saying why; and not of a saga that is not there."""
    saga_id, _ = await parked(shop)
    before = (await shop.call("GET", f"/v1/sagas/{saga_id}")).json()
    path = f"/v1/sagas/{saga_id}/{request_path}"
    for body in (
        {},
        {"reason": ""},
        {"reason": " \t"},
        {"reason": "\x1d"},
        {"reason": "a\0"},
        {"reason": "x" * 501},
    ):
        answer = await shop.call("POST", path, body)
        assert problem(answer) == (422, "invalid-request", ["body.reason"])
    assert (await shop.call("GET", f"/v1/sagas/{saga_id}")).json() == before
    missing = await shop.call("POST", f"/v1/sagas/{NOBODY}/{request_path}", WHY)
    assert problem(missing) == (404, "saga-not-found", [])


async def test_no_such_step(shop):
    """The problem names the steps that there are."""
    saga_id, _ = await parked(shop)
    for verb in ("resolve", "give-up"):
        path = f"/v1/sagas/{saga_id}/steps/nobody/{verb}"
        answer = await shop.call("POST", path, WHY)
        assert problem(answer)[:2] == (409, "refused")
    assert (
        "pay, send"
        in (
            await shop.call("POST", f"/v1/sagas/{saga_id}/steps/nobody/resolve", WHY)
        ).json()["detail"]
    )
