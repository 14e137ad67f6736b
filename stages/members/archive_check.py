"""Check of posterior archives: every utterance of the corpus has one distribution per frame there.

Each matrix is read once. The archives stay where they are; what was found is described, so that
later changes of them are noticed.

Shapes: T frames, C classes.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput, BadPosterior, MissingPart
from stages.contract.progress import Progress
from stages.contract.settings import LengthDifference
from stages.members.archived_posteriors import ArchiveAbout, SplitAbout
from stages.members.ensemble_posteriors import LOG_FLOOR, raise_to_floor
from stages.members.posterior_archive import fit_frames, locate_posteriors, read_log_posteriors
from stages.members.posterior_files import SPLITS, PosteriorsAre, content_digest, posterior_file
from stages.members.posterior_gate import check_posteriors
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance
from storage.files.fingerprint import array_digest

SHOWN = 3  # ids that a message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCheck:
    """One pass over the archives of a member of this name."""

    name: str
    archives: Path
    posteriors_are: PosteriorsAre
    max_length_difference: LengthDifference
    progress: Progress
    keep_bad: bool = False

    def run(self, corpus_directory: Path) -> ArchiveAbout:
        """Check train, dev and, if it is there, test; return what was found.

        Raises:
            MissingPart: if train or dev is missing.
            BadInput: if an utterance is missing, or has other classes or frames than the corpus.
            BadPosterior: naming member, utterance and frame, if one is no distribution; with
                `keep_bad`, if none of a split is one.
        """
        content = hashlib.sha256()  # of all log-posteriors: the member's fingerprint
        splits = {}
        for split in SPLITS:
            path = posterior_file(self.archives, split)
            if path is None:
                self._refuse_missing(split)
                continue
            with CorpusFile(corpus_directory / f"{split}.h5") as corpus:
                splits[split] = self._check_split(path, corpus, content)
                num_classes, inventory = corpus.about.num_classes, corpus.about.class_inventory
        return ArchiveAbout(
            path=self.archives,
            posteriors_are=self.posteriors_are,
            max_length_difference=self.max_length_difference,
            num_classes=num_classes,
            class_inventory=inventory,
            fingerprint=content.hexdigest(),
            splits=splits,
        )

    def _refuse_missing(self, split: str) -> None:
        """Train and dev are required; without test there is only a note."""
        found = f"member {self.name}: {self.archives} holds neither {split}.scp nor {split}.ark"
        if split != "test":
            raise MissingPart(f"{found}: compute the posteriors of {split} and put them there")
        self.progress.note(f"{found}: it and the ensemble will not be evaluated")

    def _check_split(self, path: Path, corpus: CorpusFile, content: "hashlib._Hash") -> SplitAbout:
        located = locate_posteriors(path)
        rows = [row for row in corpus.utterances if row.num_frames]  # Kaldi skips empty ones
        missing = [row.id for row in rows if row.id not in located]
        if missing:
            raise BadInput(_missing(self.name, path, missing, num_all=len(rows)))
        title = f"member {self.name}: {corpus.about.split}"
        fitted, bad = [], list[str]()
        with self.progress.task(title, total=corpus.num_frames, unit="frames") as task:
            for row in rows:
                given_TC = read_log_posteriors(located[row.id], given_as=self.posteriors_are)
                logp_TC = fit_frames(
                    given_TC, num_frames=row.num_frames, allowed=self.max_length_difference
                )
                fitted += [row.id] * (len(given_TC) != len(logp_TC))
                bad += self._bad_posteriors(logp_TC, row, corpus)
                averaged_TC = raise_to_floor(logp_TC, floor=float(LOG_FLOOR))  # as in the teacher
                content.update(f"{row.id} {array_digest(averaged_TC)}\n".encode())
                task.advance(row.num_frames)
        if bad:
            self._note_bad(title, bad, num_utterances=len(rows))
        if fitted:
            self.progress.note(f"{title}: {len(fitted)} utterances fitted by a frame")
        return SplitAbout(
            content=content_digest(path),
            corpus_fingerprint=corpus.fingerprint,
            num_utterances=len(corpus.utterances),
            num_frames=corpus.num_frames,
            fitted=tuple(fitted),
        )

    def _note_bad(self, title: str, bad: list[str], *, num_utterances: int) -> None:
        if len(bad) == num_utterances:  # not single utterances: the archives are something else
            raise BadPosterior(bad[0])
        self.progress.note(
            f"{title}: {len(bad)} of {num_utterances} utterances are no distributions, the "
            f"teacher leaves them out; the first: {bad[0]}"
        )

    def _bad_posteriors(
        self, logp_TC: NDArray[np.float32], row: Utterance, corpus: CorpusFile
    ) -> list[str]:
        """What is wrong with the distributions of an utterance that are kept nevertheless."""
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
                f"one per row of the corpus, which keeps every {_nth(about.subsampling)} "
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
            reason = f"{error} (posteriors_are is {self.posteriors_are!r})"
            if not self.keep_bad:
                raise BadPosterior(reason) from error
            return [reason]
        return []


def _missing(name: str, path: Path, ids: list[str], *, num_all: int) -> str:
    shown = ", ".join(map(repr, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
    return (
        f"member {name}: {path} lacks {len(ids)} of the corpus's {num_all} utterances ({shown}): "
        "compute their posteriors, or leave them out of the corpus"
    )


def _nth(number: int) -> str:
    return {1: "single", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")
