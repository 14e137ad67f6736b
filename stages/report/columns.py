"""The columns of the systems, each declared once for page, terminal, CSV and JSON.

To add a metric: measure it (stages/evaluate/), add a field to the result
(stages/contract/results.py), and declare a column here.
"""

from collections.abc import Callable

from stages.contract.latency import Latency
from stages.report.column import Cell, Column, column
from stages.report.comparison_columns import comparison_columns
from stages.report.formats import (
    MINUS,
    fixed,
    p_value,
    percent,
    percent_range,
    thousands,
)
from stages.report.frame_columns import FRAME_COLUMNS
from stages.report.places import FRAMES, GROUPS, RESULTS, SEEDS, SYSTEMS, TERMINAL
from stages.report.rows import Row
from stages.report.statistics.comparisons import Recovery


def columns_on(place: str) -> list[Column[Row]]:
    """The columns of a table or data file, in order."""
    return [found for found in COLUMNS if place in found.on]


def _system_cell(row: Row) -> Cell:
    mark = "(chosen on dev)" if row.is_chosen else ""
    return Cell(text=row.group.name, small=row.details, mark=mark)


def _recovery_cell(found: Recovery) -> Cell:
    interval = found.interval
    small = (
        "no bounds"
        if interval is None
        else f"{100 * interval.low:.0f} to {100 * interval.high:.0f}"
    )
    return Cell(text=f"{100 * found.share:.0f}", small=small.replace("-", MINUS))


def _recovery_end(row: Row, end: str) -> float | None:
    interval = row.recovery.interval if row.recovery else None
    return None if interval is None else float(getattr(interval, end))


def _latency_cell(latency: Latency) -> Cell:
    """Milliseconds, then frames of the features."""
    if not latency.is_limited:
        return Cell(text="utterance")
    return Cell(text=f"{latency.milliseconds:g}", small=f"{latency.frames:g} frames")


def _finite(row: Row, read: Callable[[Latency], float]) -> float | None:
    latency = row.group.first.system.latency
    return read(latency) if latency and latency.is_limited else None


