"""The firmware bridge: Python, C, both against each other, and real firmware in an emulator."""
