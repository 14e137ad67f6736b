"""hard labels, soft labels -> student: one small model, taught by what the store keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.contract.copies import read_copies
from stages.contract.errors import MissingPart
from stages.contract.progress import Progress
from stages.student.ctc import EssenceCtc
from stages.student.essence import Essence
from stages.student.hard_labels import with_chosen_labels
from stages.student.originals import match_copies
from stages.student.settings import StudentSettings
from stages.student.store_check import check_store
from stages.student.token_check import refuse_without_tokens
from stages.training.corpus import open_training_corpus
from stages.training.ctc import CtcLabels
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels, Objective
from stages.training.ranks import ALONE, Ranks
from stages.training.train import train_model, train_trunk
from storage.place.place import Place
from storage.read.reader import SoftLabelStore, open_store


def train_student(
    settings: StudentSettings,
    *,
    corpus_directory: Path,
    store: Place | None,
    hard_labels: Path | None = None,
    directory: Path,
    device: str,
    progress: Progress,
    ranks: Ranks = ALONE,
    trunk: Path | None = None,
) -> None:
    """Fill `directory` with model.safetensors, model.json and metrics.jsonl.

    `store` may be None when hard_weight is 1: it is not read then, and utterances without any hard
    label are left out. `hard_labels` is the directory of the ensemble's, which may be None where
    `settings.labels` asks for none. Continues where an interrupted run of the same settings
    stopped, or where `trunk` ends.

    Raises:
        MissingPart: when soft labels or the ensemble's hard labels are needed and none are named.
        StoreError, BadInput: when the store or the labels are not of this corpus, or hold too
            little.
    """
    with _opened_inputs(
        settings,
        corpus_directory=corpus_directory,
        store=store,
        hard_labels=hard_labels,
        device=device,
        progress=progress,
        ranks=ranks,
    ) as inputs:
        train_model(inputs, directory=directory, start=trunk)


def train_student_trunk(
    settings: StudentSettings,
    *,
    corpus_directory: Path,
    store: Place | None,
    hard_labels: Path | None = None,
    directory: Path,
    device: str,
    progress: Progress,
    ranks: Ranks = ALONE,
    shorter: Path | None = None,
) -> None:
    """Fill `directory` with the state of the student before its rate decays.

    Continues where an interrupted run stopped, or where the trunk `shorter` ends.

    Raises:
        MissingPart, StoreError, BadInput: as `train_student`.
    """
    with _opened_inputs(
        settings,
        corpus_directory=corpus_directory,
        store=store,
        hard_labels=hard_labels,
        device=device,
        progress=progress,
        ranks=ranks,
    ) as inputs:
        named = replace(inputs, title=f"{inputs.title}, trunk")
        train_trunk(named, directory=directory, start=shorter)


@contextmanager
def _opened_inputs(
    settings: StudentSettings,
    *,
    corpus_directory: Path,
    store: Place | None,
    hard_labels: Path | None,
    device: str,
    progress: Progress,
    ranks: Ranks,
) -> Iterator[TrainingInputs]:
    """What the student is trained on and towards; checked."""
    with open_training_corpus(
        corpus_directory,
        needs_labels=settings.hard_weight > 0 and settings.labels.are_given,
        utterances=settings.training.utterances,
    ) as opened:
        has_tokens = opened.train.has_tokens
        refuse_without_tokens(settings, has_tokens=has_tokens)
        corpus, of_labels = with_chosen_labels(opened, settings, hard_labels)
        objective: Objective = HardLabels(smoothing=settings.label_smoothing)
        facts: dict[str, Any] = {"objective": "hard labels"}
        if has_tokens:
            objective, facts = CtcLabels(corpus=corpus.train), {"objective": "ctc"}
        if settings.label_smoothing:
            facts["label_smoothing"] = settings.label_smoothing
        if settings.hard_weight < 1:
            labels = _open_labels(settings, store)
            match = check_store(settings, labels, corpus.train)
            matched = match_copies(match, read_copies(corpus_directory, "train"), corpus.train)
            facts = _facts(settings, labels)
            objective = essence = Essence(settings, labels, matched.read_as)
            if has_tokens:
                objective = EssenceCtc(essence, corpus.train)
                facts["objective"] = "essence and ctc"
            corpus = replace(corpus, left_out=corpus.left_out | matched.without_soft_labels)
            if not match.is_whole:
                progress.note(str(matched))
            if corpus.unlabelled - corpus.left_out:
                progress.note(f"{_title(settings)}: {corpus.describe_labels()}")
            _note_a_small_cache(settings, labels, progress)
        elif corpus.unlabelled:
            progress.note(f"{_title(settings)}: of {corpus.describe_labels()}, learns from those")
            corpus = corpus.labelled_part()
        training = settings.training.in_own_epochs(
            all_frames=opened.num_frames, own_frames=corpus.num_frames
        )
        if training.epochs != settings.training.epochs:
            progress.note(
                f"{_title(settings)}: {training.epochs} epochs of those take the steps of "
                f"{settings.training.epochs} epochs of all"
            )
        yield TrainingInputs(
            settings=training,
            title=_title(settings),
            architecture=settings.architecture,
            objective=objective,
            corpus=corpus,
            device=device,
            progress=progress,
            facts={**facts, **of_labels},
            ranks=ranks,
        )


def _title(settings: StudentSettings) -> str:
    taught_by = "hard labels" if settings.hard_weight == 1 else f"k={settings.k}"
    return f"student {settings.name or taught_by}"


def _open_labels(settings: StudentSettings, store: Place | None) -> SoftLabelStore:
    if store is None:
        raise MissingPart(
            f"hard_weight {settings.hard_weight} needs soft labels and no store is named: "
            "run 'essence teacher', or set student.hard_weight to 1"
        )
    return open_store(store)


def _note_a_small_cache(
    settings: StudentSettings, labels: SoftLabelStore, progress: Progress
) -> None:
    """Objects that do not fit in the cache are fetched again in every epoch."""
    needed = next(n for last, n in labels.bytes_by_tier().items() if settings.k <= last)
    if labels.place.is_remote and needed > settings.cache_bytes:
        progress.note(
            f"{labels.place}: k={settings.k} reads {needed:,} bytes, student.cache_bytes is "
            f"{settings.cache_bytes:,}: each epoch will fetch them again: raise it, or copy that "
            f"part with 'essence cache pull --k {settings.k}'"
        )


def _facts(settings: StudentSettings, labels: SoftLabelStore) -> dict[str, Any]:
    identity = settings.identity()
    return {
        "objective": "essence",
        "store": labels.digest,
        "k": settings.k,
        "hard_weight": settings.hard_weight,
        "tail": settings.tail,
        "temperature": settings.temperature,
        **{name: identity[name] for name in ("trust", "ranks", "blank") if name in identity},
    }
