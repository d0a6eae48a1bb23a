"""Uploading an image over SMP, as a state machine: which request to send now, and what an answer means. No I/O.

One chunk is under way at a time. Each is repeated on its own when no answer comes, and chunks shrink while the line
loses some and grow again while it does not. Where the device stands is what it answers to offset 0 with the image's
sha: so a pulled cable, a host that was killed and a device that started anew are all one case, `connected`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from firmware_bridge import smp
from firmware_bridge.errors import BridgeError

LEAST_CHUNK = 32
_GROW_AFTER = 4
"""Chunks in a row without a loss."""
_OVERHEAD = 96
"""Of a message beside its data: header, keys, sha of the first."""
_FIRST_WAIT_NS = 2_000_000_000
_LEAST_WAIT_NS = 40_000_000
_MOST_WAIT_NS = 8_000_000_000
_ERASE_WAIT_NS = 40_000_000_000
_MOST_REPEATS = 60
_MOST_IDLE = 60
"""Answers in a row that bring the device no further than it has been since it last started anew…"""
_MOST_FALLS = 10
"""…and so often may it start anew without getting further than ever before."""


class UpdateFailed(BridgeError):
    """The device will not have the image, or nothing gets through."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`offset` of `size` bytes are at the device; `began_at` were there when this upload began."""

    offset: int
    size: int
    began_at: int
    repeats: int
    chunk: int


