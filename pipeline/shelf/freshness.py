"""Freshness: an artefact is named by what it is made of, and is fresh if that name exists.

    work/student-3f9c0a71b2d4/            complete, never changed again
    work/student-3f9c0a71b2d4.partial/    under construction, or left by an interrupted run

A recipe is the stage, its settings and the fingerprints of its inputs. Another setting gives
another name: nothing is overwritten, and with the old setting the old artefact is found again.
record.py has the recipe and its record; contents.py checks that the files of an artefact are still
as they were written.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pipeline.errors import Changed, InUse, NotMadeYet
from pipeline.shelf.contents import list_contents, refuse_changed
from pipeline.shelf.record import (
    RECORD,
    Recipe,
    encode_record,
    read_record,
    refuse_other_name,
)
from storage.errors import EssenceError
from storage.files.fingerprint import SHORT
from storage.files.leftovers import is_leftover, remove_leftovers, unfinished
from storage.files.lock import locked, waiting
from storage.files.publish import (
    make_directories,
    publish_directory,
    publish_file,
    sync_directory,
)

PARTIAL = ".partial"
NAME = re.compile(rf"(?P<stage>[a-z]+)-[0-9a-f]{{{SHORT}}}")  # of an artefact's directory


class Fill(Protocol):
    """A stage, with everything but its directory given."""

    def __call__(self, *, directory: Path) -> object:
        """Fill `directory`, which may hold what an interrupted run left."""


class Shelf:
    """The work directory: finds artefacts, and publishes new ones."""

    def __init__(self, directory: Path, *, note: Callable[[str], None] = lambda _: None) -> None:
        """`note` gets a line for each directory that is left out."""
        self.directory = directory
        self._note = note
        self._checked: set[Path] = set()
        self._left_out: set[Path] = set()

    def place(self, recipe: Recipe) -> Path:
        """Directory of the artefact, whether it exists or not."""
        return self.directory / recipe.name

    def is_fresh(self, recipe: Recipe) -> bool:
        """Does the artefact exist, complete?"""
        return (self.place(recipe) / RECORD).is_file()

    def is_begun(self, recipe: Recipe) -> bool:
        """Has an interrupted run left a part of it?"""
        return self.partial(recipe).is_dir()

    def need(self, recipe: Recipe, *, command: str) -> Path:
        """The artefact's directory.

        Raises:
            NotMadeYet: naming the command that makes it.
            Changed, StorageError: when one of its files is not as it was written.
        """
        place = self.place(recipe)
        if not self.is_fresh(recipe):
            self._refuse_unrecorded(place)
            raise NotMadeYet(f"{place} is not there: run 'essence {command}' first")
        self.check(place, wanted=recipe.fingerprint)
        return place

    def check(self, place: Path, *, wanted: str | None = None) -> None:
        """Compare an artefact with its name, record and digests, once: it never changes.

        `wanted` is the fingerprint of the recipe that it is opened for.

        Raises:
            Changed, StorageError: naming the file.
        """
        if place not in self._checked:
            refuse_changed(place, wanted=wanted)
            self._checked.add(place)

    def damage(self, recipe: Recipe, *, is_thorough: bool) -> str | None:
        """Why the artefact that lies at the place of a recipe cannot be used; None if it can.

        Its record is read; if `is_thorough`, the identity of each of its files, and its weights.
        """
        place = self.place(recipe)
        try:
            if not self.is_fresh(recipe):
                self._refuse_unrecorded(place)
            elif is_thorough:
                refuse_changed(place, wanted=recipe.fingerprint, weights=True)
            else:
                refuse_other_name(place, read_record(place), wanted=recipe.fingerprint)
        except EssenceError as error:
            return str(error)
        return None

    def _refuse_unrecorded(self, place: Path) -> None:
        if os.path.lexists(place) and not (place / RECORD).is_file():
            raise Changed(f"{place} exists without its {RECORD}: move it away, then run again")

    def found(self, stage: str) -> Iterator[Recipe]:
        """Recipes of all artefacts of a stage, ordered by name.

        Other directories of that name (of another program, damaged, renamed) are left out, with a
        note.
        """
        for place in sorted(self.directory.glob(f"{stage}-*")):
            if place.name.endswith(PARTIAL):
                continue
            try:
                yield self._recorded(place, stage)
            except EssenceError as error:
                self.leave_out(place, str(error))

    def _recorded(self, place: Path, stage: str) -> Recipe:
        match = NAME.fullmatch(place.name)
        if not match or match["stage"] != stage:
            raise Changed(f"{place} has no name of an artefact")
        self._refuse_unrecorded(place)
        record = read_record(place)
        refuse_other_name(place, record)
        return record.recipe

    def leave_out(self, place: Path, reason: str) -> None:
        """Note, once, that a directory is left out."""
        if place not in self._left_out:
            self._left_out.add(place)
            self._note(f"{place.name}: left out: {reason}")

    def make(self, recipe: Recipe, fill: Fill) -> Path:
        """The artefact's directory. If it is not fresh, `fill` fills a part, which is published.

        After an exception or a kill the part stays as it is, and the stage resumes from it.

        Raises:
            InUse: when another process is filling it.
            Changed, StorageError: when its place is taken by something else, or it is damaged.
        """
        place, partial = self.place(recipe), self.partial(recipe)
        if self.is_fresh(recipe):
            self.check(place, wanted=recipe.fingerprint)
            return place
        self._refuse_unrecorded(place)
        make_directories(partial)
        with _locked(partial):
            if self.is_fresh(recipe):  # another process published it before the lock was taken
                return place
            remove_leftovers(partial)  # of a killed run; nothing of it is published
            fill(directory=partial)
            files = list_contents(partial)
            publish_file(partial / RECORD, encode_record(recipe, files))
            publish_directory(partial, place)
        return place

    def link(self, recipe: Recipe, *, name: str) -> Path:
        """Let the symbolic link `name` in the work directory point to the artefact.

        Raises:
            Changed: when something else has that name.
        """
        link = self.directory / name
        if link.is_symlink() and link.readlink() == Path(recipe.name):
            return link
        if os.path.lexists(link) and not link.is_symlink():
            raise Changed(
                f"{link} is not the link to the newest {name} that this program makes: move it "
                f"away; the {name} is in {self.place(recipe)}"
            )
        with waiting(self.directory):
            for path in self.directory.iterdir():  # a killed process's link
                if is_leftover(path.name):
                    path.unlink()
            temporary = unfinished(link)
            temporary.symlink_to(recipe.name)
            os.replace(temporary, link)  # a reader finds the old artefact or the new one
            sync_directory(self.directory)
        return link

    def partial(self, recipe: Recipe) -> Path:
        """Directory in which the artefact is made."""
        return self.directory / (recipe.name + PARTIAL)


def _locked(directory: Path) -> AbstractContextManager[None]:
    made = directory.name.removesuffix(PARTIAL)
    busy = InUse(f"another process is making {made}: wait for it, or stop it")
    return locked(directory, busy=busy)


@contextmanager
def reopened(directory: Path) -> Iterator[Path]:
    """A published artefact under construction again, for its stage to make what is missing.

    Raises:
        InUse: when another process is making the same artefact.
    """
    partial = directory.with_name(directory.name + PARTIAL)
    if directory.name.endswith(PARTIAL) or not (directory / RECORD).is_file():
        yield directory  # under construction already, or not made by a stage
        return
    if partial.exists():
        raise InUse(f"{partial} exists too: finish it or remove it first")
    os.rename(directory, partial)
    sync_directory(partial.parent)
    with _locked(partial):
        yield partial
