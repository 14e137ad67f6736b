"""Makers of scored systems: real words of AN4, and counts that are made up."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.contract.results import (
    Evaluation,
    FrameErrors,
    SplitResult,
    System,
    SystemFacts,
    SystemKind,
    SystemResult,
    UtteranceResult,
    WordErrors,
)
from stages.evaluate.score import add_up, score_utterance
from tests.support.paths import TESTS

AN4_WORDS = TESTS / "data" / "an4_words.tsv"


def read_an4_words() -> dict[str, list[UtteranceResult]]:
    """Hypotheses of four systems on AN4's test set: hard labels, ensemble, k=1, k=32."""
    head, *lines = AN4_WORDS.read_text(encoding="utf-8").splitlines()
    names = head.split("\t")[3:]
    found: dict[str, list[UtteranceResult]] = {name: [] for name in names}
    for line in lines:
        id, speaker, reference, *hypotheses = line.split("\t")
        for name, hypothesis in zip(names, hypotheses, strict=True):
            found[name].append(make_utterance(id, reference, hypothesis, speaker=speaker))
    return found


def make_utterance(
    id: str, reference: str, hypothesis: str, *, speaker: str = "s"
) -> UtteranceResult:
    return score_utterance(id, speaker=speaker, reference=reference, hypothesis=hypothesis)


def make_counted(id: str, speaker: str, *, errors: int, words: int = 20) -> UtteranceResult:
    """An utterance of which only the counts are known."""
    counts = WordErrors(reference_words=words, insertions=0, deletions=0, substitutions=errors)
    reference = " ".join(["word"] * words)
    hypothesis = " ".join(["wrong"] * errors + ["word"] * (words - errors))
    return UtteranceResult(
        id=id, speaker=speaker, reference=reference, hypothesis=hypothesis, words=counts
    )


def make_speakers(errors: Sequence[int], *, per_speaker: int = 1) -> list[UtteranceResult]:
    """One speaker for each number, the errors in each of its utterances of 20 words."""
    return [
        make_counted(f"{speaker}-{number}", f"s{speaker}", errors=count)
        for speaker, count in enumerate(errors)
        for number in range(per_speaker)
    ]


def digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def make_scored_split(utterances: Sequence[UtteranceResult], split: str = "test") -> SplitResult:
    words = add_up([item.words for item in utterances])
    return SplitResult(
        split=split,
        frames=FrameErrors(num_frames=100 * len(utterances), frame_error=0.2, cross_entropy=0.8),
        words=words,
        utterances=tuple(utterances),
    )


def make_scored(
    name: str,
    test: Sequence[UtteranceResult],
    *,
    dev: Sequence[UtteranceResult] | None = None,
    kind: SystemKind = "student",
    group: str | None = None,
    **facts: Any,
) -> SystemResult:
    """A system with the utterances `test`; on dev the same, or `dev`."""
    settings: Mapping[str, Any] = {"architecture": "tdnn 5x128", "seed": 1, **facts}
    without_seed = {key: value for key, value in settings.items() if key != "seed"}
    group_name = name.split(" seed")[0]
    return SystemResult(
        system=System(
            name=name,
            kind=kind,
            fingerprint=digest((name, settings)),
            model_directories=(Path("models") / name,),
            weights=(1.0,),
            facts=SystemFacts(**settings),
            group=group or digest((group_name, without_seed)) if kind == "student" else "",
            group_name=group_name if kind == "student" else "",
        ),
        evaluation=Evaluation(
            num_parameters=1000,
            acoustic_scale=0.1,
            insertion_penalty=0.0,
            dev=make_scored_split(test if dev is None else dev, "dev"),
            test=make_scored_split(test),
        ),
    )


def with_splits(result: SystemResult, **splits: SplitResult) -> SystemResult:
    """The same system with another dev or test."""
    return replace(result, evaluation=result.evaluation.model_copy(update=splits))
