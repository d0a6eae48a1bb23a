"""What a salvage hands to the writer, piece by piece, and how far the writer has come: resumable at any moment."""

from __future__ import annotations

import msgspec

from edge_agent.store.salvage import Counts, SavedRow

TAKEN = "salvage"
"""Key of `Taken` in the table meta."""


class Taken(msgspec.Struct, frozen=True):
    """The rows of the database `name` up to (priority, id) are in the store; all that it gives where `finished`."""

    name: str = ""
    prio: int = 0
    id: int = 0
    finished: bool = False


class Piece(msgspec.Struct, frozen=True):
    """Rows in the order that `Salvage.rows` gives; `taken` is what is true once they are committed.

    The last one has what is lost as (stream, epoch, first, last), and how far the epoch `closed` is known to have
    come, by stream.
    """

    taken: Taken
    rows: tuple[SavedRow, ...] = ()
    lost: tuple[tuple[str, str, int, int], ...] = ()
    closed: str = ""
    last: dict[str, int] = {}
    counts: Counts = Counts()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Piece)
_LENGTH = 4


def encode_piece(piece: Piece) -> bytes:
    """With its length before it."""
    body = _encoder.encode(piece)
    return len(body).to_bytes(_LENGTH, "big") + body


def cut_piece(received: bytearray) -> Piece | None:
    """Takes the first whole piece out of what was received. Raises msgspec.DecodeError where it is none."""
    end = _LENGTH + int.from_bytes(received[:_LENGTH], "big")
    if len(received) < max(end, _LENGTH + 1):
        return None
    piece = _decoder.decode(received[_LENGTH:end])
    del received[:end]
    return piece
