"""The salvage as a process of its own: reads a database that was moved aside, writes pieces to its socket.

    python -m edge_agent.store.salvage_child FD PARENT DIRECTORY NAME PRIORITY ID

Goes on behind the row (PRIORITY, ID) and ends with its parent (`children.Child`).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from edge_agent.children import die_with, yield_to_others
from edge_agent.store.aside import aside_wal
from edge_agent.store.identity import IDENTITY, Job, read_identity
from edge_agent.store.salvage import Salvage, SavedRow
from edge_agent.store.takeover import Piece, Taken, encode_piece

_PIECE_BYTES = 256 * 1024
_PIECE_ROWS = 100
_NICE = 10
_OOM_SCORE = 500


def pieces(job: Job, after: tuple[int, int], salvage: Salvage | None) -> Iterator[Piece]:
    """What the writer is to take over; nothing but the end where the file is of another store."""
    last_place = after
    if salvage is not None:
        for rows in _batches(row for row in salvage.rows(after) if not _of_later(row, job)):
            last_place = rows[-1].prio, rows[-1].id
            yield Piece(Taken(job.name, *last_place), tuple(rows))
    yield _end(job, last_place, salvage)


def _end(job: Job, place: tuple[int, int], salvage: Salvage | None) -> Piece:
    taken = Taken(job.name, *place, finished=True)
    if salvage is None:
        return Piece(taken)
    heads = salvage.heads()
    if job.epoch:
        heads[job.epoch] = job.last
    lost = tuple((stream, epoch, first, last) for stream, epoch, first, last, _ in salvage.lost(heads))
    return Piece(taken, (), lost, job.closed, heads.get(job.closed, {}), salvage.counts)


def opened(directory: Path, job: Job) -> Salvage | None:
    """The database with its -wal; without it where that gives more whole rows, since the -wal is of another store;
    None where the file is of one."""
    path, best = directory / job.name, None
    for wal in (aside_wal(path), None):
        if best is not None and not best.counts.damaged:
            break
        found = Salvage(path, wal, settled=job.settled, store=job.store.encode())
        ours = not job.store or found.store == job.store.encode()
        if not ours or (best is not None and found.counts.whole <= best.counts.whole):
            found.close()
            continue
        if best is not None:
            best.close()
        best = found
    return best


def _of_later(row: SavedRow, job: Job) -> bool:
    """A commit that seemed to fail, and was repeated under the same numbers in the new file."""
    return row.epoch == job.epoch and any(last > job.last.get(stream, -1) for stream, _, last in row.segments)


def _batches(rows: Iterator[SavedRow]) -> Iterator[list[SavedRow]]:
    batch: list[SavedRow] = []
    held_bytes = 0
    for row in rows:
        batch.append(row)
        held_bytes += len(row.body)
        if held_bytes >= _PIECE_BYTES or len(batch) >= _PIECE_ROWS:
            yield batch
            batch, held_bytes = [], 0
    if batch:
        yield batch


def main() -> None:
    out, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    die_with(parent)
    yield_to_others(nice=_NICE, oom_score=_OOM_SCORE)
    directory, name = Path(sys.argv[3]), sys.argv[4]
    after = int(sys.argv[5]), int(sys.argv[6])
    identity = read_identity(directory / IDENTITY)
    job = next((job for job in identity.jobs if job.name == name), None) if identity else None
    job = job or Job(name)
    salvage = opened(directory, job) if (directory / name).exists() else None
    for piece in pieces(job, after, salvage):
        out.sendall(encode_piece(piece))


if __name__ == "__main__":
    main()
