"""Three RabbitMQ nodes on one host. Methods block: call them off the loop."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.rabbitmq import RabbitServer

NODES = 3

# A new queue's name may reach the disk late; see RabbitServer.flush_new_queues.
_FLUSH = """
[rpc:call(Node, dets, sync, [Table])
    || Node <- [node() | nodes()], Table <- rpc:call(Node, dets, all, [])].
"""


class RabbitCluster:
    """The nodes, each a server of its own.

    Attributes:
        nodes: the first one is the others' seed.
    """

    def __init__(self) -> None:
        self.nodes: list[RabbitServer] = []

    def start(self) -> None:
        """Start one node, then the others, which join it."""
        seed = RabbitServer()
        self.nodes.append(seed)
        seed.start()
        self.nodes += [RabbitServer(seed) for _ in range(NODES - 1)]
        _each(RabbitServer.start, self.nodes[1:])

    def restart(self, *, by_kill: bool) -> None:
        """End all nodes, at the same time, and start them again."""
        _each(RabbitServer.kill if by_kill else RabbitServer.stop, self.nodes)
        _each(RabbitServer.start, self.nodes)

    def close(self) -> None:
        """Stop all; the seed last, whose epmd the others use."""
        for node in reversed(self.nodes):
            node.close()

    def queues(self) -> dict[str, dict[str, Any]]:
        """Return what a node that runs tells of the queues, by name."""
        columns = ("leader", "consumers", "messages", "members")
        listed = self._witness().queues("/%2F", *columns)
        return {queue["name"]: queue for queue in listed}

    def ghosts(self) -> set[str]:
        """Name the consumers that the broker counts, and whose channels are gone."""
        return self._witness().ghosts("/%2F")

    def leader_of(self, queue: str) -> RabbitServer | None:
        """Return the node that leads a queue; None: nobody does, or it is gone."""
        name = self.queues().get(queue, {}).get("leader")
        return next((node for node in self.nodes if node.name == name), None)

    def delete_queue(self, queue: str) -> None:
        """Delete a queue behind the back of its consumers."""
        self._witness().delete_queue("/%2F", queue)

    def flush_new_queues(self) -> None:
        """Make queues that were just created survive a kill."""
        self._witness().rabbitmqctl("eval", _FLUSH)

    def any_node(self, rng: random.Random) -> RabbitServer:
        """Draw a node that runs."""
        return rng.choice([node for node in self.nodes if node.is_running])

    def _witness(self) -> RabbitServer:
        return next(n for n in self.nodes if n.is_running and not n.is_paused)


def _each(work: Callable[[RabbitServer], None], nodes: Sequence[RabbitServer]) -> None:
    with ThreadPoolExecutor(len(nodes)) as threads:
        for _ in threads.map(work, nodes):
            pass
