"""Starting sagas over HTTP, looking at them, waiting for them."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from tests.unit.api.stage import NOBODY, WHY, problem, served


async def test_a_start_is_accepted_and_runs(shop):
    """202 with the saga, its place and its version; it then comes to its end."""
    body = {"name": "order", "context": {"n": 1}}
    answer = await shop.call("POST", "/v1/sagas", body)
    saga = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/sagas/{saga['id']}"
    assert answer.headers["etag"] == f'"{saga["version"]}"'
    assert (saga["name"], saga["state"], saga["key"]) == ("order", "started", None)
    ended = await shop.ended(saga["id"])
    assert (ended["state"], ended["context"]) == ("completed", {"n": 1})
    assert ended["outputs"] == {"pay": {"by": "pay"}, "send": {"by": "send"}}


async def test_a_key_makes_a_start_safe_to_repeat(shop):
    """The same key and body is the same saga; another body is refused by name."""
    body = {"name": "order", "context": {"n": 1, "m": 2}}
    first = await shop.call("POST", "/v1/sagas", body, Idempotency_Key="o-1")
    await shop.ended(first.json()["id"])
    turned = {"context": {"m": 2, "n": 1}, "name": "order"}
    again = await shop.call("POST", "/v1/sagas", turned, Idempotency_Key="o-1")
    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    body["context"]["n"] = 3
    other = await shop.call("POST", "/v1/sagas", body, Idempotency_Key="o-1")
    assert problem(other) == (422, "key-conflict", ["header.Idempotency-Key"])
    assert other.json()["saga_id"] == first.json()["id"]
    listed = await shop.call("GET", "/v1/sagas?key=o-1")
    assert [saga["id"] for saga in listed.json()["sagas"]] == [first.json()["id"]]
    assert len((await shop.call("GET", "/v1/sagas")).json()["sagas"]) == 1


async def test_each_definition_has_keys_of_its_own(shop):
    """One key with two names makes two sagas; the list by key has both."""
    made = [
        await shop.call("POST", "/v1/sagas", {"name": name}, Idempotency_Key="o-1")
        for name in ("order", "parked")
    ]
    listed = await shop.call("GET", "/v1/sagas?key=o-1")
    ids = {saga["id"] for saga in listed.json()["sagas"]}
    assert ids == {one.json()["id"] for one in made}
    assert len(ids) == 2


async def test_everything_that_is_known_of_a_saga(shop):
    """Steps, attempts, history, what was sent; and the version as ETag."""
    saga_id = await shop.start(send="fail")
    await shop.ended(saga_id)
    answer = await shop.call("GET", f"/v1/sagas/{saga_id}")
    saga = answer.json()
    assert answer.headers["etag"] == f'"{saga["version"]}"'
    assert saga["state"] == "compensated"
    assert [step["state"] for step in saga["steps"]] == ["compensated", "failed"]
    assert [entry["seq"] for entry in saga["history"]] == list(
        range(1, saga["version"] + 1)
    )
    assert saga["plan"]["name"] == "order"
    told = [
        (one["step"], one["direction"], one["generation"], one["ended_by"])
        for one in saga["attempts"]
    ]
    assert told == [
        ("pay", "action", 1, "step_succeeded"),
        ("send", "action", 1, "step_failed"),
        ("pay", "compensation", 2, "step_succeeded"),
    ]
    refused = saga["attempts"][1]
    assert (refused["error_type"], refused["error"]) == ("StepFailed", "no")
    assert refused["sent_at"] <= refused["ended_at"]


async def test_the_timeline(shop):
    """When the saga moved, and its attempts; one that is open has no end."""
    saga_id, _ = await shop.deferred()
    timeline = (await shop.call("GET", f"/v1/sagas/{saga_id}/timeline")).json()
    assert [move["state"] for move in timeline["moves"]] == ["started"]
    (attempt,) = timeline["attempts"]
    assert (attempt["ended_at"], attempt["attempt"]) == (None, 1)
    await shop.call("POST", f"/v1/sagas/{saga_id}/steps/pay/give-up", WHY)
    await shop.ended(saga_id)
    timeline = (await shop.call("GET", f"/v1/sagas/{saga_id}/timeline")).json()
    assert [move["state"] for move in timeline["moves"]] == [
        "started",
        "compensating",
        "compensated",
    ]
    assert timeline["attempts"][0]["ended_by"] == "wait_given_up"
    assert timeline["ended_at"]


@pytest.mark.parametrize(
    ("query", "accept", "media", "words"),
    [
        ("", "*/*", "image/svg+xml", "<svg"),
        ("", "text/html, image/*;q=0.8, */*;q=0.1", "image/svg+xml", "<svg"),
        ("", "text/plain", "text/plain", "✓ completed"),
        ("", "text/*", "text/vnd.mermaid", "flowchart"),
        ("", "application/json, image/svg+xml;q=0.5", "application/json", '"ranks"'),
        ("", "image/svg+xml;q=0, text/plain", "text/plain", "✓ completed"),
        ("?format=mermaid", "image/svg+xml", "text/vnd.mermaid", "flowchart"),
        ("?format=json", "*/*", "application/json", "order"),
    ],
)
async def test_pictures(shop, query, accept, media, words):
    """A saga is drawn in the form that was asked for."""
    saga_id = await shop.start()
    await shop.ended(saga_id)
    path = f"/v1/sagas/{saga_id}/graph{query}"
    answer = await shop.call("GET", path, Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == media
    assert words in answer.text
    if media == "image/svg+xml":
        assert answer.headers["content-security-policy"].startswith(
            "default-src 'none'"
        )


async def test_a_picture_that_nobody_can_draw(shop):
    """406 where a client takes none of the forms."""
    saga_id = await shop.start()
    path = f"/v1/sagas/{saga_id}/graph"
    answer = await shop.call("GET", path, Accept="image/png, text/plain;q=x")
    assert problem(answer) == (406, "not-acceptable", ["header.Accept"])


async def test_the_list_has_filters_and_pages(shop):
    """Newest first; the cursor goes on with the same filters, and ends."""
    ids = [await shop.start() for _ in range(5)]
    parked = await shop.start("parked", pay="fail")
    for saga_id in [*ids, parked]:
        await shop.ended(saga_id)

    async def listed(query):
        answer = (await shop.call("GET", f"/v1/sagas?{query}")).json()
        return [saga["id"] for saga in answer["sagas"]], answer["next_cursor"]

    assert await listed("state=failed") == ([parked], None)
    assert await listed("state=failed&state=completed&name=parked") == ([parked], None)
    assert await listed("name=nobody") == ([], None)
    page, cursor = await listed("name=order&limit=2")
    assert page == ids[:2:-1]
    page, cursor = await listed(f"name=order&limit=2&cursor={cursor}")
    assert page == ids[2:0:-1]
    assert await listed(f"name=order&limit=2&cursor={cursor}") == (ids[:1], None)
    assert (await listed("limit=6"))[1] is None
    first = (await shop.call("GET", "/v1/sagas?limit=1")).json()["sagas"][0]
    assert "context" not in first


async def test_cursors_are_good_for_their_list_only(shop):
    """One of other filters, a forged or a shortened one is refused by name."""
    for _ in range(3):
        await shop.start()
    page = (await shop.call("GET", "/v1/sagas?limit=1")).json()
    cursor = page["next_cursor"]
    middle = "A" if cursor[20] != "A" else "B"
    forged = cursor[:20] + middle + cursor[21:]
    for query in (
        f"cursor={cursor}&name=order",
        f"cursor={cursor}&state=started",
        f"cursor={forged}",
        f"cursor={cursor[:-4]}",
        f"cursor={cursor}x",
        "cursor=A",
    ):
        answer = await shop.call("GET", f"/v1/sagas?{query}")
        assert problem(answer) == (422, "invalid-request", ["query.cursor"]), query
    answer = await shop.call("GET", f"/v1/residuals?cursor={cursor}")
    assert problem(answer) == (422, "invalid-request", ["query.cursor"])


async def test_waiting_ends_with_the_saga_or_the_time(shop):
    """202 with the saga as it stands; 200 as soon as it rests, also as failed."""
    saga_id, token = await shop.deferred("parked", send="fail")
    path = f"/v1/sagas/{saga_id}/wait"
    for timeout in ("0", "0.05"):
        answer = await shop.call("GET", f"{path}?timeout={timeout}")
        assert (answer.status_code, answer.json()["state"]) == (202, "started")
    place = f"/v1/sagas/{saga_id}/steps/pay/complete"
    await shop.call("POST", place, {"token": token})
    answer = await shop.call("GET", path)
    assert (answer.status_code, answer.json()["state"]) == (200, "failed")
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    assert (await shop.call("GET", f"{path}?timeout=0")).status_code == 200


async def test_definitions(shop):
    """What this process can start, with the whole plan."""
    listed = (await shop.call("GET", "/v1/definitions")).json()["definitions"]
    assert [one["name"] for one in listed] == ["order", "parked"]
    one = (await shop.call("GET", "/v1/definitions/parked")).json()
    assert one == listed[1]
    assert one["plan"]["on_failure"] == "park"
    assert [step["action"] for step in one["plan"]["steps"]] == [
        "shop.pay",
        "shop.send",
    ]
    missing = await shop.call("GET", "/v1/definitions/nobody")
    assert problem(missing) == (404, "definition-not-found", [])
    assert "order, parked" in missing.json()["detail"]


@pytest.mark.parametrize(
    "rest", ["", "/graph", "/timeline", "/wait", "/events", "/why"]
)
async def test_no_such_saga(shop, rest):
    """404 for an id that nobody has, 422 for what is no id."""
    unknown = await shop.call("GET", f"/v1/sagas/{NOBODY}{rest}")
    assert problem(unknown) == (404, "saga-not-found", [])
    assert NOBODY in unknown.json()["detail"]
    wrong = await shop.call("GET", f"/v1/sagas/order-1{rest}")
    assert problem(wrong) == (422, "invalid-request", ["path.saga_id"])


async def test_a_damaged_row_hides_no_other(tmp_path):
    """It is listed by its id with what is wrong, and told so to who looks at it."""
    async with served(store=f"sqlite:///{tmp_path}/saga.db") as shop:
        ids = [await shop.start() for _ in range(3)]
        for saga_id in ids:
            await shop.ended(saga_id)
        with contextlib.closing(sqlite3.connect(tmp_path / "saga.db")) as file, file:
            damage = "UPDATE sagas SET steps = ? WHERE id = ?"
            file.execute(damage, (b"\xff" * 40, ids[1]))
        page = (await shop.call("GET", "/v1/sagas?limit=2")).json()
        assert [saga["id"] for saga in page["sagas"]] == [ids[2]]
        assert [row["id"] for row in page["unreadable"]] == [ids[1]]
        assert page["unreadable"][0]["unreadable"]
        rest = await shop.call("GET", f"/v1/sagas?limit=2&cursor={page['next_cursor']}")
        assert [saga["id"] for saga in rest.json()["sagas"]] == [ids[0]]
        assert (rest.json()["unreadable"], rest.json()["next_cursor"]) == ([], None)
        damaged = await shop.call("GET", f"/v1/sagas/{ids[1]}")
        assert problem(damaged) == (500, "unreadable", [])
        assert ids[1] in damaged.json()["detail"]
