"""What a bench is to be, and what of it cannot work."""

from __future__ import annotations

from dataclasses import dataclass

from saga_orchestrator.core.payload import PAYLOAD_BYTES_MAX
from saga_orchestrator.core.validation import STEPS_MAX
from saga_orchestrator.errors import ConfigurationError

IN_FLIGHT_DEFAULT = 500
RATE_MAX = 100_000
CONTEXT_BYTES_MAX = PAYLOAD_BYTES_MAX - 1024
"""Of ``--payload``: the rest of the context needs some bytes too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one saga is.

    Attributes:
        steps: how many, one after the other.
        fan_out: so many at once, between a first and a last step; 0: a sequence.
        payload: bytes of text in the context, which every command carries.
        compensate: the last step is refused, and the others are undone.
    """

    steps: int = 3
    fan_out: int = 0
    payload: int = 0
    compensate: bool = False

    @property
    def step_count(self) -> int:
        """How many steps a saga has."""
        return self.fan_out + 2 if self.fan_out else self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a bench is to be.

    Attributes:
        sagas: how many are started in each run.
        shape: what each of them is.
        store: a URL; not ``memory://``, for the sagas are counted there in the end.
        broker: a URL; ``memory://`` is one in the orchestrator's process.
        orchestrators: processes with an engine, which also start the sagas.
        workers: processes with handlers; 0: the orchestrators have them.
        in_flight: sagas that are started and have not ended, at a time.
        rate: starts a second, however fast sagas end; None: as fast as they end.
        repeat: runs; each figure is the median of theirs.
        seed: decides the payloads, and how retries are spread.
        patience: seconds without a saga that ends, after which a run is given up.
        watched: other processes whose CPU and memory count: a name and a pid each.
    """

    sagas: int
    shape: Shape
    store: str
    broker: str = "memory://"
    orchestrators: int = 1
    workers: int = 0
    in_flight: int = IN_FLIGHT_DEFAULT
    rate: float | None = None
    repeat: int = 3
    seed: int = 7
    patience: float = 30.0
    watched: tuple[tuple[str, int], ...] = ()

    @property
    def has_server_broker(self) -> bool:
        """Whether the broker is a server, where queues stay."""
        return not self.broker.startswith("memory:")

    @property
    def mode(self) -> str:
        """What is measured: ``embedded``, ``in-process`` or ``remote``."""
        if self.workers:
            return "remote"
        is_embedded = self.store.startswith("sqlite:") and not self.has_server_broker
        return "embedded" if is_embedded else "in-process"

    @property
    def load(self) -> str:
        """How sagas are started: ``open``, ``one at a time`` or ``closed``."""
        if self.rate is not None:
            return "open"
        return "one at a time" if self.in_flight == 1 else "closed"

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: names the option and the fix.
        """
        self._check_parts()
        self._check_shape()
        if self.rate is not None and not 0 < self.rate <= RATE_MAX:
            raise ConfigurationError(
                f"--rate: {self.rate:g} starts a second cannot be kept; use a number "
                f"over 0, up to {RATE_MAX:,}"
            )

    def _check_parts(self) -> None:
        if self.store.startswith("memory:"):
            raise ConfigurationError(
                "--store: memory:// is gone with its process, and sagas are counted "
                "in the store; use sqlite:///… or postgresql://…"
            )
        if not self.has_server_broker and self.orchestrators + self.workers > 1:
            raise ConfigurationError(
                "--broker: memory:// is inside one process; --workers and "
                "--orchestrators need amqp://…"
            )
        if self.store.startswith("sqlite:") and self.orchestrators > 1:
            raise ConfigurationError(
                "--store: one engine runs on a SQLite file; --orchestrators "
                f"{self.orchestrators} needs postgresql://…"
            )

    def _check_shape(self) -> None:
        shape = self.shape
        if shape.fan_out and shape.steps != Shape().steps:
            raise ConfigurationError(
                "--fan-out: has a first and a last step of its own; leave out --steps"
            )
        if shape.step_count > STEPS_MAX:
            option = "--fan-out" if shape.fan_out else "--steps"
            raise ConfigurationError(
                f"{option}: makes sagas of {shape.step_count} steps, the limit is "
                f"{STEPS_MAX}; use a smaller one"
            )
        if shape.compensate and shape.step_count == 1:
            raise ConfigurationError(
                "--compensate: the last step is refused and those before it are "
                "undone; use --steps 2 or more"
            )
        if shape.payload > CONTEXT_BYTES_MAX:
            raise ConfigurationError(
                f"--payload: {shape.payload} bytes do not fit into a context; use at "
                f"most {CONTEXT_BYTES_MAX}"
            )
