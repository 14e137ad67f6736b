"""Frame metrics of a group: means over its seeds, None if a seed was not measured."""

from collections.abc import Callable, Sequence

from stages.contract.results import Fidelity, GradientMatch, ReliabilityBin, SplitResult
from stages.report.statistics.groups import SystemGroup, mean_known
from stages.report.statistics.word_confidence import (
    Judged,
    calibration_error,
    judged_words,
    normalised_cross_entropy,
)


def fidelities(group: SystemGroup) -> list[Fidelity]:
    """The fidelity of each seed; empty if a seed was not measured."""
    found = [
        result.frames.fidelity
        for result in group.results
        if result.frames and result.frames.fidelity is not None
    ]
    return found if len(found) == len(group.results) else []


def agreement(group: SystemGroup) -> float | None:
    """Share of frames with the teacher's most probable class."""
    return mean_known([fidelity.agreement for fidelity in fidelities(group)])


def divergence(group: SystemGroup) -> float | None:
    """KL(teacher || group) in nats per frame."""
    return mean_known([fidelity.divergence for fidelity in fidelities(group)])


def expected_error(group: SystemGroup) -> float | None:
    """Expected calibration error."""
    return mean_known(
        [
            result.frames.calibration.expected_error
            if result.frames and result.frames.calibration
            else None
            for result in group.results
        ]
    )


def real_time_factor(group: SystemGroup) -> float | None:
    """Seconds of one processor thread per second of speech."""
    return mean_known([result.real_time_factor for result in group.results])


def mean_bins(group: SystemGroup) -> list[ReliabilityBin]:
    """Reliability bins over all seeds; empty if a seed was not measured."""
    found = [
        result.frames.calibration.bins
        for result in group.results
        if result.frames and result.frames.calibration
    ]
    if len(found) < len(group.results):
        return []
    return [_together(same) for same in zip(*found, strict=True)]


def _together(bins: tuple[ReliabilityBin, ...]) -> ReliabilityBin:
    total = sum(part.num_frames for part in bins)
    shares = [part.num_frames / max(total, 1) for part in bins]
    return ReliabilityBin(
        num_frames=total,
        confidence=sum(s * part.confidence for s, part in zip(shares, bins, strict=True)),
        accuracy=sum(s * part.accuracy for s, part in zip(shares, bins, strict=True)),
    )


def gradient_curve(group: SystemGroup) -> dict[int, GradientMatch]:
    """Gradient match of each k, mean over the seeds."""
    found = fidelities(group)
    shared = set.intersection(*(set(part.by_rank) for part in found)) if found else set()
    return {k: _mean_match([part.by_rank[k] for part in found]) for k in sorted(shared)}


def hard_label_match(group: SystemGroup) -> GradientMatch | None:
    """Gradient match of hard labels, mean over the seeds."""
    matches = [part.hard_labels for part in fidelities(group)]
    known = [match for match in matches if match is not None]
    return _mean_match(known) if known and len(known) == len(matches) else None


def _mean_match(matches: list[GradientMatch]) -> GradientMatch:
    return GradientMatch(
        overall=sum(match.overall for match in matches) / len(matches),
        mean=sum(match.mean for match in matches) / len(matches),
    )


def word_nce(group: SystemGroup) -> float | None:
    """Normalised cross entropy of the words of test, mean over the seeds."""
    return mean_known([_of_words(part, normalised_cross_entropy) for part in group.splits("test")])


def word_calibration_error(group: SystemGroup) -> float | None:
    """Expected calibration error of the words of test, mean over the seeds."""
    return mean_known([_of_words(part, calibration_error) for part in group.splits("test")])


def _of_words(
    split: SplitResult, measure: Callable[[Sequence[Judged]], float | None]
) -> float | None:
    judged = judged_words(split)
    return None if judged is None else measure(judged)
