"""The upload's state machine against a scripted device, without a line: every promise of update.py."""

from __future__ import annotations

import random

import cbor2
import pytest
from smp.image_management import ImageUploadWriteRequest
from smp.packet import decode

from firmware_bridge import smp
from firmware_bridge.image import version_of
from firmware_bridge.mcu import Mcu
from firmware_bridge.update import UpdateFailed, Upload

IMAGE = random.Random(1).randbytes(20_000)
MS = 1_000_000


class Device:
    """What Zephyr's server does with chunks."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.sha = b""
        self.largest = 0

    def chunk(self, frame: bytes) -> dict:
        request = ImageUploadWriteRequest.loads(frame)
        self.largest = max(self.largest, len(frame))
        if request.off == 0 and request.len is not None:
            if request.sha != self.sha:
                self.held, self.sha = bytearray(), request.sha
            elif self.held:
                return {"off": len(self.held)}
        if request.off == len(self.held):
            self.held += request.data
        return {"off": len(self.held)}


def frame_of(lines: bytes) -> bytes:
    decoder = decode()
    next(decoder)
    for line in lines.splitlines(keepends=True):
        try:
            decoder.send(line)
        except StopIteration as e:
            return bytes(e.value)
    raise AssertionError("no frame")


def run(upload: Upload, device: Device, dice: random.Random, loss: float = 0.0, until: int = 10**9) -> None:
    now = 0
    while not upload.done and upload.offset < until:
        request = upload.due(now)
        if request is None:
            now = upload.deadline_ns()
            continue
        if dice.random() < loss:
            continue
        body = device.chunk(frame_of(request[0]))
        if dice.random() >= loss:
            now += 5 * MS
            upload.answered(smp.Answer(smp.IMAGE, smp.UPLOAD, request[1], body), now)


@pytest.mark.parametrize("buffer_bytes", [128, 256, 1024, 4096])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_every_byte_arrives_in_messages_that_fit_the_device(buffer_bytes: int, loss: float) -> None:
    device = Device()
    upload = Upload(IMAGE, buffer_bytes=buffer_bytes)
    run(upload, device, random.Random(2), loss)
    assert bytes(device.held) == IMAGE
    assert device.largest <= buffer_bytes
    assert (upload.progress.repeats > 0) == (loss > 0)


def test_where_the_device_stands_is_what_it_answers_not_what_was_noted() -> None:
    device = Device()
    run(Upload(IMAGE, buffer_bytes=512), device, random.Random(1), until=8000)
    place = len(device.held)
    again = Upload(IMAGE, buffer_bytes=512)
    again.connected()
    run(again, device, random.Random(1))
    assert again.progress.began_at == place
    assert bytes(device.held) == IMAGE


def test_chunks_shrink_while_the_line_loses_and_grow_again() -> None:
    device = Device()
    upload = Upload(IMAGE, buffer_bytes=2048)
    run(upload, device, random.Random(3), loss=0.5, until=3000)
    small = upload.progress.chunk
    run(upload, device, random.Random(3))
    assert small < 256 < upload.progress.chunk


def test_device_that_never_answers_ends_it_with_what_to_do() -> None:
    with pytest.raises(UpdateFailed, match="no answer to 60 repetitions") as e:
        run(Upload(IMAGE, buffer_bytes=512), Device(), random.Random(1), loss=1.0)
    assert "flash again goes on there" in e.value.hint


def test_answers_of_another_request_or_with_a_mad_offset_move_nothing() -> None:
    upload = Upload(IMAGE, buffer_bytes=512)
    _, seq = upload.due(0)
    upload.answered(smp.Answer(smp.IMAGE, smp.UPLOAD, seq + 1, {"off": 300}), MS)
    upload.answered(smp.Answer(smp.OS, smp.UPLOAD, seq, {"off": 300}), MS)
    assert upload.offset == 0
    with pytest.raises(UpdateFailed, match="answers offset"):
        upload.answered(smp.Answer(smp.IMAGE, smp.UPLOAD, seq, {"off": len(IMAGE) + 1}), MS)


def test_answers_are_found_between_text_noise_and_cut_lines() -> None:
    whole = smp.request(smp.WRITE, smp.OS, smp.ECHO, 7, {"r": "x" * 300})
    answers = smp.Answers()
    stream = b"*** Booting ***\n" + whole[:150] + b"\n" + whole[:60] + whole + b'{"temp":1}\n' + b"\xff\x00\n" + whole
    found = [a for byte in stream for a in answers.receive(bytes([byte]))]
    assert [(a.seq, a.body["r"]) for a in found][-1] == (7, "x" * 300)
    assert len(found) >= 1
    dice = random.Random(5)
    for _ in range(2000):
        damaged = bytearray(whole)
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        for answer in answers.receive(bytes(damaged) + b"\n"):
            assert answer.body == {"r": "x" * 300} or cbor2.dumps(answer.body)
    assert answers.damaged > 0


def test_device_that_lists_no_image_after_all_was_sent_ends_it() -> None:
    upload = Upload(IMAGE, buffer_bytes=512)
    for _ in range(2):
        upload.settle(False)
    with pytest.raises(UpdateFailed, match="does not list it"):
        upload.settle(False)
    assert not upload.done


@pytest.mark.parametrize(
    "said", [lambda n: {"off": 0}, lambda n: {"off": 300 * (n % 2)}, lambda n: {"rc": 1} if n % 2 else {"off": 256}]
)
def test_device_that_answers_and_gets_no_further_ends_it(said) -> None:
    upload = Upload(IMAGE, buffer_bytes=512)
    upload.connected()
    with pytest.raises(UpdateFailed, match="it answers, and gets no further than"):
        talk(upload, said)


def talk(upload: Upload, said) -> None:
    for n in range(200):
        request = upload.due(n * MS)
        assert request is not None
        upload.answered(smp.Answer(smp.IMAGE, smp.UPLOAD, request[1], said(n)), n * MS)


def test_a_device_that_forgot_may_take_longer_to_come_back_than_its_answers_are_counted() -> None:
    device, upload = Device(), Upload(IMAGE, buffer_bytes=160)
    run(upload, device, random.Random(1), until=15_000)
    device.held, device.sha = bytearray(), b""
    run(upload, device, random.Random(1))
    assert (upload.restarts, bytes(device.held)) == (1, IMAGE)


def test_a_truth_value_is_no_offset() -> None:
    upload = Upload(IMAGE, buffer_bytes=512)
    _, seq = upload.due(0)
    with pytest.raises(UpdateFailed, match="answers offset True"):
        upload.answered(smp.Answer(smp.IMAGE, smp.UPLOAD, seq, {"off": True}), MS)


class Saying:
    """A link whose device always answers the same."""

    def __init__(self, body: dict) -> None:
        self.body = body

    def ask(self, *_: object, **__: object) -> smp.Answer:
        return smp.Answer(smp.IMAGE, 0, 1, self.body)


def test_what_a_device_says_of_itself_is_bounded_and_what_is_no_entry_is_passed_over() -> None:
    assert Mcu(Saying({"buf_size": 2**70})).buffer_bytes() == 4096
    for entry in (7, "x", {"slots": None}, {"slots": {"a": 1}}, {"slots": [1, "x", {"slot": 1, "size": "x"}]}):
        assert Mcu(Saying({"images": [entry]})).slot_bytes() is None
        assert Mcu(Saying({"images": [entry]})).slots() == []
    said = {"slot": 0, "version": "9" * 5000, "hash": b"x", "active": True}
    assert version_of(Mcu(Saying({"images": [said]})).slots()[0].version) == (0, 0, 0, 0)
    assert version_of("9" * 5000) == (0, 0, 0, 0)
