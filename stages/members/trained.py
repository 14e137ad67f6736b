"""The trained kind of member: corpus -> an acoustic model on hard labels, or one for each fold.

With folds, each model is trained without the speakers of its fold. Utterances without any hard
label are left out of training; their speakers belong to folds like all others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stages.acoustic.models.model_file import ABOUT_FILE, read_model_about
from stages.acoustic.models.permission import is_allowed
from stages.contract.progress import Progress
from stages.members.folded_member import (
    FOLDS_FILE,
    describe_folds,
    fold_directory,
    open_folded,
)
from stages.members.folds import plan_folds
from stages.members.kind import MemberKind
from stages.members.member import Member
from stages.members.trained_member import TrainedMember
from stages.members.trained_settings import TrainedMemberSettings
from stages.training.corpus import TrainingCorpus, open_training_corpus
from stages.training.ctc import CtcLabels
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels
from stages.training.ranks import ALONE, Ranks
from stages.training.train import train_model


def train_member(
    settings: TrainedMemberSettings,
    *,
    corpus_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
    ranks: Ranks = ALONE,
    keep_bad: bool = False,  # noqa: ARG001  its posteriors are computed when they are read
) -> None:
    """Fill `directory` with a model, or with folds.json and a model for each fold.

    Continues where an interrupted run of the same settings stopped.

    Raises:
        BadInput: if the corpus has fewer speakers than the member has folds, or hard labels of
            only one speaker.
    """
    with open_training_corpus(
        corpus_directory, needs_labels=True, utterances=settings.training.utterances
    ) as whole:
        corpus = whole.labelled_part()
        if whole.unlabelled:
            progress.note(
                f"member {settings.name}: of {whole.describe_labels()}, learns from those"
            )
        train = partial(_train, settings, all_frames=whole.num_frames)
        if settings.folds == 1:
            train(corpus, directory, device=device, progress=progress, ranks=ranks)
            return
        fold_of = plan_folds(corpus.train.utterances, settings.folds, unlabelled=whole.unlabelled)
        for fold, part in enumerate(_without_each(corpus, fold_of, settings.folds)):
            train(
                part,
                fold_directory(directory, fold),
                device=device,
                progress=progress,
                ranks=ranks,
                title=f", fold {fold + 1} of {settings.folds}",
                facts={"fold": fold + 1, "folds": settings.folds},
            )
        if ranks.is_first:
            describe_folds(directory, fold_of)


def _without_each(
    corpus: TrainingCorpus, fold_of: dict[str, int], num_folds: int
) -> Iterator[TrainingCorpus]:
    for fold in range(num_folds):
        rows = corpus.train.utterances
        of_fold = frozenset(row.id for row in rows if fold_of[row.speaker] == fold)
        yield replace(corpus, left_out=corpus.left_out | of_fold)


def _train(
    settings: TrainedMemberSettings,
    corpus: TrainingCorpus,
    directory: Path,
    *,
    all_frames: int,
    device: str,
    progress: Progress,
    ranks: Ranks,
    title: str = "",
    facts: dict[str, Any] | None = None,
) -> None:
    directory.mkdir(exist_ok=True)
    train = corpus.train
    train_model(
        TrainingInputs(
            settings=settings.training.in_own_epochs(
                all_frames=all_frames, own_frames=corpus.num_frames
            ),
            title=f"member {settings.name}{title}",
            architecture=settings.architecture,
            objective=CtcLabels(corpus=train) if train.has_tokens else HardLabels(),
            corpus=corpus,
            device=device,
            progress=progress,
            facts={"objective": "ctc" if train.has_tokens else "hard labels", **(facts or {})},
            ranks=ranks,
        ),
        directory=directory,
    )


def open_trained(directory: Path, device: str) -> Member:
    """The model in `directory`, or the models of its folds; no weights are read.

    Raises:
        MissingPart: if a model is missing.
        BadInput: if a description is not one of these, or a fold's model is another.
    """
    if (directory / FOLDS_FILE).is_file():
        return open_folded(directory, device=device)
    return TrainedMember(directory, read_model_about(directory), device)


def why_not_trained(directory: Path, _splits: Sequence[str]) -> str | None:
    """A model whose architecture is code that the settings do not name is not run."""
    for folder in (directory, *sorted(directory.glob("fold-*"))):
        if (folder / ABOUT_FILE).is_file():
            architecture = read_model_about(folder).architecture
            if architecture.is_own and not is_allowed(architecture.kind):
                return (
                    f"its architecture {architecture.kind} is code that your settings do not name"
                )
    return None


TRAINED = MemberKind(
    settings=TrainedMemberSettings,
    make=train_member,
    descriptions=(FOLDS_FILE, ABOUT_FILE),
    open=open_trained,
    why_not=why_not_trained,
)
