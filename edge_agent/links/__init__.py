"""Who owns a port: serial line, MQTT client."""
