"""Kaldi data directory -> raw utterances: first the tables, then one matrix at a time.

    DIR/train, dev, test   feats.scp  text  utt2spk  ali.scp | ali.ark | ali.*.gz (pdf ids)
    DIR/lang               HCLG.fst  words.txt  transitions.txt: Kaldi's own decoding graph,
                           or lexicon.txt  units.txt  lm.arpa
    DIR/<model>            final.mdl instead of transitions.txt; alignments are its transition-ids
    DIR/num_pdfs           or DIR/lang/num_pdfs
    DIR/<unlabelled> ...   feats.scp  utt2spk: untranscribed speech, read after that of train

Utterances that are missing from a table are left out, with the reason (kaldi_plan.py). Invalid data
is an error. dev and test keep utterances without an alignment, since their words are scored.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.objects import read_matrix
from stages.acoustic.lang.kaldi_graph import KaldiGraph
from stages.acoustic.lang.lang_folder import AnyLang, read_lang_folder
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.hmm_steps import HmmSteps
from stages.corpus.kaldi_plan import (
    Entry,
    FolderPlan,
    plan_split,
    plan_unlabelled,
    refuse_shared,
)
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.kaldi_shares import share_out
from stages.corpus.raw import RawUtterance
from storage.corpus.corpus_file import NO_LABEL

FITTING = 0.99  # share of HMM steps in an alignment; 1 if it was made with the graph's tree
SHOWN = 5  # words that a message lists


class KaldiSource:
    """The three splits of a Kaldi data directory. The tables are read and checked first."""

    def __init__(self, settings: KaldiSettings, path: Path, *, progress: Progress) -> None:
        if not path.is_dir():
            raise BadInput(f"{path} is not a directory: set corpus.path to a Kaldi data directory")
        self._settings = settings
        self._progress = progress
        model = path / settings.model if settings.model else None
        self.lang: AnyLang = read_lang_folder(path / settings.lang, model=model)
        self._plans = {split: [plan] for split, plan in _plan_splits(settings, path).items()}
        for name in settings.unlabelled:
            plan = plan_unlabelled(path / name)
            refuse_shared(plan, [other for plans in self._plans.values() for other in plans])
            self._plans["train"].append(plan)
        self._remarks: dict[str, list[str]] = {split: [] for split in self._plans}
        self._trimmed: dict[str, set[str]] = {split: set() for split in self._plans}
        self._steps: dict[str, HmmSteps] = {}
        self._pdf_of_label: NDArray[np.int32] | None = None  # by transition-id, from 1
        if isinstance(self.lang, KaldiGraph):
            transitions, num_classes = self.lang.transitions, self.lang.num_classes
            self._steps = {s: HmmSteps(transitions, num_classes=num_classes) for s in self._plans}
            if model:
                self._pdf_of_label = np.array([NO_LABEL, *transitions.pdfs], np.int32)
        self._check_unknown_words()

    def has_labels(self, split: str) -> bool:
        """Whether the split has alignments."""
        return any(plan.alignments is not None for plan in self._plans[split])

    def labelled_speakers(self, split: str) -> set[str]:
        """Speakers with an aligned utterance."""
        return {
            entry.speaker
            for plan in self._plans[split]
            for entry in plan.entries
            if plan.alignments is not None and entry.id in plan.alignments
        }

    def left_out(self, split: str) -> dict[str, list[str]]:
        """Reason -> ids of the utterances that are skipped."""
        left_out: dict[str, list[str]] = defaultdict(list)
        for plan in self._plans[split]:
            for reason, ids in plan.left_out.items():
                left_out[reason] += ids
        return dict(left_out)

    def trimmed(self, split: str) -> list[str]:
        """Ids of utterances whose features or labels lost their last frame."""
        return sorted(self._trimmed[split])

    def remarks(self, split: str) -> list[str]:
        """Warnings for the user about the split; complete after `utterances` was read."""
        trimmed = len(self._trimmed[split])
        remarks = [f"{trimmed} utterances trimmed by one frame"] * bool(trimmed)
        if split in self._steps and self._steps[split].share < FITTING:
            remarks.append(
                f"{self._steps[split].share:.0%} of the changes of pdf in the alignment are "
                f"transitions of the HMMs in {self._transitions_file}, wanted all: "
                "alignment and graph were made with different trees, and all decoded words will be "
                "wrong: make both with the same final.mdl"
            )
        return self._remarks[split] + remarks

    @property
    def _transitions_file(self) -> str:
        return self._settings.model or f"{self._settings.lang}/transitions.txt"

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split, in the order of feats.scp, folder by folder.

        Raises:
            BadInput: naming file, utterance and frame.
        """
        plans = self._plans[split]
        total = sum(len(plan.entries) for plan in plans)
        with self._progress.task(f"read {split}", total=total, unit="utterances") as task:
            for plan in plans:
                for entry in plan.entries:
                    yield self._read(entry, plan, split)
                    task.advance()

    def _read(self, entry: Entry, plan: FolderPlan, split: str) -> RawUtterance:
        features_TF = read_matrix(entry.features)
        _refuse_not_finite(features_TF, entry)
        labels_T = None
        if plan.alignments is not None and entry.id in plan.alignments:
            labels_T = self._as_pdfs(plan.alignments.read(entry.id), entry, plan)
            _refuse_out_of_range(labels_T, entry, plan, num_classes=self.lang.num_classes)
            if split in self._steps:
                self._steps[split].count(labels_T)
            if len(labels_T) != len(features_TF):
                allowed = self._settings.max_length_difference
                features_TF, labels_T = _trimmed(features_TF, labels_T, entry, allowed=allowed)
                self._trimmed[split].add(entry.id)
        return RawUtterance(
            id=entry.id,
            speaker=entry.speaker,
            transcript=entry.transcript,
            features_TF=features_TF,
            labels_T=labels_T,
            frame_shift_ms=self._settings.frame_shift_ms,
        )

    def _as_pdfs(
        self, labels_T: NDArray[np.int32], entry: Entry, plan: FolderPlan
    ) -> NDArray[np.int32]:
        """The pdfs of an alignment: its transition-ids are looked up if there is a model."""
        pdf_of = self._pdf_of_label
        if pdf_of is None:
            return labels_T
        wrong_T = (labels_T < 1) | (labels_T >= len(pdf_of))
        if wrong_T.any():
            frame = int(np.argmax(wrong_T))
            raise BadInput(
                f"{plan.directory}: utterance {entry.id!r}, frame {frame}: {int(labels_T[frame])} "
                f"is no transition-id of {self._settings.model} (1 to {len(pdf_of) - 1}): are "
                "alignment and model of one system? Alignments of pdf ids go without "
                "corpus.kaldi.model, with lang/transitions.txt"
            )
        return pdf_of[labels_T]

    def _check_unknown_words(self) -> None:
        known = set(self.lang.words)
        words_in = {  # the plans after the first have no words
            split: {word for entry in plan.entries for word in entry.transcript.split()}
            for split, (plan, *_) in self._plans.items()
        }
        table, cure = "lexicon.txt", f"add them to {self._settings.lang}/lexicon.txt"
        if isinstance(self.lang, KaldiGraph):
            table = "words.txt"
            cure = f"rebuild the graph and {self._settings.lang}/words.txt with these words"
        spoken = set().union(*words_in.values())
        if spoken and spoken.isdisjoint(known):
            raise BadInput(
                f"{self._settings.lang}/{table} has none of the words of the transcripts: found "
                f"{_some(known)}, wanted {_some(spoken)}: use the lang that belongs to the "
                "transcripts, with words spelled as they are there"
            )
        for split, (plan, *_) in self._plans.items():
            unknown = words_in[split] - known
            if not unknown:
                continue
            found = f"{plan.directory / 'text'}: {len(unknown)} words are not in the lexicon "
            found += f"({_some(unknown)})"
            if self._settings.unknown_words == "fail":
                raise BadInput(f"{found}: {cure}, or set corpus.kaldi.unknown_words to keep")
            self._remarks[split].append(f"{found}: kept; they cannot be recognised")


