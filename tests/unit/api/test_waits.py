"""Which sagas wait for too long, and why one waits, over HTTP."""

from __future__ import annotations

import datetime as dt

import httpx
import pytest

from saga_orchestrator import Manager, RetryPolicy, Step
from saga_orchestrator.api.wait_schemas import Cause, Diagnosis, StalePage, StaleSaga
from saga_orchestrator.cli.http import open_face
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.errors import BrokerUnavailableError
from saga_orchestrator.ports.broker import QueueSpec
from saga_orchestrator.runtime import stale
from saga_orchestrator.settings import Settings
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.damage import damage
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.unit.api.stage import problem, served

AT_ONCE = StaleAfter(dt.timedelta(milliseconds=1))
HOUR = dt.timedelta(hours=1)
SLOWLY = RetryPolicy(max_attempts=3, initial_delay=dt.timedelta(minutes=30))


async def page_of(shop, query=""):
    """Return a page of what is stale, held against its schema."""
    answer = await shop.call("GET", f"/v1/stale?{query}")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    StalePage.model_validate(page)
    assert page.keys() == StalePage.model_fields.keys()
    assert all(one.keys() == StaleSaga.model_fields.keys() for one in page["stale"])
    return page


async def why_of(shop, saga_id):
    """Return a diagnosis, held against its schema."""
    answer = await shop.call("GET", f"/v1/sagas/{saga_id}/why")
    assert answer.status_code == 200, answer.text
    document = answer.json()
    Diagnosis.model_validate(document)
    assert document.keys() == Diagnosis.model_fields.keys()
    assert all(one.keys() == Cause.model_fields.keys() for one in document["causes"])
    assert answer.headers["etag"] == f'"{document["saga"]["version"]}"'
    return document


async def ids_of(shop, query=""):
    """Return the ids of what is stale."""
    return [one["id"] for one in (await page_of(shop, query))["stale"]]


async def sagas_of_each_reason(shop):
    """Start sagas that wait for all that one process can let them wait for."""
    away = QueueSpec("saga.steps.away", ("step.away.work",), "saga.undelivered")
    await shop.manager._broker.declare(away)
    ids = {}
    ids["deferred"], _ = await shop.deferred()
    ids["parked"] = await shop.start("parked", pay="fail")
    ids["undo_gave_up"] = await shop.start(send="fail", unpay="fail")
    for reason, action in (
        ("unroutable", "nowhere.work"),
        ("no_consumer", "away.work"),
    ):
        saga = await shop.manager.start(reason, [Step("s", action=action)])
        ids[reason] = saga.id
    steps = [Step("s", action="shop.pay", retry=SLOWLY)]
    saga = await shop.manager.start("retrying", steps, context={"pay": "break"})
    ids["retrying"] = saga.id
    return ids


async def test_each_reason_has_its_fields():
    """Who waits, for what, since when, for how long, and what to do; all at once."""
    async with served(stale_after=AT_ONCE) as shop:
        ids = await sagas_of_each_reason(shop)
        expected = {saga_id: reason for reason, saga_id in ids.items()}

        async def are_told():
            page = await page_of(shop)
            return {one["id"]: one["reason"] for one in page["stale"]} == expected

        await eventually(are_told)
        page = await page_of(shop)
        assert [one["id"] for one in page["stale"]] == sorted(expected)
        assert (page["next_cursor"], page["notes"]) == (None, [])
        told = {one["reason"]: one for one in page["stale"]}
        diagnoses = {reason: await why_of(shop, ids[reason]) for reason in ids}
    for one in told.values():
        assert one["age_seconds"] > 0
        assert dt.datetime.fromisoformat(one["since"]).utcoffset() == dt.timedelta(0)
        assert one["fix"]
    assert {reason: one["state"] for reason, one in told.items()} == {
        **dict.fromkeys(told, "started"),
        "parked": "failed",
        "undo_gave_up": "failed",
    }
    deferred = told["deferred"]
    assert (deferred["name"], deferred["step"]) == ("order", "pay")
    assert (deferred["direction"], deferred["action"]) == ("action", "shop.pay")
    assert deferred["until"]
    assert "nowhere.work" in told["unroutable"]["detail"]
    assert "nobody reads saga.steps.away" in told["no_consumer"]["detail"]
    assert "start a worker for away.work" in told["no_consumer"]["fix"]
    assert f"saga retry {ids['parked']}" in told["parked"]["fix"]
    assert told["parked"]["until"] is None
    for reason, diagnosis in diagnoses.items():
        (cause,) = diagnosis["causes"]
        for field in ("reason", "since", "step", "action", "attempt", "fix"):
            assert cause[field] == told[reason][field]
    assert "OSError: broken" in diagnoses["retrying"]["causes"][0]["last_error"]
    assert "StepFailed: no" in diagnoses["parked"]["causes"][0]["last_error"]
    assert diagnoses["deferred"]["causes"][0]["last_error"] == ""


