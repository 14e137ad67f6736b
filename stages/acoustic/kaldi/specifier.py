"""Specifiers: how Kaldi's users name archives, 'ark:FILE', 'scp:FILE', 'ark,t,scp:FILE,FILE'.

Shell pipes and standard input are refused: what is read here is read twice.
"""

from dataclasses import dataclass
from pathlib import Path

from stages.contract.errors import BadInput

# Of rspecifiers: about order and reading ahead, which do not matter here; text is recognised.
READ_OPTIONS = {"o", "no", "s", "ns", "cs", "ncs", "t", "b", "bg"}
WRITE_OPTIONS = {"t", "b", "f", "nf"}


@dataclass(frozen=True, slots=True)
class ToRead:
    """An archive, or the list of objects in archives."""

    path: Path
    is_scp: bool


@dataclass(frozen=True, slots=True)
class ToWrite:
    """An archive, and the list of its objects if one is wanted."""

    path: Path
    scp: Path | None
    is_text: bool


def parse_to_read(text: str) -> ToRead:
    """'ark:FILE', 'scp:FILE', or a path, which is an scp if its name ends so.

    Raises:
        BadInput: for pipes, standard input and unknown options.
    """
    kinds, name = _split(text)
    _refuse_pipe(text, name)
    if not kinds:
        return ToRead(Path(name), name.endswith(".scp"))
    rest = kinds - READ_OPTIONS
    if rest not in ({"ark"}, {"scp"}):
        raise BadInput(f"{text}: wanted ark:FILE or scp:FILE, found {','.join(sorted(kinds))}")
    return ToRead(Path(name), rest == {"scp"})


def parse_to_write(text: str) -> ToWrite:
    """'ark:FILE', 'ark,t:FILE', 'ark,scp:FILE,FILE', 'ark,t,scp:FILE,FILE', or a path.

    Raises:
        BadInput: for anything else.
    """
    kinds, name = _split(text)
    _refuse_pipe(text, name)
    files = name.split(",") if "scp" in kinds else [name]
    if (kinds - WRITE_OPTIONS) not in (set(), {"ark"}, {"ark", "scp"}) or not all(files):
        raise BadInput(f"{text}: wanted ark:FILE, ark,t:FILE or ark,scp:FILE,FILE, or a path")
    if len(files) != 1 + ("scp" in kinds):
        raise BadInput(f"{text}: wanted two files, of the archive and of its scp: ark,scp:A,B")
    scp = Path(files[1]) if "scp" in kinds else None
    return ToWrite(Path(files[0]), scp, "t" in kinds)


def _split(text: str) -> tuple[set[str], str]:
    """The words before the colon, if these are Kaldi's; the rest."""
    head, colon, rest = text.partition(":")
    words = head.split(",")
    if colon and words and ({"ark", "scp"} & set(words)):
        return set(words), rest
    return set(), text


def _refuse_pipe(text: str, name: str) -> None:
    name = name.strip()
    if name.startswith("|") or name.endswith("|") or name in ("-", ""):
        raise BadInput(
            f"{text}: shell pipes and standard input are refused, since archives are read twice: "
            "name a file; archives may be compressed (.gz)"
        )
