"""Runs a Python program as confined as the service unit confines it: its system calls and MemoryDenyWriteExecute.

    python confine.py '{"calls": [0, 1, …], "socket": 41}' -c 'print("hello")'

Needs no systemd and no root: seccomp and PR_SET_MDWE (Linux 6.3) are what systemd uses or stands for. Without the
latter it says so in the environment variable NO_MDWE and goes on.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import struct
import sys

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_NR, _ARCH, _ARG0 = 0, 4, 16


def confine(calls: list[int], socket_call: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
        os.environ["NO_MDWE"] = os.strerror(ctypes.get_errno())
    code = _program(calls, socket_call)
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:  # NO_NEW_PRIVS, SECCOMP filter
        raise OSError(ctypes.get_errno(), "seccomp")


def _program(calls: list[int], socket_call: int) -> bytes:
    """Allowed calls pass, `socket` with the allowed families only, all others give EPERM."""
    refuse = _instruction(_RETURN, _ERRNO | errno.EPERM)
    allow = _instruction(_RETURN, _ALLOW)
    lines = [_instruction(_LOAD, _ARCH), _instruction(_EQUAL, _AUDIT_ARCH[platform.machine()], 1, 0), refuse]
    families = [_instruction(_EQUAL, family, len(_FAMILIES) - i, 0) for i, family in enumerate(_FAMILIES)]
    sockets = [_instruction(_LOAD, _ARG0), *families, _instruction(_RETURN, _ERRNO | errno.EAFNOSUPPORT), allow]
    lines += [_instruction(_LOAD, _NR), _instruction(_EQUAL, socket_call, 0, len(sockets)), *sockets]
    for call in calls:
        lines += [_instruction(_EQUAL, call, 0, 1), allow]
    return b"".join([*lines, refuse])


def _instruction(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("HBBI", code, jt, jf, k)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    confine(given["calls"], given["socket"])
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
