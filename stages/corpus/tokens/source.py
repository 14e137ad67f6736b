"""TokenSource: speech with transcripts -> a source with token sequences and a lang of tokens.

No alignment is made. Utterances of train with a word that has no spelling are left out; those of
dev and test stay without tokens, since their words are scored.

Shapes: L tokens of an utterance.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.lang import RESERVED, Lang, Pronunciation
from stages.acoustic.lang.phones import phones_of
from stages.acoustic.lang.token_lang import BLANK_TOKEN, TokenLang
from stages.contract.errors import BadInput
from stages.corpus.align.language_model import read_arpa, words_of_arpa
from stages.corpus.align.lexicon import pronounce
from stages.corpus.align.settings import AlignSettings
from stages.corpus.raw import RawUtterance
from stages.corpus.source import SPLITS, KeptSpeech
from stages.corpus.spoken.bigram import bigram_arpa
from stages.corpus.tokens.settings import TokenSettings
from stages.corpus.tokens.spelling import Characters, Phones, Pieces, Speller

TRAIN = "train"
NO_SPELLING = "a word without a spelling in tokens"


class TokenSource:
    """Three splits of speech with token sequences.

    `given` is a lang that the speech has: its lexicon gives phones, its language model is used.
    Utterances without a transcript are kept as untranscribed speech.

    Raises:
        BadInput: if a file is damaged, or no utterance of train has a transcript with tokens.
        MissingPart: if sentencepiece or espeak-ng is wanted and not installed.
    """

    def __init__(self, speech: KeptSpeech, settings: TokenSettings, *, given: Lang | None) -> None:
        self._speech = speech
        self._kept = {split: speech.kept(split) for split in SPLITS}
        text = [words for row in self._kept[TRAIN].rows if (words := row.transcript.split())]
        if not text:
            raise BadInput("train has no transcript: wanted some, of which tokens are made")
        arpa = given.arpa if given else None
        in_arpa: frozenset[str] = frozenset(given.words) if given else frozenset()
        if settings.arpa is not None:
            arpa = read_arpa(settings.arpa)
            in_arpa = words_of_arpa(arpa, where=settings.arpa)
        spoken = {word for row in self._all_rows() for word in row.transcript.split()}
        self._speller = _make_speller(settings, text, words=spoken | in_arpa, given=given)
        self._number_of = {t: number for number, t in enumerate(self._speller.tokens, start=1)}
        decoded = in_arpa or {word for words in text for word in words}
        self.lang = TokenLang(
            tokens=(BLANK_TOKEN, *self._speller.tokens),
            lexicon=tuple(
                Pronunciation(word, spelling)
                for word in sorted(decoded - RESERVED)
                for spelling in self._speller.spellings(word)
            ),
            arpa=bigram_arpa([tuple(words) for words in text]) if arpa is None else arpa,
        )
        if not self.lang.lexicon:
            raise BadInput(f"no word of train has tokens ({settings.inventory}), as {text[0][0]!r}")

    def has_labels(self, split: str) -> bool:
        """False: there is no alignment."""
        return False

    def labelled_speakers(self, split: str) -> set[str]:
        """Speakers with an utterance that has tokens."""
        rows = self._kept[split].rows
        return {row.speaker for row in rows if self._tokens(row.transcript) is not None}

    def left_out(self, split: str) -> dict[str, list[str]]:
        """Reason -> ids of the utterances that are skipped, also those without a spelling."""
        left_out = {reason: list(ids) for reason, ids in self._speech.left_out(split).items()}
        if split == TRAIN and (ids := self._unspelled(split)):
            left_out[NO_SPELLING] = ids
        return left_out

    def trimmed(self, split: str) -> list[str]:
        """None: tokens are of no length of frames."""
        return []

    def remarks(self, split: str) -> list[str]:
        """Those of the speech, and utterances whose words have no spelling."""
        remarks = list(self._speech.remarks(split))
        if split != TRAIN and (ids := self._unspelled(split)):
            remarks.append(f"{len(ids)} utterances have {NO_SPELLING}: only words are scored")
        return remarks

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances in the order of the speech, with their tokens."""
        for raw in self._speech.utterances(split):
            tokens_L = self._tokens(raw.transcript)
            if split == TRAIN and tokens_L is None and raw.transcript.split():
                continue
            yield replace(raw, labels_T=None, tokens_L=tokens_L)

    def _all_rows(self) -> Iterator[RawUtterance]:
        for kept in self._kept.values():
            yield from kept.rows

    def _unspelled(self, split: str) -> list[str]:
        rows = self._kept[split].rows if split in self._kept else []
        return [r.id for r in rows if r.transcript.split() and self._tokens(r.transcript) is None]

    def _tokens(self, transcript: str) -> NDArray[np.int32] | None:
        """The ids (L,) of a transcript; None if it is empty or a word has no spelling."""
        numbers: list[int] = []
        for word in transcript.split():
            spellings = self._speller.spellings(word)
            if not spellings:
                return None
            numbers += [self._number_of[token] for token in spellings[0]]
        return np.array(numbers, np.int32) if numbers else None


def _make_speller(
    settings: TokenSettings, text: list[list[str]], *, words: set[str], given: Lang | None
) -> Speller:
    if settings.inventory == "characters":
        return Characters.of(word for words in text for word in words)
    if settings.inventory == "pieces" and settings.piece_model is not None:
        return Pieces.read(settings.piece_model)
    if settings.inventory == "pieces":
        return Pieces.train((" ".join(words) for words in text), num_pieces=settings.num_pieces)
    if settings.lexicon is not None:
        return Phones(pronounce(words, AlignSettings(lexicon=settings.lexicon)))
    phones = None if given is None else phones_of(given)
    if phones is None:
        raise BadInput(
            "corpus.tokens.inventory is phones and no lexicon is given: set corpus.tokens.lexicon "
            "to a file, or to espeak:LANGUAGE"
        )
    return Phones(phones.of_word)
