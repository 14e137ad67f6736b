"""record: a store of log-posteriors of any program, added utterance by utterance in any order.

The K best are taken when an utterance is added, and are kept as codes in a file that survives a
kill (spill.py). When the block of code ends without an error, the store is assembled from it and
sealed (recording.py). Its bytes depend neither on the order of the additions nor on interruptions.

Shapes: B utterances, T frames, C classes, K kept ranks.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from storage.contents.manifest import read_head
from storage.contents.metadata import read_metadata
from storage.errors import StoreError
from storage.files.fingerprint import inventory_digest
from storage.files.lock import locked
from storage.format.layout import StoreAbout
from storage.format.pruning import make_pruning
from storage.format.recorded import NOT_RECORDED
from storage.format.records import HEAD, STAGE
from storage.format.shard_plan import fit_chunk_frames
from storage.place.local_folder import LocalFolder
from storage.write.commit import clear_stage
from storage.write.given_batch import Given, given_utterances
from storage.write.given_values import Values, labelled, refuse_unknown
from storage.write.recording import assemble, make_folder, open_spill, refuse_other_store
from storage.write.shard_commit import named_disk_errors
from storage.write.spill import Labelled, Spill
from storage.write.top_k import refuse_too_many

NAMED = 3  # utterances that a message lists


@contextmanager
def record(
    path: Path | str,
    *,
    k: int,
    num_classes: int,
    values: Values = "log_probs",
    ids: Iterable[str] | None = None,
    classes: Iterable[str] | None = None,
    split: str = "train",
    frame_shift_ms: float | None = None,
    subsampling: int = 1,
    temperature: float = 1.0,
    temperatures: Sequence[float] = (),
    keep_mass: float | None = None,
    keep_min_prob: float | None = None,
    made_by: str = "essence.record",
) -> Iterator["Recorder"]:
    """Record soft labels in a store at `path`: a context manager, which seals it at its end.

    After an error or a kill the store is unfinished. The same call goes on with it:
    `Recorder.missing` lists what it lacks. On a sealed store of the same arguments nothing is
    missing, and nothing can be added.

    Args:
        path: a folder on a local disk, which is made.
        k: ranks to keep, at most `num_classes`.
        num_classes: of the model.
        values: what is added: natural logarithms of probabilities, "probs", or "logits", which
            are normalised over the classes.
        ids: all utterances, in the order of the store; without it they are sorted by id.
        classes: their names, in order, by which `match` recognises another inventory.
        split: which part of the corpus this is.
        frame_shift_ms: step between frames, where it is to be compared.
        subsampling: frames of the model's input for each of its output.
        temperature: that the values were computed at.
        temperatures: further ones at which the labels can be read; see docs/training.md.
        keep_mass: keep only the ranks of a frame that have this probability together.
        keep_min_prob: keep only ranks of at least this probability; see docs/library.md.
        made_by: text that names your program.

    Raises:
        StoreMismatch: when a store with other arguments is there, or it was begun by other code.
        StoreError: when an argument does not fit, another process records at `path`, not all `ids`
            were added, or the disk cannot be written.
    """
    path = Path(path)
    refuse_unknown(values)
    refuse_too_many(k, num_classes)
    about = StoreAbout(
        split=split,
        corpus_fingerprint="",  # of what is added
        class_inventory=_inventory(classes, num_classes),
        num_classes=num_classes,
        kept=k,
        members=(),
        weights=(),
        combine="arithmetic",
        temperature=float(temperature),
        temperatures=tuple(map(float, temperatures)),
        shard_frames=fit_chunk_frames(k),  # at least; it depends on what is added
        chunk_frames=fit_chunk_frames(k),
        frame_shift_ms=float(frame_shift_ms or 0),
        subsampling=subsampling,
        left_out=(),
        program_version=made_by,
        pruning=make_pruning(mass=keep_mass, min_prob=keep_min_prob),
    )
    order = None if ids is None else _distinct(ids)
    make_folder(path)
    busy = StoreError(f"{path} is being recorded by another process, or twice in this one")
    with locked(path, busy=busy):
        if (path / HEAD).is_file():
            yield _sealed(path, about, values, order)
            return
        with named_disk_errors(path, {}):
            recorder = Recorder(path, about, open_spill(path, about), values=values, order=order)
        try:
            yield recorder
            recorder._seal()
        finally:
            recorder._close()


class Recorder:
    """A store that is being recorded; made by `record`. `digest` is empty until it is sealed.

    Threads may add at the same time, processes may not.
    """

    def __init__(
        self,
        path: Path,
        about: StoreAbout,
        spill: Spill | None,
        *,
        values: Values,
        order: Sequence[str] | None,
        sealed: Iterable[str] = (),
    ) -> None:
        self.path, self.digest = path, ""
        self._about, self._spill, self._values, self._order = about, spill, values, order
        self._listed, self._sealed = frozenset(order or ()), frozenset(sealed)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, id: object) -> bool:
        return id in self._held

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of the ids that have not been added, in order."""
        return [id for id in ids if id not in self._held]

    def add(
        self,
        ids: str | Sequence[str],
        values: Any,
        lengths: Any = None,
        *,
        inputs: Any = None,
    ) -> None:
        """Add an utterance, or those of a padded batch; all of them, or none after an error.

        Adding an utterance again with the same values changes nothing.

        Args:
            ids: one id, or a list of B.
            values: (T, C), or (B, T, C) padded at the end: numpy or torch, any floating dtype, any
                device. They are natural logarithms of probabilities, unless the recorder was
                told otherwise.
            lengths: frames of each utterance; without it none is padded.
            inputs: what each utterance was computed from, bytes or an array. Only a digest is
                stored, which `match` compares.

        Raises:
            StoreError: naming the utterance and frame, when values are no distribution, arguments
                do not fit, the utterance was added with other values, or the store is sealed.
        """
        given = given_utterances(ids, values, lengths, inputs, num_classes=self._about.num_classes)
        self._refuse_strangers(given)
        if self._spill is None:
            raise StoreError(
                f"{self.path} is sealed, and nothing can be added: name another path, or remove "
                f"it: rm -r {self.path}"
            )
        added = [labelled(one, self._about, self._values) for one in given]
        with self._lock:
            self._spill.append(self._new(self._spill, added))

    @staticmethod
    def _new(spill: Spill, added: Sequence[Labelled]) -> list[Labelled]:
        """Without those that were added before."""
        new = []
        for each in added:
            if each.id not in spill.utterances:
                new.append(each)
            elif not spill.holds(each):
                raise StoreError(
                    f"utterance {each.id!r} was added before, with other values or inputs: add it "
                    "once; after an interruption, only what recorder.missing(ids) returns"
                )
        return new

    @property
    def _held(self) -> Collection[str]:
        return self._sealed if self._spill is None else self._spill.utterances

    def _refuse_strangers(self, given: Sequence[Given]) -> None:
        for each in given:
            if self._order is not None and each.id not in self._listed:
                raise StoreError(
                    f"utterance {each.id!r} is not among the {len(self._listed)} ids that the "
                    "recorder was given"
                )

    def _seal(self) -> None:
        assert self._spill is not None
        order = sorted(self._held) if self._order is None else self._order
        listed = frozenset(order)
        missing, others = self.missing(order), [id for id in self._held if id not in listed]
        if missing or others or not order:
            raise StoreError(
                f"{self.path} is not sealed: {_named('not added', missing)}"
                f"{_named('added and not among ids', others)}"
                f"{'' if order else 'nothing was added'}: the same call goes on"
            )
        self.digest = assemble(self.path, self._about, self._spill, order)

    def _close(self) -> None:
        assert self._spill is not None
        if not self.digest:  # a power cut loses nothing of what an error has interrupted
            self._spill.sync()
        self._spill.close()


