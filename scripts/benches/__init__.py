"""Benchmarks, one file each: `measure(quick) -> list[Figure]`."""
