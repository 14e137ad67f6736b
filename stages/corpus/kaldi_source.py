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

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from stages.acoustic.lang.lang_folder import AnyLang, read_lang_folder
from stages.contract.progress import Progress
from stages.corpus.given_labels import GivenLabels, trimmed
from stages.corpus.kaldi_folders import KaldiFolders, read_features, refuse_no_directory
from stages.corpus.kaldi_plan import Entry, FolderPlan, plan_split
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.known_words import check_words
from stages.corpus.raw import RawUtterance


class KaldiSource:
    """The three splits of a Kaldi data directory. The tables are read and checked first."""

    def __init__(self, settings: KaldiSettings, path: Path, *, progress: Progress) -> None:
        refuse_no_directory(path)
        self._settings = settings
        self._progress = progress
        model = path / settings.model if settings.model else None
        self.lang: AnyLang = read_lang_folder(path / settings.lang, model=model)
        folders = KaldiFolders(settings, path, plan=partial(_plan_aligned, settings, path))
        self._folders, self._plans = folders, folders.plans
        self._trimmed: dict[str, set[str]] = {split: set() for split in self._plans}
        self._labels = GivenLabels(
            self.lang,
            model=settings.model,
            lang_name=settings.lang,
            settings="corpus.kaldi",
        )
        self._remarks = self._check_words()

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
        return self._folders.left_out(split)

    def trimmed(self, split: str) -> list[str]:
        """Ids of utterances whose features or labels lost their last frame."""
        return sorted(self._trimmed[split])

    def remarks(self, split: str) -> list[str]:
        """Warnings for the user about the split; complete after `utterances` was read."""
        trimmed = len(self._trimmed[split])
        remarks = [f"{trimmed} utterances trimmed by one frame"] * bool(trimmed)
        return self._remarks[split] + remarks + self._labels.remarks(split)

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
        features_TF = read_features(entry)
        labels_T = None
        if plan.alignments is not None and entry.id in plan.alignments:
            labels_T = self._labels.read(
                entry.id, plan.alignments, split=split, where=plan.directory
            )
            if len(labels_T) != len(features_TF):
                features_TF, labels_T = trimmed(
                    features_TF,
                    labels_T,
                    id=entry.id,
                    allowed=self._settings.max_length_difference,
                    settings="corpus.kaldi",
                )
                self._trimmed[split].add(entry.id)
        return RawUtterance(
            id=entry.id,
            speaker=entry.speaker,
            transcript=entry.transcript,
            features_TF=features_TF,
            labels_T=labels_T,
            frame_shift_ms=self._settings.frame_shift_ms,
        )

    def _check_words(self) -> dict[str, list[str]]:
        firsts = {split: plan for split, (plan, *_) in self._plans.items()}
        return check_words(  # the plans after the first have no words
            {
                split: {word for entry in plan.entries for word in entry.transcript.split()}
                for split, plan in firsts.items()
            },
            self.lang,
            tables={split: plan.directory / "text" for split, plan in firsts.items()},
            lang_name=self._settings.lang,
            policy=self._settings.unknown_words,
            settings="corpus.kaldi",
        )


def _plan_aligned(settings: KaldiSettings, path: Path, split: str, directory: Path) -> FolderPlan:
    folder = getattr(settings.alignments, split)
    return plan_split(split, directory, alignments_in=path / folder if folder else None)
