"""Derived store: a plan and its source stores -> a sealed store, by the ordinary commit protocol.

A process that is killed at any instruction leaves a store under construction; the same call goes
on from there, to the same bytes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

from storage.contents.contents import StoreContents
from storage.derived.plan import DerivedPlan, ShardRecipe
from storage.derived.shard import ShardRecoder, taken_objects
from storage.errors import StoreError, StorePartial
from storage.format.layout import frame_arrays
from storage.format.partial_copy import in_words, joined
from storage.write.path_check import refuse_other_place
from storage.write.writer import StoreWriter


def write_derived(
    path: Path,
    plan: DerivedPlan,
    sources: Sequence[StoreContents],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> str:
    """Fill and seal the store at `path`. Returns its digest. `advance` gets the frames done.

    Raises:
        StoreMismatch: when another store is there.
        StorePartial: when a source is a partial copy that lacks something of the plan.
        StoreCorrupt: when a source is damaged; finished shards stay.
        StoreError: when `path` and a source lie in one another, or it cannot be written.
    """
    _refuse_other_place(path, sources)
    _refuse_partial(plan, sources)
    writer = StoreWriter.create_planned(
        path, plan.about, utterances=plan.utterances, plan=plan.shards
    )
    recoder = ShardRecoder(plan.about, sources)
    missing = set(writer.missing_shards())
    for shard, recipe in enumerate(plan.recipes):
        if shard in missing:
            writer.write_objects(shard, _objects(recipe, sources, recoder, as_shard=shard))
        advance(sum(plan.utterances[row].num_frames for row in writer.shard(shard)))
    return writer.seal()


def _objects(
    recipe: ShardRecipe, sources: Sequence[StoreContents], recoder: ShardRecoder, *, as_shard: int
) -> dict[str, bytes]:
    if recipe.whole is None:
        return recoder.objects(recipe, as_shard=as_shard)
    return taken_objects(sources[recipe.takes[0].source], recipe.whole, as_shard=as_shard)


def _refuse_partial(plan: DerivedPlan, sources: Sequence[StoreContents]) -> None:
    """All ranks and log norms of the shards that are read must be here."""
    needed: list[set[int]] = [set() for _ in sources]
    for take in (take for recipe in plan.recipes for take in recipe.takes):
        needed[take.source].update(sources[take.source].metadata.plan.shard_U[list(take.rows)])
    for source, shards in zip(sources, needed, strict=True):
        part = source.part
        if part is None:
            continue
        arrays = [array.name for array in frame_arrays(source.metadata.about)]
        absent = joined(
            (shard, shard)
            for shard in map(int, shards)
            if not all(part.has(name, shard) for name in arrays)
        )
        if absent:
            listed = in_words(absent)
            raise StorePartial(
                f"{source.place} is a partial copy, without all ranks of shards {listed}: run "
                f"'essence cache pull --shards {listed} {quote(part.source)} "
                f"{quote(str(source.place))}' first"
            )


def _refuse_other_place(path: Path, sources: Sequence[StoreContents]) -> None:
    """Nothing may be written into a sealed store, around one, or among other things."""
    ours = path.resolve()
    for source in sources:
        if source.place.folder is None:
            continue
        theirs = source.place.folder.resolve()
        if ours == theirs or ours in theirs.parents or theirs in ours.parents:
            raise StoreError(
                f"{path} and {source.place}, which is read, lie in one another: name another place"
            )
    refuse_other_place(path)
