"""Signals in slots, and the windows over them: what rules read, and when it changes although nothing comes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from edge_agent.alerts import NEVER
from edge_agent.plan import WindowPlan
from edge_agent.rules.values import UNKNOWN
from edge_agent.signals.windows import Window, make_window

_STEPS = 32
"""A window that hears nothing new is looked at again this often within its length."""


class _Sliding:
    """A window and the slot that shows it."""

    __slots__ = ("plan", "step_ns", "waiting", "window")

    def __init__(self, plan: WindowPlan) -> None:
        of = plan.window
        self.plan = plan
        self.window: Window = make_window(
            plan.fn, window_ns=of.ns or None, count=of.readings or None, p=plan.argument
        )
        # the moment of absence is exact; any other value may move in steps
        self.step_ns = 0 if plan.fn == "absent" else of.ns // _STEPS
        self.waiting = False


class SignalTable:
    """`values[slot]` is what a rule reads, `dirty` the slots that changed since somebody took them, `now_ns` the
    engine's time, which its owner moves. Deadlines are calls that are due at an instant."""

    def __init__(self, size: int, windows: Iterable[WindowPlan]) -> None:
        self.values: list[Any] = [UNKNOWN] * size
        # every rule is looked at once at the start: one that nothing changes may still have to act
        self.dirty: set[int] = set(range(size))
        self.now_ns = 0
        self._deadlines: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._order = count()
        self._windows: dict[int, list[_Sliding]] = {}
        for plan in windows:
            self._windows.setdefault(plan.of, []).append(_Sliding(plan))

    def start(self) -> None:
        """From now on absence is counted."""
        for windows in self._windows.values():
            for sliding in windows:
                self._slide(sliding)

    def set(self, slot: int, value: Any) -> None:
        if self.values[slot] != value:
            self.values[slot] = value
            self.dirty.add(slot)

    def sample(self, slot: int, mono_ns: int, value: Any) -> None:
        """A new value of a signal, and of every window over it."""
        self.set(slot, value)
        windows = self._windows.get(slot)
        if windows is not None:
            for sliding in windows:
                sliding.window.push(mono_ns, value)
                self._slide(sliding)

    def late(self, slot: int, mono_ns: int, value: Any) -> None:
        """An older value than the newest: only windows want it."""
        for sliding in self._windows.get(slot, ()):
            sliding.window.push(mono_ns, value)
            self._slide(sliding)

    def miss(self, slot: int, mono_ns: int) -> None:
        """Something came, but nothing that can be used: the signal is unknown, and not absent."""
        self.set(slot, UNKNOWN)
        for sliding in self._windows.get(slot, ()):
            if sliding.plan.fn == "absent":
                sliding.window.push(mono_ns, 0.0)
                self._slide(sliding)

    def wake_at(self, mono_ns: int, call: Callable[[Any], None], what: Any) -> None:
        heapq.heappush(self._deadlines, (mono_ns, next(self._order), call, what))

    def due_ns(self) -> int:
        return self._deadlines[0][0] if self._deadlines else NEVER

    def run_due(self) -> None:
        """The calls whose time has come."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= self.now_ns:
            _, _, call, what = heapq.heappop(deadlines)
            call(what)

    def _slide(self, sliding: _Sliding) -> None:
        now_ns = self.now_ns
        value = sliding.window.value(now_ns)
        slot = sliding.plan.slot
        if value is None:
            self.set(slot, UNKNOWN)
        else:
            self.sample(slot, now_ns, int(value) if sliding.plan.whole else value)
        if not sliding.waiting:
            change_ns = sliding.window.next_change(now_ns)
            if change_ns is not None:
                sliding.waiting = True
                self.wake_at(max(change_ns, now_ns + sliding.step_ns), self._slide_again, sliding)

    def _slide_again(self, sliding: _Sliding) -> None:
        sliding.waiting = False
        self._slide(sliding)
