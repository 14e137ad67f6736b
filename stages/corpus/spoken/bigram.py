"""sentences -> a bigram language model as ARPA text, with Witten-Bell smoothing.

P(w | h) = (c(h w) + t(h) P(w)) / (c(h) + t(h)), where t(h) is the number of different words seen
after h, and P(w) is smoothed in the same way from 1 / V. An unseen bigram has the same back-off sum
in ARPA form, so that the text is exactly this model (Witten and Bell 1991, IEEE Trans. Information
Theory 37).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

BEGIN, END = "<s>", "</s>"
NEVER = -99.0  # log10, as usual in ARPA files


def bigram_arpa(sentences: Iterable[tuple[str, ...]]) -> str:
    """ARPA text of the model estimated from the sentences, over their words."""
    after: dict[str, Counter[str]] = defaultdict(Counter)
    for words in sentences:
        for history, word in zip((BEGIN, *words), (*words, END), strict=True):
            after[history][word] += 1
    prob = _unigrams(after)
    unigrams = [f"{NEVER}\t{BEGIN}\t{_log10(_backoff(after[BEGIN]))}"]
    bigrams = []
    for word in sorted(prob):
        backoff = f"\t{_log10(_backoff(after[word]))}" if word != END else ""
        unigrams.append(f"{_log10(prob[word])}\t{word}{backoff}")
    for history in sorted(after):
        seen, backoff_prob = after[history], _backoff(after[history])
        for word in sorted(seen):
            share = seen[word] / (seen.total() + len(seen))
            bigrams.append(f"{_log10(share + backoff_prob * prob[word])}\t{history} {word}")
    counts = f"ngram 1={len(unigrams)}\nngram 2={len(bigrams)}"
    sections = [
        f"\\data\\\n{counts}",
        *(
            "\n".join([f"\\{order}-grams:", *lines])
            for order, lines in enumerate((unigrams, bigrams), start=1)
        ),
        "\\end\\",
    ]
    return "\n\n".join(sections) + "\n"


def _unigrams(after: dict[str, Counter[str]]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for seen in after.values():
        counts.update(seen)
    total, kinds = counts.total(), len(counts)
    # t = V for the empty history, shared evenly by V words: each gets one more count.
    return {word: (count + 1) / (total + kinds) for word, count in counts.items()}


def _backoff(seen: Counter[str]) -> float:
    return len(seen) / (seen.total() + len(seen))


def _log10(prob: float) -> str:
    return f"{math.log10(prob):.9f}"
