"""A saga's history as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3

from saga_orchestrator.api import events
from saga_orchestrator.api.face import Seats
from saga_orchestrator.errors import StoreUnavailableError
from saga_orchestrator.ports.keys import Role
from tests.support.waiting import eventually
from tests.unit.api.stage import problem, served


def told(text):
    """Return the events of a stream: (id, name, data); comments as (None, ":", …)."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if "" in fields:
            found.append((None, ":", fields[""]))
        elif fields:
            found.append(
                (fields.get("id"), fields["event"], json.loads(fields["data"]))
            )
    return found


@contextlib.asynccontextmanager
async def following(shop, saga_id, **headers):
    """Follow a saga; what is read gathers in the list that this gives."""
    pieces = []
    path = f"/v1/sagas/{saga_id}/events"
    async with shop.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        async def read():
            async for piece in answer.aiter_text():
                pieces.append(piece)  # noqa: PERF401 - others read it meanwhile

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            yield pieces, reading
            reading.cancel()


async def test_each_entry_once_until_the_end(shop):
    """Ids are the history's numbers; an event ``end`` without id comes last."""
    saga_id, token = await shop.deferred()
    async with following(shop, saga_id) as (pieces, reading):
        await eventually(lambda: "step_accepted" in "".join(pieces))
        path = f"/v1/sagas/{saga_id}/steps/pay/complete"
        await shop.call("POST", path, {"token": token})
        await reading
    saga = (await shop.call("GET", f"/v1/sagas/{saga_id}")).json()
    *entries, end = told("".join(pieces))
    assert [data for _, _, data in entries] == saga["history"]
    assert [number for number, _, _ in entries] == [
        str(entry["seq"]) for entry in saga["history"]
    ]
    assert [name for _, name, _ in entries] == [
        entry["kind"] for entry in saga["history"]
    ]
    assert end == (None, "end", {"state": "completed"})
    await eventually(lambda: shop.face.streams.taken == 0)


async def test_who_comes_back_goes_on(shop):
    """With ``Last-Event-ID`` nothing is told twice; after the end there is nothing."""
    saga_id = await shop.start()
    version = (await shop.ended(saga_id))["version"]
    path = f"/v1/sagas/{saga_id}/events"
    rest = await shop.call("GET", path, Last_Event_ID=str(version - 1))
    assert [number for number, _, _ in told(rest.text)] == [str(version), None]
    over = await shop.call("GET", path, Last_Event_ID=str(version))
    assert (over.status_code, over.content) == (204, b"")
    for wrong in ("x", "-1", "", "9" * 10):
        answer = await shop.call("GET", path, Last_Event_ID=wrong)
        assert problem(answer) == (422, "invalid-request", ["header.Last-Event-ID"])


async def test_a_silent_stream_is_kept_open(shop, monkeypatch):
    """A comment comes when nothing else did for a while."""
    monkeypatch.setattr(events, "PING_SECONDS", 0.05)
    saga_id, _ = await shop.deferred()
    async with following(shop, saga_id) as (pieces, _):
        await eventually(lambda: "".join(pieces).count(": ping") > 1)


async def test_a_stream_ends_with_its_key():
    """Who was shut out hears of nothing that happens from then on."""
    async with served(with_keys=True) as shop:
        shop.client.headers["Authorization"] = f"Bearer {shop.keys[Role.ADMIN]}"
        saga_id, token = await shop.deferred()
        mine = f"Bearer {shop.keys[Role.READ]}"
        async with following(shop, saga_id, Authorization=mine) as (pieces, reading):
            await eventually(lambda: "step_accepted" in "".join(pieces))
            await shop.manager.store.api_keys.revoke("read")
            path = f"/v1/sagas/{saga_id}/steps/pay/complete"
            await shop.call("POST", path, {"token": token})
            await shop.ended(saga_id)
            await reading
        names = [name for _, name, _ in told("".join(pieces))]
        assert names[-1] == "step_accepted"


