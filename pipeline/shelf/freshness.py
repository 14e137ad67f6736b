"""Freshness: an artefact is named by what it is made of, and is fresh if that name exists.

    work/student-3f9c0a71b2d4/            complete, never changed again
    work/student-3f9c0a71b2d4.partial/    under construction, or left by an interrupted run

A recipe is the stage, its settings and the fingerprints of its inputs. Another setting gives
another name: nothing is overwritten, and with the old setting the old artefact is found again.
contents.py checks that the files of an artefact are still as they were written.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pipeline.errors import Changed, InUse, NotMadeYet
from pipeline.shelf.contents import list_contents, refuse_changed
from pipeline.shelf.record import RECORD, Recipe, encode_record, read_record
from storage.files.leftovers import is_leftover, remove_leftovers, unfinished
from storage.files.lock import locked, waiting
from storage.files.publish import (
    make_directories,
    publish_directory,
    publish_file,
    sync_directory,
)

PARTIAL = ".partial"


class Fill(Protocol):
    """A stage, with everything but its directory given."""

    def __call__(self, *, directory: Path) -> object:
        """Fill `directory`, which may hold what an interrupted run left."""


class Shelf:
    """The work directory: finds artefacts, and publishes new ones."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._checked: set[Path] = set()

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
            Changed: when one of its files is not as it was written.
        """
        if not self.is_fresh(recipe):
            raise NotMadeYet(f"{self.place(recipe)} is not there: run 'essence {command}' first")
        self.check(self.place(recipe))
        return self.place(recipe)

    def check(self, place: Path) -> None:
        """Compare an artefact's files with their digests, once: it never changes.

        Raises:
            Changed: naming the file.
        """
        if place not in self._checked:
            refuse_changed(place)
            self._checked.add(place)

    def found(self, stage: str) -> Iterator[Recipe]:
        """Recipes of all artefacts of a stage, ordered by name."""
        for record in sorted(self.directory.glob(f"{stage}-*/{RECORD}")):
            if not record.parent.name.endswith(PARTIAL):
                made = read_record(record.parent)
                recipe = Recipe(
                    stage=stage,
                    settings=made["settings"],
                    inputs=made["inputs"],
                    remarks=made["remarks"],
                )
                if recipe.name == record.parent.name:  # no copy under another name
                    yield recipe

    def make(self, recipe: Recipe, fill: Fill) -> Path:
        """The artefact's directory. If it is not fresh, `fill` fills a part, which is published.

        After an exception or a kill the part stays as it is, and the stage resumes from it.

        Raises:
            InUse: when another process is filling it.
            Changed: when its place is taken by a directory without a record.
        """
        place, partial = self.place(recipe), self.partial(recipe)
        if self.is_fresh(recipe):
            self.check(place)
            return place
        if os.path.lexists(place):
            raise Changed(f"{place} exists without its {RECORD}: move it away, then run again")
        make_directories(partial)
        with _locked(partial):
            if self.is_fresh(recipe):  # another process published it before the lock was taken
                return place
            remove_leftovers(partial)  # of a killed run; nothing of it is published
            fill(directory=partial)
            publish_file(partial / RECORD, encode_record(recipe))
            list_contents(partial)
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
