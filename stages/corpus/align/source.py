"""AlignedSource: speech with transcripts -> a source with hard labels and a lang.

Utterances of train that cannot be aligned are left out; those of dev and test stay without hard
labels, since their words are scored. Labels that the speech has are not read.

Shapes: T frames, S states of a transcript.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stages.acoustic.lang.lang import SILENCE, Lang, Pronunciation
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.align.aligner import Aligner, AlignmentModel
from stages.corpus.align.hmms import Alignment, Hmms, Transcribed
from stages.corpus.align.language_model import read_arpa, words_of_arpa
from stages.corpus.align.lexicon import UNKNOWN, Lexicon, pronounce
from stages.corpus.align.passes import Passes
from stages.corpus.align.settings import AlignSettings
from stages.corpus.raw import RawUtterance
from stages.corpus.source import SPLITS, KeptSpeech
from stages.corpus.spoken.bigram import bigram_arpa
from stages.corpus.spoken.units import UnitClasses, units_of
from stages.training.torch_threads import fixed_threads

TRAIN = "train"
UNKNOWN_WORD = "a word that the lexicon lacks"
TOO_SHORT = "fewer frames than states of its words"
SHOWN = 5  # words that a message lists
Words = tuple[str, ...]


class AlignedSource:
    """Three splits of speech, aligned when it is constructed.

    Finished passes are kept in the folder `passes` until the caller removes it. The same alignment,
    started again after an interruption, goes on with the last of them.

    Utterances without a transcript are kept as untranscribed speech.

    Raises:
        BadInput: if the lexicon or the language model is damaged, a word has no pronunciation and
            `unknown_words` is `fail`, or no utterance of train or dev can be aligned.
        MissingPart: if espeak-ng is wanted and not installed.
    """

    def __init__(
        self, speech: KeptSpeech, settings: AlignSettings, *, passes: Path, progress: Progress
    ) -> None:
        self._speech = speech
        self._settings = settings
        self._progress = progress
        self._kept = {split: speech.kept(split) for split in SPLITS}
        self._left_out: dict[str, dict[str, list[str]]] = {split: {} for split in SPLITS}
        self._remarks: dict[str, list[str]] = {split: [] for split in SPLITS}
        given = None if settings.arpa is None else read_arpa(settings.arpa)
        words = {w for split in SPLITS for _, ws in self._transcripts(split) for w in ws}
        in_arpa = words_of_arpa(given, where=settings.arpa) if settings.arpa and given else ()
        lexicon = pronounce(words | set(in_arpa), settings)
        alignable = {split: self._alignable(split, lexicon) for split in SPLITS}
        self._passes = Passes(passes, inputs=self._inputs(alignable, lexicon))
        with fixed_threads(1):  # another number would move bits of the features and the network
            model, classes = self._train(alignable[TRAIN], lexicon)
            self._labels = {split: self._label(split, alignable[split], model) for split in SPLITS}
        text = [words for _, words in self._transcripts(TRAIN)]
        decoded = in_arpa or {word for words in text for word in words}
        self.lang = _make_lang(
            {word: lexicon[word] for word in sorted(decoded) if word in lexicon},
            classes,
            arpa=bigram_arpa(text) if given is None else given,
        )

    def has_labels(self, split: str) -> bool:
        """Whether any utterance of the split is aligned."""
        return bool(self._labels[split])

    def labelled_speakers(self, split: str) -> set[str]:
        """Speakers with an aligned utterance."""
        rows = self._kept[split].rows
        return {rows[number].speaker for number in self._labels[split]}

    def left_out(self, split: str) -> dict[str, list[str]]:
        """Reason -> ids of the utterances that are skipped, also those that do not align."""
        of_speech = self._speech.left_out(split).items()
        return {reason: list(ids) for reason, ids in of_speech} | self._left_out[split]

    def trimmed(self, split: str) -> list[str]:
        """Those of the speech."""
        return list(self._speech.trimmed(split))

    def remarks(self, split: str) -> list[str]:
        """Those of the speech, and words that the lexicon lacks."""
        return [*self._speech.remarks(split), *self._remarks[split]]

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances in the order of the speech, with their hard labels."""
        skipped = {id for ids in self._left_out[split].values() for id in ids}
        for number, raw in enumerate(self._kept[split]):
            if raw.id not in skipped:
                labels_T = self._labels[split].get(number)
                yield replace(raw, labels_T=None if labels_T is None else labels_T.astype(np.int32))

    def _transcripts(self, split: str) -> Iterator[tuple[int, Words]]:
        """Number and words of each utterance that has a transcript."""
        for number, row in enumerate(self._kept[split].rows):
            if words := tuple(row.transcript.split()):
                yield number, words

    def _alignable(self, split: str, lexicon: Lexicon) -> Transcribed:
        """The transcribed utterances, less those with unknown words if these are skipped."""
        words_of = dict(self._transcripts(split))
        unknown = Counter(w for words in words_of.values() for w in words if w not in lexicon)
        if unknown:
            self._handle_unknown(split, unknown)
        if unknown and self._settings.unknown_words == "skip":
            lacking = [n for n, words in words_of.items() if not unknown.keys().isdisjoint(words)]
            self._leave_out(split, lacking, UNKNOWN_WORD)
            words_of = {n: words for n, words in words_of.items() if n not in set(lacking)}
        return Transcribed(kept=self._kept[split], words_of=words_of)

    def _handle_unknown(self, split: str, unknown: Counter[str]) -> None:
        found = (
            f"{len(unknown)} words ({unknown.total()} times) are not in the lexicon "
            f"{self._settings.lexicon}: {_some(unknown)}"
        )
        if self._settings.unknown_words == "fail":
            raise BadInput(
                f"{split}: {found}: add them, or set corpus.align.unknown_words to skip (their "
                "utterances are not aligned) or unk (each is aligned as one unknown sound)"
            )
        self._remarks[split].append(f"{found}: they cannot be recognised")

    def _leave_out(self, split: str, numbers: list[int], reason: str) -> None:
        ids = [self._kept[split].rows[number].id for number in numbers]
        if split == TRAIN and ids:
            self._left_out[split][reason] = ids
        elif ids:
            self._remarks[split].append(f"{len(ids)} utterances have no hard labels: {reason}")

    def _train(self, train: Transcribed, lexicon: Lexicon) -> tuple[AlignmentModel, UnitClasses]:
        unknown = {w for words in train.words_of.values() for w in words if w not in lexicon}
        hmms = Hmms(
            pronunciations=lexicon | dict.fromkeys(unknown, ((UNKNOWN,),)),
            states_per_phone=self._settings.states,
        )
        if not train.words_of:
            raise BadInput("no utterance of train can be aligned: wanted transcripts of its words")
        return Aligner(
            train, hmms, self._settings, passes=self._passes, progress=self._progress
        ).train()

    def _inputs(self, alignable: Mapping[str, Transcribed], lexicon: Lexicon) -> object:
        """All that the passes depend on, as plain data."""
        return {
            "settings": self._settings.identity(),
            "lexicon": lexicon,
            "words": {split: dict(speech.words_of) for split, speech in alignable.items()},
            "speech": {split: kept.digest() for split, kept in self._kept.items()},
            "versions": [torch.__version__, np.__version__],
        }

    def _label(self, split: str, speech: Transcribed, model: AlignmentModel) -> Alignment:
        """The class of every frame, by the number of the utterance."""
        name = f"labels-{split}"
        labels = self._passes.read_alignment(name)
        if labels is None:
            labels = model.label(speech, title=f"align {split}", progress=self._progress)
            self._passes.write_alignment(name, labels)
        self._leave_out(split, [n for n in speech.words_of if n not in labels], TOO_SHORT)
        if not labels and split != "test":
            raise BadInput(
                f"no utterance of {split} can be aligned: {len(speech.words_of)} have transcripts "
                f"with known words, all have {TOO_SHORT}"
            )
        return labels


def _make_lang(lexicon: Lexicon, classes: UnitClasses, *, arpa: str) -> Lang:
    entries = tuple(
        Pronunciation(word, units_of(phones)) for word, many in lexicon.items() for phones in many
    )
    names = sorted({unit for entry in entries for unit in entry.units})
    return Lang(
        lexicon=entries,
        units={unit: classes.of(unit) for unit in (SILENCE, *names)},
        arpa=arpa,
        num_classes=classes.num_classes,
    )


def _some(words: Counter[str]) -> str:
    most = [word for word, _ in words.most_common(SHOWN)]
    return ", ".join(most) + (", ..." if len(words) > SHOWN else "")
