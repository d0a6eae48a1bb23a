"""What an expression may read: signals by name, and windows over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from edge_agent.durations import Window
from edge_agent.rules.values import Type


@dataclass(frozen=True, slots=True)
class Signal:
    """A named value in a slot. `from_model`: it comes from a model, directly or through a window, and so
    becomes unknown when the model fails."""

    name: str
    slot: int
    type: Type
    from_model: bool = False


class SignalRefused(ValueError):
    """An environment will not maintain a window. `message` says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Undecided(Exception):
    """Whether there is such a signal cannot be said: what would define it is wrong itself."""


class Environment(Protocol):
    """The signals of a site, fixed while its rules are compiled."""

    def resolve(self, name: str) -> Signal | None:
        """The signal of exactly this name. Raises Undecided."""

    def names(self) -> Iterable[str]:
        """Names to propose where one is misspelt."""

    def hint(self, name: str) -> str:
        """What to do where `name` is no signal; empty where that is not known."""

    def derive(self, fn: str, of: Signal, window: Window, argument: float | None, gives: Type) -> Signal:
        """A signal of type `gives` that the engine keeps at `fn(of, argument, window)`; one for equal calls.

        The compiler has checked `fn` (a key of windows.WINDOW_FUNCTIONS) and the types. Raises SignalRefused.
        """


@dataclass(frozen=True, slots=True)
class Derived:
    """A window that some rule asked for; `signal` is where its value goes."""

    fn: str
    of: Signal
    window: Window
    argument: float | None
    signal: Signal


class Scope:
    """An Environment that hands out slots in the order of definition and collects the windows asked for."""

    def __init__(self) -> None:
        self._signals: dict[str, Signal] = {}
        self._derived: dict[str, Derived] = {}
        self._open: dict[str, str] = {}
        self._doubted: Callable[[str], bool] = lambda _: False

    def define(self, name: str, of: Type, *, from_model: bool = False) -> Signal:
        """A new signal in the next slot. Raises ValueError where the name is taken."""
        if name in self._signals:
            raise ValueError(f"signal {name!r} is defined twice")
        signal = Signal(name, self.size, of, from_model)
        self._signals[name] = signal
        return signal

    @property
    def size(self) -> int:
        """How many slots a list of values needs."""
        return len(self._signals) + len(self._derived)

    @property
    def derived(self) -> tuple[Derived, ...]:
        return tuple(self._derived.values())

    def resolve(self, name: str) -> Signal | None:
        signal = self._signals.get(name)
        if signal is None and self._doubted(name):
            raise Undecided(name)
        return signal

    def doubt(self, doubted: Callable[[str], bool]) -> None:
        """From now on a name that is no signal is undecided where this is true."""
        self._doubted = doubted

    def names(self) -> Iterable[str]:
        return self._signals.keys()

    def leave_open(self, stream: str, hint: str) -> None:
        """`stream` may have signals that nobody has defined; `hint` says how to define them."""
        self._open[stream] = hint

    def hint(self, name: str) -> str:
        stream, dot, _ = name.partition(".")
        return self._open.get(stream, "") if dot else ""

    def derive(self, fn: str, of: Signal, window: Window, argument: float | None, gives: Type) -> Signal:
        middle = "" if argument is None else f"{argument:g}, "
        name = f"{fn}({of.name}, {middle}{window})"
        if name not in self._derived:
            # whether a signal came is known even when what it said is not
            from_model = of.from_model and fn != "absent"
            signal = Signal(name, self.size, gives, from_model)
            self._derived[name] = Derived(fn, of, window, argument, signal)
        return self._derived[name].signal
