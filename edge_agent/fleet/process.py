"""The ingest as a process: signals, watchdog, and nothing else."""

from __future__ import annotations

import random
import signal
import threading

from edge_agent.fleet.ingest import Ingest, IngestSettings
from edge_agent.fleet.watchdog import Watchdog


def run(settings: IngestSettings) -> None:
    """Until SIGTERM or SIGINT; what has come and is not committed by then comes again. Raises Fatal."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ingest = Ingest(settings, rng=random.Random(), stop=stop)  # noqa: S311  # for waits, not for secrets
    Watchdog(lambda: ingest.progress.turns).start(stop)
    ingest.run()
