"""Takes what the backend commands: judges it, keeps it, has it carried out, and always answers.

accepted (it is on the disk) → running (the engine has it) → done, failed or refused. What is not known to have been
brought to an end when the agent stopped is failed, `interrupted`: it is never carried out a second time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from edge_agent.api import Refusal
from edge_agent.commands.log import FINAL, CommandLog
from edge_agent.commands.verdict import (
    LONGEST_MS,
    REPLY,
    SKEW_MS,
    Accepted,
    Arrived,
    Key,
    Known,
    Refused,
    Repeated,
    id_of,
    judge,
)
from edge_agent.contract import topics
from edge_agent.contract.messages import CmdResult
from edge_agent.errors import Retryable
from edge_agent.health import PartHealth
from edge_agent.ports import Clock, Inbound, Reply
from edge_agent.types import ClockQuality, Stamp
from edge_agent.uplink.rate import Rate

log = logging.getLogger("edge_agent")

_PER_S = 20
_BUSY_NS = 1_000_000_000
"""One of those that come too fast is answered in this time."""
_LOGGED_NS = 60_000_000_000
_MOST_CORRELATION = 256
_PATIENCE_NS = 2_000_000_000
"""A command that left no trace to commit is done after this."""
_ANEW_NS = (LONGEST_MS + SKEW_MS) * 1_000_000
"""After the start no command is valid any more that may have been taken before it."""
_AGAIN_NS = 60_000_000_000
_SECURITY = frozenset({"retained", "unauthorised", "wrong_target", "replay"})
DESIRED = "desired states are not taken by this version: what the gateway runs is in its site file"


class Executor(Protocol):
    """Hands a command to the engine. Raises Refusal where it cannot be carried out."""

    def __call__(self, name: str, args: dict[str, Any], by: str, command_id: str) -> None: ...


class Intake:
    """`take` and `replies` on the uplink's thread, `carried_out` on the engine's, `handled` and `kept` on the
    store's."""

    def __init__(
        self, target: topics.Gateway, signer_of: Callable[[bytes], Key | None], book: CommandLog, *,
        clock: Clock, utc_ms: Callable[[Stamp], int | None], execute: Executor, health: PartHealth,
        tell_desired: Callable[[str], None], report: Callable[[bool, str], None],
        store: Callable[[], str], unkept: Callable[[], str],
    ) -> None:  # fmt: skip
        """`store()` is the id of the database that is written now, empty while nobody knows it; `unkept()` is why a
        restart would forget what the engine does now, empty where it would not."""
        self._target = target
        self._signer_of = signer_of
        self._log = book
        self._clock = clock
        self._utc_ms = utc_ms
        self._execute = execute
        self._health = health
        self._tell_desired = tell_desired
        self._rate = Rate(_PER_S)
        self._rate.allows(clock.mono_ns())
        self._busy_ns = -_BUSY_NS
        self._logged_ns: dict[str, int] = {}
        self._replies: list[Reply] = []
        self._correlations: dict[str, bytes] = {}
        self._running: dict[str, int] = {}
        """By id: when the engine was given it."""
        self._handled: set[str] = set()
        self._kept: deque[str] = deque()
        self._lock = threading.Lock()
        self._report = report
        self._store = store
        self._unkept = unkept
        self._anew_ns = clock.mono_ns() + _ANEW_NS
        if book.damage:
            wait_s = _ANEW_NS // 10**9
            report(False, f"{book.damage}: commands are refused for {wait_s} s, then their counters begin anew")
        self._end_interrupted()

    def take(self, message: Inbound) -> None:
        """Never raises for anything that a message holds."""
        if message.topic == self._target.down(topics.DESIRED):
            self._refuse_desired(message)
        elif self._not_too_fast(message):
            self._count_extras(message)
            self._judged(message)

    def replies(self) -> list[Reply]:
        """What is to be said now, in order; also brings to an end what the engine has carried out."""
        while self._kept:
            self._end(self._kept.popleft())
        if self._running:
            self._end_untraced()
        self._follow()
        if self._log.damage and self._clock.mono_ns() >= self._anew_ns:
            self._begin_anew()
        replies, self._replies = self._replies, []
        return replies

    def carried_out(self, command_id: str) -> None:
        """The engine's thread."""
        with self._lock:
            self._handled.add(command_id)

    def handled(self) -> set[str]:
        """What the engine has carried out, taken before what it remembers is written."""
        with self._lock:
            handled, self._handled = self._handled, set()
        return handled

    def kept(self, handled: set[str]) -> None:
        """What came of these is on the disk, unless there is a reason that it is not: they are then still handled."""
        if not self._unkept():
            self._kept.extend(handled)
            return
        with self._lock:
            self._handled |= handled

    # -- one message ---------------------------------------------------------------------------------------------

    def _judged(self, message: Inbound) -> None:
        now = self._clock.now()
        known = Known(
            self._target,
            self._signer_of,
            self._log.floors,
            self._log.results,
            now.wall_ns // 1_000_000,
            now.quality is ClockQuality.SYNCED,
            not self._log.damage,
        )
        verdict = judge(Arrived(message.topic, message.body, message.retained), known)
        match verdict:
            case Refused():
                self._refuse(verdict, message)
            case Repeated(command_id):
                self._health.count("repeated")
                self._correlate(command_id, message)
                self._say(self._log.results[command_id])
            case Accepted():
                self._correlate(verdict.command.id, message)
                self._accept(verdict)

    def _accept(self, accepted: Accepted) -> None:
        command, key = accepted.command, accepted.key
        if command.reply != REPLY:
            self._health.count("reply_elsewhere")
        if why := self._unkept():
            self._not_kept(command.id, why)
            return
        try:
            self._say(self._log.take(command, key.fingerprint, self._now_ms()))
            self._execute(command.name, command.args, f"{key.name} ({key.role})", command.id)
            self._running[command.id] = self._clock.mono_ns()
            self._health.count("accepted")
            self._step(command.id, "running")
        except Refusal as e:
            self._health.count(f"refused_{e.code}")
            self._step(command.id, "refused", e.code, e.message)
        except Retryable as e:
            self._not_kept(command.id, str(e))

    def _refuse(self, refused: Refused, message: Inbound) -> None:
        self._health.quarantine(f"refused_{refused.code}", message.body)
        if refused.code in _SECURITY:
            self._warn(refused)
        if not refused.id:
            return
        self._correlate(refused.id, message)
        why = refused.why if refused.code != "unauthorised" else ""
        self._say(CmdResult(id=refused.id, state="refused", code=refused.code, t=self._now_ms(), why=why))

    def _warn(self, refused: Refused) -> None:
        now_ns = self._clock.mono_ns()
        if now_ns - self._logged_ns.get(refused.code, -_LOGGED_NS) >= _LOGGED_NS:
            self._logged_ns[refused.code] = now_ns
            log.warning("a command was refused, %s: %s", refused.code, refused.id or "it has no id")

    def _not_too_fast(self, message: Inbound) -> bool:
        now_ns = self._clock.mono_ns()
        if self._rate.allows(now_ns):
            self._rate.spend()
            return True
        self._health.count("busy")
        if now_ns - self._busy_ns >= _BUSY_NS and (command_id := id_of(message.body)):
            self._busy_ns = now_ns
            self._correlate(command_id, message)
            self._say(CmdResult(id=command_id, state="refused", code="busy", t=self._now_ms()))
        return False

    def _count_extras(self, message: Inbound) -> None:
        """What MQTT 5 lets a sender ask for beside the body: an answer goes to the gateway's own topic, always."""
        if message.response_topic and not message.response_topic.startswith(self._target.up(topics.CMD)):
            self._health.count("reply_elsewhere")
        if len(message.correlation) > _MOST_CORRELATION:
            self._health.count("correlation_dropped")

    def _refuse_desired(self, message: Inbound) -> None:
        """Whole, and said in `up/reported`; an empty one is the broker's own way to forget it."""
        if message.body:
            self._health.quarantine("desired_refused", message.body)
        self._tell_desired(DESIRED if message.body else "")

    def _begin_anew(self) -> None:
        try:
            self._log.begin_anew()
        except Retryable as e:
            self._anew_ns = self._clock.mono_ns() + _AGAIN_NS
            self._health.note("last_error", str(e))
            return
        self._report(True, "")

    # -- its steps -----------------------------------------------------------------------------------------------

    def _step(self, command_id: str, state: str, code: str = "", why: str = "") -> None:
        self._say(self._log.step(CmdResult(id=command_id, state=state, code=code, t=self._now_ms(), why=why)))

    def _end(self, command_id: str) -> None:
        if self._running.pop(command_id, None) is None:
            return
        self._health.count("done")
        try:
            self._step(command_id, "done")
        except Retryable as e:
            self._health.note("last_error", str(e))
            self._say(CmdResult(id=command_id, state="done", code="", t=self._now_ms()))

    def _end_untraced(self) -> None:
        """A release that somebody else was quicker with changes nothing, so nothing is committed for it. What the
        disk would not take until now is failed, though it was done."""
        longest_ns = self._clock.mono_ns() - _PATIENCE_NS
        with self._lock:
            old = [i for i in self._handled if self._running.get(i, longest_ns + 1) <= longest_ns]
            self._handled.difference_update(old)
        for command_id in old:
            if why := self._unkept():
                del self._running[command_id]
                self._fail(command_id, "not_kept", f"it was carried out, and a restart may forget it: {why}")
            else:
                self._end(command_id)

    def _not_kept(self, command_id: str, why: str) -> None:
        """Nothing is carried out that a power cut would make the gateway forget."""
        self._health.count("failed_not_kept")
        self._health.note("last_error", why)
        if command_id not in self._running:
            self._say(CmdResult(id=command_id, state="failed", code="not_kept", t=self._now_ms(), why=why))

    def _follow(self) -> None:
        store = self._store()
        try:
            if store:
                self._log.follow(store)
        except Retryable as e:
            self._health.note("last_error", str(e))

    def _end_interrupted(self) -> None:
        for result in self._log.interrupted():
            why = "the agent stopped meanwhile: look whether it was carried out, and command anew"
            self._fail(result.id, "interrupted", why)

    def _fail(self, command_id: str, code: str, why: str) -> None:
        self._health.count(code if code == "interrupted" else f"failed_{code}")
        try:
            self._step(command_id, "failed", code, why)
        except Retryable as e:
            self._health.note("last_error", str(e))
            self._say(CmdResult(id=command_id, state="failed", code=code, t=self._now_ms(), why=why))

    # -- answers -------------------------------------------------------------------------------------------------

    def _correlate(self, command_id: str, message: Inbound) -> None:
        if 0 < len(message.correlation) <= _MOST_CORRELATION:
            self._correlations[command_id] = message.correlation

    def _say(self, result: CmdResult) -> None:
        correlation = self._correlations.get(result.id, b"")
        if result.state in FINAL:
            self._correlations.pop(result.id, None)
        self._replies.append(Reply(f"{topics.CMD}/{result.id}", msgspec.json.encode(result), correlation))

    def _now_ms(self) -> int | None:
        return self._utc_ms(self._clock.now())
