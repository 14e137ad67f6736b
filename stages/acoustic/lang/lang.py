"""Lang: lexicon, units with their pdfs, and language model, in Kaldi's formats.

    lexicon.txt   WORD unit unit ...       a line per pronunciation
    units.txt     unit pdf pdf ...         the left-to-right HMM states of a unit
    lm.arpa       n-gram model over words  ARPA back-off format

Units include their context, so that no context transducer is needed. SIL is optional silence.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from stages.acoustic.kaldi.text_file import read_text
from stages.contract.errors import BadInput
from storage.files.fingerprint import fingerprint
from storage.files.publish import publish_file

SILENCE = "SIL"
FILES = ("lexicon.txt", "units.txt", "lm.arpa")
RESERVED = frozenset({"<eps>", "#0", "<s>", "</s>"})  # symbols of words.txt that are not words
WANTED = (
    "a lang needs lexicon.txt, units.txt and lm.arpa, or HCLG.fst, words.txt and transitions.txt"
)
MAX_CLASSES = 1 << 20  # a larger number is damaged: its output layer would take gigabytes
SHOWN = 20  # characters of a wrong number that a message quotes


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """One line of the lexicon."""

    word: str
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lang:
    """A checked lang: every unit of the lexicon has pdfs, every pdf is below num_classes."""

    lexicon: tuple[Pronunciation, ...]
    units: dict[str, tuple[int, ...]]
    arpa: str
    num_classes: int

    @property
    def words(self) -> tuple[str, ...]:
        """The words, sorted, each once."""
        return tuple(sorted({entry.word for entry in self.lexicon}))

    @property
    def class_inventory(self) -> str:
        """Digest of the meaning of class 0, 1, 2 ...: the units of each pdf."""
        units = {unit: list(pdfs) for unit, pdfs in self.units.items()}
        return fingerprint({"num_classes": self.num_classes, "units": units})


def read_lang(directory: Path) -> Lang:
    """Read and check a lang directory. `num_pdfs`, if it exists, contains the number of classes.

    Raises:
        BadInput: naming file and line.
    """
    lexicon_path, units_path = directory / "lexicon.txt", directory / "units.txt"
    units = _read_units(units_path)
    largest_pdf = max((max(pdfs) for pdfs in units.values()), default=-1)
    num_classes = read_num_classes(directory, largest_pdf=largest_pdf)
    for unit, pdfs in units.items():
        if max(pdfs) >= num_classes:
            raise BadInput(
                f"{units_path}: unit {unit} has pdf {max(pdfs)}, wanted below {num_classes}"
            )
    if SILENCE not in units:
        raise BadInput(f"{units_path}: no unit {SILENCE}: add the pdfs of optional silence")
    lexicon = _read_lexicon(lexicon_path, units)
    return Lang(
        lexicon=lexicon, units=units, arpa=_text(directory / "lm.arpa"), num_classes=num_classes
    )


def write_lang(lang: Lang, directory: Path) -> None:
    """Write a lang directory for `read_lang`."""
    directory.mkdir(parents=True, exist_ok=True)
    lexicon = "".join(f"{entry.word} {' '.join(entry.units)}\n" for entry in lang.lexicon)
    units = "".join(f"{unit} {' '.join(map(str, pdfs))}\n" for unit, pdfs in lang.units.items())
    publish_file(directory / "lexicon.txt", lexicon.encode())
    publish_file(directory / "units.txt", units.encode())
    publish_file(directory / "lm.arpa", lang.arpa.encode())
    publish_file(directory / "num_pdfs", f"{lang.num_classes}\n".encode())


def _text(path: Path) -> str:
    return read_text(path, wanted=WANTED)


def _fields(path: Path) -> list[tuple[int, list[str]]]:
    lines = enumerate(_text(path).splitlines(), start=1)
    return [(number, line.split()) for number, line in lines if line.strip()]


def _read_units(path: Path) -> dict[str, tuple[int, ...]]:
    units: dict[str, tuple[int, ...]] = {}
    for number, (unit, *pdfs) in _fields(path):
        if not pdfs or not all(pdf.isdecimal() for pdf in pdfs):
            raise BadInput(f"{path}:{number}: wanted 'UNIT pdf pdf ...', found {[unit, *pdfs]}")
        if unit in units:
            raise BadInput(f"{path}:{number}: unit {unit} occurs twice")
        if any(len(pdf) > len(str(MAX_CLASSES)) for pdf in pdfs):
            raise BadInput(f"{path}:{number}: unit {unit} has a pdf above {MAX_CLASSES}")
        units[unit] = tuple(int(pdf) for pdf in pdfs)
    return units


def read_num_classes(directory: Path, *, largest_pdf: int) -> int:
    """The number in num_pdfs of the lang or of its parent; without the file, largest_pdf + 1.

    Raises:
        BadInput: if the file does not contain a valid number.
    """
    for path in (directory / "num_pdfs", directory.parent / "num_pdfs"):
        if os.path.lexists(path):
            text = _text(path).strip()
            if not text.isdecimal() or len(text) > len(str(MAX_CLASSES)):
                raise BadInput(f"{path}: wanted one number, found {text[:SHOWN]!r}")
            if not 1 <= int(text) <= MAX_CLASSES:
                raise BadInput(f"{path}: wanted 1 to {MAX_CLASSES} classes, found {text}")
            return int(text)
    return 1 + max(largest_pdf, 0)


def _read_lexicon(path: Path, units: dict[str, tuple[int, ...]]) -> tuple[Pronunciation, ...]:
    lexicon: dict[Pronunciation, None] = {}
    for number, (word, *phones) in _fields(path):
        if word in RESERVED or "\0" in word:
            raise BadInput(f"{path}:{number}: {word!r} is reserved: rename the word")
        unknown = [phone for phone in phones if phone not in units]
        if unknown or not phones:
            raise BadInput(
                f"{path}:{number}: {word} has {'no units' if not phones else unknown}: "
                "wanted units that units.txt lists"
            )
        lexicon[Pronunciation(word, tuple(phones))] = None
    return tuple(lexicon)
