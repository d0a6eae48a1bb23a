"""What an expression can come to, found without running it: proves that a rule can still fire without its model.

Sound: what `outcomes` leaves out cannot happen. It takes comparisons for independent of each other, so what it
leaves in need not happen (`t > 9 && t < 1` counts as possibly true).
"""

import enum
from collections.abc import Callable
from itertools import product

from edge_agent.rules.environment import Signal
from edge_agent.rules.tree import Apply, Choose, Constant, Every, Has, Node, Not, Read, Some
from edge_agent.rules.values import UNKNOWN


class Outcomes(enum.Flag):
    """A set of truth values. For a node that is no bool, TRUE and FALSE both mean: some known value."""

    NONE = 0
    TRUE = enum.auto()
    FALSE = enum.auto()
    UNKNOWN = enum.auto()


_KNOWN = Outcomes.TRUE | Outcomes.FALSE
_ANY = _KNOWN | Outcomes.UNKNOWN


def from_model(signal: Signal) -> bool:
    return signal.from_model


def outcomes(node: Node, lost: Callable[[Signal], bool]) -> Outcomes:  # noqa: PLR0911 - one a kind
    """The truth values that `node` may take while every signal for which `lost` holds is unknown."""
    match node:
        case Constant(value=value):
            return _of_constant(value)
        case Read(signal=signal):
            return Outcomes.UNKNOWN if lost(signal) else _ANY
        case Has(signal=signal):
            return Outcomes.FALSE if lost(signal) else _KNOWN
        case Apply(args=args):
            stuck = any(outcomes(arg, lost) == Outcomes.UNKNOWN for arg in args)
            return Outcomes.UNKNOWN if stuck else _ANY
        case Choose():
            return _of_choice(node, lost)
        case Not(operand=operand):
            return _negation(outcomes(operand, lost))
        case Every(operands=operands):
            return _conjunction([outcomes(operand, lost) for operand in operands])
        case Some(operands=operands):
            # De Morgan holds in Kleene's logic
            return _negation(_conjunction([_negation(outcomes(operand, lost)) for operand in operands]))


def _of_constant(value: object) -> Outcomes:
    if value is UNKNOWN:
        return Outcomes.UNKNOWN
    if isinstance(value, bool):
        return Outcomes.TRUE if value else Outcomes.FALSE
    return _KNOWN


def _of_choice(node: Choose, lost: Callable[[Signal], bool]) -> Outcomes:
    condition = outcomes(node.condition, lost)
    result = condition & Outcomes.UNKNOWN
    if Outcomes.TRUE in condition:
        result |= outcomes(node.then, lost)
    if Outcomes.FALSE in condition:
        result |= outcomes(node.otherwise, lost)
    return result


def _negation(of: Outcomes) -> Outcomes:
    result = of & Outcomes.UNKNOWN
    if Outcomes.TRUE in of:
        result |= Outcomes.FALSE
    if Outcomes.FALSE in of:
        result |= Outcomes.TRUE
    return result


def _conjunction(parts: list[Outcomes]) -> Outcomes:
    result = Outcomes.TRUE
    for part in parts:
        result = _joined(result, part)
    return result


def _joined(left: Outcomes, right: Outcomes) -> Outcomes:
    result = Outcomes.NONE
    for a, b in product(left, right):
        if Outcomes.FALSE in (a, b):
            result |= Outcomes.FALSE
        elif Outcomes.UNKNOWN in (a, b):
            result |= Outcomes.UNKNOWN
        else:
            result |= Outcomes.TRUE
    return result
