"""Private servers for a measurement: default durability, nothing tuned for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.support.postgres import PostgresServer
from tests.support.rabbitmq import RabbitServer

COUNTS_STATEMENTS = {"shared_preload_libraries": "pg_stat_statements"}


class Servers:
    """A PostgreSQL and a RabbitMQ of our own; fsync is on in both.

    Attributes:
        postgres: the one.
        rabbit: the other.
    """

    def __init__(self, postgres: PostgresServer, rabbit: RabbitServer) -> None:
        self.postgres = postgres
        self.rabbit = rabbit

    @classmethod
    @contextlib.contextmanager
    def open(cls, *, count_statements: bool = False) -> Iterator[Servers]:
        """Start them; stop them and remove their data in the end.

        Args:
            count_statements: let PostgreSQL do it, at a per cent or two of its speed.
        """
        settings = COUNTS_STATEMENTS if count_statements else {}
        with contextlib.ExitStack() as opened:
            postgres = PostgresServer(**settings)
            opened.callback(postgres.close)
            postgres.start()
            if count_statements:
                postgres.execute("CREATE EXTENSION pg_stat_statements", "template1")
            rabbit = RabbitServer()
            opened.callback(rabbit.close)
            rabbit.start()
            yield cls(postgres, rabbit)

    def options(self, store: str | None = None) -> list[str]:
        """Return where `saga bench` finds them: a fresh vhost, and a fresh database.

        Args:
            store: the URL of a database to use instead.
        """
        return [
            *("--store", store or self.postgres.create_database()),
            *("--broker", self.rabbit.create_vhost()),
            *("--watch-process", f"postgresql={self.postgres.pid}"),
            *("--watch-process", f"rabbitmq={self.rabbit.pid}"),
        ]
