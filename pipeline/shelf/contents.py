"""Contents: digests of an artefact's files, taken when it was made, and the check against them.

    work/student-3f9c0a71b2d4/made.json       names files.sha256 and all data files by digest
    work/student-3f9c0a71b2d4/files.sha256    the others, as `sha256sum -c files.sha256` reads it

Data files are corpus files, stores and weights (of foreign members all files of the model): their
readers check every block that they read. So when an artefact is opened, only their identities and
sizes are compared, and weights unless they are large.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import Changed
from pipeline.shelf.record import RECORD, DataFile, Files, read_record, refuse_other_name
from stages.contract.results import SPEED_FILE
from stages.members.foreign.model_files import FOLDER as FOREIGN
from storage.contents.manifest import read_head
from storage.files.fingerprint import SHORT, file_digest
from storage.files.publish import publish_file
from storage.place.find_place import find_place

LIST = "files.sha256"
CORPUS, WEIGHTS, STORE = ".h5", ".safetensors", ".zarr"
QUARANTINE = ".quarantine"  # left by a repair of a store
HASHED_BYTES = 1 << 26  # weights of up to 64 MiB are hashed at each opening: 40 ms
NOT_LISTED = (LIST, RECORD, SPEED_FILE)
DIGEST_DIGITS = 64
M = TypeVar("M", bound=BaseModel)
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[^\n]+)")


def list_contents(directory: Path) -> Files:
    """Write the list of a complete artefact. Returns what its record names."""
    names = [path.relative_to(directory).as_posix() for path in sorted(plain_files(directory))]
    lines = [f"{file_digest(directory / name)}  {name}\n" for name in names]
    publish_file(directory / LIST, "".join(lines).encode())
    data = {path.relative_to(directory).as_posix(): path for path in sorted(data_files(directory))}
    return Files(
        listed=file_digest(directory / LIST),
        data={
            name: DataFile(digest=_digest(path), num_bytes=_bytes(path))
            for name, path in data.items()
        },
    )


def read_json(model: type[M], path: Path) -> M:
    """A JSON file of an artefact.

    Raises:
        Changed: when it is missing, or not as it was written.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as cause:
        how = cause.strerror if isinstance(cause, OSError) else cause.errors()[0]["msg"]
        raise Changed(
            f"{path} is damaged ({how}): remove {path.parent} and make it again"
        ) from cause


def refuse_changed(directory: Path, *, wanted: str | None = None, weights: bool = False) -> None:
    """Compare an artefact with its name, its record and their digests.

    `wanted` is the fingerprint of the recipe that it is opened for. With `weights`, the bytes of
    large weights are compared, too; otherwise `load_model` does that when they are read.

    Raises:
        Changed: naming the file, and what to do.
        StorageError: when a corpus file or a store is missing or damaged.
    """
    record = read_record(directory)
    refuse_other_name(directory, record, wanted=wanted)
    for name, digest in listed_files(directory, record.files):
        _refuse_other_file(directory, name, wanted=digest)
    for path in directory.glob(f"*{CORPUS}"):
        _refuse_other_split(directory, path)
    for name, data in record.files.data.items() if record.files else ():
        _refuse_other_data(directory, name, wanted=data, weights=weights)


def refuse_changed_files(directory: Path) -> None:
    """Compare the files of a copy of an artefact, whatever its name, with its record.

    Raises:
        Changed: naming the file.
    """
    for name, digest in listed_files(directory, read_record(directory).files):
        _refuse_other_file(directory, name, wanted=digest)


def listed_files(directory: Path, files: Files | None) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of each file in the list; nothing of an early artefact without a list.

    Raises:
        Changed: when the list is not the one that was written.
    """
    path = directory / LIST
    if files is None and not path.is_file():
        return
    if files is not None:
        _refuse_other_file(directory, LIST, wanted=files.listed)
    for line in path.read_bytes().splitlines():
        match = _LINE.fullmatch(line.decode("utf-8", errors="replace"))
        if not match:
            raise Changed(f"{path} is damaged: remove {directory} and make it again")
        yield match["name"], match["digest"]


def _refuse_other_file(directory: Path, name: str, *, wanted: str) -> None:
    path = directory / name
    _refuse_other(directory, name, file_digest(path) if path.is_file() else "no file", wanted)


def _refuse_other(directory: Path, name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise Changed(
            f"{directory / name} has changed (found {_short(found)}, wanted {_short(wanted)}): "
            f"remove {directory} and make it again"
        )


def _short(text: str) -> str:
    """The first digits of a digest; a text of another kind as it is."""
    return text[:SHORT] if len(text) == DIGEST_DIGITS else text


def _refuse_other_split(directory: Path, path: Path) -> None:
    """Also of an early artefact: its corpus files state which split they hold."""
    split, _ = _identity(path)
    if split != path.stem:
        raise Changed(
            f"{path} holds the split {split}: were files exchanged? Remove {directory} and make "
            "it again"
        )


def _refuse_other_data(directory: Path, name: str, *, wanted: DataFile, weights: bool) -> None:
    path = directory / name
    if not path.exists():
        raise Changed(f"{path} is missing: restore it, or remove {directory} and make it again")
    _refuse_other(directory, name, f"{_bytes(path)} bytes", f"{wanted.num_bytes} bytes")
    is_large = is_weights(path) and path.stat().st_size > HASHED_BYTES
    if weights or not is_large:
        _refuse_other(directory, name, _digest(path), wanted.digest)


def _digest(path: Path) -> str:
    if is_weights(path):
        return file_digest(path)
    if path.suffix == CORPUS:
        return _identity(path)[1]
    if path.suffix == STORE:
        return read_head(find_place(path))
    return file_digest(path)


def _identity(path: Path) -> tuple[str, str]:
    """Split and digest of a corpus file."""
    # Here, not at the top: h5py takes a while to load, and `essence status` opens no corpus file.
    from storage.corpus.corpus_file import read_identity

    return read_identity(path)


def _bytes(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def is_weights(path: Path) -> bool:
    """Whether a file of an artefact holds weights, or is a foreign member's."""
    return path.suffix == WEIGHTS or path.parent.name == FOREIGN


def data_files(directory: Path) -> Iterator[Path]:
    """Corpus files, weights and stores."""
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        is_data = path.suffix in (CORPUS, STORE) or (is_weights(path) and path.is_file())
        if is_data and not any(map(_is_store, name.parts[:-1])):
            yield path


def plain_files(directory: Path) -> Iterator[Path]:
    """All files but data files, the record, the list and what is no part of the result."""
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        is_data = path.suffix == CORPUS or is_weights(path) or any(map(_is_store, name.parts))
        if path.is_file() and not is_data and path.name not in NOT_LISTED:
            yield path


def _is_store(part: str) -> bool:
    return part.endswith((STORE, STORE + QUARANTINE))
