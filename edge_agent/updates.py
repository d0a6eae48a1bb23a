"""Firmware updates of this gateway's microcontrollers, as its agent sees them: ports it lends, and what became of it.

An update runs in a process of its own, the command `edge-agent mcu`: it asks for the port, which its source gives
up, says how far it is, and gives the port back. So no byte of an update passes through the process that decides. A
command that falls silent loses the port. Rules see `health.<mcu>.firmware`, false from the beginning of an update to
its good end; the same change raises and clears the alert that the backend gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Condition
from typing import Any, Protocol

import msgspec

from edge_agent import mcu_history
from edge_agent.api import Caller, Refusal, Verb
from edge_agent.config.site import McuConfig, SiteConfig
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.registry import Links
from edge_agent.ports import Clock
from edge_agent.types import Command, Event, HealthChange, Value

_TURN_S = 0.5
_SILENT_NS = 10_000_000_000
"""A command says every two seconds that it lives."""
_SET_S = 3.0
_MOST_WAITING = 3
"""Each takes up to _SET_S, and who asked gives up after 10 s: a fourth would be carried out behind their back."""
_MOST_RESULTS = 64
"""Of those that have ended; who asked looks for its own every 50 ms."""
_LONGEST = 500
_STAGES = ("asked", "check", "upload", "boot", "watch", "confirm", "revert")
_ENDS = ("confirmed", "reverted", "crashed", "not_booted", "uncertain", "refused", "failed", "looked")


class Rules(Protocol):
    """The engine, as far as updates look at it."""

    def phases(self) -> dict[str, str]: ...


class State(msgspec.Struct):
    """Of one device since the agent's start. `stage` is empty while nothing is under way; `by` is whose it is, and
    `token` tells one command of theirs from another."""

    stage: str = ""
    updating: bool = False
    by: str = ""
    token: str = ""
    version: str = ""
    offset: int = 0
    size: int = 0
    heard_ns: int = 0
    end: str = ""
    reason: str = ""
    ended_ns: int = 0


class Updates:
    """ports.Body that takes ports back from commands that fell silent, and carries out `mcu set`, which is a person's
    act: the event log has it, and the history of the microcontrollers its beginning and its end."""

    name = "mcu"

    def __init__(
        self, site: SiteConfig, links: Links, rules: Rules, *, clock: Clock, post: Callable[[Sequence[Event]], object]
    ) -> None:
        self.progress_ns = 0
        self._site = site
        self._mcus = {mcu.name: mcu for mcu in site.mcu}
        self._states = {mcu.name: State() for mcu in site.mcu}
        self._links = links
        self._rules = rules
        self._clock = clock
        self._post = post
        # for all that follows, and for the states; what is found under it is acted on under it
        self._changed = Condition()
        self._asked: list[tuple[int, str, str, Value, str]] = []
        self._results: dict[int, dict[str, Any] | None] = {}
        self._stopping = False

    def verbs(self) -> dict[str, Verb]:
        verbs = {"mcu_lend": self._lend, "mcu_report": self._report, "mcu_back": self._back, "mcu_end": self._end,
                 "mcu_values": self._values, "mcu_set": self._set, "mcu_set_result": self._result}  # fmt: skip
        return {name: self._guarded(name, verb) for name, verb in verbs.items()}

    def device_of(self, mcu: McuConfig) -> str:
        """Its port."""
        if mcu.port is not None:
            return mcu.port
        return str(next(getattr(s.driver, "device", "") for s in self._site.source if s.name == mcu.source))

    def to_list(self) -> list[dict[str, Any]]:
        """For the status document; ages, not instants."""
        with self._changed:
            now_ns = self._clock.now().mono_ns
            return [_shown(name, state, now_ns) for name, state in self._states.items()]

    # -- the thread ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def run(self) -> None:
        self._give_up_the_unfinished()
        self._post([HealthChange(f"{name}.firmware", True, self._clock.now()) for name in self._mcus])
        while not self._stopping:
            self.progress_ns = self._clock.mono_ns()
            self._take_back_from_the_silent()
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._asked, _TURN_S)
                asked = self._asked.pop(0) if self._asked and not self._stopping else None
            if asked is not None:
                self._ended(asked[0], self._carry_out(*asked))

    def _give_up_the_unfinished(self) -> None:
        """What a run before this one, which broke, has left."""
        with self._changed:
            self._asked.clear()
            for number in [n for n, result in self._results.items() if result is None]:
                self._ended(number, {"ok": False, "reason": "cut off, perhaps done", "hint": "look, then set again"})

    def _ended(self, number: int, result: dict[str, Any]) -> None:
        with self._changed:
            self._results[number] = result
            ended = [n for n, each in self._results.items() if each is not None]
            for old in ended[:-_MOST_RESULTS]:
                del self._results[old]

    def _take_back_from_the_silent(self) -> None:
        for name, state in self._states.items():
            with self._changed:
                if state.stage and self._clock.mono_ns() - state.heard_ns > _SILENT_NS:
                    hint = f"edge-agent mcu info {name}, then flash again, confirm or rollback"
                    self._finish(name, "uncertain", f"the command that ran it fell silent in {state.stage}: {hint}")

    def _carry_out(self, number: int, name: str, target: str, value: Value, by: str) -> dict[str, Any]:
        """A disk that refuses the record is said: it must not keep a person from closing a valve."""
        what = {"mcu": name, "do": "set", "target": target, "value": value}
        off_record = self._recorded({**what, "end": "began"}, by)
        result = self._set_output(number, name, target, value)
        end = {"end": "done" if result["ok"] else "failed", "reason": result["reason"]}
        off_record = self._recorded({**what, **end, "read_back": result.get("read_back")}, by) or off_record
        return {**result, "off_record": off_record}

    def _recorded(self, entry: dict[str, Any], by: str) -> str:
        """Why it is not, or empty."""
        try:
            mcu_history.write(Path(self._site.agent.data_dir), entry, by)
        except OSError as e:
            return f"{e.filename}: {e.strerror}"
        return ""

    def _set_output(self, number: int, name: str, target: str, value: Value) -> dict[str, Any]:
        link = self._links.bridge(self.device_of(self._mcus[name]))
        try:
            end = link.command(-number, target, value, _SET_S)
        except (Rejected, Retryable) as e:
            return {"ok": False, "reason": e.message, "hint": e.hint}
        if end is None:
            return {"ok": False, "reason": f"not done within {_SET_S:g} s", "hint": "try again"}
        return {"ok": end.outcome == "done", "reason": str(end.outcome), "read_back": end.value, "hint": ""}

    # -- verbs, in the thread of the control socket ----------------------------------------------------------------

    def _guarded(self, name: str, verb: Callable[[Caller, McuConfig, Mapping[str, Any]], object]) -> Verb:
        def guarded(caller: Caller, args: Mapping[str, Any]) -> object:
            if not caller.operator:
                raise Refusal("forbidden", f"{name} needs an operator: root, or a member of the socket's group")
            mcu = self._mcus.get(str(args.get("mcu")))
            if mcu is None:
                known = ", ".join(self._mcus) or "none"
                raise Refusal("unknown_mcu", f"no [[mcu]] {args.get('mcu')!r}; the running agent has: {known}")
            return verb(caller, mcu, args)

        return guarded

    def _lend(self, caller: Caller, mcu: McuConfig, args: Mapping[str, Any]) -> object:
        state, device = self._states[mcu.name], self.device_of(mcu)
        self._safe(mcu, device)
        by, token = _who(caller, args)
        updating = bool(args.get("update"))
        with self._changed:
            if state.stage and (state.by, state.token) != (by, token):
                raise Refusal("busy", f"{mcu.name}: another command, of {state.by}, is at it: {state.stage}")
            began = updating and not state.updating
            state.by, state.token, state.updating = by, token, state.updating or updating
            state.stage, state.heard_ns = state.stage or "asked", self._clock.mono_ns()
            if began:
                state.end = state.reason = ""
                state.offset = state.size = 0
                state.version = str(args.get("version", ""))[:40]
                self._tell(mcu.name, False, f"update to {state.version} by {by} is under way")
            self._links.lend(device, f"lent to edge-agent mcu, for {by}")
        return {"device": device}

    def _safe(self, mcu: McuConfig, device: str) -> None:
        """Not while a raised rule commands it: its outputs would be let go in the middle of what they are for."""
        theirs = {a.name for a in self._site.actuator if getattr(a.driver, "device", "") == device}
        phases = self._rules.phases()
        for rule in self._site.rule:
            if phases.get(rule.id) in ("raised", "latched") and any(
                action.set.partition(".")[0] in theirs for action in rule.actions
            ):
                phase = phases[rule.id]
                raise Refusal("rule_raised", f"{mcu.name} is an actuator of the rule {rule.id}, which is {phase}")

    def _report(self, caller: Caller, mcu: McuConfig, args: Mapping[str, Any]) -> object:
        stage, state = str(args.get("stage")), self._states[mcu.name]
        if stage not in _STAGES:
            raise Refusal("bad_args", f"stage is one of {', '.join(_STAGES)}")
        with self._changed:
            self._mine(state, caller, args)
            state.stage, state.heard_ns = stage, self._clock.mono_ns()
            state.offset, state.size = _count(args, "offset", state.offset), _count(args, "size", state.size)
        return {}

    def _back(self, caller: Caller, mcu: McuConfig, args: Mapping[str, Any]) -> object:
        """The port only: an update goes on, in its health window."""
        state = self._states[mcu.name]
        with self._changed:
            self._mine(state, caller, args)
            state.heard_ns = self._clock.mono_ns()
            self._links.take_back(self.device_of(mcu))
        return {}

    def _end(self, caller: Caller, mcu: McuConfig, args: Mapping[str, Any]) -> object:
        end = str(args.get("end"))
        if end not in _ENDS:
            raise Refusal("bad_args", f"end is one of {', '.join(_ENDS)}")
        with self._changed:
            self._mine(self._states[mcu.name], caller, args)
            self._finish(mcu.name, end, str(args.get("reason", ""))[:_LONGEST])
        return {}

    def _mine(self, state: State, caller: Caller, args: Mapping[str, Any]) -> None:
        if not state.stage or (state.by, state.token) != _who(caller, args):
            raise Refusal("not_lent", "the port is not lent to you any more: you were silent for too long")

    def _finish(self, name: str, end: str, reason: str) -> None:
        """Called with the lock, in which it was found that it is over."""
        state = self._states[name]
        updating, state.updating, state.stage = state.updating, False, ""
        self._links.take_back(self.device_of(self._mcus[name]))
        if not updating:
            return
        state.end, state.reason, state.ended_ns = end, reason, self._clock.now().mono_ns
        # the alert of the update itself ends in any case; one that failed raises another
        self._tell(name, True, "")
        if end not in ("confirmed", "refused"):
            self._tell(name, False, f"update to {state.version} ended: {end}: {reason}")

    def _tell(self, name: str, up: bool, reason: str) -> None:
        self._post([HealthChange(f"{name}.firmware", up, self._clock.now(), reason, alert=not up)])

    def _values(self, _caller: Caller, mcu: McuConfig, _args: Mapping[str, Any]) -> object:
        values = self._links.bridge(self.device_of(mcu)).values()
        return {name: {"value": value, "unit": unit} for name, (value, unit) in values.items()}

    def _set(self, caller: Caller, mcu: McuConfig, args: Mapping[str, Any]) -> object:
        target, value, (by, _) = args.get("target"), args.get("value"), _who(caller, args)
        if not isinstance(target, str) or not isinstance(value, bool | int | float | str):
            raise Refusal("bad_args", "mcu_set takes mcu, target and value")
        self._safe(mcu, self.device_of(mcu))
        with self._changed:
            waiting = sum(result is None for result in self._results.values())
            if waiting >= _MOST_WAITING:
                raise Refusal("busy", f"{waiting} sets are under way, and one takes up to {_SET_S:g} s: try again")
            number = max(self._results, default=0) + 1
            self._results[number] = None
            self._asked.append((number, mcu.name, target, value, by))
            self._changed.notify_all()
        done = {"mcu": mcu.name, "target": target, "value": value}
        self._post([Command("mcu_set", done, by, self._clock.now())])
        return {"id": number}

    def _result(self, _caller: Caller, _mcu: McuConfig, args: Mapping[str, Any]) -> object:
        number = args.get("id")
        with self._changed:
            if not isinstance(number, int) or number not in self._results:
                raise Refusal("bad_args", "no such set is under way")
            return self._results[number] or {"waiting": True}


def _who(caller: Caller, args: Mapping[str, Any]) -> tuple[str, str]:
    """Person and token."""
    return f"uid {caller.uid}", str(args.get("token", ""))[:40]


def _count(args: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = args.get(name, otherwise)
    return value if isinstance(value, int) and 0 <= value < 2**32 else otherwise


def _shown(name: str, state: State, now_ns: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": name, "stage": state.stage, "by": state.by}
    shown |= {"version": state.version, "offset": state.offset, "size": state.size}
    shown |= {"end": state.end, "reason": state.reason}
    shown["ended_s"] = round((now_ns - state.ended_ns) / 1e9, 1) if state.ended_ns else None
    return shown
