"""saga-orchestrator: sagas on RabbitMQ and PostgreSQL; nothing lost, nothing twice.

Define a saga of steps, register handlers, open a manager, start sagas::

    from saga_orchestrator import Handlers, Manager, SagaDefinition, Step
"""

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.saga import Saga, StepStatus
from saga_orchestrator.core.states import Direction, Outcome, SagaState, StepState
from saga_orchestrator.errors import (
    BrokerError,
    ConfigurationError,
    DefinitionError,
    KeyConflict,
    PayloadError,
    SagaError,
    SagaNotFoundError,
    StoreError,
    TransitionRefused,
)
from saga_orchestrator.participant.barrier import PostgresBarrier, SqliteBarrier
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.participant.signals import (
    Deferred,
    RetryLater,
    Skip,
    StepFailed,
    Superseded,
)
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.wire.topology import Topology

__version__ = "0.1.0"

__all__ = [
    "BrokerError",
    "ConfigurationError",
    "Deferred",
    "DefinitionError",
    "Direction",
    "Handlers",
    "KeyConflict",
    "Manager",
    "Outcome",
    "PayloadError",
    "PostgresBarrier",
    "RetryLater",
    "RetryPolicy",
    "Saga",
    "SagaDefinition",
    "SagaError",
    "SagaNotFoundError",
    "SagaState",
    "Skip",
    "SqliteBarrier",
    "Step",
    "StepContext",
    "StepFailed",
    "StepState",
    "StepStatus",
    "Store",
    "StoreError",
    "Superseded",
    "Topology",
    "TransitionRefused",
    "__version__",
]
