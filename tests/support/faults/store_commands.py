"""Commands on stores that a fault meets: on small inputs, begun or continued, in this process.

`prepare` makes the inputs below a folder; `run` makes, or continues, the store at a path in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from storage.derived.merge import plan_merge
from storage.derived.recode import plan_recode
from storage.derived.split import plan_split
from storage.derived.store import write_derived
from storage.exchange.arrays import ArraySource
from storage.exchange.plan import Identity, plan_import
from storage.exchange.survey import survey
from storage.exchange.take_in import take_in
from storage.format.pruning import Pruning
from storage.read.reader import open_store
from storage.transfer.plan import EVERYTHING, Selection
from storage.write.recorder import record
from tests.support.makers.store import fill_store, make_about, make_logp, make_utterances
from tests.support.makers.transfer import copy
from tests.support.stores import contents_of

LENGTHS = (5, 0, 6, 3)
ABOUT = make_about(num_classes=5, kept=1, shard_frames=12, chunk_frames=4)
SMALL = {"num_classes": 7, "shard_frames": 12, "chunk_frames": 4}
MANY_RANKS = make_about(kept=5, pruning=Pruning(mass=0.9), **SMALL)


RECORDED: dict[str, Any] = {
    "k": 2,
    "num_classes": 5,
    "keep_mass": 0.9,
    "temperatures": (2.0,),
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a fault meets."""

    prepare: Callable[[Path], object]
    run: Callable[[Path], object]


def build(path: Path) -> str:
    """A store, as a teacher writes it."""
    return fill_store(path, ABOUT, LENGTHS)


def prepare(folder: Path) -> None:
    """What `merge` reads: three shards in two stores."""
    rows = make_utterances(LENGTHS)
    fill_store(folder / "sources/a.zarr", ABOUT, utterances=rows[:3])
    fill_store(folder / "sources/b.zarr", ABOUT, utterances=rows[3:])


def merge(path: Path) -> str:
    """The two stores as one."""
    sources = [contents_of(path.parent / f"sources/{name}.zarr") for name in "ab"]
    plan = plan_merge(sources, recode=False, program_version="0.1.0")
    return write_derived(path, plan, sources)


def _one_store(folder: Path) -> None:
    fill_store(folder / "sources/a.zarr", MANY_RANKS, LENGTHS)


def _split(path: Path) -> None:
    source = contents_of(path.parent / "sources/a.zarr")
    write_derived(path, plan_split(source, frozenset((0, 3)), program_version="0.1.0"), [source])


def _recode(path: Path) -> None:
    source = contents_of(path.parent / "sources/a.zarr")
    write_derived(path, plan_recode(source, "zstd", program_version="0.1.0"), [source])


def _arrays(folder: Path) -> None:
    (folder / "arrays").mkdir()
    for number, length in enumerate(LENGTHS):
        np.save(folder / f"arrays/utt-{number}.npy", make_logp(length, 7, seed=number))


def take_in_arrays(path: Path) -> str:
    """The arrays as a store."""
    source = ArraySource(path.parent / "arrays")
    identity = Identity(split="train", frame_shift_ms=10.0)
    plan = plan_import(survey(source), identity, k=1, normalise=False, program_version="0.1.0")
    small = replace(plan, about=replace(plan.about, shard_frames=12, chunk_frames=4))
    return take_in(path, small, source).digest


def export(path: Path) -> None:
    """A store as a Kaldi archive at `path`, and its scp."""
    # Here: the other commands need no package that reads Kaldi's files.
    from stages.acoustic.kaldi.posterior_export import Export, export_store
    from stages.acoustic.kaldi.specifier import ToWrite

    target = ToWrite(path, path.with_name(f"{path.name}.scp"), is_text=False)
    store = open_store(path.parent / "sources/a.zarr")
    export_store(store, Export(target=target, k=3, is_dense=False))


def _plain_store(folder: Path) -> None:
    rows = [replace(row, id=f"utt-{n}") for n, row in enumerate(make_utterances(LENGTHS))]
    fill_store(folder / "sources/a.zarr", MANY_RANKS, utterances=rows)


def _copy(path: Path, selection: Selection = EVERYTHING) -> None:
    copy(path.parent / "sources/a.zarr", path, selection, num_threads=1)


def record_all(path: Path) -> str:
    """A recording of what is missing, one utterance after the other, the last one first."""
    utterances = {f"utt-{at}": length for at, length in enumerate(LENGTHS)}
    with record(path, **RECORDED) as recorder:
        for id in reversed(recorder.missing(utterances)):
            recorder.add(id, make_logp(utterances[id], 5, seed=int(id[-1])), inputs=id.encode())
    return recorder.digest


COMMANDS = {
    "record": Command(lambda _: None, record_all),
    "label": Command(lambda _: None, build),
    "merge": Command(prepare, merge),
    "split": Command(_one_store, _split),
    "recode": Command(_one_store, _recode),
    "import": Command(_arrays, take_in_arrays),
    "export": Command(_plain_store, export),
    "copy": Command(_one_store, _copy),  # a push to a folder and a pull are the same
    "copy of a part": Command(_one_store, partial(_copy, selection=Selection(ks=(1,)))),
}
