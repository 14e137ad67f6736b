"""Commands on stores that a fault meets: on small inputs, begun or continued, in this process.

`prepare` makes the inputs below a folder; `run` makes, or continues, the store at a path in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from storage.derived.merge import plan_merge
from storage.derived.split import plan_split
from storage.derived.store import write_derived
from storage.transfer.plan import EVERYTHING, Selection
from tests.support.makers.store import fill_store, make_about, make_utterances
from tests.support.makers.transfer import copy
from tests.support.stores import contents_of

LENGTHS = (5, 0, 6, 3)
ABOUT = make_about(num_classes=5, kept=1, shard_frames=12, chunk_frames=4)
MANY_RANKS = make_about(num_classes=7, kept=5, shard_frames=12, chunk_frames=4)


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


def _copy(path: Path, selection: Selection = EVERYTHING) -> None:
    copy(path.parent / "sources/a.zarr", path, selection, num_threads=1)


COMMANDS = {
    "label": Command(lambda _: None, build),
    "merge": Command(prepare, merge),
    "split": Command(_one_store, _split),
    "copy": Command(_one_store, _copy),  # a push to a folder and a pull are the same
    "copy of a part": Command(_one_store, partial(_copy, selection=Selection(ks=(1,)))),
}
