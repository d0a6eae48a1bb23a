"""An actuator's thread: carries actions out, tries again until their deadline, and says what became of each.

Every action that was submitted gets exactly one receipt. Of several that wait for the same target only the newest
is carried out: an older value must not reach the device after, or instead of, a newer one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.errors import Rejected, Retryable
from edge_agent.health import PartHealth
from edge_agent.ports import Actuator, Clock
from edge_agent.types import Act, Event, HealthChange, Receipt

MAX_TARGETS = 64
_BACKOFF_FIRST_S = 0.05
_BACKOFF_MOST_S = 0.5
_LEAST_TRY_S = 0.1
_MOST_TRY_S = 8.0
"""Below the time after which the supervisor takes a silent thread for stuck."""
_IDLE_TURN_S = 1.0


class _Pending:
    """An action that waits for its first or next try."""

    def __init__(self, act: Act, now_ns: int, deadline_ns: int) -> None:
        self.act = act
        self.due_ns = now_ns
        self.deadline_ns = deadline_ns
        self.backoff_s = _BACKOFF_FIRST_S
        self.reason = ""


class ActuatorBody:
    """ports.Body of one actuator. `deadline_s` counts from `submit`; a target that fails holds up no other.

    `post` takes the receipts, and a HealthChange when the actuator starts or ceases to work.
    """

    def __init__(
        self, name: str, *, opener: Callable[[], Actuator], deadline_s: float, post: Callable[[list[Event]], None],
        clock: Clock, health: PartHealth,
    ) -> None:  # fmt: skip
        self.name = f"actuator:{name}"
        self.progress_ns = 0
        self._opener = opener
        self._deadline_s = deadline_s
        self._post = post
        self._clock = clock
        self._health = health
        self._actuator: Actuator | None = None
        self._pending: dict[str, _Pending] = {}
        self._changed = threading.Condition()
        self._stopping = False

    def submit(self, act: Act) -> None:
        """Any thread; never waits for the device."""
        now_ns = self._clock.mono_ns()
        pending = _Pending(act, now_ns, now_ns + round(self._deadline_s * 1e9))
        with self._changed:
            refusal = self._refusal(act)
            older = None if refusal else self._pending.pop(act.target, None)
            if not refusal:
                self._pending[act.target] = pending
                self._changed.notify()
        if refusal:
            self._fail(act, refusal)
        if older is not None:
            self._supersede(older.act, act)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        try:
            while (pending := self._next()) is not None:
                self.progress_ns = self._clock.mono_ns()
                self._carry_out(pending)
        finally:
            self._close()
        with self._changed:
            left = list(self._pending.values())
            self._pending.clear()
        for pending in left:
            self._fail(pending.act, pending.reason or "the agent stopped")

    def _refusal(self, act: Act) -> str:
        if self._stopping:
            return "the agent stops"
        if act.target not in self._pending and len(self._pending) >= MAX_TARGETS:
            return f"{MAX_TARGETS} targets wait already"
        return ""

    def _next(self) -> _Pending | None:
        """Waits for the action that is due next and takes it out; None once stopped."""
        with self._changed:
            while not self._stopping:
                self.progress_ns = now_ns = self._clock.mono_ns()
                wait_s = _IDLE_TURN_S
                if self._pending:
                    target, pending = min(self._pending.items(), key=lambda item: item[1].due_ns)
                    if pending.due_ns <= now_ns:
                        return self._pending.pop(target)
                    wait_s = min(wait_s, (pending.due_ns - now_ns) / 1e9)
                self._changed.wait(wait_s)
            return None

    def _carry_out(self, pending: _Pending) -> None:
        # also when the driver has a bug and this thread ends, the action gets its receipt
        failure = "the driver broke; see the log"
        try:
            receipt = self._try(pending)
        except Retryable as e:
            self._close()
            self._turn(False, str(e))
            failure = ""
            self._try_later(pending, str(e))
        except Rejected as e:
            failure = str(e)
        else:
            failure = ""
            self._turn(True, "")
            self._health.count("done")
            self._post([receipt])
        finally:
            if failure:
                self._fail(pending.act, failure)

    def _try(self, pending: _Pending) -> Receipt:
        left_s = (pending.deadline_ns - self._clock.mono_ns()) / 1e9
        if left_s <= 0:
            raise Rejected(pending.reason or "its time was up before its first try")
        if self._actuator is None:
            self._actuator = self._opener()
        # one try takes a part of the time only: the rest is for trying again, and for other targets
        share_s = min(max(self._deadline_s / 4, _LEAST_TRY_S), _MOST_TRY_S)
        return self._actuator.apply(pending.act, min(left_s, share_s))

    def _try_later(self, pending: _Pending, reason: str) -> None:
        """Puts it back, to be tried again or to fail at its deadline; a newer one for its target takes its place."""
        pending.reason = reason
        pending.due_ns = min(self._clock.mono_ns() + round(pending.backoff_s * 1e9), pending.deadline_ns)
        pending.backoff_s = min(pending.backoff_s * 2, _BACKOFF_MOST_S)
        with self._changed:
            newer = self._pending.setdefault(pending.act.target, pending)
        if newer is not pending:
            self._supersede(pending.act, newer.act)
        self._health.count("retries")

    def _close(self) -> None:
        actuator, self._actuator = self._actuator, None
        if actuator is not None:
            actuator.close()

    def _fail(self, act: Act, reason: str) -> None:
        self._health.count("failed")
        self._post([Receipt(act.id, act.actuator, False, self._clock.now(), detail=reason)])

    def _supersede(self, old: Act, new: Act) -> None:
        self._health.count("superseded")
        detail = f"superseded by action {new.id}"
        self._post([Receipt(old.id, old.actuator, False, self._clock.now(), detail=detail, superseded=True)])

    def _turn(self, up: bool, reason: str) -> None:
        stamp = self._clock.now()
        if self._health.turn(up, stamp, reason):
            self._post([HealthChange(self._health.name, up, stamp, reason)])
