"""Message brokers, found by URL scheme: RabbitMQ and in-process."""
