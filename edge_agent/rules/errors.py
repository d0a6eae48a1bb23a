"""What is wrong with an expression, and where."""


class Fault(Exception):
    """Internal: a reason and an offset into the text. compile_expression turns it into ExpressionError."""

    def __init__(self, message: str, at: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hint = hint


class ExpressionError(ValueError):
    """An expression that is refused at load. `line` and `col` count from 1 inside the expression text."""

    def __init__(self, message: str, line: int, col: int, hint: str = "") -> None:
        super().__init__(f"{line}:{col}: {message}" + (f"; {hint}" if hint else ""))
        self.message = message
        self.line = line
        self.col = col
        self.hint = hint


def located(fault: Fault, text: str) -> ExpressionError:
    """`fault` with its offset counted as line and column of `text`."""
    line = text.count("\n", 0, fault.at) + 1
    col = fault.at - (text.rfind("\n", 0, fault.at) + 1) + 1
    return ExpressionError(fault.message, line, col, fault.hint)


def shown(text: str, limit: int = 60) -> str:
    """`text` in double quotes, bounded, control characters escaped: safe on a terminal."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    body = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return f'"{body}"'
