"""Sagas in memory: for tests, simulations and trying things out."""

from saga_stores.memory.store import MemorySagaStore

__all__ = ["MemorySagaStore"]
