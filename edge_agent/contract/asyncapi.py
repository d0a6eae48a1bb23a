"""The AsyncAPI 3 document: every topic with its messages, from the gateway's side."""

from __future__ import annotations

from typing import Any

from edge_agent.contract import topics
from edge_agent.contract.channels import CHANNELS, DOCUMENT_TYPE, QOS, ROW_TYPE, Channel, shape_of
from edge_agent.contract.schema import file_name

_BINDING = "0.2.0"
_ABOUT = """\
What an Edge Agent gateway sends and takes over MQTT 5 or 3.1.1. Bodies are JSON; those of numbered rows are deflated
(zlib). Everything needed is in the body: properties of MQTT 5 only repeat it. How to use it: BACKEND.md."""
_PLACE = {
    "tenant": "Whose gateway it is.",
    "site": "Where it stands.",
    "gateway": "Which one it is.",
}


def asyncapi_document() -> dict[str, Any]:
    """Payloads refer to the schema files beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Edge Agent gateway",
            "version": topics.VERSION.removeprefix("v") + ".0.0",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": DOCUMENT_TYPE,
        "channels": {_name(c): _channel(c) for c in CHANNELS},
        "operations": {f"{'send' if c.direction == 'up' else 'receive'}_{_name(c)}": _operation(c) for c in CHANNELS},
        "components": {
            "messages": {_message_name(shape_of(m)): _message(shape_of(m), c) for c in CHANNELS for m in c.carries}
        },
    }


def _name(channel: Channel) -> str:
    return f"{channel.direction}_{channel.kind}"


def _message_name(shape: str) -> str:
    return shape.replace("/", "_")


def _channel(channel: Channel) -> dict[str, Any]:
    last = {channel.parameter.name: channel.parameter.means} if channel.parameter else {}
    return {
        "address": f"edge/{topics.VERSION}/{{tenant}}/{{site}}/{{gateway}}/{channel.suffix}",
        "description": channel.about,
        "parameters": {name: {"description": means} for name, means in {**_PLACE, **last}.items()},
        "messages": {
            _message_name(shape): {"$ref": f"#/components/messages/{_message_name(shape)}"}
            for shape in map(shape_of, channel.carries)
        },
    }


def _operation(channel: Channel) -> dict[str, Any]:
    expiry = {} if channel.expiry_s is None else {"messageExpiryInterval": channel.expiry_s}
    mqtt = {"qos": QOS, "retain": channel.retain, **expiry, "bindingVersion": _BINDING}
    return {
        "action": "send" if channel.direction == "up" else "receive",
        "channel": {"$ref": f"#/channels/{_name(channel)}"},
        "summary": channel.about,
        "description": f"Key: {channel.key}.",
        "bindings": {"mqtt": mqtt},
    }


def _message(shape: str, channel: Channel) -> dict[str, Any]:
    return {
        "name": shape,
        "title": shape,
        "contentType": DOCUMENT_TYPE if channel.direction == "down" or is_document(channel) else ROW_TYPE,
        "payload": {"$ref": f"./schemas/{file_name(shape)}"},
    }


def is_document(channel: Channel) -> bool:
    """Sent as plain JSON, since it comes from no outbox."""
    return channel.retain or channel.kind == topics.CMD
