"""Firmware updates over SMP: the state machine, the flow on a device with MCUboot's swap, and the commands."""
