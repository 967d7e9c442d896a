"""The in-process broker: the embedded default, and the world of simulations."""

from saga_orchestrator.brokers.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
