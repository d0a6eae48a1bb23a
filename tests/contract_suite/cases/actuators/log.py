"""A folder that is there, or not."""

from contextlib import contextmanager


def missing(folder):
    return {"path": str(folder / "gone" / "actions.jsonl")}


@contextmanager
def working(folder):
    yield {"path": str(folder / "actions.jsonl")}
