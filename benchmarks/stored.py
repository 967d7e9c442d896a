"""Filling a database with ended sagas, without running each of them."""

from __future__ import annotations

from benchmarks.saga_bench import saga_bench
from tests.support.postgres import PostgresServer

TABLES = {"sagas": "id", "saga_data": "saga_id", "saga_history": "saga_id"}
"""Where an ended saga has rows, and the column with its id."""


def fill(server: PostgresServer, url: str, first: int, last: int) -> None:
    """Make ended sagas out of one that was run, with its data and its history.

    Their ids are below those of every saga that is run: they look old.

    Args:
        server: that has the database.
        url: of the database.
        first: the number of the first one; 0: one is run, to copy.
        last: the number behind the last one.
    """
    database = url.rpartition("/")[2]
    if first == 0:
        saga_bench("--sagas", "1", "--repeat", "1", "--store", url)
    (model,) = server.execute("SELECT max(id) FROM sagas", database).split()
    for table, key in TABLES.items():
        columns = server.execute(
            "SELECT column_name FROM information_schema.columns"
            f" WHERE table_name = '{table}' ORDER BY ordinal_position",
            database,
        ).split()
        values = ", ".join(
            "lpad(n::text, 26, '0')" if column == key else column for column in columns
        )
        server.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table},"
            f" generate_series({first}, {last - 1}) AS n WHERE {key} = '{model}'",
            database,
        )
    # As autovacuum would have done by the time that so many had gone by.
    server.execute("VACUUM ANALYZE", database)
    server.execute("CHECKPOINT", database)
