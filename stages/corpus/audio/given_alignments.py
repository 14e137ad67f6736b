"""GivenAlignments: audio with alignments that Kaldi made: labels by utterance id, and their lang.

Shapes: T frames.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.lang_folder import AnyLang, read_lang_folder
from stages.contract.errors import BadInput
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.audio.source import AudioSpeech, all_ids
from stages.corpus.given_labels import GivenLabels, trimmed
from stages.corpus.kaldi_alignments import Alignments, open_alignments
from stages.corpus.known_words import check_words
from stages.corpus.raw import RawUtterance
from stages.corpus.source import SPLITS

NO_ALIGNMENT = "no alignment"
SETTINGS = "corpus.audio"
FRAMES_OF_EDGES = 2  # that snip_edges leaves out, whatever the length


class GivenAlignments:
    """A source: audio, whose labels are in the folders `alignments` of its settings.

    Transcribed utterances of train without an alignment are left out; those of dev and test are
    kept without labels.

    Raises:
        BadInput: if a folder has no alignments, none is of train or of dev, or the lang is damaged.
    """

    def __init__(self, speech: AudioSpeech, settings: AudioSettings) -> None:
        assert settings.lang is not None, "checked with the settings"
        self._speech = speech
        self._settings = settings
        self.lang: AnyLang = read_lang_folder(settings.lang, model=settings.model)
        self._alignments = _open_all(settings, ids=all_ids(speech))
        self._labels = GivenLabels(
            self.lang,
            model=str(settings.model) if settings.model else None,
            lang_name=str(settings.lang),
            settings=SETTINGS,
        )
        self._trimmed: dict[str, set[str]] = {split: set() for split in SPLITS}
        for split in ("train", "dev"):
            if not self.has_labels(split):
                folders = ", ".join(map(str, settings.alignments))
                raise BadInput(
                    f"{folders}: no alignment of an utterance of {split}: wanted alignments by "
                    f"utterance id, such as {speech.rows(split)[0].id!r}"
                )
        self._remarks = self._check_words()

    def has_labels(self, split: str) -> bool:
        """Whether an utterance of the split has an alignment."""
        return bool(self.labelled_speakers(split))

    def labelled_speakers(self, split: str) -> set[str]:
        """Speakers with an aligned utterance."""
        return {row.speaker for row in self._speech.rows(split) if row.id in self._alignments}

    def left_out(self, split: str) -> Mapping[str, Sequence[str]]:
        """Reason -> ids of the utterances that are skipped."""
        without = sorted(self._without(split))
        return {**self._speech.left_out(split), **({NO_ALIGNMENT: without} if without else {})}

    def trimmed(self, split: str) -> Sequence[str]:
        """Ids of utterances whose features or labels lost their last frame."""
        return sorted(self._trimmed[split])

    def remarks(self, split: str) -> Sequence[str]:
        """Warnings about words and HMMs; complete after `utterances` was read."""
        count = len(self._trimmed[split])
        remarks = [f"{count} utterances trimmed by one frame"] * bool(count)
        return [*self._remarks[split], *remarks, *self._labels.remarks(split)]

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split, in the order of the tables.

        Raises:
            BadInput: naming utterance and frame.
        """
        without = self._without(split)
        for raw in self._speech.utterances(split):
            if raw.id in self._alignments:
                yield self._labelled(raw, self._alignments[raw.id], split)
            elif raw.id not in without:
                yield raw

    def _without(self, split: str) -> set[str]:
        if split != "train":
            return set()
        rows = self._speech.rows(split)
        return {row.id for row in rows if row.text and row.id not in self._alignments}

    def _labelled(self, raw: RawUtterance, alignments: Alignments, split: str) -> RawUtterance:
        labels_T = self._labels.read(raw.id, alignments, split=split, where=self._settings.lang)
        if self._settings.snip_edges:
            labels_T = with_edges(labels_T)
        elif len(raw.features_TF) - len(labels_T) == FRAMES_OF_EDGES:
            raise BadInput(
                f"utterance {raw.id!r}: {len(raw.features_TF)} frames of features and "
                f"{len(labels_T)} labels: if the features that were aligned had snip_edges, "
                "Kaldi's default, set corpus.audio.snip_edges to true"
            )
        features_TF, labels_T = trimmed(
            raw.features_TF,
            labels_T,
            id=raw.id,
            allowed=self._settings.max_length_difference,
            settings=SETTINGS,
        )
        if len(features_TF) != len(raw.features_TF):
            self._trimmed[split].add(raw.id)
        return replace(raw, features_TF=features_TF, labels_T=labels_T)

    def _check_words(self) -> dict[str, list[str]]:
        words_in = {
            split: {word for row in self._speech.rows(split) for word in (row.text or "").split()}
            for split in SPLITS
        }
        return check_words(
            words_in,
            self.lang,
            tables={split: f"transcripts of {split}" for split in SPLITS},
            lang_name=str(self._settings.lang),
            policy=self._settings.unknown_words,
            settings=SETTINGS,
        )


def with_edges(labels_T: NDArray[np.int32]) -> NDArray[np.int32]:
    """The labels of frames without `snip_edges`, of those with it: two more.

    Kaldi's frame t is centred at 12.5 ms + t * 10 ms with snip_edges, and at 5 ms + t * 10 ms
    without: the nearest frame has the number t - 1.
    """
    return np.pad(labels_T, 1, mode="edge") if len(labels_T) else labels_T


def _open_all(settings: AudioSettings, *, ids: set[str]) -> dict[str, Alignments]:
    """Utterance -> the alignments that have it."""
    found: dict[str, Alignments] = {}
    for folder in settings.alignments:
        alignments = open_alignments(folder, wanted=ids)
        if alignments is None:
            raise BadInput(f"{folder} has no alignments: wanted ali.scp, ali.ark or ali.*.gz")
        for id in ids:
            if id not in alignments:
                continue
            if id in found:
                raise BadInput(f"{folder}: utterance {id!r} occurs twice: keep one alignment")
            found[id] = alignments
    return found
