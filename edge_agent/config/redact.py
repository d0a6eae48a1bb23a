"""Secrets do not leave by a message: which keys hold one, and texts without those that slipped in."""

from __future__ import annotations

import re

HIDDEN = "***"

_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api_?key|access_?key|private_?key|credentials?)$",
    re.IGNORECASE,
)
# begins with what is rare in a text, so that a long one is searched as fast as it is read
_USERINFO = re.compile(r"(://[^\s/:@]{0,128}):([^\s/@]{1,256})@")
_ASSIGNED = re.compile(
    r"((?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api_?key|access_?key|private_?key)\s{0,3}[=:]\s{0,3})([^\s&;,\"']{1,256})",
    re.IGNORECASE,
)


def is_secret_key(key: str) -> bool:
    """`password`, `mqtt_token`, `api_key`; not `password_file`, which says where the secret is."""
    return _SECRET_KEY.search(key) is not None


def has_url_password(text: str) -> bool:
    """`rtsp://user:secret@camera/1`."""
    return _USERINFO.search(text) is not None


def redact(text: str) -> str:
    """`text` without passwords in URLs and without what follows `token=` and the like."""
    return _ASSIGNED.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1:{HIDDEN}@", text))
