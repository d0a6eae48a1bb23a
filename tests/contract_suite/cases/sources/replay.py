"""A file."""

from contextlib import contextmanager


@contextmanager
def working(folder):
    path = folder / "captured.csv"
    path.write_text("temp,rpm\n" + "".join(f"20.{n % 10},{n}\n" for n in range(10_000)))
    yield {"path": str(path), "interval": "10ms"}
