"""The worker process: `python -m edge_agent.inference.worker FD PARENT MEMORY_MB`. Runs models, an input at a time.

It knows its socket and the model files, nothing else: no network, no credentials, no code from outside. It ends with
its parent: at the end of its socket, or by the parent-death signal where a model keeps it from looking.
"""

from __future__ import annotations

import os
import resource
import socket
import sys

from edge_agent.children import die_with, yield_to_others
from edge_agent.errors import Rejected
from edge_agent.inference.loaded_model import LoadedModel
from edge_agent.inference.rehearsal import rehearse
from edge_agent.inference.wire import (
    HEADER_LIMIT,
    PAYLOAD_LIMIT,
    PREFIX,
    Answer,
    FromWorker,
    Load,
    Ready,
    Refusal,
    ToWorker,
    decode_to_worker,
    head,
)

_NICE = 10
_OOM_SCORE = 500
_RESERVE_BYTES = 256 * 2**20


def main(fd: int, parent: int, memory_mb: int) -> None:
    die_with(parent)
    yield_to_others(nice=_NICE, oom_score=_OOM_SCORE)
    bound_memory(memory_mb)
    with socket.socket(fileno=fd) as connection:
        Worker(connection).serve()
    # not the ordinary way out: freeing some models kills the process
    os._exit(0)


def bound_memory(memory_mb: int) -> None:
    """A limit some way above the ceiling that the lane watches, so that one huge tensor fails here and not in the
    whole box; 0: none (a GPU maps far more than it uses)."""
    if memory_mb:
        limit = memory_mb * 10**6 + _RESERVE_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class Worker:
    """Answers one message after the other until its peer is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._models: dict[int, LoadedModel] = {}
        self._payload = bytearray()

    def serve(self) -> None:
        while (received := self._receive()) is not None:
            message, payload = received
            self._connection.sendall(head(self._reply(message, payload)))

    def _reply(self, message: ToWorker, payload: memoryview) -> FromWorker:
        if isinstance(message, Load):
            return self._load(message)
        model = self._models.get(message.slot)
        if model is None:
            return Answer(message.slot, {}, error="no such model in this worker")
        return model.answer(message, payload)

    def _load(self, load: Load) -> FromWorker:
        try:
            if load.rehearse:
                rehearse(load)
            model = LoadedModel(load)
        except Rejected as e:
            return Refusal(load.slot, e.message, e.hint)
        except MemoryError:
            return Refusal(load.slot, "not enough memory to load the model", "raise memory_mb")
        except ImportError as e:
            return Refusal(load.slot, f"the runtime is not installed: {e}", "pip install 'edge-agent[models]'")
        self._models[load.slot] = model
        return Ready(load.slot, model.backend)

    def _receive(self) -> tuple[ToWorker, memoryview] | None:
        """The next message; None when the peer is gone. The payload is valid until the next call."""
        prefix = bytearray(PREFIX.size)
        if not self._fill(memoryview(prefix)):
            return None
        header_bytes, payload_bytes = PREFIX.unpack(prefix)
        if header_bytes > HEADER_LIMIT or payload_bytes > PAYLOAD_LIMIT:
            return None
        header = bytearray(header_bytes)
        if payload_bytes > len(self._payload):
            self._payload = bytearray(payload_bytes)
        payload = memoryview(self._payload)[:payload_bytes]
        if not self._fill(memoryview(header)) or not self._fill(payload):
            return None
        return decode_to_worker(header), payload

    def _fill(self, into: memoryview) -> bool:
        while into:
            n = self._connection.recv_into(into)
            if not n:
                return False
            into = into[n:]
        return True


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
