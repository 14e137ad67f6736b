"""Columns: rows of text -> lines with aligned columns."""

from collections.abc import Sequence

from pipeline.terminal.plain_text import plain_text


def aligned(rows: Sequence[tuple[str, ...]], *, num_heads: int = 1) -> str:
    """Columns as wide as their widest cell; text to the left, columns of numbers to the right.

    The first `num_heads` rows are heads: they do not decide what a column holds.
    """
    rows = [tuple(map(plain_text, row)) for row in rows]
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numbers = [all(_is_number(cell) for cell in column[num_heads:]) for column in columns]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numbers, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def in_bytes(num_bytes: int) -> str:
    """1.2 MB: a size with its unit, in powers of ten."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("+-−<")[:1].isdigit()
