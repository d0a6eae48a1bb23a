"""Modbus: the driver against pymodbus' own servers, and against slaves that misbehave."""
