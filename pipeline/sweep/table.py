"""What a sweep prints: a line a setting with mean and spread over its seeds; or JSON, or CSV."""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from typing import Any

from pipeline.columns import aligned
from pipeline.sweep.run import Outcome

MEASURES = {
    "dev_frame_error": "frame err dev",
    "dev_word_error_rate": "WER dev",
    "test_word_error_rate": "WER test",
}
Setting = dict[str, Any]


def as_table(outcomes: Sequence[Outcome]) -> str:
    """Mean and standard deviation over the seeds, in per cent; how many seeds there were."""
    head = (
        "k",
        "hard weight",
        "tail",
        "temperature",
        "seeds",
        *MEASURES.values(),
        "other settings",
    )
    rows = [_row(setting, several) for setting, several in _by_setting(outcomes)]
    if not any(outcome.other for outcome in outcomes):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return aligned([head, *rows])


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Everything, for programs."""
    return json.dumps(
        [
            {
                **setting,
                "num_seeds": len(_whole(several)),
                **{measure: _spread(several, measure) for measure in MEASURES},
                "students": [_facts(outcome) for outcome in several],
            }
            for setting, several in _by_setting(outcomes)
        ],
        indent=2,
        ensure_ascii=False,
    )


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """A line a student."""
    text = io.StringIO()
    rows = [_setting(outcome) | _facts(outcome) for outcome in outcomes]
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().removesuffix("\n")


def failures(outcomes: Sequence[Outcome]) -> str:
    """Which students failed, why, and the command that tries one alone; or nothing."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    if not failed:
        return ""
    lines = [f"{len(failed)} of {len(outcomes)} students failed; one alone, and the same options:"]
    for outcome in failed:
        lines += [f"  {outcome.name}: {outcome.failure}", f"    {outcome.repeat}"]
    return "\n".join(lines)


def _setting(outcome: Outcome) -> Setting:
    """What the student was taught by. On hard labels alone the rest does not matter."""
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
    return f"{mean:.1%}" if deviation is None else f"{mean:.1%} ± {100 * deviation:.2f}"


def _spread(several: Sequence[Outcome], measure: str) -> dict[str, float | None]:
    found = [_measures(outcome)[measure] for outcome in _whole(several)]
    values = [value for value in found if value is not None]
    return {
        "mean": statistics.fmean(values) if values else None,
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


def _whole(several: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in several if not outcome.failure]


def _measures(outcome: Outcome) -> dict[str, float | None]:
    result = outcome.result
    return {
        "dev_frame_error": outcome.dev_frame_error,
        "dev_word_error_rate": result.dev.words.rate if result else None,
        "test_word_error_rate": result.test.words.rate if result else None,
    }


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "seed": outcome.student.training.seed,
        "name": outcome.name,
        "directory": outcome.directory,
        **_measures(outcome),
        "failure": outcome.failure,
    }
