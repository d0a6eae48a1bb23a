"""Writes into a store as fast as it can until it is killed; says on stdout what `flush` has confirmed."""

import random
import sys
import threading
from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.contract.telemetry import StreamSpec
from edge_agent.store.body import Options, StoreBody
from edge_agent.store.opening import open_store
from edge_agent.types import Gap
from tests.store import effects


def main(directory: Path, seed: int, quota_bytes: int, delivering: bool) -> None:
    rng = random.Random(seed)
    clock = SystemClock()
    witness = directory.with_name(directory.name + ".last")
    writer = open_store(directory, gateway="gw1", quota_bytes=quota_bytes, clock=clock, witness=witness)
    body = StoreBody(
        writer,
        clock=clock,
        describe=lambda stream: StreamSpec("b" if stream == "s4" else "all"),
        options=Options(commit_interval_ns=20_000_000),
    )
    threading.Thread(target=body.run, daemon=True).start()
    outbox = body.outbox()
    print("epoch", writer.epoch, flush=True)
    next_seq: dict[str, int] = {}

    def number(stream: str) -> int:
        next_seq[stream] = next_seq.get(stream, -1) + 1
        return next_seq[stream]

    while True:
        for _ in range(rng.randint(1, 40)):
            batch = [effects.record(number(f"s{i}"), f"s{i}") for i in range(5) if rng.random() < 0.8]
            if rng.random() < 0.1:
                seq = number("decision")
                batch.append(effects.decision(seq))
            if rng.random() < 0.1:
                seq = number("infer-bearing")
                batch.append(effects.prediction(seq))
            if rng.random() < 0.1:
                first = number("s0")
                last = number("s0")
                batch.append(Gap("s0", writer.epoch, first, last, "overload", clock.now()))
            body.put(batch)
        if delivering and rng.random() < 0.5:
            prio = rng.randrange(3)
            outbox.delivered([(row.prio, row.id) for row in outbox.unacked(prio, 0, 5)])
        if not body.flush(10):
            sys.exit("flush timed out")
        print("flushed", *(f"{stream}={seq}" for stream, seq in next_seq.items()), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "delivering")
