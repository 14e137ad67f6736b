"""Verify: everything that lies in a work directory, every byte of it against its digests.

Opening an artefact compares records, lists and identities (contents.py), and readers compare what
they read. Here all content is read: of artefacts, of what is under construction, of the cache.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors import Changed, NotMadeYet
from pipeline.shelf.contents import (
    CORPUS,
    STORE,
    data_files,
    is_weights,
    listed_files,
    plain_files,
)
from pipeline.shelf.freshness import NAME, PARTIAL
from pipeline.shelf.named_stores import CACHE
from pipeline.shelf.record import Files, read_record, refuse_other_name
from storage.care.verify import plan_verify, verify_store
from storage.corpus.corpus_file import CorpusFile
from storage.errors import EssenceError, StoreUnreachable
from storage.files.fingerprint import SHORT, file_digest
from storage.files.regular_file import open_regular
from storage.place.find_place import find_place

CHECKPOINT = "checkpoint-*.safetensors"
State = Literal["sound", "damaged", "unreadable", "under construction", "not checked"]
Advance = Callable[[int], None]


@dataclass(slots=True)
class Checked:
    """One entry of the work directory. `remarks` are no damage."""

    name: str
    num_bytes: int = 0  # that were read
    problems: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    is_unfinished: bool = False
    is_artefact: bool = True

    @property
    def state(self) -> State:
        """The worst of what was found."""
        if self.problems:
            return "damaged"
        if self.unreadable:
            return "unreadable"
        if self.is_unfinished:
            return "under construction"
        return "sound" if self.is_artefact else "not checked"


def plan_work(work: Path) -> list[tuple[Path, int]]:
    """What lies in a work directory, and its bytes.

    Raises:
        NotMadeYet: when there is no such directory.
    """
    if not work.is_dir():
        raise NotMadeYet(f"{work} is no directory: name a work directory")
    entries = [path for path in sorted(work.iterdir()) if not _is_pointer(path)]
    return [(path, sum(map(_size, _below(path)))) for path in entries]


def verify_work(entries: Iterable[tuple[Path, int]], *, advance: Advance) -> Iterator[Checked]:
    """Each entry, checked. `advance` gets the bytes of each file."""
    for path, num_bytes in entries:
        found = Checked(name=path.name)

        def count(read: int, found: Checked = found) -> None:
            found.num_bytes += read
            advance(read)

        _verify_entry(path, found, count)
        advance(max(0, num_bytes - found.num_bytes))  # what was not read, so that the bar ends
        yield found


def _verify_entry(path: Path, found: Checked, advance: Advance) -> None:
    check = _Check(path, found, advance)
    if path.name == CACHE:
        check.cache()
    elif path.name.endswith(PARTIAL) and NAME.fullmatch(path.name.removesuffix(PARTIAL)):
        check.unfinished()
    elif NAME.fullmatch(path.name):
        check.artefact()
    else:
        found.is_artefact = False


@dataclass(frozen=True, slots=True)
class _Check:
    directory: Path
    found: Checked
    advance: Advance

    def artefact(self) -> None:
        """Record, list, every file; files that no list has are a remark."""
        with _Noted(self.found):
            record = read_record(self.directory)
            refuse_other_name(self.directory, record)
            if record.files is None:
                self.found.remarks.append("made before digests of all files were recorded")
            names = self._list(record.files)
            self._data(record.files)
            strange = [
                path.relative_to(self.directory).as_posix()
                for path in plain_files(self.directory)
                if path.relative_to(self.directory).as_posix() not in names
            ]
            if strange:
                self.found.remarks.append(f"not listed: {', '.join(sorted(strange))}")

    def _list(self, files: Files | None) -> set[str]:
        names = set()
        with _Noted(self.found):
            for name, wanted in listed_files(self.directory, files):
                names.add(name)
                self._compare(name, wanted)
        return names

    def _data(self, files: Files | None) -> None:
        wanted = {name: data.digest for name, data in files.data.items()} if files else {}
        here = {path.relative_to(self.directory).as_posix() for path in data_files(self.directory)}
        for name in sorted(wanted.keys() | here):
            if name not in wanted and Path(name).match(CHECKPOINT):
                continue  # see `unfinished`; a finished trunk has one, and its digest
            with _Noted(self.found):
                self._data_file(name, wanted.get(name))

    def _data_file(self, name: str, wanted: str | None) -> None:
        path = self.directory / name
        if not path.exists():
            raise Changed(f"{path} is missing: restore it, or remove {self.directory}")
        if is_weights(path):
            self._compare(name, wanted or _weights_digest(path))
        elif path.suffix == CORPUS:
            self._corpus(path, wanted)
        elif path.suffix == STORE:
            self._store(path, wanted)

    def _compare(self, name: str, wanted: str | None) -> None:
        path = self.directory / name
        found = file_digest(path) if path.is_file() else "no file"
        self.advance(_size(path))
        if wanted is None:
            self.found.remarks.append(f"{name}: no digest is known")
        elif found != wanted:
            self.found.problems.append(
                f"{path} has changed (found {found[:SHORT]}, wanted {wanted[:SHORT]})"
            )

    def _corpus(self, path: Path, wanted: str | None) -> None:
        with CorpusFile(path) as corpus:
            frame_bytes = _size(path) // max(1, corpus.num_frames)
            if corpus.about.split != path.stem or wanted not in (None, corpus.fingerprint):
                raise Changed(
                    f"{path} is {corpus.about.split} of the corpus {corpus.fingerprint[:SHORT]}: "
                    f"wanted {path.stem} of {(wanted or 'this corpus')[:SHORT]}"
                )
            corpus.check_content(lambda frames: self.advance(frames * frame_bytes))

    def _store(self, path: Path, wanted: str | None) -> None:
        plan = plan_verify(find_place(path), allow_unfinished=self.found.is_unfinished)
        if wanted not in (None, plan.digest):
            raise Changed(
                f"{path} is the store {plan.digest[:SHORT]}, wanted {(wanted or '')[:SHORT]}"
            )
        verified = verify_store(plan, data=True, advance=self.advance)
        self.found.problems += [f"{path}/{each.name}: {each.text}" for each in verified.problems]

    def unfinished(self) -> None:
        """What an interrupted run left to go on from: stores, checkpoints, finished files."""
        self.found.is_unfinished = True
        self._data(None)
        for head in filter(Path.is_file, self.directory.rglob("checkpoint.json")):
            # Here, not at the top: it loads torch, and there is seldom a checkpoint.
            from stages.training.checkpoint import check_checkpoint

            with _Noted(self.found):
                check_checkpoint(head.parent)
                self.advance(_size(head))

    def cache(self) -> None:
        """Objects are named by their digests; a damaged one is fetched again when it is read."""
        entries = [path for path in self.directory.iterdir() if path.is_file()]
        objects = [path for path in entries if _is_digest(path.name)]
        damaged = 0
        for path in objects:
            with _Noted(self.found):
                damaged += file_digest(path) != path.name
                self.advance(_size(path))
        if damaged:
            self.found.remarks.append(f"{damaged} damaged objects: they are fetched again")


@dataclass(frozen=True, slots=True)
class _Noted:
    """Collects the error that ends a part of the check, so that the rest is checked too."""

    found: Checked

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, OSError | StoreUnreachable):
            self.found.unreadable.append(str(error))
        elif isinstance(error, EssenceError):
            self.found.problems.append(str(error))
        else:
            return False
        return error is not None


def _weights_digest(path: Path) -> str | None:
    """What the model's description states; None if there is none yet."""
    try:
        with open_regular(path.parent / "model.json") as file:
            return str(json.load(file)["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_pointer(path: Path) -> bool:
    """A link to an artefact of the same work directory, as `report` is."""
    return path.is_symlink() and os.sep not in str(path.readlink())


def _below(path: Path) -> Iterator[Path]:
    yield from path.rglob("*") if path.is_dir() else (path,)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_digest(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", name) is not None