class Upload:
    """One image on its way. `due` and `answered` are called with the same monotonic clock, in ns."""

    def __init__(self, image: bytes, *, buffer_bytes: int) -> None:
        """`buffer_bytes`: the longest message that the device takes."""
        self._image = image
        self.sha = hashlib.sha256(image).digest()
        self._most = max(buffer_bytes - _OVERHEAD, LEAST_CHUNK)
        self._chunk = min(self._most, 256)
        self.offset = 0
        self.done = False
        self.in_doubt = False
        self.restarts = 0
        self._began_at: int | None = None
        self._tail_sent = False
        self._vain = 0
        self._highest = self._reached = -1
        self._idle = self._falls = 0
        self._asking = True
        self._seq = -1
        self._sent_ns: int | None = None
        self._wait_ns = _FIRST_WAIT_NS
        self._smooth_ns = 0
        self._tries = 0
        self._repeats = 0
        self._clean = 0

    @property
    def progress(self) -> Progress:
        began = self.offset if self._began_at is None else self._began_at
        return Progress(self.offset, len(self._image), began, self._repeats, self._chunk)

    def connected(self) -> None:
        """The port is open (again): ask the device where it stands."""
        self._doubt()
        self._asking = True
        self._sent_ns = None
        self._tries = 0

    def due(self, now_ns: int) -> tuple[bytes, int] | None:
        """The request to send now and its number; None while an answer may still come. Raises UpdateFailed."""
        if self.done or self.in_doubt or (self._sent_ns is not None and now_ns < self._sent_ns + self._wait_ns):
            return None
        if self._sent_ns is not None:
            self._lost()
        self._tries += 1
        self._seq = (self._seq + 1) & 0xFF
        self._sent_ns = now_ns
        return smp.request(smp.WRITE, smp.IMAGE, smp.UPLOAD, self._seq, self._body()), self._seq

    def settle(self, arrived: bool) -> None:
        """What `in_doubt` asked: whether the device lists the whole image. One that does has forgotten the upload,
        and would begin a second one if it were asked where it stands. Raises UpdateFailed the third time that a
        whole image went out and none is listed."""
        self.in_doubt = self._tail_sent = False
        if arrived:
            self.offset = len(self._image)
            self.done = True
            return
        self._vain += 1
        if self._vain > 2:
            raise UpdateFailed("all of it was sent, and the device does not list it", "see edge-agent mcu info")

    def deadline_ns(self) -> int:
        """When `due` has something next."""
        return 0 if self._sent_ns is None else self._sent_ns + self._wait_ns

    def answered(self, answer: smp.Answer, now_ns: int) -> None:
        """Takes the answer to the newest request; any other is passed over. Raises UpdateFailed."""
        if (answer.group, answer.command, answer.seq) != (smp.IMAGE, smp.UPLOAD, self._seq) or self._sent_ns is None:
            return
        if self._tries == 1:
            self._measure(now_ns - self._sent_ns)
        self._sent_ns = None
        if answer.rc:
            self._stands(self._reached)
            self._refused(answer)
            return
        offset = answer.body.get("off")
        if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset <= len(self._image):
            raise UpdateFailed(f"the device answers offset {offset!r:.40}", "is its firmware sound? read its log")
        self._stands(offset)
        self._moved(offset, answer.body)

    def _stands(self, offset: int) -> None:
        """Counts the answers since it last got further. Raises UpdateFailed."""
        self._idle = 0 if offset > self._reached else self._idle + 1
        self._falls = 0 if offset > self._highest else self._falls + (offset < self._reached)
        self._reached, self._highest = offset, max(offset, self._highest)
        if self._idle >= _MOST_IDLE or self._falls >= _MOST_FALLS:
            said = f"it answers, and gets no further than {self._highest} of {len(self._image)} bytes"
            raise UpdateFailed(said, "read the device's log, power it off and on, and flash it again")

    def _body(self) -> dict[str, Any]:
        first = self._asking or self.offset == 0
        at = 0 if first else self.offset
        body: dict[str, Any] = {"off": at, "data": self._image[at : at + self._size(first)]}
        self._tail_sent = self._tail_sent or at + len(body["data"]) == len(self._image)
        if first:
            body |= {"image": 0, "len": len(self._image), "sha": self.sha}
        return body

    def _size(self, first: bool) -> int:
        return min(self._chunk, self._most - 48) if first and self._most > 48 + LEAST_CHUNK else self._chunk

    def _moved(self, offset: int, body: Any) -> None:
        if offset < self.offset and not self._asking:
            # it started anew and forgot: what it says now is the truth
            self.restarts += 1
        self._asking = False
        self._began_at = offset if self._began_at is None else self._began_at
        if self._tries == 1:
            self._clean += 1
            if self._clean >= _GROW_AFTER:
                self._clean, self._chunk = 0, min(self._chunk + max(self._chunk // 4, 16), self._most)
        self._tries = 0
        self.offset = offset
        if offset == len(self._image):
            if body.get("match") is False:
                raise UpdateFailed("the device read back another image than was sent", "flash it again")
            self.done = True

    def _refused(self, answer: smp.Answer) -> None:
        if self._tries > 3 or (self._asking and self._tries > 1):
            hint = "is slot 1 free and large enough? see edge-agent mcu info"
            raise UpdateFailed(f"the device refuses the image: code {answer.rc}", hint)
        # it may have forgotten the upload: ask where it stands
        self._doubt()
        self._asking = True

    def _doubt(self) -> None:
        """The last chunk went out, and no answer came that says what became of it."""
        self.in_doubt = self._tail_sent and not self.done

    def _lost(self) -> None:
        if self._tries >= _MOST_REPEATS:
            hint = "check cable and baud rate; what has arrived is kept, flash again goes on there"
            raise UpdateFailed(f"no answer to {_MOST_REPEATS} repetitions at {self.offset}", hint)
        self._repeats += 1
        self._clean = 0
        self._chunk = max(self._chunk * 3 // 4, LEAST_CHUNK)
        most = _ERASE_WAIT_NS if self._asking and self.offset == 0 else _MOST_WAIT_NS
        # a device that erases, or is busy, is not helped by more of the same; a lost line is, and soon
        if self._tries >= 3:
            self._wait_ns = min(self._wait_ns * 2, most)

    def _measure(self, took_ns: int) -> None:
        self._smooth_ns = took_ns if not self._smooth_ns else (7 * self._smooth_ns + took_ns) // 8
        self._wait_ns = min(max(4 * self._smooth_ns, _LEAST_WAIT_NS), _FIRST_WAIT_NS)
