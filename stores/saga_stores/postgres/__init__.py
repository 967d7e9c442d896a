"""Sagas in PostgreSQL 13 or newer: any number of replicas, nothing lost."""

from saga_stores.postgres.store import PostgresSagaStore

__all__ = ["PostgresSagaStore"]