@pytest.fixture
async def old(tmp_path):
    """Start two sagas two hours ago, one hour apart; nobody took their commands."""
    url = f"sqlite:///{tmp_path}/saga.db"
    clock = ManualClock(dt.datetime.now(dt.UTC) - 2 * HOUR)
    ids = []
    async with Manager.open(store=url, engine=False, clock=clock) as manager:
        for name in ("first", "second"):
            step = Step("pay", action="shop.pay")
            ids.append((await manager.start(name, [step])).id)
            clock.advance(HOUR.total_seconds())
    return url, ids


async def test_thresholds_and_the_one_that_is_asked_for(old):
    """The server's count by definition; `older_than` counts for all."""
    url, (first, second) = old
    after = StaleAfter(3 * HOUR, {"second": HOUR / 2})
    async with served(store=url, engine=False, stale_after=after) as shop:
        assert await ids_of(shop) == [second]
        assert await ids_of(shop, "older_than=30m") == [first, second]
        assert await ids_of(shop, "older_than=90m") == [first]
        assert await ids_of(shop, "older_than=3h") == []
        assert await ids_of(shop, "older_than=36500d") == []
        (one,) = (await page_of(shop))["stale"]
    assert (one["reason"], one["name"]) == ("overdue", "second")
    assert 3500 < one["age_seconds"] < 3900


async def test_ten_minutes_where_nothing_is_set(old):
    """Who embeds the API without thresholds has those of the settings' defaults."""
    url, ids = old
    async with served(store=url, engine=False) as shop:
        assert await ids_of(shop) == ids
        young = await shop.start()
        assert young not in await ids_of(shop)


async def test_the_settings_reach_the_api(old):
    """`stale_after` and the table [stale] of the process that serves."""
    url, (first, _) = old
    address = f"127.0.0.1:{free_port()}"
    settings = Settings(http=address, stale_after="90m", stale={"second": "1000d"})
    async with (
        Manager.open(store=url, engine=False) as manager,
        open_face(settings)(manager),
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        page = (await client.get("/v1/stale")).json()
    assert [one["id"] for one in page["stale"]] == [first]


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("older_than=1", "older_than", "write 90s, 10m, 1h or 30d"),
        ("older_than=", "older_than", "write 90s, 10m, 1h or 30d"),
        ("older_than=1w", "older_than", "'1w' is no duration; write 90s"),
        ("older_than=0s", "older_than", "is no time at all; write 90s"),
        ("older_than=-1h", "older_than", "write 90s"),
        ("older_than=1h30m", "older_than", "write 90s"),
        ("older_than=36501d", "older_than", "is longer than 100 years"),
        ("older_than=%00", "older_than", "write 90s"),
        ("older_than={x}", "older_than", "'{x}' is no duration"),
        (f"older_than={'9' * 5000}s", "older_than", ""),
        ("limit=0", "limit", "greater than or equal to 1"),
        ("limit=201", "limit", "less than or equal to 200"),
        ("state=failed", "state", "use one of cursor, limit, older_than"),
        ("cursor=AAAA", "cursor", "leave it out to begin anew"),
    ],
)
async def test_what_is_asked_wrongly(shop, query, field, told):
    """The problem names the parameter and the fix."""
    answer = await shop.call("GET", f"/v1/stale?{query}")
    assert problem(answer) == (422, "invalid-request", [f"query.{field}"])
    assert told in answer.json()["errors"][0]["detail"]
    assert len(answer.content) < 2000


