"""The faults, by class: what breaks, and how it is known that it did.

A fault returns its evidence, and has mended what it broke. What cannot be shown
to have happened raises ``NotProvenError`` and is tried again.
"""

from __future__ import annotations

from tests.chaos.faults import broker, database, network, process
from tests.chaos.faults.fault import Fault, NotProvenError

__all__ = ["FAULTS", "LANES", "Fault", "NotProvenError"]

LANES: dict[str, dict[str, Fault]] = {
    "broker": {
        "broker_restarted": broker.restarted,
        "queue_leader_killed": broker.leader_killed,
        "broker_node_stopped": broker.node_stopped,
        "memory_alarm": broker.memory_alarm,
        "queue_deleted": broker.queue_deleted,
    },
    "database": {
        "commit_answer_lost": database.commit_answer_lost,
        "commit_lost": database.commit_lost,
        "lock_timeout": database.lock_timeout,
        "deadlock": database.deadlock,
        "postgres_restarted": database.restarted,
        "postgres_stopped": database.stopped,
        "backends_terminated": database.backends_terminated,
    },
    "network": {
        "confirm_lost": network.confirm_lost,
        "ack_lost": network.ack_lost,
        "consumer_cancelled": network.consumer_cancelled,
        "connections_reset": network.connections_reset,
        "connections_silent": network.connections_silent,
    },
    "process": {
        "orchestrator_killed": process.orchestrator_killed,
        "worker_killed": process.worker_killed,
        "orchestrator_stopped": process.orchestrator_stopped,
        "worker_stopped": process.worker_stopped,
        "process_drained": process.drained,
    },
}
"""Faults of one lane come one after the other; the lanes go side by side."""

FAULTS: dict[str, Fault] = {
    name: fault for lane in LANES.values() for name, fault in lane.items()
}
