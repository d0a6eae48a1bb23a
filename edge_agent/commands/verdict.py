"""Whether a command may be carried out: a pure function of what came and what is known.

It refuses in this order, and what comes first is what is said: size, retained, unauthorised (nothing is read of
what nobody trusted has signed, but its id to answer to), malformed, unauthorised (the role), wrong_target,
floors_unknown, replay, clock_unsynced, expired, not_yet_valid. A repeat of an id is no refusal: it gets the answer of
the first time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Mapping

import msgspec

from edge_agent.contract import topics
from edge_agent.contract.messages import Cmd
from edge_agent.errors import Rejected
from edge_agent.links import strict_json

MAX_BYTES = 65_536
LONGEST_MS = 300_000
"""Between `issued` and `expires`: what waits longer was meant for another situation."""
SKEW_MS = 30_000
"""How far the sender's clock may be ahead."""
REPLY = "up/cmd"

_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Key(msgspec.Struct, frozen=True):
    """A public key that the site trusts: in which role, and for which commands."""

    name: str
    role: str
    allow: frozenset[str]
    public: bytes
    """32 bytes, Ed25519."""

    @property
    def fingerprint(self) -> str:
        """Names the key itself, whatever the site file calls it."""
        return hashlib.sha256(self.public).hexdigest()[:32]


class Arrived(msgspec.Struct, frozen=True):
    """A message on `down/cmd/{name}`, as it came. What properties MQTT 5 adds to it decides nothing."""

    topic: str
    body: bytes
    retained: bool


class Known(msgspec.Struct, frozen=True):
    """What the gateway knows: who it is, whom it trusts, what it has taken, and the time."""

    target: topics.Gateway
    signer_of: Callable[[bytes], Key | None]
    """envelope.Keyring."""
    floors: Mapping[str, int]
    """By fingerprint of a key: the highest counter that was taken."""
    seen: Container[str]
    now_ms: int
    synced: bool
    floors_known: bool = True


class Accepted(msgspec.Struct, frozen=True):
    """To be carried out, once."""

    command: Cmd
    key: Key


class Repeated(msgspec.Struct, frozen=True):
    """Taken before: its answer is known."""

    id: str


class Refused(msgspec.Struct, frozen=True):
    """`id` is empty where none could be made out: nobody can be answered then."""

    code: str
    id: str = ""
    why: str = ""
    """For people; goes out only to those who signed."""


Verdict = Accepted | Repeated | Refused


def judge(arrived: Arrived, known: Known) -> Verdict:
    """Never raises, whatever came."""
    if not 0 < len(arrived.body) <= MAX_BYTES:
        return Refused("size", why=f"{len(arrived.body)} bytes, and 1 to {MAX_BYTES} are taken")
    if arrived.retained:
        return Refused("retained", id_of(arrived.body))
    key = known.signer_of(arrived.body)
    if key is None:
        return _unsigned(arrived.body)
    try:
        command = _read(arrived.body)
    except Rejected as e:
        return Refused("malformed", id_of(arrived.body), e.message.removeprefix("malformed: "))
    return _unfit(arrived, command, key, known) or _stale(command, key, known) or Accepted(command, key)


def id_of(body: bytes) -> str:
    """The id of a text that may be anything; empty where it is not an id as it must be."""
    try:
        found = _id_decoder.decode(body).id
    except _JSON_ERRORS:
        return ""
    return found if _ULID.fullmatch(found) else ""


class _Id(msgspec.Struct):
    id: str = ""


_id_decoder = msgspec.json.Decoder(_Id)


def _unsigned(body: bytes) -> Refused:
    try:
        _id_decoder.decode(body)
    except _JSON_ERRORS:
        return Refused("malformed")
    return Refused("unauthorised", id_of(body))


def _read(body: bytes) -> Cmd:
    """Raises Rejected with the place."""
    value = strict_json.loads(body)
    try:
        command = msgspec.convert(value, Cmd)
    except (msgspec.ValidationError, RecursionError) as e:
        raise Rejected(f"malformed: {e}") from e
    if not _ULID.fullmatch(command.id):
        raise Rejected("malformed: id is not a ULID")
    if not 0 < command.expires - command.issued <= LONGEST_MS:
        raise Rejected(f"malformed: expires is not within {LONGEST_MS} ms after issued")
    return command


def _unfit(arrived: Arrived, command: Cmd, key: Key, known: Known) -> Refused | None:
    if command.role != key.role or command.name not in key.allow:
        return Refused("unauthorised", command.id, f"{key.name} may not give {command.name[:64]!r} as {key.role}")
    to = topics.Gateway(command.tenant, command.site, command.gw)
    if to != known.target:
        return Refused("wrong_target", command.id, "tenant, site or gw is another gateway's")
    if _segment(arrived.topic.rpartition("/")[2]) != _segment(command.name):
        return Refused("wrong_target", command.id, "the topic names another command")
    return None


def _stale(command: Cmd, key: Key, known: Known) -> Verdict | None:
    if command.id in known.seen:
        return Repeated(command.id)
    if not known.floors_known:
        return Refused("floors_unknown", command.id, "which counters were taken is not known; command anew in 6 min")
    floor = known.floors.get(key.fingerprint, -1)
    if command.counter <= floor:
        return Refused("replay", command.id, f"counter {command.counter}, and {floor} has been taken")
    return _untimely(command, known)


def _untimely(command: Cmd, known: Known) -> Refused | None:
    if not known.synced:
        return Refused("clock_unsynced", command.id, "the gateway does not know the time")
    if known.now_ms >= command.expires:
        return Refused("expired", command.id, f"{known.now_ms - command.expires} ms ago")
    if command.issued > known.now_ms + SKEW_MS:
        return Refused("not_yet_valid", command.id, f"in {command.issued - known.now_ms} ms")
    return None


def _segment(name: str) -> str:
    """A topic's segment has no dots: `rule.hold` goes to `down/cmd/rule-hold`."""
    return name.replace(".", "-")
