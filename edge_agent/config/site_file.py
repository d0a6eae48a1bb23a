"""Bytes of a site file to text, without trusting the path: what it is, whose it is, how long, in which encoding.

Everything is refused before anything is parsed, and nothing of the content is ever repeated in a message.
"""

from __future__ import annotations

import codecs
import errno
import os
import pwd
import re
import stat
from pathlib import Path

MAX_BYTES = 1 << 20
MAX_LINE = 16_384

_ENCODINGS = (
    (codecs.BOM_UTF8, "UTF-8 with a byte order mark", "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONG_LINE = re.compile(rf"^[^\n]{{{MAX_LINE + 1}}}", re.MULTILINE)
_ANYTHING = re.compile(r"^[ \t]*+[^\s#]", re.MULTILINE)
_SAVE_AS = "save it as UTF-8 without a byte order mark"


class Unreadable(Exception):
    """Why a file is not even looked into; `line` is 0 where the file as a whole is meant."""

    def __init__(self, reason: str, hint: str, line: int = 0, column: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.line = line
        self.column = column


def read_site_file(path: Path, *, uid: int | None = None) -> str:
    """The text with line ends as "\\n". The file must belong to root or to `uid`, who reads (default: this process).

    Raises Unreadable. Never blocks: a FIFO, a device or a folder is refused at once.
    """
    return _text(_content(path, os.geteuid() if uid is None else uid))


def _content(path: Path, uid: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as e:
        raise _no_file(path, e) from e
    try:
        _check_stat(os.fstat(fd), path, uid)
        content = b""
        while len(content) <= MAX_BYTES and (more := os.read(fd, MAX_BYTES + 1 - len(content))):
            content += more
    finally:
        os.close(fd)
    if len(content) > MAX_BYTES:
        raise _too_long()
    return content


def _no_file(path: Path, error: OSError | ValueError) -> Unreadable:
    if isinstance(error, ValueError):
        return Unreadable("is not a possible file name", "give the path of the site file")
    if error.errno == errno.ENOENT and path.is_symlink():
        return Unreadable("is a symbolic link to something that does not exist", f"ls -l {path}")
    if error.errno == errno.ENOENT:
        return Unreadable("does not exist", "copy deploy/site.example.toml and edit it")
    if error.errno == errno.EACCES:
        return Unreadable("must not be read by this user", f"ls -l {path}; the agent's user needs to read it")
    if error.errno == errno.ENXIO:
        return Unreadable("is a socket or a device, not a regular file", "give the path of the site file")
    return Unreadable(f"cannot be opened: {os.strerror(error.errno or 0)}", f"ls -l {path}")


def _check_stat(found: os.stat_result, path: Path, uid: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(f"is {_kind(found.st_mode)}, not a regular file", "give the path of the site file")
    if found.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(found.st_mode)
        reason = f"may be written by everyone (mode {mode:04o}, owner {_user(found.st_uid)})"
        raise Unreadable(reason, f"chmod o-w {path}")
    if found.st_uid not in (0, uid):
        mode = stat.S_IMODE(found.st_mode)
        reason = f"belongs to {_user(found.st_uid)} (mode {mode:04o}), not to root or to {_user(uid)}"
        raise Unreadable(reason, f"sudo chown {_user(uid)} {path}")
    if found.st_size > MAX_BYTES:
        raise _too_long()


def _too_long() -> Unreadable:
    return Unreadable(f"is longer than {MAX_BYTES} bytes", "a site file has hundreds of lines: is it the right one?")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "something else")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _text(content: bytes) -> str:
    for mark, name, codec in _ENCODINGS:
        if content.startswith(mark):
            raise Unreadable(f"is {name}", f"{_SAVE_AS}{_iconv(codec)}", line=1)
    nul = content.find(b"\0")
    if nul >= 0:
        raise _with_nul(content, nul)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as e:
        line, column = _line_column(content, e.start)
        reason = f"byte 0x{content[e.start]:02x} is not UTF-8"
        raise Unreadable(reason, f"{_SAVE_AS}{_iconv('windows-1252')}", line, column) from e
    text = text.replace("\r\n", "\n")
    _check_characters(text)
    if not _ANYTHING.search(text):
        raise Unreadable("is empty", "copy deploy/site.example.toml and edit it")
    return text


def _with_nul(content: bytes, at: int) -> Unreadable:
    """Half of the bytes of UTF-16 are NUL, as long as it is mostly ASCII; a binary has them anywhere."""
    head = content[:1024]
    for start in (0, 1):
        half = head[start::2]
        if len(head) >= 4 and half.count(0) > len(half) * 0.7:
            codec = "utf-16be" if start == 0 else "utf-16le"
            return Unreadable("is UTF-16 without a byte order mark", f"{_SAVE_AS}{_iconv(codec)}", line=1)
    line, column = _line_column(content, at)
    return Unreadable("holds a NUL byte: it is not text", "is it the right file?", line, column)


def _check_characters(text: str) -> None:
    match = _CONTROL.search(text)
    if match is not None:
        at = match.start()
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise Unreadable(f"control character U+{ord(match[0]):04X}", "delete it", line, column)
    match = _LONG_LINE.search(text)
    if match is not None:
        line = text.count("\n", 0, match.start()) + 1
        raise Unreadable(f"the line is longer than {MAX_LINE} characters", "break it up", line)


def _line_column(content: bytes, at: int) -> tuple[int, int]:
    return content.count(b"\n", 0, at) + 1, at - content.rfind(b"\n", 0, at)


def _iconv(codec: str) -> str:
    if codec == "utf-8-sig":
        return ": sed -i '1s/^\\xEF\\xBB\\xBF//' FILE"
    return f", such as: iconv -f {codec} -t utf-8 FILE"
