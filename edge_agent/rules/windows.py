"""Window functions: fn(signal, "30s") stands for a derived signal that the engine maintains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge_agent.rules.values import Type


@dataclass(frozen=True, slots=True)
class WindowFunction:
    """`gives` the type of the result for a signal type, or None where it does not apply.

    `counts`: the window may be a number of readings. `argument`: the range of a number between signal and window.
    """

    gives: Callable[[Type], Type | None]
    counts: bool = True
    argument: tuple[float, float] | None = None


def _double_of_number(of: Type) -> Type | None:
    return Type.DOUBLE if of.is_number else None


def _same_number(of: Type) -> Type | None:
    return of if of.is_number else None


WINDOW_FUNCTIONS: Final = {
    "mean": WindowFunction(_double_of_number),
    "std": WindowFunction(_double_of_number),
    "range": WindowFunction(_double_of_number),
    "rate": WindowFunction(_double_of_number),
    "min": WindowFunction(_same_number),
    "max": WindowFunction(_same_number),
    "percentile": WindowFunction(_double_of_number, argument=(0.0, 100.0)),
    "count": WindowFunction(lambda _: Type.INT, counts=False),
    "absent": WindowFunction(lambda _: Type.BOOL, counts=False),
}
