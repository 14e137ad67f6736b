"""exports, comparisons -> sizes and word errors of exported students, next to the ensemble's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.report.column import Column, Table, column, make_table
from stages.report.formats import percent, percent_range, thousands
from stages.report.inputs import ExportedModel
from stages.report.statistics.bootstrap import Interval
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup

BYTES_PER_WEIGHT = 4  # of models in torch: float32


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRow:
    """A model as torch runs it, or as it was exported; None where a figure is unknown."""

    name: str
    form: str
    num_bytes: int | None
    wer_dev: float | None
    wer_test: float | None
    interval: Interval | None


DEPLOYMENT_COLUMNS: tuple[Column[DeploymentRow], ...] = (
    column("model", title="Model", value=lambda row: row.name, is_text=True),
    column("form", title="Form", value=lambda row: row.form, is_text=True),
    column("bytes", title="Bytes", value=lambda row: row.num_bytes, shown=thousands),
    column("wer_dev", title="WER", unit="dev, %", value=lambda row: row.wer_dev, shown=percent),
    column("wer_test", title="WER", unit="test, %", value=lambda row: row.wer_test, shown=percent),
    column(
        "wer_test_interval",
        title="95 % interval",
        unit="test WER, %",
        value=lambda row: row.interval,
        shown=percent_range,
    ),
)


def deployment_table(
    exported: Sequence[ExportedModel], comparisons: Comparisons
) -> Table[DeploymentRow]:
    """The ensemble, then each exported student in torch and its exports; empty without exports."""
    return make_table(DEPLOYMENT_COLUMNS, list(_rows(exported, comparisons)))


def _rows(exported: Sequence[ExportedModel], comparisons: Comparisons) -> Iterator[DeploymentRow]:
    if not exported:
        return
    if comparisons.ensemble is not None:
        yield _in_torch(comparisons.ensemble, comparisons)
    for group in comparisons.groups:
        yield from _exports_of(group, exported, comparisons)


def _exports_of(
    group: SystemGroup, exported: Sequence[ExportedModel], comparisons: Comparisons
) -> Iterator[DeploymentRow]:
    names = {result.system.fingerprint: result.system.name for result in group.results}
    found = [model for model in exported if model.student in names]
    if found:
        yield _in_torch(group, comparisons)
    for model in sorted(found, key=lambda model: (names[model.student], model.precision)):
        yield DeploymentRow(
            name=names[model.student],
            form=f"ONNX, {model.precision}",
            num_bytes=model.num_bytes,
            wer_dev=model.wer_dev,
            wer_test=model.wer_test,
            interval=model.interval,
        )


def _in_torch(group: SystemGroup, comparisons: Comparisons) -> DeploymentRow:
    """The mean over the seeds of a group."""
    weights = group.first.evaluation.num_parameters
    return DeploymentRow(
        name=group.name,
        form="torch, float32",
        num_bytes=None if weights is None else BYTES_PER_WEIGHT * weights,
        wer_dev=group.word_error_rate("dev"),
        wer_test=group.word_error_rate("test"),
        interval=comparisons.intervals.get(group.key),
    )