def _plan_splits(settings: KaldiSettings, path: Path) -> dict[str, FolderPlan]:
    """The splits that have folders, and those that are taken from train."""
    plans = {}
    for split, name in settings.folders.items():
        folder = getattr(settings.alignments, split)
        plans[split] = plan_split(
            split, path / name, alignments_in=path / folder if folder else None
        )
    for split in settings.shares:
        if (path / getattr(settings, split)).is_dir():
            raise BadInput(
                f"{path / getattr(settings, split)} is there, and corpus.kaldi.{split}_share takes "
                f"{split} from train: set the share to 0, or name another folder in "
                f"corpus.kaldi.{split}"
            )
    if settings.shares:
        plans |= share_out(plans["train"], settings.shares)
    return {split: plans[split] for split in ("train", "dev", "test")}


def _some(words: set[str]) -> str:
    return ", ".join(sorted(words)[:SHOWN]) + (", ..." if len(words) > SHOWN else "")


def _refuse_not_finite(features_TF: NDArray[np.float32], entry: Entry) -> None:
    finite_T = np.isfinite(features_TF).all(axis=1)
    if not finite_T.all():
        raise BadInput(
            f"{entry.features}: utterance {entry.id!r}, frame {int(np.argmin(finite_T))}: "
            "a feature is not finite: compute the features again, or remove the utterance"
        )


def _refuse_out_of_range(
    labels_T: NDArray[np.int32], entry: Entry, plan: FolderPlan, *, num_classes: int
) -> None:
    wrong_T = (labels_T < 0) | (labels_T >= num_classes)
    if wrong_T.any():
        frame = int(np.argmax(wrong_T))
        raise BadInput(
            f"{plan.directory}: utterance {entry.id!r}, frame {frame}: label "
            f"{int(labels_T[frame])} is outside 0..{num_classes - 1}: are these pdf ids "
            "(not transition ids), and is num_pdfs right?"
        )


def _trimmed(
    features_TF: NDArray[np.float32], labels_T: NDArray[np.int32], entry: Entry, *, allowed: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Both, cut to the length of the shorter if they differ by at most `allowed` frames."""
    num_frames = min(len(features_TF), len(labels_T))
    if max(len(features_TF), len(labels_T)) - num_frames > allowed:
        raise BadInput(
            f"utterance {entry.id!r}: {len(features_TF)} frames of features and {len(labels_T)} "
            f"labels, wanted a difference of at most {allowed}: align again, "
            "or set corpus.kaldi.max_length_difference (at most 1)"
        )
    return features_TF[:num_frames], labels_T[:num_frames]
