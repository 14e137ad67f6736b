"""Tables: what the commands print on stdout."""

from collections.abc import Sequence

from pipeline.terminal.columns import aligned
from stages.contract.results import SystemResult
from stages.report.column import Cell, Table, make_table
from stages.report.columns import columns_on
from stages.report.greedy_table import greedy_tables
from stages.report.places import TERMINAL
from stages.report.rows import Row, group_rows
from stages.report.settings import ReportSettings
from stages.report.statistics.comparisons import compare
from stages.report.statistics.groups import group_results


def results_table(results: Sequence[SystemResult], settings: ReportSettings) -> str:
    """One line for each group of seeds, in the columns that the report declares for a terminal.

    Intervals and differences are the report's, from the same draws. Of token sequences, tables of
    greedy decoding follow.
    """
    found = compare(group_results(results), samples=settings.bootstrap_samples, seed=settings.seed)
    tables = [_table_text(make_table(columns_on(TERMINAL), group_rows(found)))]
    tables += [_table_text(greedy.table) for greedy in greedy_tables(results, settings)]
    return "\n\n".join(tables)


def _table_text(table: Table[Row]) -> str:
    heads = [tuple(column.title for column in table.columns)]
    heads += [tuple(column.unit for column in table.columns)]
    lines = [tuple(_cell_text(cell) for cell in row.cells) for row in table.rows]
    return aligned([*heads, *lines], num_heads=len(heads))


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.text} ({cell.small})" if cell.small else cell.text
