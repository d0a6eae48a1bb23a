"""An image file for MCUboot: what it says of itself, and whether a device may have it. Checked before a byte is sent.

The signature is checked by MCUboot's own imgtool. The board's name is a custom TLV in the protected (signed) area:
`imgtool sign … --custom-tlv 0xA0 BOARD`.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import BridgeError

MAGIC = 0x96F3B83D
BOARD_TLV = 0xA0
_HEADER = struct.Struct("<IIHHIIBBHI")
_INFO = struct.Struct("<HH")
_PROTECTED, _PLAIN = 0x6908, 0x6907
_HASHES = (0x10, 0x11, 0x12)
_MOST_BYTES = 64 * 2**20

Version = tuple[int, int, int, int]


class ImageRefused(BridgeError):
    """This image may not go to this device. `code` is stable: `not_an_image`, `truncated`, `signature`, `board`,
    `version`, `size`, `key`."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class Image:
    """A whole image. `hash` is the one by which devices list it; `board` is empty where it names none."""

    data: bytes
    version: Version
    hash: bytes
    board: str

    @property
    def version_text(self) -> str:
        return version_text(self.version)


def version_text(version: Version) -> str:
    """As devices write it: `1.2.3`, with `.4` where there is a build number."""
    major, minor, revision, build = version
    return f"{major}.{minor}.{revision}" + (f".{build}" if build else "")


def version_of(text: str) -> Version:
    """`1.2.3`, `1.2.3.4` or `1.2.3+4` as numbers; what is missing or strange is 0."""
    parts = [
        int(p) if len(p) <= 10 and p.isascii() and p.isdigit() else 0 for p in text.replace("+", ".").split(".")[:4]
    ]
    major, minor, revision, build = (*parts, 0, 0, 0, 0)[:4]
    return major, minor, revision, build


def read_image(path: Path) -> Image:
    """Raises ImageRefused for what is no whole image, OSError for what cannot be read."""
    size = path.stat().st_size
    if size > _MOST_BYTES or not path.is_file():
        raise ImageRefused("not_an_image", f"{path}: no image for MCUboot", "give the output of imgtool sign")
    return parse_image(path.read_bytes(), str(path))


def parse_image(data: bytes, name: str) -> Image:
    """Raises ImageRefused."""
    if len(data) < 4 or struct.unpack_from("<I", data)[0] != MAGIC:
        hint = "give the signed output of imgtool sign (.signed.bin), not the linker's"
        raise ImageRefused("not_an_image", f"{name}: does not begin as an image for MCUboot does", hint)
    if len(data) < _HEADER.size:
        raise _truncated(name, len(data), _HEADER.size)
    _, _, header_bytes, protected_bytes, image_bytes, _, *version = _HEADER.unpack_from(data)
    end = header_bytes + image_bytes
    tlvs: dict[int, bytes] = {}
    if protected_bytes:
        end, found = _area(data, end, _PROTECTED, name)
        tlvs |= found
    _, found = _area(data, end, _PLAIN, name)
    digest = next((found[kind] for kind in _HASHES if kind in found), None)
    if digest is None:
        raise ImageRefused("not_an_image", f"{name}: holds no hash", "sign it with imgtool sign")
    board = tlvs.get(BOARD_TLV, b"").rstrip(b"\0").decode("ascii", "backslashreplace")
    major, minor, revision, build = version
    return Image(data, (major, minor, revision, build), digest, board)


def _area(data: bytes, at: int, magic: int, name: str) -> tuple[int, dict[int, bytes]]:
    """The end of a TLV area and what it holds, the first of each kind."""
    if len(data) < at + _INFO.size:
        raise _truncated(name, len(data), at + _INFO.size)
    found, length = _INFO.unpack_from(data, at)
    if found != magic:
        raise ImageRefused("not_an_image", f"{name}: damaged: no tags where they should be", "build it again")
    if len(data) < at + length:
        raise _truncated(name, len(data), at + length)
    tlvs: dict[int, bytes] = {}
    for kind, value in _tags(data[at + _INFO.size : at + length]):
        tlvs.setdefault(kind, value)
    return at + length, tlvs


def _tags(area: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _INFO.size <= len(area):
        kind, length = _INFO.unpack_from(area, at)
        yield kind, area[at + _INFO.size : at + _INFO.size + length]
        at += _INFO.size + length


def _truncated(name: str, have: int, need: int) -> ImageRefused:
    return ImageRefused(
        "truncated", f"{name}: truncated: {have:,} bytes, and it says that it has at least {need:,}",
        "copy it again, and compare its sha256sum",
    )  # fmt: skip


def check_signature(image: Image, key: Path, name: str) -> None:
    """Raises ImageRefused where the public key in `key` (PEM) has not signed it, or cannot be read."""
    from imgtool import keys  # noqa: PLC0415 - a third of a second, and only updates need it
    from imgtool.image import Image as Signed  # noqa: PLC0415
    from imgtool.image import VerifyResult  # noqa: PLC0415

    try:
        public = keys.load(str(key))
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else "no key in PEM"
        raise ImageRefused("key", f"{key}: {reason}", "imgtool getpub -k KEY.pem -e pem > KEY.pub.pem") from e
    with tempfile.NamedTemporaryFile(suffix=".bin") as copy:
        copy.write(image.data)
        copy.flush()
        result = Signed.verify(copy.name, public)[0]
    if result is VerifyResult.OK:
        return
    if result is VerifyResult.INVALID_HASH:
        raise ImageRefused("truncated", f"{name}: damaged: its content does not have its hash", "copy it again")
    raise ImageRefused(
        "signature", f"{name}: not signed with the key that belongs to {key}",
        "sign it with the right key (imgtool sign -k), or correct key in the site file",
    )  # fmt: skip


def check_fits(image: Image, *, board: str, running: str, slot_bytes: int | None, name: str) -> None:
    """Whether this device may have it. Raises ImageRefused; `board` empty: of any board."""
    if board and image.board != board:
        said = f"is for board {image.board}" if image.board else "names no board"
        raise ImageRefused(
            "board", f"{name}: {said}, and this device is {board}",
            f"take the image for {board}, built with imgtool sign --custom-tlv 0xA0 {board}",
        )  # fmt: skip
    if image.version <= version_of(running):
        raise ImageRefused(
            "version", f"{name}: version {image.version_text} is not newer than {running}, which is running",
            "give it a higher version (imgtool sign --version); to go back, sign the old code as a newer version",
        )  # fmt: skip
    if slot_bytes is None:
        raise ImageRefused(
            "size", f"{name}: nobody knows how large this device's slot is",
            'add slot = "256KiB" to its [[mcu]] table, or give --slot-size',
        )  # fmt: skip
    if len(image.data) > slot_bytes:
        raise ImageRefused(
            "size", f"{name}: {len(image.data):,} bytes, and the slot holds {slot_bytes:,}",
            "make it smaller; is it the image for this board?",
        )  # fmt: skip
