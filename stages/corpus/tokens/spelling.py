"""words -> tokens: by their characters, by a lexicon of phones, or by a SentencePiece model."""

import io
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from stages.acoustic.lang.token_lang import BLANK_TOKEN, WORD_START
from stages.contract.errors import BadInput

Spelling = tuple[str, ...]


class Speller(Protocol):
    """Spells words. The tokens do not have the blank."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens, in the order of their classes from 1 on."""

    def spellings(self, word: str) -> tuple[Spelling, ...]:
        """The spellings of a word, the first being that of transcripts; none if it has none."""


@dataclass(frozen=True, slots=True)
class Characters:
    """A word is WORD_START and its characters, each composed with its accents."""

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> "Characters":
        """The characters of these words."""
        found = {character for word in words for character in _composed(word)}
        return cls((WORD_START, *sorted(found - {WORD_START})))

    def spellings(self, word: str) -> tuple[Spelling, ...]:
        """None for a word with another character."""
        characters = tuple(_composed(word))
        is_known = bool(characters) and set(characters) <= set(self.tokens[1:])
        return ((WORD_START, *characters),) if is_known else ()


@dataclass(frozen=True, slots=True)
class Phones:
    """A word is a pronunciation of the lexicon; transcripts have the first one."""

    of_word: Mapping[str, tuple[Spelling, ...]]

    @property
    def tokens(self) -> tuple[str, ...]:
        """All phones of the lexicon, sorted."""
        several = (phones for spellings in self.of_word.values() for phones in spellings)
        return tuple(sorted({phone for phones in several for phone in phones}))

    def spellings(self, word: str) -> tuple[Spelling, ...]:
        """None for a word that the lexicon lacks."""
        return self.of_word.get(word, ())


class Pieces:
    """Word pieces of a SentencePiece model."""

    def __init__(self, model: bytes, *, where: str) -> None:
        try:
            self._model = _sentencepiece().SentencePieceProcessor(model_proto=model)
        except RuntimeError as cause:
            raise BadInput(f"{where} is not a model of SentencePiece") from cause
        model_of, numbers = self._model, range(self._model.get_piece_size())
        self.tokens: tuple[str, ...] = tuple(
            model_of.id_to_piece(number)
            for number in numbers
            if not (model_of.is_control(number) or model_of.is_unknown(number))
        )
        if BLANK_TOKEN in self.tokens or any(" " in token for token in self.tokens):
            raise BadInput(f"{where}: a piece has a blank or is {BLANK_TOKEN}: train another one")

    @classmethod
    def read(cls, path: Path) -> "Pieces":
        """The model in a file.

        Raises:
            BadInput: if it cannot be read.
        """
        try:
            return cls(path.read_bytes(), where=f"corpus.tokens.piece_model: {path}")
        except OSError as cause:
            raise BadInput(f"corpus.tokens.piece_model: {path} cannot be read: {cause}") from cause

    @classmethod
    def train(cls, text: Iterable[str], *, num_pieces: int) -> "Pieces":
        """A unigram model of a text, with at most `num_pieces`. The same text gives the same one.

        Raises:
            BadInput: if the text has too many characters for that number.
        """
        trained = io.BytesIO()
        try:
            _sentencepiece().SentencePieceTrainer.train(
                sentence_iterator=iter(text),
                model_writer=trained,
                vocab_size=num_pieces + 1,  # and <unk>, which is no token
                hard_vocab_limit=False,
                character_coverage=1.0,
                normalization_rule_name="identity",
                bos_id=-1,
                eos_id=-1,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as cause:
            reason = " ".join(str(cause).split())
            raise BadInput(
                f"corpus.tokens.num_pieces is {num_pieces}, and SentencePiece finds no such pieces "
                f"in the transcripts of train ({reason}): raise or lower it"
            ) from cause
        return cls(trained.getvalue(), where="the trained model")

    def spellings(self, word: str) -> tuple[Spelling, ...]:
        """None for a word with a character that the model lacks."""
        pieces = tuple(self._model.encode(word, out_type=str))
        return (pieces,) if pieces and set(pieces) <= set(self.tokens) else ()


def _composed(word: str) -> str:
    return unicodedata.normalize("NFC", word)


def _sentencepiece() -> Any:
    return import_module("sentencepiece")  # an extra: only word pieces need it
