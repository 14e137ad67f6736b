"""Kaldi's text tables: one line an utterance, its id first."""

import re
from pathlib import Path

from stages.acoustic.kaldi.objects import Location
from stages.acoustic.kaldi.text_file import read_text
from stages.contract.errors import BadInput

_WITH_OFFSET = re.compile(r"(?P<path>.*[^:]):(?P<offset>\d{1,18})")
_WITH_RANGE = re.compile(r".*\[[\d:,]*\]")


def read_table(path: Path) -> dict[str, str]:
    """id -> the rest of its line ("" where there is none), in the order of the file.

    Raises:
        BadInput: naming the line, where an id comes twice or the text is not UTF-8.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(
        read_text(path, wanted="a split needs feats.scp, text and utt2spk").split("\n"), start=1
    ):
        id, _, rest = line.strip().replace("\t", " ").partition(" ")
        if not id:
            continue
        if id in table:
            raise BadInput(f"{path}:{number}: utterance {id!r} comes twice: keep one line")
        if "\0" in line:
            raise BadInput(f"{path}:{number}: a NUL character: is this a text file?")
        table[id] = rest.strip()
    return table


def read_scp(path: Path) -> dict[str, Location]:
    """id -> where its object is. Relative paths count from the scp's folder, then from here.

    Raises:
        BadInput: for shell pipes, row ranges, and what is not a regular file.
    """
    files: dict[str, Path] = {}
    located: dict[str, Location] = {}
    for id, rest in read_table(path).items():
        name, offset = _split_location(rest, where=f"{path}, utterance {id!r}")
        if name not in files:
            files[name] = _find_file(name, scp=path, id=id)
        located[id] = Location(files[name], offset)
    return located


def _split_location(rest: str, *, where: str) -> tuple[str, int]:
    if rest.startswith("|") or rest.endswith("|"):
        raise BadInput(
            f"{where}: shell pipes are refused: found {rest[:60]!r}; "
            "run it yourself (copy-feats) and name the archive that it makes"
        )
    if not rest:
        raise BadInput(f"{where}: wanted 'ID FILE:OFFSET', found no file")
    if _WITH_RANGE.fullmatch(rest):
        raise BadInput(f"{where}: row ranges are not read: found {rest!r}; use copy-feats")
    match = _WITH_OFFSET.fullmatch(rest)
    return (match["path"], int(match["offset"])) if match else (rest, 0)


def _find_file(name: str, *, scp: Path, id: str) -> Path:
    for candidate in (scp.parent / name, Path(name)):
        if candidate.is_file():
            return candidate
    raise BadInput(
        f"{scp}, utterance {id!r}: {name} is no regular file, neither beside the scp nor from "
        "the working directory: copy the archive there, or mend the path"
    )
