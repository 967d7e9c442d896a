"""What a demo is to be, and what of it cannot work."""

from __future__ import annotations

from dataclasses import dataclass

from saga_orchestrator.demo.scenarios import Scenario
from saga_orchestrator.errors import ConfigurationError

IN_FLIGHT_MAX = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a demo is to be.

    Attributes:
        scenario: what is run.
        sagas: how many are started.
        seed: decides what goes wrong.
        store: a URL; not ``memory://``, for processes share it.
        broker: a URL; ``memory://`` is one in the orchestrator's process.
        orchestrators: processes with an engine.
        workers: processes with handlers; 0: the orchestrators have them.
        with_barrier: False shows that the checks can fail.
    """

    scenario: Scenario
    sagas: int
    seed: int
    store: str
    broker: str = "memory://"
    orchestrators: int = 1
    workers: int = 0
    with_barrier: bool = True

    @property
    def in_flight(self) -> int:
        """Sagas started and not ended, at most; some are left when half have."""
        return min(IN_FLIGHT_MAX, max(self.sagas // 2, 1))

    @property
    def has_server_broker(self) -> bool:
        """Whether the broker is a server, where queues stay."""
        return not self.broker.startswith("memory:")

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: names the option and says why.
        """
        if self.store.startswith("memory:"):
            raise ConfigurationError(
                "store: memory:// lives in one process, and the demo kills processes; "
                "use sqlite:///… or postgresql://…"
            )
        if not self.has_server_broker and self.orchestrators + self.workers > 1:
            raise ConfigurationError(
                "broker: memory:// is inside one process; "
                "--workers and --orchestrators need amqp://…"
            )
        if self.store.startswith("sqlite:") and self.orchestrators > 1:
            raise ConfigurationError(
                "store: one engine runs on a SQLite file; "
                "--orchestrators 2 needs postgresql://…"
            )
