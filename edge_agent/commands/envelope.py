"""The envelope of a command: which bytes are signed, and by whom. Needs the extra `commands`.

The signature is the last thing in the text, `,"sig":"ed25519:<base64>"}`, and covers every byte before it. It is
checked over the bytes as they came, before anything of them is read: no canonical form, and nothing that two readers
could understand in two ways.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_agent.commands.verdict import Key
from edge_agent.errors import ExitCode, Fatal

_OPENING, _CLOSING = b',"sig":"ed25519:', b'"}'
_BASE64 = 88
"""Characters of 64 bytes."""
_TAIL = len(_OPENING) + _BASE64 + len(_CLOSING)
_MAX_KEY_FILE = 4096


class Keyring:
    """The keys that a site trusts."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = [(key, Ed25519PublicKey.from_public_bytes(key.public)) for key in keys]

    def __call__(self, text: bytes) -> Key | None:
        """The key that signed this text; None for no signature, or one of nobody that is trusted."""
        parts = split(text)
        if parts is None:
            return None
        signed, signature = parts
        for key, public in self._keys:
            try:
                public.verify(signature, signed)
            except InvalidSignature:
                continue
            return key
        return None


def split(text: bytes) -> tuple[bytes, bytes] | None:
    """What is signed, and the signature; None where the text does not end in one."""
    signed, tail = text[:-_TAIL], text[-_TAIL:]
    if not (signed and tail.startswith(_OPENING) and tail.endswith(_CLOSING)):
        return None
    try:
        signature = base64.b64decode(tail[len(_OPENING) : -len(_CLOSING)], validate=True)
    except binascii.Error:
        return None
    return (signed, signature) if len(signature) == 64 else None


def seal(text: bytes, key: Ed25519PrivateKey) -> bytes:
    """A JSON object without `sig`, signed."""
    signed = text.removesuffix(b"}")
    return signed + _OPENING + base64.b64encode(key.sign(signed)) + _CLOSING


def read_public(path: Path) -> bytes:
    """The 32 bytes of a public key in PEM. Raises Fatal."""
    try:
        key = serialization.load_pem_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as e:
        hint = "edge-agent command keygen NAME writes NAME.key and NAME.pub: here belongs NAME.pub"
        raise _refused(path, "is not a public key in PEM", hint) from e
    if not isinstance(key, Ed25519PublicKey):
        raise _refused(path, "is a public key of another kind than Ed25519", "edge-agent command keygen NAME")
    return key.public_bytes_raw()


def read_private(path: Path) -> Ed25519PrivateKey:
    """A private key in PEM that nobody else may read. Raises Fatal."""
    content = _content(path)
    if path.stat().st_mode & 0o077:
        raise _refused(path, "is open to others than its owner", f"chmod 0600 {path}")
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # not chained: nothing of a private key belongs into a message
        hint = "edge-agent command keygen NAME writes one, without a password"
        raise _refused(path, "is not a private key in PEM", hint) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _refused(path, "is a private key of another kind than Ed25519", "edge-agent command keygen NAME")
    return key


def new_pair() -> tuple[bytes, bytes]:
    """A new key in PEM: private, public."""
    key = Ed25519PrivateKey.generate()
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_KEY_FILE + 1)
    except OSError as e:
        raise _refused(path, f"cannot be read: {e.strerror}", "edge-agent command keygen NAME writes a pair") from e
    if len(content) > _MAX_KEY_FILE:
        raise _refused(path, f"is longer than {_MAX_KEY_FILE} bytes", "is it the right file?")
    return content


def _refused(path: Path, reason: str, hint: str) -> Fatal:
    return Fatal(f"{path} {reason}", hint=hint, exit_code=ExitCode.CONFIGURATION)
