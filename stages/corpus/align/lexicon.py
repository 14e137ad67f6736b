"""words -> their pronunciations: from a file, by espeak-ng, or by their letters."""

import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Set
from importlib.util import find_spec
from pathlib import Path

from stages.acoustic.kaldi.text_file import read_text
from stages.acoustic.lang.lang import RESERVED, SILENCE
from stages.contract.errors import BadInput, MissingPart, StageError
from stages.corpus.align.settings import ESPEAK, AlignSettings
from stages.corpus.align.transcript_hmm import Phones

ROOT = Path(__file__).parents[3]
ESPEAK_PROGRAM = (sys.executable, "-m", "stages.corpus.align.espeak_words")
NO_LANGUAGE = 3  # its exit code
UNKNOWN = "UNK"  # the phone of a word that the lexicon lacks
CONTEXT_MARKS = "-+#"  # of the names of units
Lexicon = dict[str, tuple[Phones, ...]]


def pronounce(words: Set[str], settings: AlignSettings) -> Lexicon:
    """The pronunciations of those words that have any; in order of the words.

    Raises:
        BadInput: if the lexicon is damaged, or espeak-ng does not have the language.
        MissingPart: if espeak-ng is not installed.
    """
    wanted = sorted(words - RESERVED)
    if settings.lexicon_file is not None:
        listed = read_lexicon(settings.lexicon_file)
        return {word: listed[word] for word in wanted if word in listed}
    if settings.lexicon.startswith(ESPEAK):
        phones = _by_espeak(wanted, language=settings.lexicon.removeprefix(ESPEAK))
    else:
        phones = [_letters(word) for word in wanted]
    return {word: (spelled,) for word, spelled in zip(wanted, phones, strict=True) if spelled}


def read_lexicon(path: Path) -> Lexicon:
    """Read `word phone phone ...`, a line for each pronunciation.

    Raises:
        BadInput: naming file and line.
    """
    lexicon: dict[str, dict[Phones, None]] = {}
    text = read_text(path, wanted="corpus.align.lexicon: a file, graphemes, or espeak:LANGUAGE")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        word, *phones = line.split()
        if not phones:
            raise BadInput(f"{path}:{number}: {word} has no phones: wanted `word phone phone ...`")
        _refuse_reserved(phones, where=f"{path}:{number}")
        lexicon.setdefault(word, {})[tuple(phones)] = None
    if not lexicon:
        raise BadInput(f"{path} is empty: wanted a line `word phone phone ...` for each word")
    return {word: tuple(several) for word, several in lexicon.items()}


def _refuse_reserved(phones: Iterable[str], *, where: str) -> None:
    for phone in phones:
        if phone in (UNKNOWN, SILENCE) or (marks := set(phone) & set(CONTEXT_MARKS)):
            why = "is reserved" if phone in (UNKNOWN, SILENCE) else f"contains {sorted(marks)[0]!r}"
            raise BadInput(
                f"{where}: the phone {phone!r} {why}: rename it; units are named "
                "LEFT-PHONE+RIGHT, with # at the ends of words"
            )


def _letters(word: str) -> Phones:
    """Letters, digits and marks of a word in lower case, each letter with its accents."""
    composed = unicodedata.normalize("NFC", word.lower())
    return tuple(letter for letter in composed if unicodedata.category(letter)[0] in "LNM")


def _by_espeak(words: list[str], *, language: str) -> list[Phones]:
    if find_spec("espeakng_loader") is None:
        raise MissingPart(
            "corpus.align.lexicon: espeak-ng is not installed: run pip install '.[demo]' in a "
            "checkout of the program, or give a lexicon file, or graphemes"
        )
    done = subprocess.run(
        [*ESPEAK_PROGRAM, language],
        cwd=ROOT,
        input="".join(f"{word.lower()}\n" for word in words),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode == NO_LANGUAGE:
        raise BadInput(
            f"corpus.align.lexicon: espeak-ng has no language {language!r}: wanted one of its "
            "voices, as cs, nl or en-us"
        )
    lines = done.stdout.split("\n")[:-1]
    if done.returncode != 0 or len(lines) != len(words):
        raise StageError(
            f"espeak-ng gave {len(lines)} pronunciations for {len(words)} words: {done.stderr}"
        )
    return [tuple(line.split()) for line in lines]
