"""RabbitMQ 3.10 and later, through aio-pika."""

from saga_orchestrator.brokers.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