COLUMNS: tuple[Column[Row], ...] = (
    column(
        "system",
        title="System",
        value=_system_cell,
        shown=lambda cell: cell,
        is_text=True,
        on=(SYSTEMS,),
    ),
    column(
        "system",
        title="System",
        value=lambda row: row.group.name,
        is_text=True,
        on=(RESULTS, FRAMES, SEEDS, TERMINAL),
    ),
    column("group", value=lambda row: row.group_name, on=(GROUPS, RESULTS)),
    column("kind", value=lambda row: row.group.role, on=(GROUPS, RESULTS)),
    column("seed", value=lambda row: row.group.first.system.facts.seed, on=(RESULTS,)),
    column("details", value=lambda row: row.details, on=(GROUPS, RESULTS)),
    column("k", title="k", value=lambda row: row.group.k, on=(GROUPS, RESULTS, SYSTEMS)),
    column("seeds", value=lambda row: " ".join(map(str, row.group.seeds)), on=(GROUPS,)),
    column(
        "num_seeds",
        title="Seeds",
        value=lambda row: len(row.group.results),
        on=(GROUPS, SYSTEMS, TERMINAL),
    ),
    column(
        "num_ensembles",
        title="Ensembles",
        value=lambda row: row.group.design.num_ensembles if row.group.is_of_ensembles else None,
        is_optional=True,
        on=(GROUPS, SYSTEMS, TERMINAL),
    ),
    column("is_chosen", value=lambda row: row.is_chosen, on=(GROUPS,)),
    column(
        "parameters",
        title="Parameters",
        value=lambda row: row.group.first.evaluation.num_parameters,
        shown=thousands,
        on=(GROUPS, RESULTS, SYSTEMS, TERMINAL),
    ),
    column(
        "bytes_per_frame",
        title="Bytes",
        unit="per frame",
        value=lambda row: row.bytes_per_frame,
        shown=fixed(1),
        is_optional=True,
        on=(GROUPS, SYSTEMS),
    ),
    *FRAME_COLUMNS,
    column(
        "latency_frames",
        value=lambda row: _finite(row, lambda latency: latency.frames),
        on=(GROUPS, RESULTS),
    ),
    column(
        "latency_ms",
        value=lambda row: _finite(row, lambda latency: latency.milliseconds),
        on=(GROUPS, RESULTS),
    ),
    column(
        "latency",
        title="Latency",
        unit="ms, frames",
        value=lambda row: row.group.first.system.latency,
        shown=_latency_cell,
        is_optional=True,
        on=(SYSTEMS,),
    ),
    column(
        "wer_dev",
        title="WER",
        unit="dev, %",
        value=lambda row: row.group.word_error_rate("dev"),
        shown=percent,
        lowest_is_best=True,
        on=(GROUPS, RESULTS, SYSTEMS, SEEDS, TERMINAL),
    ),
    column(
        "wer_test",
        title="WER",
        unit="test, %",
        value=lambda row: row.group.word_error_rate("test"),
        shown=percent,
        lowest_is_best=True,
        on=(GROUPS, RESULTS, SYSTEMS, SEEDS, TERMINAL),
    ),
    column(
        "wer_test_low",
        value=lambda row: None if row.interval is None else row.interval.low,
        on=(GROUPS, RESULTS),
    ),
    column(
        "wer_test_high",
        value=lambda row: None if row.interval is None else row.interval.high,
        on=(GROUPS, RESULTS),
    ),
    column(
        "wer_test_interval",
        title="95 % interval",
        unit="test WER, %",
        value=lambda row: row.interval,
        shown=percent_range,
        on=(SYSTEMS, SEEDS, TERMINAL),
    ),
    *comparison_columns(
        "hard", title="vs. hard labels", found=lambda row: row.to_hard, on=(SYSTEMS, TERMINAL)
    ),
    column(
        "hard_p_holm",
        title="p",
        unit="vs. hard, Holm",
        value=lambda row: row.holm_to_hard,
        shown=p_value,
        is_optional=True,
        on=(GROUPS, SYSTEMS),
    ),
    column(
        "recovery",
        value=lambda row: None if row.recovery is None else row.recovery.share,
        on=(GROUPS,),
    ),
    *(
        column(
            f"recovery_{end}",
            value=lambda row, end=end: _recovery_end(row, end),  # type: ignore[misc]
            on=(GROUPS,),
        )
        for end in ("low", "high")
    ),
    column(
        "recovery_interval",
        title="Recovery",
        unit="of WER, %",
        value=lambda row: row.recovery,
        shown=_recovery_cell,
        is_optional=True,
        on=(SYSTEMS, TERMINAL),
    ),
    *comparison_columns(
        "ensemble", title="vs. ensemble", found=lambda row: row.to_ensemble, on=(SYSTEMS,)
    ),
    column(
        "insertions_test",
        title="Ins",
        value=lambda row: row.group.first.test.words.insertions,
        on=(RESULTS, SEEDS),
    ),
    column(
        "deletions_test",
        title="Del",
        value=lambda row: row.group.first.test.words.deletions,
        on=(RESULTS, SEEDS),
    ),
    column(
        "substitutions_test",
        title="Sub",
        value=lambda row: row.group.first.test.words.substitutions,
        on=(RESULTS, SEEDS),
    ),
    column(
        "reference_words_test",
        title="Words",
        value=lambda row: row.group.first.test.words.reference_words,
        on=(RESULTS, SEEDS),
    ),
    column(
        "acoustic_scale",
        title="Scale",
        value=lambda row: row.group.first.evaluation.acoustic_scale,
        shown=lambda scale: f"{scale:g}",
        on=(RESULTS, SEEDS),
    ),
    column(
        "insertion_penalty",
        title="Penalty",
        value=lambda row: row.group.first.evaluation.insertion_penalty,
        shown=lambda penalty: f"{penalty:g}",
        on=(RESULTS, SEEDS),
    ),
    column(
        "fingerprint",
        title="Fingerprint",
        value=lambda row: row.group.first.system.fingerprint,
        shown=lambda fingerprint: Cell(text=fingerprint[:12], style="code"),
        is_text=True,
        on=(RESULTS, SEEDS),
    ),
    column("key", value=lambda row: row.group.key, on=(GROUPS,)),
)
