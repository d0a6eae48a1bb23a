"""Drains the outbox: MQTT or files."""
