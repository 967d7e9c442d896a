"""What the broker allows: messages through a quorum queue; runs with the peers.

``python limit_rabbitmq.py BROKER_URL COUNT`` prints a line of JSON. One process
publishes persistent messages and waits for their confirms, some hundred at a time;
another consumes and acknowledges them. pika is the cheapest client at hand, so that the
broker is what limits.
"""

from __future__ import annotations

import abc
import json
import multiprocessing
import sys
import time
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

QUEUE = "bench.limit"
BODY = b"x" * 200
WINDOW = 500
_PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Flow(abc.ABC):
    """One end of the queue: opens a channel, and runs until its count is reached.

    Args:
        url: of the broker.
        count: messages.
    """

    def __init__(self, url: str, count: int) -> None:
        self._left = count
        self._connection = SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(
                on_open_callback=self.opened
            ),
        )

    @abc.abstractmethod
    def opened(self, channel: Channel) -> None:
        """Begin; the channel is there."""

    def settled(self, count: int) -> None:
        """Note that so many more are through; end with the last."""
        self._left -= count
        if self._left == 0:
            self._connection.close()

    def run(self) -> None:
        """Return when all are through."""
        self._connection.ioloop.start()


class Publisher(Flow):
    """Keeps a window of messages unconfirmed."""

    def opened(self, channel: Channel) -> None:
        """Publish the first window."""
        self._channel = channel
        self._to_send = self._left
        self._sent = 0
        self._unconfirmed: set[int] = set()
        channel.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
        channel.confirm_delivery(self._confirmed)
        self._publish(WINDOW)

    def _publish(self, count: int) -> None:
        for _ in range(min(count, self._to_send)):
            self._to_send -= 1
            self._sent += 1
            self._unconfirmed.add(self._sent)
            self._channel.basic_publish("", QUEUE, BODY, _PERSISTENT)

    def _confirmed(self, frame: Any) -> None:  # noqa: ANN401 - a frame of pika
        tag = frame.method.delivery_tag
        confirmed = {tag}
        if frame.method.multiple:
            confirmed = {one for one in self._unconfirmed if one <= tag}
        self._unconfirmed -= confirmed
        self.settled(len(confirmed))
        self._publish(len(confirmed))


class Consumer(Flow):
    """Acknowledges each message."""

    def opened(self, channel: Channel) -> None:
        """Consume."""
        channel.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
        channel.basic_qos(prefetch_count=WINDOW)
        channel.basic_consume(QUEUE, self._deliver)

    def _deliver(self, channel: Channel, method: Any, *_: Any) -> None:  # noqa: ANN401 - pika's
        channel.basic_ack(method.delivery_tag)
        self.settled(1)


def consume(url: str, count: int) -> None:
    """Take so many messages."""
    Consumer(url, count).run()


def main() -> None:
    """Declare the queue, and send messages through it."""
    url, count = sys.argv[1], int(sys.argv[2])
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_declare(
            QUEUE, durable=True, arguments={"x-queue-type": "quorum"}
        )
    consumer = multiprocessing.Process(target=consume, args=(url, count))
    consumer.start()
    begun = time.monotonic()
    Publisher(url, count).run()
    consumer.join()
    found = {"per_second": round(count / (time.monotonic() - begun), 1)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
