"""Windows and derived signals: pure, incremental, on monotonic time."""
