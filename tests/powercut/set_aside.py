"""A start that finds its store damaged, run under the recorder: python -m tests.powercut.set_aside STORE"""

import sys
from pathlib import Path

import msgspec

from tests.powercut.recorder import Inside
from tests.powercut.verdict import Mark
from tests.store.box import Box

if __name__ == "__main__":
    inside = Inside()
    box = Box(Path(sys.argv[1]), seed=2)
    inside.mark(msgspec.msgpack.encode(Mark("open", epoch=box.epoch, number=box.writer.start_no)))
    box.commit([box.decision()])
    inside.mark(msgspec.msgpack.encode(Mark("done", epoch=box.epoch, last=box.writer.last)))
