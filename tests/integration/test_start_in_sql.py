"""A saga that is started by the SQL function, inside anybody's transaction."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest
from ulid import ULID

from saga_orchestrator import (
    Handlers,
    Manager,
    SagaDefinition,
    SagaNotFoundError,
    Step,
    StepContext,
)
from saga_orchestrator.cli.unstarted import examine_starts
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_stores.postgres import starts
from tests.support.doctor import examine
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from saga_orchestrator.cli.examination import Finding

ORDER = SagaDefinition(
    "order", steps=[Step("pay", action="pay.take", when={"context.paid": True})]
)
GIFT = SagaDefinition("gift", steps=[Step("wrap", action="pay.take")])
CONTEXT = {"cents": 500, "paid": True, "note": "Zoë"}
START = "SELECT saga_start($1, $2::text::json, $3)"

pay = Handlers("pay")


@pay.step("pay.take")
async def take(ctx: StepContext, order: dict) -> dict:
    """Take the money."""
    return {"taken": order["cents"]}


def engine(url: str, *definitions: SagaDefinition) -> Any:
    """Return what opens an engine that knows the definitions."""
    return Manager.open(
        store=url, migrate=True, handlers=[pay], definitions=definitions or [ORDER]
    )


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[Manager]:
    """The schema, and no engine."""
    async with Manager.open(store=postgres_url, migrate=True) as opened:
        yield opened


@pytest.fixture
async def psql(client: Manager, postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of any program, in any language."""
    del client  # it makes the tables
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE orders (id text PRIMARY KEY)")
    yield connection
    await connection.close()


async def ask(
    psql: asyncpg.Connection,
    context: object = CONTEXT,
    key: str | None = None,
    name: str = "order",
) -> str:
    """Call the function as a program does; return the id."""
    saga_id: str = await psql.fetchval(START, name, json.dumps(context), key)
    return saga_id


async def waiting(psql: asyncpg.Connection) -> int:
    """Return how many starts are no sagas yet."""
    count: int = await psql.fetchval("SELECT count(*) FROM saga_starts")
    return count


async def findings(client: Manager) -> list[Finding]:
    """Return what the doctor says of starts."""
    return [finding async for finding in examine_starts(client.store)]


async def refusal(psql: asyncpg.Connection, saga_id: str) -> str:
    """Return why a start was refused, once it was."""
    error = "SELECT error FROM saga_starts WHERE id = $1 AND error <> ''"

    async def told() -> bool:
        return await psql.fetchval(error, saga_id) is not None

    await eventually(told)
    text: str = await psql.fetchval(error, saga_id)
    return text


async def ended(manager: Manager, saga_id: str) -> None:
    """Return when the saga is there and completed."""

    async def there() -> bool:
        try:
            return (await manager.get(saga_id)).is_completed
        except SagaNotFoundError:
            return False

    await eventually(there)


# -- the function ------------------------------------------------------------


