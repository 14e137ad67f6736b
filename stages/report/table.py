"""results -> table: one row a system and seed, as results.csv and results.json."""

from dataclasses import dataclass

from stages.contract.results import SystemResult
from stages.report.frame_means import agreement, divergence, expected_error, real_time_factor
from stages.report.ranking import (
    SHOWN_FACTS,
    describe,
    kept_of,
    role_of,
    word_error_rate,
)
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A system in figures. Rates are fractions; None is unknown, or does not apply."""

    system: str
    group: str  # systems of one group differ in their seed alone
    kind: str
    seed: int | None
    details: str
    k: int | None
    parameters: int | None
    frame_error_dev: float | None
    cross_entropy_dev: float | None  # nats a frame
    wer_dev: float | None
    wer_test: float | None
    wer_test_low: float | None  # 95 % interval
    wer_test_high: float | None
    insertions_test: int
    deletions_test: int
    substitutions_test: int
    reference_words_test: int
    calibration_error: float | None  # of dev posteriors
    agreement: float | None  # share of dev frames with the teacher's most probable class
    divergence: float | None  # KL(teacher || system), nats a frame
    real_time_factor: float | None
    acoustic_scale: float
    insertion_penalty: float
    fingerprint: str


def make_rows(comparisons: Comparisons) -> list[Row]:
    """Rows in the order of the groups, each by seed."""
    return [
        _row(result, group, comparisons) for group in comparisons.groups for result in group.results
    ]


def _row(result: SystemResult, group: SystemGroup, comparisons: Comparisons) -> Row:
    test = result.test
    interval = comparisons.system_intervals.get(result.system.fingerprint)
    alone = SystemGroup((result,))
    return Row(
        system=result.system.name,
        group=group.name,
        kind=role_of(result),
        seed=result.system.facts.seed,
        details=describe(result, SHOWN_FACTS),
        k=kept_of(result),
        parameters=result.evaluation.num_parameters,
        frame_error_dev=result.dev.frame_error,
        cross_entropy_dev=result.dev.cross_entropy,
        wer_dev=word_error_rate(result.dev),
        wer_test=word_error_rate(test),
        wer_test_low=interval.low if interval else None,
        wer_test_high=interval.high if interval else None,
        insertions_test=test.words.insertions,
        deletions_test=test.words.deletions,
        substitutions_test=test.words.substitutions,
        reference_words_test=test.words.reference_words,
        calibration_error=expected_error(alone),
        agreement=agreement(alone),
        divergence=divergence(alone),
        real_time_factor=real_time_factor(alone),
        acoustic_scale=result.evaluation.acoustic_scale,
        insertion_penalty=result.evaluation.insertion_penalty,
        fingerprint=result.system.fingerprint,
    )
