"""A model's first run, in a fork of the worker: loaded, run once, freed.

Some models corrupt the memory of their process and kill it later, when nobody looks at them any more. One that
does so here is refused with the signal's name, instead of being trusted until it happens.
"""

from __future__ import annotations

import os
import signal
from importlib import import_module

from edge_agent.children import die_with
from edge_agent.errors import Rejected
from edge_agent.inference.loaded_model import LoadedModel
from edge_agent.inference.wire import Ask, Load

_GRACE_S = 2.0


def rehearse(load: Load) -> None:
    """Raises Rejected when the model kills its process. What else is wrong with it the real load will find."""
    # in the fork's parent, so that it is imported once
    import_module(f"edge_agent.inference.runtimes.{load.manifest.runtime}")
    ours = os.getpid()
    child = os.fork()
    if child == 0:
        _perform(load, ours)
    _, status = os.waitpid(child, 0)
    # SIGALRM: too slow, which is for the deadline to judge
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGALRM:
        name = signal.Signals(os.WTERMSIG(status)).name
        reason = f"the model kills its process with {name} when it is loaded, run once and freed"
        raise Rejected(reason, hint="export the model again; it corrupts memory")


def _perform(load: Load, parent: int) -> None:
    """In the fork: never returns."""
    die_with(parent)
    signal.setitimer(signal.ITIMER_REAL, load.manifest.deadline_ms / 1e3 + _GRACE_S)
    try:
        model = LoadedModel(load)
        model.answer(Ask(load.slot), memoryview(b""))
        model.free()
    except (Rejected, MemoryError):
        pass
    finally:
        os._exit(0)
