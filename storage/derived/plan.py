"""Derived plan: which shard of a new store holds which utterances of sealed ones. Pure functions.

A shard that is taken with all its utterances keeps its objects byte for byte. Others are encoded
again from the values that are stored, which stay what they are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import numpy as np

from storage.contents.contents import StoreContents
from storage.contents.metadata import StoreMetadata
from storage.files.fingerprint import fingerprint
from storage.format.layout import StoreAbout, StoreUtterance
from storage.format.origin import Origin
from storage.format.shard_plan import ShardPlan, plan_shards

Pick = tuple[int, int]  # which source, which row of its utterance table


@dataclass(frozen=True, slots=True)
class Take:
    """Utterances of one source, as rows of its table."""

    source: int
    rows: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecipe:
    """The utterances of a shard. `whole` is the source's shard whose objects stay as they are."""

    takes: tuple[Take, ...]
    whole: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedPlan:
    """A new store: its metadata, and how to make each shard."""

    about: StoreAbout
    utterances: tuple[StoreUtterance, ...]
    shards: ShardPlan
    recipes: tuple[ShardRecipe, ...]

    @property
    def num_frames(self) -> int:
        """Frames of all utterances."""
        return sum(row.num_frames for row in self.utterances)

    @property
    def num_whole(self) -> int:
        """Shards whose objects stay as they are."""
        return sum(recipe.whole is not None for recipe in self.recipes)


def lay_out(
    about: StoreAbout, recipes: Iterable[ShardRecipe], sources: Sequence[StoreContents]
) -> DerivedPlan:
    """The new store's table. Without any recipe it has one shard, which is empty."""
    recipes = tuple(recipes) or (ShardRecipe(takes=(), whole=None),)
    utterances: list[StoreUtterance] = []
    shards, offsets = [], []
    for shard, recipe in enumerate(recipes):
        used = 0
        for take in recipe.takes:
            table = sources[take.source].metadata.utterances
            for row in take.rows:
                utterances.append(table[row])
                shards.append(shard)
                offsets.append(used)
                used += table[row].num_frames
    plan = ShardPlan(
        num_shards=len(recipes),
        shard_U=np.array(shards, dtype=np.uint32),
        offset_U=np.array(offsets, dtype=np.uint64),
    )
    return DerivedPlan(about=about, utterances=tuple(utterances), shards=plan, recipes=recipes)


def whole_shards(source: int, metadata: StoreMetadata) -> Iterator[ShardRecipe]:
    """Each shard of a store that holds an utterance, as it is."""
    for shard in range(metadata.plan.num_shards):
        if rows := metadata.plan.utterances(shard):
            yield ShardRecipe(takes=(Take(source, rows),), whole=shard)


def pack(
    picks: Sequence[Pick], sources: Sequence[StoreContents], *, shard_frames: int
) -> Iterator[ShardRecipe]:
    """Utterances in the order given, in shards that are filled one after the other.

    Raises:
        StoreError: when an utterance is longer than a shard.
    """
    if not picks:
        return
    lengths = [sources[at].metadata.utterances[row].num_frames for at, row in picks]
    plan = plan_shards(lengths, shard_frames)
    for shard in range(plan.num_shards):
        rows = plan.utterances(shard)
        by_source = groupby(picks[rows.start : rows.stop], key=itemgetter(0))
        takes = tuple(Take(at, tuple(row for _, row in run)) for at, run in by_source)
        yield ShardRecipe(takes=takes, whole=None)


def derived_about(
    about: StoreAbout, sources: Sequence[StoreContents], *, made_by: str, program_version: str
) -> StoreAbout:
    """The attributes of a store that is made from others: with its origin."""
    corpora = tuple(dict.fromkeys(name for source in sources for name in _corpora(source)))
    return replace(
        about,
        corpus_fingerprint=corpora[0] if len(corpora) == 1 else fingerprint(list(corpora)),
        program_version=program_version,
        origin=Origin(
            made_by=made_by,
            stores=tuple(source.digest for source in sources),
            corpora=corpora,
        ),
    )


def _corpora(source: StoreContents) -> tuple[str, ...]:
    about = source.metadata.about
    known = about.origin.corpora if about.origin else ()
    return known or (about.corpus_fingerprint,)
