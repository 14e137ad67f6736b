"""Files of a lang folder and of decoding graphs: their names, and which form a folder has."""

from pathlib import Path

from stages.acoustic.lang.lang import FILES as LEXICON_FILES
from stages.contract.errors import BadInput

GRAPH_FILE = "HLG.fst"
GRAPH_FORMAT = 2  # 2: an OpenFst const file; 1: vector
WORDS_FILE = "words.txt"
HCLG_FILE = "HCLG.fst"
TRANSITIONS_FILE = "transitions.txt"
PHONES_FILE = "phones.txt"
KALDI_FILES = (HCLG_FILE, WORDS_FILE, TRANSITIONS_FILE)
WANTED_GRAPH = f"Kaldi's graph needs {', '.join(KALDI_FILES)}"


def holds_kaldi_graph(directory: Path) -> bool:
    """Does the folder contain a graph of Kaldi, not a lexicon?

    Raises:
        BadInput: if it has files of both.
    """
    kaldi = [name for name in (HCLG_FILE, TRANSITIONS_FILE) if (directory / name).is_file()]
    lexicon = [name for name in LEXICON_FILES if (directory / name).is_file()]
    if kaldi and lexicon:
        raise BadInput(
            f"{directory} has {kaldi[0]} and {lexicon[0]}, wanted either {', '.join(KALDI_FILES)} "
            f"or {', '.join(LEXICON_FILES)}: remove the files of one form"
        )
    return bool(kaldi)
