"""outcomes of a sweep -> a line for each setting with mean and spread over its seeds; JSON; CSV."""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from typing import Any

from pipeline.columns import aligned
from pipeline.sweep.run import Outcome
from stages.report.column import Column, column
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
SETTINGS = ("k", "hard weight", "tail", "temperature", "seeds")
Setting = dict[str, Any]


def as_table(outcomes: Sequence[Outcome]) -> str:
    """Mean and standard deviation over the seeds, in per cent; the number of seeds."""
    titles = (*SETTINGS, *(measure.title for measure in MEASURES), "other settings")
    units = (*("" for _ in SETTINGS), *(measure.unit for measure in MEASURES), "")
    rows = [titles, units, *(_row(setting, same) for setting, same in _by_setting(outcomes))]
    if not any(outcome.other for outcome in outcomes):
        rows = [row[:-1] for row in rows]
    return aligned(rows, num_heads=2)


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Everything, for programs."""
    return json.dumps(
        [
            {
                **setting,
                "num_seeds": len(_whole(several)),
                **{measure.key: _spread(several, measure) for measure in MEASURES},
                "students": [_facts(outcome) for outcome in several],
            }
            for setting, several in _by_setting(outcomes)
        ],
        indent=2,
        ensure_ascii=False,
    )


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """One line for each student."""
    text = io.StringIO()
    rows = [_setting(outcome) | _facts(outcome) for outcome in outcomes]
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
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


def _setting(outcome: Outcome) -> Setting:
    """The settings of the loss. With hard labels alone, those of soft labels have no effect."""
    student = outcome.student
    soft = ("k", "tail", "temperature")
    values = {key: getattr(student, key) if student.hard_weight < 1 else None for key in soft}
    values = {"k": values["k"], "hard_weight": student.hard_weight, **values}
    return {**values, "other": outcome.other}


def _by_setting(outcomes: Sequence[Outcome]) -> list[tuple[Setting, list[Outcome]]]:
    groups: list[tuple[Setting, list[Outcome]]] = []
    for outcome in outcomes:
        setting = _setting(outcome)
        same = [group for known, group in groups if known == setting]
        if same:
            same[0].append(outcome)
        else:
            groups.append((setting, [outcome]))
    return sorted(groups, key=lambda group: group[0]["k"] is not None)  # hard labels first


def _row(setting: Setting, several: Sequence[Outcome]) -> tuple[str, ...]:
    *named, other = ["-" if value is None else f"{value}" for value in setting.values()]
    figures = [_shown(_spread(several, measure)) for measure in MEASURES]
    return (*named, str(len(_whole(several))), *figures, other)


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
