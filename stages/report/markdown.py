"""table -> Markdown: the main table of the page, for a README, an issue or a paper's draft.

A cell has its second line in brackets. Characters with a meaning in Markdown or HTML are escaped.
"""

import re
from typing import TypeVar

from stages.report.column import Cell, Column, Table
from stages.report.formats import UNKNOWN

R = TypeVar("R")
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&~])")


def as_markdown(table: Table[R]) -> str:
    """A pipe table: a line for each row, numbers to the right, the chosen row as it is marked."""
    head = [_head(column) for column in table.columns]
    rule = [":---" if column.is_text else "---:" for column in table.columns]
    rows = [[_text(cell) for cell in row.cells] for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, rule, *rows])


def _head(column: Column[R]) -> str:
    return _escape(f"{column.title} ({column.unit})" if column.unit else column.title)


def _text(cell: Cell | None) -> str:
    if cell is None:
        return UNKNOWN
    text = _escape(cell.text)
    text = f"**{text}**" if cell.style in ("best", "shown") else text
    text += f" **{_escape(cell.mark)}**" if cell.mark else ""
    return f"{text} ({_escape(cell.small)})" if cell.small else text


def _escape(text: str) -> str:
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