async def test_pages_of_what_is_stale(monkeypatch):
    """A cursor goes on with the same threshold, also where a search was cut."""
    async with served(stale_after=AT_ONCE) as shop:
        ids = sorted([(await shop.deferred())[0] for _ in range(3)])
        first = await page_of(shop, "limit=2")
        assert [one["id"] for one in first["stale"]] == ids[:2]
        cursor = first["next_cursor"]
        rest = await page_of(shop, f"cursor={cursor}")
        assert [one["id"] for one in rest["stale"]] == ids[2:]
        assert rest["next_cursor"] is None
        for query in (f"/v1/stale?older_than=1h&cursor={cursor}", f"?cursor={cursor}"):
            path = query if query.startswith("/") else f"/v1/sagas{query}"
            answer = await shop.call("GET", path)
            assert problem(answer) == (422, "invalid-request", ["query.cursor"])
        monkeypatch.setattr(stale, "PAGE", 1)
        monkeypatch.setattr(stale, "SAGAS_MAX", 1)
        cut = await page_of(shop, "older_than=1d")
        assert cut["stale"] == []  # those that were looked at are young
        cut = await page_of(shop)
        assert [one["id"] for one in cut["stale"]] == ids[:1]
        assert cut["next_cursor"]


async def test_a_broker_that_cannot_be_asked_is_noted(monkeypatch):
    """What the store knows is told all the same."""
    async with served(stale_after=AT_ONCE) as shop:
        away = QueueSpec("saga.steps.away", ("step.away.work",), "saga.undelivered")
        await shop.manager._broker.declare(away)
        saga = await shop.manager.start("away", [Step("s", action="away.work")])

        async def reason():
            return [one["reason"] for one in (await page_of(shop))["stale"]]

        async def stands_in_its_queue():
            return await reason() == ["no_consumer"]

        await eventually(stands_in_its_queue)

        async def fail(queue):
            raise BrokerUnavailableError("it is away")

        monkeypatch.setattr(shop.manager._broker, "stats", fail)
        assert await reason() == ["unanswered"]
        notes = ["the broker could not be asked: it is away"]
        assert (await page_of(shop))["notes"] == notes
        assert (await why_of(shop, saga.id))["notes"] == notes


async def test_why_of_a_saga_that_has_ended(shop):
    """It waits for nothing; what else there is to know is noted."""
    saga_id, _ = await shop.residual()
    document = await why_of(shop, saga_id)
    assert document["causes"] == []
    ended, residual = document["notes"]
    assert ended.endswith("UTC: compensated")
    assert "1 open residuals" in residual


async def test_damaged_rows(tmp_path):
    """A saga that cannot be read is told as that, among the others; why says so too."""
    url = f"sqlite:///{tmp_path}/saga.db"
    async with served(store=url, stale_after=AT_ONCE) as shop:
        ids = sorted([(await shop.deferred())[0] for _ in range(3)])
        for saga_id, what in ((ids[1], "steps"), (ids[2], "history")):
            saga = await shop.manager.get(saga_id)
            await damage(shop.manager.store, url, saga, what)
        page = await page_of(shop)
        assert [one["id"] for one in page["stale"]] == ids
        damaged = page["stale"][1]
        assert (damaged["reason"], damaged["state"]) == ("unreadable", None)
        assert (damaged["name"], damaged["key"]) == ("unknown", None)
        assert damaged["detail"]
        assert "saga doctor" in damaged["fix"]
        answer = await shop.call("GET", f"/v1/sagas/{ids[1]}/why")
        assert problem(answer) == (500, "unreadable", [])
        notes = (await why_of(shop, ids[2]))["notes"]
        assert any("damaged in the store" in note for note in notes)
