"""corpus -> member: an acoustic model on hard labels; with folds several, each deaf to some.

Utterances without any hard label are left out of training; the speakers of all have their fold.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.contract.progress import Progress
from stages.members.folded_member import describe_folds, fold_directory
from stages.members.folds import plan_folds
from stages.members.settings import MemberSettings
from stages.training.corpus import TrainingCorpus, open_training_corpus
from stages.training.objective import HardLabels
from stages.training.ranks import ALONE, Ranks
from stages.training.train import train_model


def train_member(
    settings: MemberSettings,
    *,
    corpus_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> None:
    """Fill `directory` with a model, or with folds.json and a model for each fold.

    Goes on where an interrupted run of the same settings left off.

    Raises:
        BadInput: when the corpus has fewer speakers than the member has folds, or hard labels of
            one speaker alone.
    """
    with open_training_corpus(corpus_directory, needs_labels=True) as whole:
        corpus = whole.labelled_part()
        if whole.unlabelled:
            progress.note(
                f"member {settings.name}: of {whole.describe_labels()}, learns from those"
            )
        if settings.folds == 1:
            _train(settings, corpus, directory, device=device, progress=progress, ranks=ranks)
            return
        fold_of = plan_folds(corpus.train.utterances, settings.folds, unlabelled=whole.unlabelled)
        for fold, heard in enumerate(_without_each(corpus, fold_of, settings.folds)):
            _train(
                settings,
                heard,
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
        unheard = frozenset(row.id for row in rows if fold_of[row.speaker] == fold)
        yield replace(corpus, left_out=corpus.left_out | unheard)


def _train(
    settings: MemberSettings,
    corpus: TrainingCorpus,
    directory: Path,
    *,
    device: str,
    progress: Progress,
    ranks: Ranks,
    title: str = "",
    facts: dict[str, Any] | None = None,
) -> None:
    directory.mkdir(exist_ok=True)
    train_model(
        settings.training,
        title=f"member {settings.name}{title}",
        architecture=settings.architecture,
        objective=HardLabels(),
        corpus=corpus,
        directory=directory,
        device=device,
        progress=progress,
        facts={"objective": "hard labels", **(facts or {})},
        ranks=ranks,
    )
