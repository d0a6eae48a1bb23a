"""Run as a script: `edge-agent` as a user without any rights, also where Python and the checkout are root's alone.

Modules are loaded with root's rights, whenever that is; all else the command does is done without them.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

NOBODY = 65534


class AsRoot:
    """While something is being loaded; what is loaded loads more."""

    depth = 0

    def __init__(self, load: Callable[..., Any]) -> None:
        self._load = load

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        AsRoot.depth += 1
        os.seteuid(0)
        try:
            return self._load(*args, **kwargs)
        finally:
            AsRoot.depth -= 1
            if not AsRoot.depth:
                os.seteuid(NOBODY)


if __name__ == "__main__":
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, 0)
    builtins.__import__ = AsRoot(builtins.__import__)
    importlib.import_module = AsRoot(importlib.import_module)

    from edge_agent.cli.main import main

    assert os.geteuid() == NOBODY, sys.argv
    main()
