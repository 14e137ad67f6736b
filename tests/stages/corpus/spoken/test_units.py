"""Units, their classes, and the language model."""

import math
from collections import Counter

import kaldilm
import numpy as np
import pytest

from stages.acoustic.lang.lang import SILENCE
from stages.corpus.spoken.bigram import BEGIN, END, bigram_arpa
from stages.corpus.spoken.lexicon import keep_pronunciations
from stages.corpus.spoken.sentences import sentence
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.units import UnitClasses, left_context, phone_of_unit, units_of


def classes_of(counts: dict, min_count: int = 10) -> UnitClasses:
    return UnitClasses(
        Counter(counts), phones=("AE", "K", "T"), states_per_unit=2, min_count=min_count
    )


def test_units_name_their_neighbours_within_the_word():
    assert units_of(["K", "AE", "T"]) == ("#-K+AE", "K-AE+T", "AE-T+#")
    assert units_of(["EY"]) == ("#-EY+#",)
    assert phone_of_unit("K-AE+T") == phone_of_unit("K-AE") == phone_of_unit("AE") == "AE"
    assert left_context("K-AE+T") == "K-AE"


def test_contexts_that_are_frequent_have_separate_classes():
    classes = classes_of({("#-K+AE", 0): 11, ("#-K+AE", 1): 12, ("T-K+AE", 0): 10})
    assert classes.of("#-K+AE")[0] != classes.of("T-K+AE")[0]
    assert classes.num_classes == 3 + 3 + 4  # silence, the contexts, AE and T alone


def test_phone_with_too_few_frames_shares_its_most_frequent_context():
    classes = classes_of({("#-K+AE", 0): 11, ("T-K+AE", 0): 12, ("AE-K+T", 0): 3})
    assert classes.of("AE-K+T")[0] == classes.of("T-K+AE")[0]


def test_contexts_that_are_rare_share_the_left_context_then_the_phone():
    classes = classes_of(
        {("#-K+AE", 0): 6, ("#-K+T", 0): 6, ("T-K+AE", 0): 4, ("AE-K+T", 0): 7, ("K-K+T", 0): 9}
    )
    assert classes.of("#-K+AE")[0] == classes.of("#-K+T")[0]
    assert classes.of("#-K+AE")[0] != classes.of("T-K+AE")[0]
    assert classes.of("T-K+AE")[0] == classes.of("AE-K+T")[0] == classes.of("K-K+T")[0]


def test_contexts_without_frames_have_classes():
    classes = classes_of({("#-K+AE", 0): 11, ("#-K+AE", 1): 11, ("T-K+AE", 0): 99})
    assert classes.of("K-K+K")[0] == classes.of("T-K+AE")[0]
    assert classes.of("#-T+#") != classes.of("#-AE+#")


def test_classes_are_numbered_without_gaps():
    rng = np.random.default_rng(3)
    counts = {
        (f"{left}-{phone}+{right}", state): int(rng.integers(0, 20))
        for left in ("#", "K", "T")
        for phone in ("AE", "K", "T")
        for right in ("#", "AE")
        for state in (0, 1)
    }
    classes = classes_of(counts)
    used = {pdf for unit, _ in counts for pdf in classes.of(unit)} | set(classes.of(SILENCE))
    assert used == set(range(classes.num_classes))


def test_pronunciations_that_are_rare_are_left_out_but_one():
    settings = SpokenSettings(max_pronunciations=2, min_pronunciation_share=0.2)
    heard = Counter({("K",): 50, ("T",): 30, ("AE",): 21, ("P",): 1})
    assert keep_pronunciations(heard, settings) == [("K",), ("T",)]
    many = Counter({(str(i),): 1 for i in range(9)})
    assert len(keep_pronunciations(many, settings)) == 1


def read_arpa(arpa: str) -> tuple[dict[str, float], dict[str, float], dict[tuple[str, str], float]]:
    """An independent ARPA reader: unigram, back-off and bigram probabilities."""
    unigrams, backoffs, bigrams = {}, {}, {}
    for line in arpa.splitlines():
        fields = line.split("\t")
        if len(fields) < 2:
            continue
        words, prob = fields[1].split(), 10 ** float(fields[0])
        if len(words) == 1:
            unigrams[words[0]] = prob
            backoffs[words[0]] = 10 ** float(fields[2]) if len(fields) == 3 else math.nan
        else:
            bigrams[words[0], words[1]] = prob
    return unigrams, backoffs, bigrams


def text(num_sentences: int) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(17)
    return [sentence(rng) for _ in range(num_sentences)]


@pytest.mark.parametrize("num_sentences", [7, 900])
def test_bigram_probabilities_after_any_word_sum_to_one(num_sentences):
    unigrams, backoffs, bigrams = read_arpa(bigram_arpa(text(num_sentences)))
    words = [word for word in unigrams if word != BEGIN]
    assert math.fsum(unigrams[word] for word in words) == pytest.approx(1, abs=1e-6)
    for history in (BEGIN, *words):
        if history == END:
            continue
        follow = (
            bigrams.get((history, word), backoffs[history] * unigrams[word]) for word in words
        )
        assert math.fsum(follow) == pytest.approx(1, abs=1e-6)


def test_bigram_is_that_of_witten_and_bell():
    unigrams, _, bigrams = read_arpa(bigram_arpa([("A", "B"), ("A", "A"), ("B",)]))
    # A is followed by B, A, END once each; five words and three ends in all, three kinds.
    assert unigrams["A"] == pytest.approx((3 + 1) / (8 + 3))
    assert bigrams["A", "B"] == pytest.approx((1 + 3 * (2 + 1) / (8 + 3)) / (3 + 3))


def test_bigram_prefers_sentences_of_the_grammar():
    arpa = bigram_arpa(text(3000))
    unigrams, backoffs, bigrams = read_arpa(arpa)
    assert bigrams["TURN", "THE"] > 100 * backoffs["TURN"] * unigrams["TURN"]
    assert {word for words in text(3000) for word in words} == set(unigrams) - {BEGIN, END}


def test_bigram_is_read_by_kaldilm(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(bigram_arpa(text(50)), encoding="utf-8")
    fst = kaldilm.arpa2fst(input_arpa=str(path), disambig_symbol="#0", max_order=2)
    assert len(fst.splitlines()) > 50
