"""Greedy decoding of tokens: token, character and word errors of each utterance."""

import numpy as np

from stages.acoustic.lang.lang import Pronunciation
from stages.acoustic.lang.token_lang import TokenLang
from stages.evaluate.greedy import GreedyTally
from storage.corpus.utterance import Utterance

TOKENS = ("<blk>", "▁", "a", "b")
LANG = TokenLang(tokens=TOKENS, lexicon=(Pronunciation("ab", ("▁", "a", "b")),), arpa="")


def _row(transcript: str) -> Utterance:
    return Utterance(
        id="u", speaker="s", transcript=transcript, digest="", first_frame=0, num_frames=0
    )


def _logp(*classes: int) -> np.ndarray:
    return np.log(np.eye(len(TOKENS))[list(classes)] * 0.9 + 0.02).astype(np.float32)


def test_greedy_path_is_scored_in_tokens_characters_and_words() -> None:
    tally = GreedyTally(LANG)
    # heard "ab b a", wanted "ab ba"
    path = _logp(1, 1, 2, 0, 3, 3, 1, 3, 1, 2, 0)
    tally.count(path, np.array([1, 2, 3, 1, 3, 2], np.int32), _row("ab ba"))
    found = tally.result()
    assert found.characters is not None
    assert found.words is not None
    assert found.tokens[0].words.errors == 1
    assert found.tokens[0].words.reference_words == 6
    assert found.characters[0].reference == "a b ▁ b a"
    assert (found.characters[0].words.errors, found.characters[0].words.insertions) == (1, 1)
    assert found.words[0].hypothesis == "ab b a"
    assert found.words[0].words.errors == 2
    assert found.blank_share == 2 / 11


def test_utterance_without_tokens_counts_in_words_alone() -> None:
    tally = GreedyTally(LANG)
    tally.count(_logp(1, 2), None, _row("ax"))
    found = tally.result()
    assert found.tokens[0].words.errors == found.tokens[0].words.reference_words == 0
    assert found.words is not None
    assert found.words[0].words.errors == 1


def test_phones_give_neither_characters_nor_words() -> None:
    phones = TokenLang(tokens=("<blk>", "a"), lexicon=LANG.lexicon, arpa="")
    tally = GreedyTally(phones)
    tally.count(_logp(1, 1)[:, :2], np.array([1], np.int32), _row("ab"))
    assert tally.result().characters is None
    assert tally.result().words is None
