"""Column: one declaration of a column; the writers of page, terminal, CSV and JSON iterate over it.

A column does not know its writers. `stages/report/columns.py` declares those of the systems.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

R = TypeVar("R")  # the type of a row
V = TypeVar("V")  # the type of a column's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table. `small` is a second line; `mark` follows the text in bold.

    style: `best` for the lowest number of its column, `shown` for a difference whose p is small.
    """

    text: str
    small: str = ""
    mark: str = ""
    style: Literal["", "best", "shown", "code"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[R]):
    """A column of rows of type R. Make one with `column`, which also checks types.

    key: the name of the field in CSV and JSON.
    title, unit: the head of the column in tables.
    value: the number, text or truth value of a row in CSV and JSON; None if unknown.
    cell: the cell of a row in tables; None if unknown.
    on: the tables and files that have this column; a tuple of columns may be one table as it is.
    """

    key: str
    title: str
    unit: str
    value: Callable[[R], object]
    cell: Callable[[R], Cell | None]
    on: tuple[str, ...]
    is_text: bool  # aligned to the left
    lowest_is_best: bool
    is_optional: bool  # left out of tables in which no row has a value


def column(
    key: str,
    *,
    value: Callable[[R], V | None],
    title: str = "",
    unit: str = "",
    shown: Callable[[V], str | Cell] = str,
    on: tuple[str, ...] = (),
    is_text: bool = False,
    lowest_is_best: bool = False,
    is_optional: bool = False,
) -> Column[R]:
    """Declare a column; `shown` turns a known value into a cell or its text."""

    def cell(row: R) -> Cell | None:
        found = value(row)
        if found is None:
            return None
        content = shown(found)
        return Cell(text=content) if isinstance(content, str) else content

    return Column(
        key=key,
        title=title,
        unit=unit,
        value=value,
        cell=cell,
        on=on,
        is_text=is_text,
        lowest_is_best=lowest_is_best,
        is_optional=is_optional,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row of cells; None is unknown. A row with a heading begins a part of the table."""

    cells: tuple[Cell | None, ...]
    heading: str = ""
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """What the page and the terminal write."""

    columns: tuple[Column[R], ...]
    rows: tuple[TableRow, ...]


def make_table(columns: Iterable[Column[R]], rows: Sequence[R]) -> Table[R]:
    """The cells of all rows; where less is better, the lowest numbers are marked."""
    columns = tuple(found for found in columns if not found.is_optional or _is_known(found, rows))
    by_column = [_marked(found, rows) for found in columns]
    cells = zip(*by_column, strict=True)
    return Table(columns, tuple(TableRow(cells=row) for row in cells) if rows else ())


def _is_known(found: Column[R], rows: Sequence[R]) -> bool:
    return any(found.value(row) is not None for row in rows)


def _marked(found: Column[R], rows: Sequence[R]) -> list[Cell | None]:
    cells = [found.cell(row) for row in rows]
    if not found.lowest_is_best:
        return cells
    known = [
        (value, cell)
        for row, cell in zip(rows, cells, strict=True)
        if isinstance(value := found.value(row), int | float) and cell is not None
    ]
    best = min(known, key=lambda item: item[0], default=None)
    # All that look like the best are marked: a difference that rounding hides is none.
    return [
        replace(cell, style="best") if cell and best and cell.text == best[1].text else cell
        for cell in cells
    ]


def make_records(columns: Iterable[Column[R]], rows: Iterable[R]) -> list[dict[str, object]]:
    """A dictionary for each row, from key to value, for CSV and JSON."""
    columns = tuple(columns)
    return [{found.key: found.value(row) for found in columns} for row in rows]
