"""Kaldi's text tables: a line per utterance, which starts with its id."""

import re
from pathlib import Path

from stages.acoustic.kaldi.location import Location
from stages.acoustic.kaldi.text_file import read_text
from stages.contract.errors import BadInput

_WITH_OFFSET = re.compile(r"(?P<path>.*[^:]):(?P<offset>\d{1,18})")
_WITH_RANGE = re.compile(r".*\[[\d:,]*\]")


def read_table(path: Path) -> dict[str, str]:
    """id -> the rest of its line (may be empty), in the order of the file.

    Raises:
        BadInput: if an id occurs twice or the text is not UTF-8; names the line.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(
        read_text(path, wanted="a split needs feats.scp, text and utt2spk").split("\n"), start=1
    ):
        id, _, rest = line.strip().replace("\t", " ").partition(" ")
        if not id:
            continue
        if id in table:
            raise BadInput(f"{path}:{number}: utterance {id!r} occurs twice: keep one line")
        if "\0" in line:
            raise BadInput(f"{path}:{number}: a NUL character: is this a text file?")
        table[id] = rest.strip()
    return table


def read_scp(path: Path) -> dict[str, Location]:
    """id -> location of its object.

    Relative paths are looked up in the folder of the scp, then in the working directory.

    Raises:
        BadInput: for shell pipes, row ranges, and paths that are not regular files.
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
            "run the command (copy-feats) and list the archive that it writes"
        )
    if not rest:
        raise BadInput(f"{where}: wanted 'ID FILE:OFFSET', found no file")
    if _WITH_RANGE.fullmatch(rest):
        raise BadInput(f"{where}: row ranges are not supported: found {rest!r}; use copy-feats")
    match = _WITH_OFFSET.fullmatch(rest)
    return (match["path"], int(match["offset"])) if match else (rest, 0)


def _find_file(name: str, *, scp: Path, id: str) -> Path:
    for candidate in (scp.parent / name, Path(name)):
        if candidate.is_file():
            return candidate
    raise BadInput(
        f"{scp}, utterance {id!r}: {name} is not a regular file, relative to the scp or to the "
        "working directory: copy the archive there, or correct the path"
    )
