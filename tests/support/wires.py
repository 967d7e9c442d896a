"""An engine's two wires, to its store and to its broker, with a tap on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.wiretap import AmqpTap, PostgresTap, Rule


class Wires:
    """Where an engine is sent, so that all it says can be seen and stopped.

    Attributes:
        store: the tap on the wire to the store.
        broker: the tap on the wire to the broker.
        direct: where both are, without the wires between.
        urls: the same through the wires.
    """

    def __init__(
        self, store: PostgresTap, broker: AmqpTap, direct: dict[str, Any]
    ) -> None:
        self.store = store
        self.broker = broker
        self.direct = direct
        self.urls: dict[str, Any] = {
            "store": store.through(direct["store"]),
            "broker": broker.through(direct["broker"]),
        }

    def obey(self, rule: Rule) -> None:
        """Ask this rule about everything on both wires."""
        self.store.rule = self.broker.rule = rule
