"""Formats: numbers as the page and the terminal show them."""

from collections.abc import Callable

from stages.report.statistics.bootstrap import Interval

MINUS = "−"
UNKNOWN = "–"  # in a cell
SMALLEST_P = 0.0001


def fixed(digits: int, *, scale: float = 1.0) -> Callable[[float], str]:
    """Formats a number with `digits` decimals, after multiplying by `scale`."""
    return lambda value: f"{scale * value:.{digits}f}"


percent = fixed(2, scale=100)  # of a fraction


def thousands(count: int) -> str:
    """`382,491`."""
    return f"{count:,}"


def points(fraction: float) -> str:
    """`−0.90`: percentage points with their sign."""
    return f"{100 * fraction:+.2f}".replace("-", MINUS)


def percent_range(interval: Interval) -> str:
    """`10.02 to 12.40`, in per cent."""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def points_range(interval: Interval) -> str:
    """`−1.52 to −0.21`, in percentage points."""
    return f"{points(interval.low)} to {points(interval.high)}"


def p_value(p: float) -> str:
    """`0.013`, or `<0.0001`: digits beyond the precision of the test are left out."""
    if p < SMALLEST_P:
        return f"<{SMALLEST_P}"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.4f}" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """`p = 0.013`, or `p < 0.0001`."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"
