"""Columns of what is measured frame by frame: errors, calibration, fidelity, speed."""

from stages.report.column import Column, column
from stages.report.formats import MINUS, fixed, percent
from stages.report.frame_means import (
    agreement,
    divergence,
    expected_error,
    real_time_factor,
    word_calibration_error,
    word_nce,
)
from stages.report.places import FRAMES, GROUPS, RESULTS, SEEDS, TERMINAL
from stages.report.rows import Row
from stages.report.statistics.groups import mean_known

FRAME_COLUMNS: tuple[Column[Row], ...] = (
    column(
        "frame_error_dev",
        title="Frame error",
        unit="dev, %",
        value=lambda row: row.group.frame_error,
        shown=percent,
        lowest_is_best=True,
        on=(GROUPS, RESULTS, FRAMES, SEEDS, TERMINAL),
    ),
    column(
        "cross_entropy_dev",
        title="Cross-entropy",
        unit="dev, nats",
        value=lambda row: mean_known([dev.frames.cross_entropy for dev in row.group.splits("dev")]),
        shown=fixed(3),
        lowest_is_best=True,
        on=(GROUPS, RESULTS, FRAMES),
    ),
    *(
        column(
            f"phone_error_{split}",
            title="Phone error",
            unit=f"{split}, %, no LM",
            value=lambda row, split=split: row.group.phone_error_rate(split),  # type: ignore[misc]
            shown=percent,
            lowest_is_best=True,
            is_optional=True,
            on=(GROUPS, RESULTS, FRAMES),
        )
        for split in ("dev", "test")
    ),
    column(
        "calibration_error",
        title="ECE",
        unit="dev, %",
        value=lambda row: expected_error(row.group),
        shown=percent,
        lowest_is_best=True,
        on=(GROUPS, RESULTS, FRAMES),
    ),
    column(
        "word_nce_test",
        title="NCE",
        unit="words of test",
        value=lambda row: word_nce(row.group),
        shown=lambda value: f"{value:.3f}".replace("-", MINUS),
        is_optional=True,
        on=(GROUPS, RESULTS, FRAMES),
    ),
    column(
        "word_calibration_error_test",
        title="ECE",
        unit="words of test, %",
        value=lambda row: word_calibration_error(row.group),
        shown=percent,
        lowest_is_best=True,
        is_optional=True,
        on=(GROUPS, RESULTS, FRAMES),
    ),
    column(
        "agreement",
        title="Agreement",
        unit="with teacher, %",
        value=lambda row: agreement(row.group),
        shown=percent,
        on=(GROUPS, RESULTS, FRAMES),
    ),
    column(
        "divergence",
        title="KL",
        unit="from teacher, nats",
        # The ensemble is the teacher: its distance from itself would be the best of the column.
        value=lambda row: None if row.group.role == "ensemble" else divergence(row.group),
        shown=fixed(3),
        lowest_is_best=True,
        on=(GROUPS, RESULTS, FRAMES),
    ),
    column(
        "real_time_factor",
        title="Real-time factor",
        unit="one thread",
        value=lambda row: real_time_factor(row.group),
        shown=lambda factor: f"{factor:.2g}",
        on=(TERMINAL,),  # a stopwatch's figure: the page is twice the same bytes
    ),
)
