"""Lists narrowed over HTTP, by what can be read and by what cannot."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from saga_orchestrator.api import searches
from tests.conformance.damage import damage
from tests.unit.api.stage import problem, served

LONG_AGO, FAR_OFF = "2001-01-01T00:00Z", "2999-01-01T00:00Z"


async def listed(shop, query):
    """Return the ids of a page and its cursor."""
    answer = await shop.call("GET", f"/v1/sagas?{query}")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    return [saga["id"] for saga in page["sagas"]], page["next_cursor"]


async def found(shop, query):
    """Return the ids of a list that is one page."""
    ids, cursor = await listed(shop, query)
    assert cursor is None
    return ids


@pytest.mark.parametrize("which", ["created", "updated"])
async def test_instants_narrow_the_list(shop, which):
    """From an instant on, its own included, and before one, its own not."""
    ids = [await shop.start() for _ in range(3)]
    sagas = [await shop.ended(saga_id) for saga_id in ids]
    ids.sort(reverse=True)
    assert await found(shop, f"{which}_from={LONG_AGO}") == ids
    assert await found(shop, f"{which}_from={FAR_OFF}") == []
    assert await found(shop, f"{which}_to={LONG_AGO}") == []
    assert await found(shop, f"{which}_to={FAR_OFF}&{which}_from={LONG_AGO}") == ids
    last = max(sagas, key=lambda saga: saga[f"{which}_at"])
    at = quote(last[f"{which}_at"])
    assert await found(shop, f"{which}_from={at}") == [last["id"]]
    assert len(await found(shop, f"{which}_to={at}")) == 2


async def test_a_part_of_the_reason_narrows_the_list(shop):
    """As it is, without wildcards; small and capital a to z are the same."""
    parked = await shop.start("parked", pay="fail")
    undone = await shop.start(pay="fail")
    await shop.start()
    for saga_id in (parked, undone):
        reason = (await shop.ended(saga_id))["reason"]
        assert "StepFailed: no" in reason
    both = sorted([parked, undone], reverse=True)
    assert await found(shop, "text=stepFAILED: n") == both
    assert await found(shop, "text=StepFailed&state=failed") == [parked]
    assert await found(shop, "text=StepFailed&name=order") == [undone]
    for nothing in ("%25", "_", "StepFailed:  no", "'", "a" * 200):
        assert await found(shop, f"text={nothing}") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-11-29T14:30", "has no time zone; write 2026-11-29T14:30Z"),
        ("2026-11-29", "has no time zone; write 2026-11-29T00:00Z"),
        ("2026-11-29T14:30+01:00", "its + as %2B"),  # it arrives as a blank
        ("2026-02-30T00:00Z", "is no instant; write 2026-11-29T14:30Z"),
        ("10000-01-01T00:00Z", "is no instant; write"),
        ("0001-01-01T00:00%2B14:00", "is no instant of the years 1 to 9999"),
        ("0001-01-01T00:00", "write 0001-01-01T00:00Z"),
        ("%00", "is no instant"),
        ("x" * 3000, "is no instant"),
        ("{problem}", "'{problem}' is no instant"),
    ],
)
@pytest.mark.parametrize("field", ["created_from", "updated_to"])
async def test_what_is_no_instant_is_told_with_the_fix(shop, field, text, told):
    """The problem names the parameter, and what to write."""
    answer = await shop.call("GET", f"/v1/sagas?{field}={text}")
    assert problem(answer) == (422, "invalid-request", [f"query.{field}"])
    (wrong,) = answer.json()["errors"]
    assert told in wrong["detail"] or len(text) > 600
    assert len(answer.content) < 2000


async def test_all_that_is_wrong_is_told_at_once(shop):
    """Who sends two wrong parameters need not ask twice."""
    query = "created_from=x&updated_to=y&limit=0"
    answer = await shop.call("GET", f"/v1/sagas?{query}")
    fields = ["query.created_from", "query.updated_to", "query.limit"]
    assert problem(answer) == (422, "invalid-request", fields)


async def test_cursors_are_good_for_their_filters(shop):
    """The same instant in another zone is the same filter; another value is not."""
    ids = [await shop.start("parked", pay="fail") for _ in range(3)]
    for saga_id in ids:
        await shop.ended(saga_id)
    ids.sort(reverse=True)
    narrow = f"text=no&updated_from={LONG_AGO}&created_to={FAR_OFF}&limit=2"
    page, cursor = await listed(shop, narrow)
    assert page == ids[:2]
    assert await listed(shop, f"{narrow}&cursor={cursor}") == (ids[2:], None)
    zoned = narrow.replace("00:00Z", "01:00%2B01:00")
    assert await listed(shop, f"{zoned}&cursor={cursor}") == (ids[2:], None)
    for other in (
        "limit=2",
        narrow.replace("text=no", "text=n"),
        narrow.replace("updated_from", "created_from"),
        narrow.replace("2999", "2998"),
        f"{narrow}&updated_to={FAR_OFF}",
    ):
        answer = await shop.call("GET", f"/v1/sagas?{other}&cursor={cursor}")
        assert problem(answer) == (422, "invalid-request", ["query.cursor"]), other


async def test_a_damaged_row_is_told_in_a_narrowed_list_too(tmp_path):
    """It holds up no other, and has its place in the pages."""
    url = f"sqlite:///{tmp_path}/saga.db"
    async with served(store=url) as shop:
        ids = [await shop.start("parked", pay="fail") for _ in range(3)]
        for saga_id in ids:
            await shop.ended(saga_id)
        ids.sort(reverse=True)
        damaged = await shop.manager.get(ids[1])
        await damage(shop.manager.store, url, damaged, "steps")
        query = f"text=no&created_from={LONG_AGO}&limit=2"
        answer = (await shop.call("GET", f"/v1/sagas?{query}")).json()
        assert [saga["id"] for saga in answer["sagas"]] == ids[:1]
        assert [row["id"] for row in answer["unreadable"]] == ids[1:2]
        rest = await listed(shop, f"{query}&cursor={answer['next_cursor']}")
        assert rest == (ids[2:], None)


async def test_searches_take_turns(shop, monkeypatch):
    """Who may pass over many sagas waits for a turn, in vain at last; no other does."""
    monkeypatch.setattr(searches, "SEARCH_SECONDS", 0.05)
    monkeypatch.setattr(shop.face.searches, "_turns", asyncio.Semaphore(0))
    saga_id = await shop.start()
    await shop.ended(saga_id)
    for query in ("", "state=started&name=order", "key=o-1&text=no", "limit=1"):
        assert (await shop.call("GET", f"/v1/sagas?{query}")).status_code == 200
    for path in (
        "/v1/sagas?name=order",
        "/v1/sagas?state=completed",
        "/v1/sagas?state=started&state=completed",
        f"/v1/sagas?created_from={LONG_AGO}",
        "/v1/stale",
    ):
        answer = await shop.call("GET", path)
        assert problem(answer) == (503, "search-too-long", []), path
        assert "key" in answer.json()["detail"]
