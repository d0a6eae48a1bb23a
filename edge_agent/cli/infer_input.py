"""From a file to one input of a model, as a lane would send it: a picture, a table of numbers, or raw floats."""

from __future__ import annotations

import csv
import math
import socket
import sys
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_agent.children import Child
from edge_agent.cli.image_wire import PREFIX, Ask, NoPicture, Shaped, decode_answer, encode
from edge_agent.errors import ExitCode, Fatal
from edge_agent.inference.manifest import ImageInput, WindowInput
from edge_agent.ports import Spawner

_FILE_BYTES = 100 * 10**6
_DECODE_S = 30.0
_TABLES = {".csv": ",", ".tsv": "\t", ".txt": ","}


class ModelInput(NamedTuple):
    """Raw bytes as the worker takes them; source pixels times `scale` plus (`dx`, `dy`) are pixels of the image."""

    payload: bytes
    described: str
    scale: float = 1.0
    dx: int = 0
    dy: int = 0


def read_input(path: Path, takes: ImageInput | WindowInput, columns: Sequence[str], spawner: Spawner) -> ModelInput:
    """Raises Fatal where the file is not what the model takes. `columns` are names in the head of a table."""
    if isinstance(takes, ImageInput):
        return _picture(path, takes, spawner)
    if path.suffix.lower() in _TABLES:
        return _table(path, takes, columns)
    return _raw(path, takes)


def _wrong(path: Path, reason: str, hint: str) -> Fatal:
    return Fatal(f"{path}: {reason}", hint=hint, exit_code=ExitCode.CONFIGURATION)


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _FILE_BYTES:
            raise _wrong(path, f"is larger than {_FILE_BYTES // 10**6} MB", "give one input")
        return path.read_bytes()
    except OSError as e:
        raise _wrong(path, str(e.strerror), "check the path") from e


def _picture(path: Path, takes: ImageInput, spawner: Spawner) -> ModelInput:
    view = takes.view
    answer, pixels = _shape(_content(path), Ask(takes.image_view()), spawner)
    if isinstance(answer, NoPicture):
        raise _wrong(path, answer.reason, "this model takes a picture: PNG, JPEG, BMP, TIFF or WebP")
    image = answer.image
    described = f"{answer.width}x{answer.height} picture, {view.fit} to {view.width}x{view.height} {view.color}"
    return ModelInput(pixels, described, image.scale, image.dx, image.dy)


def _shape(content: bytes, ask: Ask, spawner: Spawner) -> tuple[Shaped | NoPicture, bytes]:
    child = Child(spawner, "edge_agent.cli.image_child")
    child.socket.settimeout(_DECODE_S)
    header = encode(ask)
    try:
        child.socket.sendall(PREFIX.pack(len(header), len(content)) + header + content)
        header_bytes, pixel_bytes = PREFIX.unpack(_exactly(child.socket, PREFIX.size))
        return decode_answer(_exactly(child.socket, header_bytes)), _exactly(child.socket, pixel_bytes)
    except (OSError, EOFError) as e:
        hint = "is OpenCV installed? pip install 'edge-agent[models]'"
        raise Fatal(f"the picture could not be decoded: {child.ended(1.0)}", hint=hint) from e
    finally:
        child.kill()


def _exactly(connection: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        chunk = connection.recv(size - len(content))
        if not chunk:
            raise EOFError
        content += chunk
    return bytes(content)


def _raw(path: Path, takes: WindowInput) -> ModelInput:
    content = _content(path)
    if len(content) != takes.raw_bytes:
        reason = f"has {len(content)} bytes; {_shape_of(takes)} are {takes.raw_bytes}"
        raise _wrong(path, reason, "give float32, little-endian, channel after channel; or a .csv")
    return ModelInput(content, f"{_shape_of(takes)}, raw float32")


def _shape_of(takes: WindowInput) -> str:
    return f"{takes.channels} x {takes.length} values"


def _table(path: Path, takes: WindowInput, columns: Sequence[str]) -> ModelInput:
    """The newest rows of a table; a column is a channel."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=_TABLES[path.suffix.lower()])
            return _window(path, ((reader.line_num, row) for row in reader if row), takes, columns)
    except OSError as e:
        raise _wrong(path, str(e.strerror), "check the path") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise _wrong(path, f"is no table: {e}", "give UTF-8 text, a reading a line") from e


def _window(
    path: Path, rows: Iterator[tuple[int, list[str]]], takes: WindowInput, columns: Sequence[str]
) -> ModelInput:  # fmt: skip
    line, first = next(rows, (1, []))
    named = any(_number(cell) is None for cell in first)
    places = _places(path, first if named else [], len(first), takes, columns)
    newest: deque[tuple[int, list[str]]] = deque(maxlen=takes.length)
    if not named:
        newest.append((line, first))
    newest.extend(rows)
    if len(newest) < takes.length:
        raise _wrong(path, f"has {len(newest)} rows; the model takes {takes.length}", "give more readings")
    values = array("f", (_cell(path, line, row, place) for place in places for line, row in newest))
    if sys.byteorder == "big":
        values.byteswap()
    names = f" ({', '.join(first[place] for place in places)})" if named else ""
    lines = f"lines {newest[0][0]} to {newest[-1][0]}"
    return ModelInput(values.tobytes(), f"{_shape_of(takes)}{names}, {lines}")


def _places(path: Path, head: Sequence[str], width: int, takes: WindowInput, columns: Sequence[str]) -> list[int]:
    names = [name.strip() for name in head]
    if not columns:
        if width != takes.channels:
            hint = "choose and order them: --columns a,b,c" if names else "give a column for each channel"
            raise _wrong(path, f"has {width} columns; the model takes {takes.channels}", hint)
        return list(range(width))
    if len(columns) != takes.channels:
        reason = f"--columns names {len(columns)}; the model takes {takes.channels}"
        raise _wrong(path, reason, "name one for each channel, in the model's order")
    fields = [_without_unit(name) for name in names]
    missing = [name for name in columns if name not in names and fields.count(name) != 1]
    if missing:
        known = ", ".join(names) or "none, as the first line holds numbers"
        raise _wrong(path, f'has no column "{missing[0]}"', f"its columns: {known}")
    return [names.index(name) if name in names else fields.index(name) for name in columns]


def _without_unit(column: str) -> str:
    """`load` of `load [1]`, as `store export` heads its columns."""
    return column.partition(" [")[0] if column.endswith("]") else column


def _cell(path: Path, line: int, row: Sequence[str], place: int) -> float:
    value = _number(row[place]) if place < len(row) else None
    if value is None:
        found = f'"{row[place][:20]}"' if place < len(row) else "nothing"
        raise _wrong(path, f"line {line}, column {place + 1}: {found} is no finite number", "mend the line")
    return value


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