def _sealed(path: Path, about: StoreAbout, values: Values, order: Sequence[str] | None) -> Recorder:
    """Of a store that is finished."""
    place = LocalFolder(path)
    found = read_metadata(place)
    refuse_other_store(path, found.about, about)
    if (path / STAGE).exists():  # killed after the seal
        clear_stage(path)
    ids = [row.id for row in found.utterances]
    recorder = Recorder(path, about, None, values=values, order=order, sealed=ids)
    if missing := recorder.missing(order or ()):
        raise StoreError(
            f"{path} is sealed and lacks {_named('of ids', missing)}: record those in another store"
        )
    recorder.digest = read_head(place)
    return recorder


def _inventory(classes: Iterable[str] | None, num_classes: int) -> str:
    if classes is None:
        return NOT_RECORDED
    names = list(classes)
    if len(names) != num_classes:
        raise StoreError(f"{len(names)} classes are named, num_classes is {num_classes}")
    return inventory_digest(names)


def _distinct(ids: Iterable[str]) -> list[str]:
    order = list(ids)
    if len(set(order)) != len(order):
        raise StoreError(f"ids has {len(order)} utterances, of which {len(set(order))} differ")
    return order


def _named(what: str, ids: Sequence[str]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} utterances {what}: {', '.join(map(repr, ids[:NAMED]))}{more}"
