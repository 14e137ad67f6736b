"""outcomes of a sweep -> a line for each setting with mean and spread over its seeds; JSON; CSV.

The columns of settings follow from what varies, under the names that --vary and --set take.
"""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from typing import Any

from pipeline.sweep.run import Outcome
from pipeline.sweep.varied import shown_settings, varied_settings, without_seed
from pipeline.terminal.columns import aligned
from stages.report.column import Column, column
from stages.report.data_files import no_formula
from stages.report.formats import percent

# The keys are those of results.csv. A student that is not evaluated has its own frame error.
MEASURES: tuple[Column[Outcome], ...] = (
    column(
        "frame_error_dev",
        title="frame error",
        unit="dev, %",
        value=lambda outcome: outcome.dev_frame_error,
    ),
    column(
        "wer_dev",
        title="WER",
        unit="dev, %",
        value=lambda outcome: outcome.result.dev.words.rate if outcome.result else None,
    ),
    column(
        "wer_test",
        title="WER",
        unit="test, %",
        value=lambda outcome: outcome.result.test.words.rate if outcome.result else None,
    ),
)
Setting = dict[str, Any]


def as_table(outcomes: Sequence[Outcome]) -> str:
    """Mean and standard deviation over the seeds, in per cent; the number of seeds."""
    settings = varied_settings([outcome.student for outcome in outcomes])
    titles = (*settings, "seeds", *(measure.title for measure in MEASURES))
    units = (*("" for _ in settings), "", *(measure.unit for measure in MEASURES))
    rows = [_row(setting, several) for setting, several in _by_setting(outcomes, settings)]
    return aligned([titles, units, *rows], num_heads=2)


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Everything, for programs."""
    settings = varied_settings([outcome.student for outcome in outcomes])
    rows = [
        {
            **setting,
            "num_seeds": len(_whole(several)),
            **{measure.key: _spread(several, measure) for measure in MEASURES},
            "students": [_facts(outcome) for outcome in several],
        }
        for setting, several in _by_setting(outcomes, settings)
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """One line for each student."""
    text = io.StringIO()
    settings = varied_settings([outcome.student for outcome in outcomes])
    rows = [shown_settings(each.student, settings) | _facts(each) for each in outcomes]
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: no_formula(value) for key, value in row.items()} for row in rows)
    return text.getvalue().removesuffix("\n")


def failures(outcomes: Sequence[Outcome]) -> str:
    """Which students failed, why, and the command that trains one alone; empty if none did."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    if not failed:
        return ""
    lines = [f"{len(failed)} of {len(outcomes)} students failed; one alone, and the same options:"]
    for outcome in failed:
        lines += [f"  {outcome.name}: {outcome.failure}", f"    {outcome.repeat}"]
    return "\n".join(lines)


def _by_setting(
    outcomes: Sequence[Outcome], settings: Sequence[str]
) -> list[tuple[Setting, list[Outcome]]]:
    """Outcomes that differ in the seed alone, as one group; hard labels alone come first."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(without_seed(outcome.student), []).append(outcome)
    rows = [(shown_settings(group[0].student, settings), group) for group in groups.values()]
    return sorted(rows, key=lambda row: row[0]["k"] is not None)


def _row(setting: Setting, several: Sequence[Outcome]) -> tuple[str, ...]:
    values = ["-" if value is None else f"{value}" for value in setting.values()]
    figures = [_shown(_spread(several, measure)) for measure in MEASURES]
    return (*values, str(len(_whole(several))), *figures)


def _shown(spread: dict[str, float | None]) -> str:
    mean, deviation = spread["mean"], spread["standard_deviation"]
    if mean is None:
        return "-"
    return percent(mean) if deviation is None else f"{percent(mean)} ± {percent(deviation)}"


def _spread(several: Sequence[Outcome], measure: Column[Outcome]) -> dict[str, float | None]:
    found = (measure.value(outcome) for outcome in _whole(several))
    values = [value for value in found if isinstance(value, float)]
    return {
        "mean": statistics.fmean(values) if values else None,
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


def _whole(several: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in several if not outcome.failure]


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "seed": outcome.student.training.seed,
        "name": outcome.name,
        "directory": outcome.directory,
        **{measure.key: measure.value(outcome) for measure in MEASURES},
        "failure": outcome.failure,
    }
