"""Actuator drivers, one file a kind."""
