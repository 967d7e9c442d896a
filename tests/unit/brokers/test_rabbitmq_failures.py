"""What the client library raises, as the errors of the port."""

from __future__ import annotations

import pytest
from aio_pika.exceptions import AMQPConnectionError

from saga_orchestrator.brokers.rabbitmq.failures import translated
from saga_orchestrator.errors import BrokerUnavailableError


@pytest.mark.parametrize(
    "error",
    [
        Exception(),  # of calls on a connection that was closed without a reason
        AMQPConnectionError("gone"),
        ConnectionResetError("reset"),
        TimeoutError(),
    ],
)
def test_a_lost_connection(error: Exception) -> None:
    """Whatever says that the connection is gone says it in our words."""
    with pytest.raises(BrokerUnavailableError, match="asking"), translated("asking"):
        raise error


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), ValueError("x")])
def test_a_defect_is_no_lost_connection(error: Exception) -> None:
    """What is not the connection's fault is not hidden."""
    with pytest.raises(type(error)), translated("asking"):
        raise error
