"""Sagas in one SQLite file: durable without a server, one engine at a time."""

from saga_stores.sqlite.store import SqliteSagaStore

__all__ = ["SqliteSagaStore"]
