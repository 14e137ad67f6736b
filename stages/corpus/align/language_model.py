"""Given language model of an aligned corpus: the text of an ARPA file, and its words."""

from pathlib import Path

from stages.acoustic.kaldi.text_file import read_text
from stages.acoustic.lang.lang import RESERVED
from stages.contract.errors import BadInput

UNIGRAMS, SECTION = "\\1-grams:", "\\"


def read_arpa(path: Path) -> str:
    """The text of an ARPA file.

    Raises:
        BadInput: if it cannot be read.
    """
    return read_text(path, wanted="corpus.align.arpa: an ARPA file, or null")


def words_of_arpa(text: str, *, where: Path) -> frozenset[str]:
    """The words of its unigrams.

    Raises:
        BadInput: if there are none.
    """
    lines = iter(text.split("\n"))
    for line in lines:
        if line.strip() == UNIGRAMS:
            break
    words = set()
    for line in lines:
        if line.startswith(SECTION):
            break
        words |= set(line.split()[1:2])
    if not words - RESERVED:
        raise BadInput(f"{where}: no word below {UNIGRAMS}: wanted an ARPA back-off model")
    return frozenset(words - RESERVED)
