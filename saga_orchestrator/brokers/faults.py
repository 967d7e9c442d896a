"""What the in-process broker asks before it does its work, to do it badly.

The demo and the seeded simulation pass an object of this shape; without one
the broker does not ask. Answers must come from a seeded source, so that a run
can be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from saga_orchestrator.ports.broker import OutgoingMessage


class BrokerFaults(Protocol):
    """Decides what goes wrong with one message."""

    def copies(self, message: OutgoingMessage) -> int:
        """Return how often a published message is stored: 1; 2 duplicates, 0 loses."""
        ...

    def loses_confirm(self, message: OutgoingMessage) -> bool:
        """Tell whether the publisher never hears: its receipt is ``UNKNOWN``."""
        ...

    def delivery_delay(self, queue: str) -> float:
        """Return the seconds before the handler of a delivery is called."""
        ...

    def loses_ack(self, queue: str) -> bool:
        """Tell whether an acknowledgement is lost: the message comes again."""
        ...
