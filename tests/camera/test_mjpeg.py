"""A stream of JPEGs comes apart into its pictures however it is cut, and one that ends early is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.mjpeg import JpegSplitter

from .pictures import jpeg

PICTURES = [jpeg(n, size=(48 + n, 64)) for n in range(5)]
BOUNDARY = b"\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 12\r\n\r\n"


@given(st.lists(st.integers(1, 400), max_size=60))
def test_every_picture_comes_out_whole_however_the_stream_is_cut(cuts: list[int]) -> None:
    stream = b"".join(BOUNDARY + picture for picture in PICTURES)
    splitter = JpegSplitter()
    found = []
    for size in cuts:
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    found += splitter.feed(stream)
    assert found == PICTURES
    assert splitter.broken == 0


@pytest.mark.parametrize("keep", [2, 3, 20, 200, 0.5, 0.98, -1])
def test_truncated_picture_is_counted_and_the_next_one_is_whole(keep: float) -> None:
    size = int(len(PICTURES[0]) * keep) if isinstance(keep, float) else keep
    splitter = JpegSplitter()
    found = splitter.feed(BOUNDARY + PICTURES[0][:size] + BOUNDARY + PICTURES[1] + BOUNDARY + PICTURES[2])
    found += splitter.feed(BOUNDARY + PICTURES[3] + PICTURES[4])
    assert splitter.broken >= 1
    assert set(found) <= set(PICTURES[1:])
    assert PICTURES[4] in found


def test_thumbnail_inside_a_picture_is_no_picture() -> None:
    thumbnail = PICTURES[0]
    whole = PICTURES[1]
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = whole[:2] + segment + whole[2:]
    assert JpegSplitter().feed(with_thumbnail * 2) == [with_thumbnail] * 2


@given(st.binary(max_size=2000))
def test_noise_is_no_picture_and_does_not_break_the_splitter(noise: bytes) -> None:
    splitter = JpegSplitter()
    splitter.feed(noise)
    for _ in range(40):
        if PICTURES[2] in splitter.feed(BOUNDARY + PICTURES[2]):
            return
    # noise may begin a picture with a segment of up to 64 KiB
    found = splitter.feed((BOUNDARY + PICTURES[2]) * 200)
    assert PICTURES[2] in found


def test_endless_picture_does_not_fill_the_memory() -> None:
    splitter = JpegSplitter()
    head = PICTURES[0][: PICTURES[0].index(b"\xff\xda") + 14]
    splitter.feed(head)
    for _ in range(40):
        splitter.feed(b"\x55" * 2**20)
    assert splitter.broken >= 1
    assert PICTURES[1] in splitter.feed(PICTURES[1])
