"""posteriors, corpus -> member: somebody else's model, known by what it said of every utterance.

Every matrix is read once and checked; then member.json is written. The archives stay where they
are.

Shapes: T frames, C classes.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput, BadPosterior, MissingPart
from stages.contract.progress import Progress
from stages.members.archived_posteriors import ABOUT_FILE, ArchiveAbout, SplitAbout
from stages.members.ensemble_posteriors import LOG_FLOOR, raise_to_floor
from stages.members.posterior_archive import (
    SPLITS,
    content_digest,
    fit_frames,
    locate_posteriors,
    posterior_file,
    read_log_posteriors,
)
from stages.members.posterior_gate import check_posteriors
from stages.members.settings import MemberSettings
from storage.corpus.corpus_file import CorpusFile, Utterance
from storage.files.fingerprint import array_digest
from storage.files.publish import publish_file

SHOWN = 3  # ids that a message lists


def adopt_member(
    settings: MemberSettings, *, corpus_directory: Path, directory: Path, progress: Progress
) -> None:
    """Check the posteriors of train, dev and (where there are some) test; write member.json.

    Raises:
        MissingPart: where train or dev has none.
        BadInput: where an utterance is missing, or has other classes or frames than the corpus.
        BadPosterior: naming member, utterance and frame, where one is no distribution.
    """
    assert settings.posteriors is not None
    adoption = _Adoption(settings, settings.posteriors.resolve(), progress)
    splits = {}
    for split in SPLITS:
        path = posterior_file(adoption.archives, split)
        if path is None:
            adoption.miss(split)
            continue
        with CorpusFile(corpus_directory / f"{split}.h5") as corpus:
            splits[split] = adoption.check(path, corpus)
            num_classes, inventory = corpus.about.num_classes, corpus.about.class_inventory
    about = ArchiveAbout(
        path=adoption.archives,
        posteriors_are=settings.posteriors_are,
        max_length_difference=settings.max_length_difference,
        num_classes=num_classes,
        class_inventory=inventory,
        fingerprint=adoption.content.hexdigest(),
        splits=splits,
    )
    publish_file(directory / ABOUT_FILE, about.model_dump_json(indent=2).encode() + b"\n")


class _Adoption:
    """One pass over the posteriors; `content` gathers the digest of all that was read."""

    def __init__(self, settings: MemberSettings, archives: Path, progress: Progress) -> None:
        self.name = settings.name
        self.archives = archives
        self.content = hashlib.sha256()
        self._given_as = settings.posteriors_are
        self._allowed = settings.max_length_difference
        self._progress = progress

    def miss(self, split: str) -> None:
        """Say that a split has no posteriors: train and dev must have some."""
        found = f"member {self.name}: {self.archives} holds neither {split}.scp nor {split}.ark"
        if split != "test":
            raise MissingPart(f"{found}: compute the posteriors of {split} and put them there")
        self._progress.note(f"{found}: it and the ensemble will not be evaluated")

    def check(self, path: Path, corpus: CorpusFile) -> SplitAbout:
        """Read and check every utterance of a split."""
        located = locate_posteriors(path)
        rows = [row for row in corpus.utterances if row.num_frames]  # Kaldi skips empty ones
        missing = [row.id for row in rows if row.id not in located]
        if missing:
            raise BadInput(_missing(self.name, path, missing, num_all=len(rows)))
        title, fitted = f"member {self.name}: {corpus.about.split}", []
        with self._progress.task(title, total=corpus.num_frames, unit="frames") as task:
            for row in rows:
                said_TC = read_log_posteriors(located[row.id], given_as=self._given_as)
                logp_TC = fit_frames(said_TC, num_frames=row.num_frames, allowed=self._allowed)
                fitted += [row.id] * (len(said_TC) != len(logp_TC))
                self._check(logp_TC, row, corpus)
                averaged_TC = raise_to_floor(logp_TC, floor=float(LOG_FLOOR))  # as in the teacher
                self.content.update(f"{row.id} {array_digest(averaged_TC)}\n".encode())
                task.advance(row.num_frames)
        if fitted:
            self._progress.note(f"{title}: {len(fitted)} utterances fitted by a frame")
        return SplitAbout(
            content=content_digest(path),
            corpus_fingerprint=corpus.fingerprint,
            num_utterances=len(corpus.utterances),
            num_frames=corpus.num_frames,
            fitted=tuple(fitted),
        )

    def _check(self, logp_TC: NDArray[np.float32], row: Utterance, corpus: CorpusFile) -> None:
        where = f"member {self.name}, utterance {row.id!r}"
        frames, classes = logp_TC.shape
        about = corpus.about
        if classes != about.num_classes:
            raise BadInput(
                f"{where}: posteriors of {classes} classes, the corpus has {about.num_classes}: "
                "was the model trained on the tree of these alignments?"
            )
        if frames != row.num_frames:
            raise BadInput(
                f"{where}: {frames} frames of posteriors, the corpus has {row.num_frames}: wanted "
                f"one for each row of the corpus, which keeps every {_nth(about.subsampling)} "
                "feature frame (corpus.features.subsample); the member's max_length_difference "
                "allows a difference of 1 at most"
            )
        try:
            check_posteriors(
                logp_TC,
                num_frames=row.num_frames,
                num_classes=about.num_classes,
                member=self.name,
                utterance=row.id,
            )
        except BadPosterior as error:
            raise BadPosterior(f"{error} (posteriors_are is {self._given_as!r})") from error


def _missing(name: str, path: Path, ids: list[str], *, num_all: int) -> str:
    shown = ", ".join(map(repr, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
    return (
        f"member {name}: {path} lacks {len(ids)} of the corpus's {num_all} utterances ({shown}): "
        "compute their posteriors, or leave them out of the corpus"
    )


def _nth(number: int) -> str:
    return {1: "single", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")