async def test_the_saga_is_there_if_the_business_row_is(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """Committed together, it runs by itself, with the id that was returned."""
    async with engine(postgres_url) as manager:
        async with psql.transaction():
            await psql.execute("INSERT INTO orders VALUES ('o-1')")
            saga_id = await ask(psql)
            with pytest.raises(SagaNotFoundError):
                await manager.get(saga_id)
        await ended(manager, saga_id)
        saga = await manager.get(saga_id)
        assert saga.context == CONTEXT
        assert saga.outputs["pay"] == {"taken": 500}
        assert await waiting(psql) == 0


async def test_nothing_is_there_after_a_rollback(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """What was taken back, whole or to a savepoint, starts nothing."""
    async with engine(postgres_url) as manager:
        async with psql.transaction():
            savepoint = psql.transaction()
            await savepoint.start()
            taken_back = await ask(psql, key="o-1")
            await savepoint.rollback()
            kept = await ask(psql, key="o-1")
        transaction = psql.transaction()
        await transaction.start()
        gone = await ask(psql)
        await transaction.rollback()
        later = await ask(psql)  # the engine takes the oldest first
        for saga_id in (kept, later):
            await ended(manager, saga_id)
        for saga_id in (taken_back, gone):
            with pytest.raises(SagaNotFoundError):
                await manager.get(saga_id)


async def test_the_id_is_a_ulid_of_now(psql: asyncpg.Connection) -> None:
    """Anybody's reader reads it, its time is the start's, its bits are random."""
    rows = await psql.fetch(
        "SELECT clock_timestamp() AS before, saga_start('order') AS id,"
        " clock_timestamp() AS after FROM generate_series(1, 200)"
    )
    for row in rows:
        made = ULID.from_str(row["id"])
        millisecond = dt.timedelta(milliseconds=1)
        assert str(made) == row["id"]
        assert row["before"] - millisecond <= made.datetime <= row["after"]
    noise = [int(ULID.from_str(row["id"])) & (1 << 80) - 1 for row in rows]
    assert len(set(noise)) == 200
    for bit in range(80):
        ones = sum(one >> bit & 1 for one in noise)
        assert 50 <= ones <= 150, bit  # 7 standard deviations


async def test_context_and_key_may_be_left_out(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """A name alone is a start with an empty context."""
    empty = SagaDefinition("empty", steps=[])
    async with engine(postgres_url, empty) as manager:
        saga_id = await psql.fetchval("SELECT saga_start(name => 'empty')")
        await ended(manager, saga_id)
        saga = await manager.get(saga_id)
        assert (saga.context, saga.key) == ({}, None)


@pytest.mark.parametrize(
    ("call", "told", "fix"),
    [
        ("saga_start(NULL)", "name: NULL is no name", "name of a definition"),
        ("saga_start('')", "name: '' is no name", "name of a definition"),
        ("saga_start('a b')", "name: 'a b' is no name", "letters, digits"),
        (
            "saga_start(E'o\\n')",
            "is no name of a saga",
            "letters, digits",
        ),
        (
            "saga_start(repeat('n', 129))",
            "is no name of a saga",
            "1 to 128",
        ),
        ("saga_start('order', NULL)", "context: is NULL", "Leave it out"),
        ("saga_start('order', 'null')", "context: is of type null", "an object"),
        ("saga_start('order', '[1]')", "context: is of type array", "an object"),
        (
            "saga_start('order', json_build_object('a', repeat('x', 1048576)))",
            "context: is 1048586 bytes of JSON, the limit is 1048576",
            "pass a reference",
        ),
        (
            "saga_start('order', '{\"a\": \"\\u0000\"}')",
            "context: unsupported Unicode escape",
            "Remove NUL",
        ),
        (
            "saga_start('order', '{\"a\": \"\\ud800\"}')",
            "context: invalid input syntax",
            "lone surrogates",
        ),
        ("saga_start('order', key => '')", "key: has 0 characters", "1 to 255"),
        ("saga_start('order', key => '  ')", "only spaces", "1 to 255"),
        (
            "saga_start('order', key => repeat('k', 256))",
            "key: has 256 characters",
            "1 to 255",
        ),
    ],
)
async def test_bad_arguments_are_told(
    psql: asyncpg.Connection, call: str, told: str, fix: str
) -> None:
    """The error names the argument, the hint says what to do, nothing is kept."""
    with pytest.raises(asyncpg.InvalidParameterValueError) as refused:
        await psql.fetchval(f"SELECT {call}")
    assert told in str(refused.value)
    assert str(refused.value).startswith("saga_start: ")
    assert fix in refused.value.hint
    assert await waiting(psql) == 0


async def test_a_role_may_start_and_do_no_more(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """EXECUTE is what it needs, and all; a schema of its own fools nobody."""
    role = f"starter_{postgres_url.rpartition('/')[2]}".lower().replace("-", "_")
    await psql.execute(f'CREATE ROLE "{role}"')
    try:
        await psql.execute(f'CREATE SCHEMA trap AUTHORIZATION "{role}"')
        await psql.execute(f'SET ROLE "{role}"')
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(psql)
        await psql.execute("RESET ROLE")
        await psql.execute(
            f'GRANT EXECUTE ON FUNCTION saga_start TO "{role}"; SET ROLE "{role}";'
            "CREATE TABLE trap.saga_starts (LIKE pg_catalog.pg_class);"
            "CREATE FUNCTION trap.lpad(text, integer, text) RETURNS text"
            " LANGUAGE sql AS $$ SELECT 'trapped' $$;"
            "CREATE TEMP TABLE saga_starts (id text);"
            "SET search_path = trap, pg_catalog, public"
        )
        saga_id = await ask(psql)
        for statement in ("SELECT * FROM", "DELETE FROM", "TABLE"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await psql.execute(f"{statement} public.saga_starts")
        await psql.execute(
            "RESET ROLE; RESET search_path; DROP TABLE pg_temp.saga_starts"
        )
        assert await psql.fetchval("SELECT id FROM saga_starts") == saga_id
    finally:
        await psql.execute(f'RESET ROLE; DROP OWNED BY "{role}"; DROP ROLE "{role}"')


async def test_the_tables_may_be_in_another_schema(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """The function finds the tables beside it, whoever calls it."""
    await psql.execute('CREATE SCHEMA "My sagas"')
    url = f"{postgres_url}?search_path=%22My+sagas%22"
    async with engine(url) as manager:
        saga_id = await psql.fetchval(
            "SELECT \"My sagas\".saga_start('order', $1::text::json)",
            json.dumps(CONTEXT),
        )
        await ended(manager, saga_id)


# -- the engine --------------------------------------------------------------


async def test_fifty_at_once(psql: asyncpg.Connection, postgres_url: str) -> None:
    """Each transaction has its saga, with two engines at work, and none has two."""

    async def one(number: int) -> str:
        connection = await asyncpg.connect(postgres_url)
        try:
            async with connection.transaction():
                name = f"o-{number}"
                await connection.execute("INSERT INTO orders VALUES ($1)", name)
                return await ask(connection, CONTEXT | {"order": name})
        finally:
            await connection.close()

    async with engine(postgres_url) as manager, engine(postgres_url) as other:
        ids = await asyncio.gather(*(one(number) for number in range(50)))
        for saga_id in ids:
            await ended(other, saga_id)
        found = await manager.store.find(SagaFilter(limit=1000))
        assert sorted(saga.id for saga in found) == sorted(ids)
        starts_of = [
            sum(entry.kind == "saga_started" for entry in record.history)
            for saga_id in ids
            if (record := await manager.store.record(saga_id))
        ]
        assert starts_of == [1] * 50
        assert await waiting(psql) == 0


async def test_a_crash_in_between_does_no_harm(
    psql: asyncpg.Connection, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with the saga written and the request there: one saga, not two."""
    settle = starts._settle
    killed = 0

    async def kill_once(connection: asyncpg.Connection, *rest: Any) -> None:
        nonlocal killed
        written = "SELECT count(*) FROM sagas"
        if await connection.fetchval(written) and not killed:
            killed += 1
            assert await psql.fetchval(written) == 0  # it comes and goes with the rest
            pid = connection.get_server_pid()
            await psql.fetchval("SELECT pg_terminate_backend($1)", pid)
        await settle(connection, *rest)

    monkeypatch.setattr(starts, "_settle", kill_once)
    async with engine(postgres_url) as manager:
        saga_id = await ask(psql)
        await ended(manager, saga_id)
        assert killed == 1
        record = await manager.store.record(saga_id)
        assert [entry.kind for entry in record.history].count("saga_started") == 1
        assert await waiting(psql) == 0


async def test_a_key_that_is_taken_by_the_same_body(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """Asked twice, once by the manager and twice in SQL, it is one saga."""
    async with engine(postgres_url) as manager:
        first = await manager.start("order", context=CONTEXT, key="o-1")
        for context in (CONTEXT, dict(reversed(CONTEXT.items()))):
            again = await ask(psql, context, key="o-1")
            await ended(manager, await ask(psql, key=f"after {again}"))
            with pytest.raises(SagaNotFoundError):
                await manager.get(again)
        found = await manager.store.find(SagaFilter(key="o-1"))
        assert [saga.id for saga in found] == [first.id]
        assert await waiting(psql) == 0


async def test_two_of_one_transaction_with_one_key(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """Also in one batch the first is the saga, and another body is refused.

    Their ids may be of one millisecond: which one is the first is chance.
    """
    async with psql.transaction():
        cents = {
            await ask(psql, CONTEXT | {"cents": n}, key="o-1"): n for n in (5, 5, 1)
        }
    winner = min(cents)
    refused = [one for one, each in cents.items() if each != cents[winner]]
    async with engine(postgres_url) as manager:
        for one in refused:
            assert "KeyConflict" in await refusal(psql, one)
        await ended(manager, winner)
        found = await manager.store.find(SagaFilter(key="o-1"))
        assert [saga.id for saga in found] == [winner]
        await eventually(lambda: _are_left(psql, len(refused)))


async def _are_left(psql: asyncpg.Connection, count: int) -> bool:
    return await waiting(psql) == count


async def test_what_is_refused_stays_for_a_person(
    client: Manager, psql: asyncpg.Connection, postgres_url: str
) -> None:
    """Its error is on the row and in the doctor's words; its neighbours run."""
    refused = {
        "context.paid": await ask(psql, {"cents": 1}),
        "is nested too deep": await ask(psql, {"a": json.loads("[" * 70 + "]" * 70)}),
        "beyond 64 bits": await ask(psql, {"a": 1 << 64}),
    }
    async with engine(postgres_url) as manager:
        await ended(manager, await ask(psql, key="taken"))
        conflict = await ask(psql, {"cents": 9, "paid": True}, key="taken")
        refused["KeyConflict: key 'taken'"] = conflict
        for told, saga_id in refused.items():
            assert told in await refusal(psql, saga_id)
        # It waits for a person, whatever was changed beside the error.
        await psql.execute(
            "UPDATE saga_starts SET context = $1, created_at = now() - interval '1 h'",
            json.dumps(CONTEXT),
        )
        await ended(manager, await ask(psql))
    found = await findings(client)
    assert all(finding.level == "wrong" for finding in found)
    text = "\n".join(f"{finding.text} fix: {finding.fix}" for finding in found)
    assert "1 start of order asked for in SQL, the oldest" in text
    assert f"DELETE FROM saga_starts WHERE id = '{conflict}'" in text
    assert all(told in text for told in refused)
    assert await waiting(psql) == len(found) == 4

    # What the doctor says helps: an error that is taken off is tried again.
    await psql.execute("UPDATE saga_starts SET error = '', context = $1", "{}")
    await psql.execute("DELETE FROM saga_starts WHERE key IS NOT NULL")
    await psql.execute(
        'UPDATE saga_starts SET context = \'{"paid": true, "cents": 1}\''
    )
    async with engine(postgres_url) as manager:
        await ended(manager, refused["context.paid"])
    assert await findings(client) == []


async def test_a_name_that_nobody_knows_waits(
    client: Manager, psql: asyncpg.Connection, postgres_url: str
) -> None:
    """It holds up no other, the doctor names it, one that knows it runs it."""
    gift = await ask(psql, name="gift")
    async with engine(postgres_url) as manager:
        await ended(manager, await ask(psql))
        assert await waiting(psql) == 1
    assert await findings(client) == []  # it is fresh
    await psql.execute("UPDATE saga_starts SET created_at = now() - interval '1 min'")
    (finding,) = await findings(client)
    assert "1 start of gift" in finding.text
    assert "no engine at work knows this definition" in finding.text
    assert "has 'gift'" in finding.fix
    done = await examine("--store", postgres_url)
    assert done.returncode == 1
    assert f"✗ starts: {finding.text}\n    fix: {finding.fix}\n" in done.stdout
    async with engine(postgres_url, ORDER, GIFT) as manager:
        await ended(manager, gift)
    assert await findings(client) == []


async def test_a_locked_saga_holds_up_no_other(
    psql: asyncpg.Connection, postgres_url: str
) -> None:
    """A start whose key's saga somebody keeps locked is put off; the others run."""
    async with engine(postgres_url) as manager:
        saga = await manager.start("order", context=CONTEXT, key="o-1")
        await manager.wait(saga.id, timeout=60)
        holder = await asyncpg.connect(postgres_url)
        try:
            async with holder.transaction():
                await holder.execute(
                    "SELECT FROM sagas WHERE id = $1 FOR UPDATE", saga.id
                )
                async with psql.transaction():
                    await ask(psql, key="o-1")
                    other = await ask(psql)
                await ended(manager, other)
                assert await waiting(psql) == 1
        finally:
            await holder.close()

        async def gone() -> bool:
            return await waiting(psql) == 0

        await eventually(gone)


async def test_other_stores_take_none() -> None:
    """The doctor has nothing to say where there is no such function."""
    store = await Store.open("memory://")
    assert [finding async for finding in examine_starts(store)] == []
    await store.close()
