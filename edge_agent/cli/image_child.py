"""One picture from any file format to a model's view: `python -m edge_agent.cli.image_child FD PARENT`.

In a process of its own, as with cameras: the file may be anything, and OpenCV stays out of the agent's processes. The
geometry is the one of the capture child, so that a picture tried by hand becomes the same tensor as a frame.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from typing import BinaryIO

import msgspec

# before cv2 is imported: a small file can unpack to a very large picture
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100 * 10**6))
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

import cv2
import numpy as np

from edge_agent.children import die_with
from edge_agent.cli.image_wire import PREFIX, Ask, NoPicture, Shaped, encode
from edge_agent.sources.geometry_child import Shaper

_MEMORY_BYTES = 2 * 10**9


def main(fd: int, parent: int) -> None:
    die_with(parent)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    with socket.socket(fileno=fd) as connection, connection.makefile("rb") as stream:
        reply, pixels = _answer(stream)
        body = encode(reply)
        connection.sendall(PREFIX.pack(len(body), len(pixels)) + body + pixels)


def _answer(stream: BinaryIO) -> tuple[Shaped | NoPicture, bytes]:
    ask_bytes, file_bytes = PREFIX.unpack(stream.read(PREFIX.size))
    ask = msgspec.msgpack.decode(stream.read(ask_bytes), type=Ask)
    content = np.frombuffer(stream.read(file_bytes), np.uint8)
    try:
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as e:
        return NoPicture(f"OpenCV refuses it: {e.err}"), b""
    if picture is None:
        return NoPicture("is no picture that OpenCV can read"), b""
    head, image = Shaper(ask.view).shape(picture)
    return Shaped(picture.shape[1], picture.shape[0], head), image.tobytes()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
