"""A box that is too hot: cameras give way first, by halves. Readings, rules and alerts are never less. Pure.

From the limit up, every `HALVE_S` each camera passes half as many frames on to its models, down to one in `MOST`, and
never fewer than one a second. Five degrees below it, every minute twice as many. What was given back too early is
given back after twice the wait the next time: it does not swing.
"""

from __future__ import annotations

MOST = 32
HALVE_S = 10.0
_COOLER_C = 5.0
_WAIT_S = 60.0
_LONGEST_WAIT_S = 3600.0


class Heat:
    """`feel` from one thread; `one_in` may be read by any."""

    def __init__(self, limit_c: float) -> None:
        self.one_in = 1
        """So many frames make one that is passed on."""
        self.celsius: float | None = None
        self._limit_c = limit_c
        self._changed_ns = 0
        self._wait_s = _WAIT_S
        self._gave_back = False

    def feel(self, celsius: float | None, mono_ns: int) -> None:
        """`celsius`: None where nothing measures it, which counts as cool."""
        self.celsius = celsius
        waited_s = (mono_ns - self._changed_ns) / 1e9
        if celsius is not None and celsius >= self._limit_c:
            if self.one_in == 1 or (self.one_in < MOST and waited_s >= HALVE_S):
                self._halve(mono_ns)
        elif (celsius is None or celsius < self._limit_c - _COOLER_C) and waited_s >= self._wait_s:
            if self.one_in > 1:
                self.one_in, self._changed_ns, self._gave_back = self.one_in // 2, mono_ns, True
            else:
                self._wait_s, self._gave_back = _WAIT_S, False

    def words(self) -> str:
        """Why frames are left out; empty while none are."""
        if self.one_in == 1:
            return ""
        now = "" if self.celsius is None else f"{self.celsius:.0f} °C, "
        return f"{now}too hot ({self._limit_c:g} °C): cameras pass one frame in {self.one_in} on; cool the box"

    def _halve(self, mono_ns: int) -> None:
        if self._gave_back:
            self._wait_s, self._gave_back = min(self._wait_s * 2, _LONGEST_WAIT_S), False
        self.one_in, self._changed_ns = self.one_in * 2, mono_ns
