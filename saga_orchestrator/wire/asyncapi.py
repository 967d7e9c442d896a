"""The wire as an AsyncAPI 3.0 document, as a participant sees it."""

from __future__ import annotations

from typing import Any

from saga_orchestrator.core.commands import routing_key
from saga_orchestrator.core.states import Direction
from saga_orchestrator.wire.envelope import COMMANDS, REPLIES
from saga_orchestrator.wire.models import VERSION
from saga_orchestrator.wire.schema import command_schema, reply_schema
from saga_orchestrator.wire.topology import Topology

_Document = dict[str, Any]

_SCHEMAS = "#/components/schemas/{model}"
_BINDING = {"bindingVersion": "0.3.0"}
_WORDS = {Direction.ACTION: "step", Direction.COMPENSATION: "compensation"}
_TOPOLOGY = Topology()


def asyncapi(topology: Topology = _TOPOLOGY) -> _Document:
    """Return the document for an installation with these names on the broker."""
    directions = list(Direction)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "A saga participant",
            "version": f"{VERSION}.0.0",
            "description": "What a service does to take part in sagas: it receives "
            "commands, and sends replies. docs/wire.md has the rules in words.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            **{f"{_WORDS[way]}s": _commands(way, topology) for way in directions},
            "replies": _replies(topology),
        },
        "operations": {
            **{f"receive_{_WORDS[way]}s": _receive(way) for way in directions},
            "send_replies": _send(),
        },
        "components": {
            "messages": {
                "commands": _message(COMMANDS, "CommandMessage"),
                "replies": _message(REPLIES, "ReplyMessage"),
            },
            "schemas": _schemas(),
        },
    }


def _commands(way: Direction, topology: Topology) -> _Document:
    queue = topology.queue_for(way, "<service>")
    exchange = {"name": topology.exchange, "type": "topic", "durable": True}
    return {
        "address": routing_key(way, "{action}"),
        "description": f"Commands of one {_WORDS[way]}; a service binds the queue "
        f"{queue} to the routing key of each that it serves.",
        "parameters": {"action": {"description": f"The name of the {_WORDS[way]}."}},
        "messages": {"commands": {"$ref": "#/components/messages/commands"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {**exchange, "autoDelete": False, "vhost": "/"},
                **_BINDING,
            }
        },
    }


def _replies(topology: Topology) -> _Document:
    queue = {"name": topology.replies, "durable": True, "exclusive": False}
    return {
        "address": topology.replies,
        "description": "Replies to all commands; publish to the default exchange.",
        "messages": {"replies": {"$ref": "#/components/messages/replies"}},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {**queue, "autoDelete": False, "vhost": "/"},
                **_BINDING,
            }
        },
    }


def _receive(way: Direction) -> _Document:
    channel = f"#/channels/{_WORDS[way]}s"
    return {
        "action": "receive",
        "channel": {"$ref": channel},
        "summary": "Acknowledge when every reply is confirmed by the broker.",
        "messages": [{"$ref": f"{channel}/messages/commands"}],
        "bindings": {"amqp": {"ack": True, **_BINDING}},
    }


def _send() -> _Document:
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/replies"},
        "summary": "Persistent, mandatory, with publisher confirms.",
        "messages": [{"$ref": "#/channels/replies/messages/replies"}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, **_BINDING}},
    }


def _message(kind: str, model: str) -> _Document:
    return {
        "name": kind,
        "contentType": "application/json",
        "payload": {"$ref": _SCHEMAS.format(model=model)},
        "bindings": {"amqp": {"messageType": kind, **_BINDING}},
    }


def _schemas() -> _Document:
    """Return both messages' definitions; those that they share are the same."""
    schemas: _Document = {}
    for schema in (command_schema(_SCHEMAS), reply_schema(_SCHEMAS)):
        schemas |= schema.pop("$defs")
        del schema["$schema"], schema["$id"]
        schemas[schema["title"]] = schema
    return schemas
