"""A microcontroller with MCUboot: SMP on a console, two slots, swap with test, confirm and revert.

Signatures are really verified at boot, by imgtool. It prints a sample a line, as a `serial_lines` source reads it,
between its SMP answers. `crashes` and `mute` name versions that crash at once, and that give no samples; `deaf` ones
do not answer SMP."""

from __future__ import annotations

import hashlib
import select
import socket
import struct
import tempfile
import threading
import time
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import cbor2
from imgtool import keys
from imgtool.image import Image as Signed
from imgtool.image import VerifyResult
from imgtool.main import imgtool
from smp import packet

from firmware_bridge.image import parse_image, version_of

BOARD = "press-v2"
SLOT_BYTES = 256 * 1024
_HEADER = struct.Struct(">BBHHBB")


def keypair(folder: Path, name: str) -> tuple[Path, Path]:
    """Private and public key."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    _imgtool("keygen", "-t", "ed25519", "-k", private)
    _imgtool("getpub", "-k", private, "-e", "pem", "-o", public)
    return private, public


def image(folder: Path, key: Path, version: str, *, size: int = 4000, board: str = BOARD, name: str = "") -> Path:
    """A signed image of about `size` bytes."""
    code, out = folder / "code.bin", folder / (name or f"{key.stem}-{version}.signed.bin")
    code.write_bytes(hashlib.shake_128(version.encode()).digest(size))
    tlv = ["--custom-tlv", "0xA0", board] if board else []
    _imgtool("sign", "-k", key, "--version", version, "--header-size", "0x200", "--pad-header", "--align", "8",
             "--slot-size", SLOT_BYTES, *tlv, code, out)  # fmt: skip
    return out


def _imgtool(*words: object) -> None:
    with redirect_stdout(StringIO()):
        imgtool.main([str(word) for word in words], standalone_mode=False)


class McuBoot(threading.Thread):
    """`fd` is the host's end of its line, for a Cable."""

    def __init__(
        self, first: Path, public: Path, *, buffer_bytes: int = 1024, rate_hz: float = 20.0,
        crashes: tuple[str, ...] = (), mute: tuple[str, ...] = (), deaf: tuple[str, ...] = (),
        slot_info: bool = True, boot_s: float = 0.05,
    ) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self._line, self._end = socket.socketpair()
        self.fd = self._end.fileno()
        self.slots: list[bytes] = [first.read_bytes(), b""]
        self.confirmed, self.pending = True, False
        self.boots = 0
        self.written = 0
        """Bytes of images that were written, also those that were written again."""
        self.starts = 0
        """How often an upload began at 0 and was not resumed."""
        self.console: list[str] = []
        self.commands: list[dict] = []
        self._key = keys.load(str(public))
        self._buffer_bytes = buffer_bytes
        self._every_s = 1 / rate_hz
        self._crashes, self._mute, self._deaf = crashes, mute, deaf
        self._slot_info = slot_info
        self._boot_s = boot_s
        self._upload: tuple[bytes, int, bytearray] | None = None
        self._ended = False
        self._boot()

    def close(self) -> None:
        self._ended = True
        self.join()
        self._line.close()
        self._end.close()

    @property
    def version(self) -> str:
        return parse_image(self.slots[0], "slot 0").version_text

    # -- the boot loader -------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        """Swap to a marked image, back from one that was not confirmed; a watchdog resets what crashes."""
        self.boots += 1
        self._upload = None
        if self.pending:
            self.pending = False
            if self._verified(self.slots[1]):
                self.slots.reverse()
                self.confirmed = False
            else:
                self.console.append("image in slot 1 is not valid: erased")
                self.slots[1] = b""
        elif not self.confirmed:
            self.slots.reverse()
            self.confirmed = True
            self.console.append("reverted")
        if self.version in self._crashes:
            self._boot()

    def _verified(self, data: bytes) -> bool:
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            file.write(data)
            file.flush()
            return Signed.verify(file.name, self._key)[0] is VerifyResult.OK

    # -- the application -------------------------------------------------------------------------------------------

    def run(self) -> None:
        self._line.setblocking(False)
        pending, lines, due, number = b"", [], time.monotonic(), 0
        while not self._ended:
            ready, _, _ = select.select([self._line], [], [], min(self._every_s, 0.02))
            if ready:
                with suppress(OSError):
                    *found, pending = (pending + self._line.recv(65536)).split(b"\n")
                    for line in found:
                        self._hear(line + b"\n", lines)
            if time.monotonic() >= due and self.version not in self._mute:
                due = time.monotonic() + self._every_s
                number += 1
                self._say(b'{"n":%d,"temp":%d.5}\n' % (number, 20 + number % 10))

    def _say(self, data: bytes) -> None:
        with suppress(OSError):
            self._line.send(data)

    def _hear(self, line: bytes, lines: list[bytes]) -> None:
        if line[:2] == packet.START_DELIMITER:
            lines[:] = [line]
        elif line[:2] == packet.CONTINUE_DELIMITER and lines:
            lines.append(line)
        else:
            return
        decoder = packet.decode()
        next(decoder)
        try:
            for each in lines:
                decoder.send(each)
        except StopIteration as e:
            lines.clear()
            with suppress(Exception):  # what noise has made
                self._obey(bytes(e.value))
        except Exception:
            lines.clear()

    def _obey(self, frame: bytes) -> None:
        if len(frame) > self._buffer_bytes or self.version in self._deaf:
            return
        op, _, length, group, seq, command = _HEADER.unpack_from(frame)
        body = cbor2.loads(frame[8 : 8 + length])
        verbs = {(2, 0, 0): self._echo, (0, 0, 6): self._parameters, (0, 0, 8): self._bootloader,
                 (2, 0, 5): self._reset, (0, 1, 0): self._list, (2, 1, 0): self._mark, (2, 1, 1): self._chunk,
                 (0, 1, 6): self._slots_info}  # fmt: skip
        verb = verbs.get((op & 7, group, command))
        answer = verb(body) if verb else {"rc": 8}
        if answer is None:
            return
        payload = cbor2.dumps(answer)
        header = _HEADER.pack((op & 0xF8) | (op & 7) + 1, 0, len(payload), group, seq, command)
        self._say(b"".join(packet.encode(header + payload)))
        if (group, command) == (0, 5):
            time.sleep(self._boot_s)
            self._boot()

    def _echo(self, body: dict) -> dict:
        return {"r": body["d"]}

    def _parameters(self, body: dict) -> dict:
        return {"buf_size": self._buffer_bytes, "buf_count": 4}

    def _bootloader(self, body: dict) -> dict:
        return {"bootloader": "MCUboot"}

    def _reset(self, body: dict) -> dict:
        return {}

    def _slots_info(self, body: dict) -> dict:
        if not self._slot_info:
            return {"rc": 8}
        return {"images": [{"image": 0, "slots": [{"slot": n, "size": SLOT_BYTES} for n in (0, 1)]}]}

    def _list(self, body: dict) -> dict:
        out = []
        for number, data in enumerate(self.slots):
            if not data:
                continue
            with suppress(Exception):  # half an image is none
                held = parse_image(data, "slot")
                version = ".".join(map(str, version_of(held.version_text)[:3]))
                out.append({"image": 0, "slot": number, "version": version, "hash": held.hash, "bootable": True,
                            "pending": bool(number) and self.pending, "active": not number, "permanent": False,
                            "confirmed": not number and self.confirmed})  # fmt: skip
        return {"images": out, "splitStatus": 0}

    def _mark(self, body: dict) -> dict:
        digest = body.get("hash")
        hashes = [parse_image(data, "slot").hash if data else b"" for data in self.slots]
        if digest == hashes[1] and not body.get("confirm"):
            self.pending = True
        elif digest in (None, hashes[0]) and body.get("confirm"):
            self.confirmed = True
        else:
            return {"err": {"group": 1, "rc": 8}}
        return self._list(body)

    def _chunk(self, body: dict) -> dict:
        if self.pending or not self.confirmed:
            return {"rc": 6}
        offset, data = body["off"], body["data"]
        if offset == 0 and "len" in body:
            if self._upload is None or self._upload[0] != body["sha"]:
                self._upload = (body["sha"], body["len"], bytearray())
                self.slots[1] = b""
                self.starts += 1
        elif self._upload is None:
            return {"rc": 3}
        sha, length, held = self._upload
        if offset != len(held):
            return {"off": len(held)}
        held += data
        self.written += len(data)
        answer = {"off": len(held)}
        if len(held) >= length:
            self.slots[1] = bytes(held)
            answer["match"] = hashlib.sha256(held).digest() == sha
            self._upload = None
        return answer