async def test_a_silent_stream_ends_with_its_key_and_not_with_the_store(monkeypatch):
    """Keys that cannot be read are not revoked: it goes on until they are."""
    monkeypatch.setattr(events, "PING_SECONDS", 0.05)

    class Away:
        """Keys whose store is away."""

        async def find(self, digest):
            raise StoreUnavailableError("the disk is gone")

    async with served(with_keys=True) as shop:
        shop.client.headers["Authorization"] = f"Bearer {shop.keys[Role.ADMIN]}"
        saga_id, _ = await shop.deferred()
        mine = f"Bearer {shop.keys[Role.READ]}"
        async with following(shop, saga_id, Authorization=mine) as (pieces, reading):
            await eventually(lambda: ": ping" in "".join(pieces))
            keys, shop.face.access._keys = shop.face.access._keys, Away()
            before = "".join(pieces).count(": ping")
            await eventually(lambda: "".join(pieces).count(": ping") > before + 2)
            shop.face.access._keys = keys
            await keys.revoke("read")
            async with asyncio.timeout(20):
                await reading
        assert "event: end" not in "".join(pieces)


async def test_a_damaged_entry_hides_no_other(tmp_path):
    """Whoever follows is told each that comes after it."""
    async with served(store=f"sqlite:///{tmp_path}/saga.db") as shop:
        saga_id, token = await shop.deferred()
        async with following(shop, saga_id) as (pieces, reading):
            await eventually(lambda: "step_accepted" in "".join(pieces))
            with contextlib.closing(sqlite3.connect(tmp_path / "saga.db")) as file:
                file.execute(
                    "UPDATE saga_history SET data = ? WHERE seq = 1",
                    ('{"output": 1e400}',),
                )
                file.commit()
            path = f"/v1/sagas/{saga_id}/steps/pay/complete"
            await shop.call("POST", path, {"token": token})
            await reading
    *numbers, end = [number for number, _, _ in told("".join(pieces))]
    assert (numbers, end) == ([str(one + 1) for one in range(len(numbers))], None)


async def test_the_end_of_the_process_ends_the_streams(shop):
    """They end whole, so that a browser connects again; new ones end at once."""
    saga_id, _ = await shop.deferred()
    async with following(shop, saga_id) as (pieces, reading):
        await eventually(lambda: "step_accepted" in "".join(pieces))
        shop.face.drain()
        await reading
    assert "".join(pieces).endswith("\n\n")
    assert "event: end" not in "".join(pieces)
    answer = await shop.call("GET", f"/v1/sagas/{saga_id}/events")
    assert (answer.status_code, answer.text) == (200, "")


async def test_the_number_of_streams_is_bounded(shop, monkeypatch):
    """One too many is told to come later; a client that left gives its seat back."""
    monkeypatch.setattr(shop.face.streams, "_most", 1)
    saga_id, _ = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/events"
    async with following(shop, saga_id):
        busy = await shop.call("GET", path)
        assert problem(busy) == (503, "busy", [])
        assert busy.headers["retry-after"] == "1"
    await eventually(lambda: shop.face.streams.taken == 0)
    async with following(shop, saga_id):
        assert shop.face.streams.taken == 1


async def test_the_number_of_those_who_wait_is_bounded(shop, monkeypatch):
    """Waiting takes a seat, too, and gives it back."""
    monkeypatch.setattr(shop.face.seats, "_most", 1)
    saga_id, token = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/wait"
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(shop.call("GET", path))
        await eventually(lambda: shop.face.seats.taken == 1)
        assert problem(await shop.call("GET", path)) == (503, "busy", [])
        place = f"/v1/sagas/{saga_id}/steps/pay/complete"
        await shop.call("POST", place, {"token": token})
    assert waiting.result().status_code == 200
    assert shop.face.seats.taken == 0


async def test_the_end_of_the_process_ends_the_waiting(shop):
    """Who waits gets the saga as it stands."""
    saga_id, _ = await shop.deferred()
    path = f"/v1/sagas/{saga_id}/wait?timeout=60"
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(shop.call("GET", path))
        await eventually(lambda: shop.face.seats.taken == 1)
        shop.face.drain()
    answer = waiting.result()
    assert (answer.status_code, answer.json()["state"]) == (202, "started")


async def test_the_end_comes_while_a_wait_is_running_out():
    """Who is just being told that the time is over does not keep others waiting."""
    seats, withdrawn, may_go = Seats(2), asyncio.Event(), asyncio.Event()

    async def withdraw_slowly():
        with contextlib.suppress(TimeoutError):
            async with seats.waiting(0):
                try:
                    await asyncio.Event().wait()
                finally:
                    withdrawn.set()
                    await may_go.wait()

    async def wait():
        with contextlib.suppress(TimeoutError):
            async with seats.waiting(60):
                await asyncio.Event().wait()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(withdraw_slowly())
        other = group.create_task(wait())
        await withdrawn.wait()
        seats.close()
        await other
        may_go.set()
    assert seats.taken == 0
