"""Words of transcripts that a lang lacks: an error, or a remark."""

from collections.abc import Mapping, Set

from stages.acoustic.lang.kaldi_graph import KaldiGraph
from stages.acoustic.lang.lang_folder import AnyLang
from stages.contract.errors import BadInput
from stages.corpus.kaldi_settings import UnknownWords

SHOWN = 5  # words that a message lists


def check_words(
    words_in: Mapping[str, Set[str]],
    lang: AnyLang,
    *,
    tables: Mapping[str, object],
    lang_name: str,
    policy: UnknownWords,
    settings: str,
) -> dict[str, list[str]]:
    """Compare the words of each split with the lang; returns the remarks on each.

    `tables` names where the transcripts of each split are, `settings` where the policy is set.

    Raises:
        BadInput: if the lang has none of the words, or lacks one and the policy is to fail.
    """
    known = set(lang.words)
    table, cure = "lexicon.txt", f"add them to {lang_name}/lexicon.txt"
    if isinstance(lang, KaldiGraph):
        table = "words.txt"
        cure = f"rebuild the graph and {lang_name}/words.txt with these words"
    spoken = set().union(*words_in.values())
    if spoken and spoken.isdisjoint(known):
        raise BadInput(
            f"{lang_name}/{table} has none of the words of the transcripts: found "
            f"{_some(known)}, wanted {_some(spoken)}: use the lang that belongs to the "
            "transcripts, with words spelled as they are there"
        )
    remarks: dict[str, list[str]] = {split: [] for split in words_in}
    for split, words in words_in.items():
        unknown = words - known
        if not unknown:
            continue
        found = f"{tables[split]}: {len(unknown)} words are not in the lexicon ({_some(unknown)})"
        if policy == "fail":
            raise BadInput(f"{found}: {cure}, or set {settings}.unknown_words to keep")
        remarks[split].append(f"{found}: kept; they cannot be recognised")
    return remarks


def _some(words: Set[str]) -> str:
    return ", ".join(sorted(words)[:SHOWN]) + (", ..." if len(words) > SHOWN else "")
