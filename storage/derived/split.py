"""Split: some utterances of a sealed store -> another store. Pure functions.

Shards of which all utterances are wanted stay whole; wanted utterances of the others are packed.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from storage.contents.contents import StoreContents
from storage.derived.plan import (
    DerivedPlan,
    Pick,
    ShardRecipe,
    derived_about,
    lay_out,
    pack,
    whole_shards,
)
from storage.errors import StoreError

NAMED = 5  # ids that a message spells out


def plan_split(
    source: StoreContents, rows: Collection[int], *, program_version: str
) -> DerivedPlan:
    """A store of these rows of the table, in its order, with the same settings.

    Raises:
        StoreError: when no row is wanted.
    """
    if not rows:
        raise StoreError(f"{source.place}: no utterance is named: nothing would be left")
    wanted, about = frozenset(rows), source.metadata.about
    recipes: list[ShardRecipe] = []
    loose: list[Pick] = []
    for recipe in whole_shards(0, source.metadata):
        held = recipe.takes[0].rows
        chosen = [row for row in held if row in wanted]
        if len(chosen) < len(held):
            loose += [(0, row) for row in chosen]
            continue
        recipes += pack(loose, [source], shard_frames=about.shard_frames)
        recipes.append(recipe)
        loose = []
    recipes += pack(loose, [source], shard_frames=about.shard_frames)
    derived = derived_about(about, [source], made_by="split", program_version=program_version)
    return lay_out(derived, recipes, [source])


def find_rows(source: StoreContents, ids: Collection[str]) -> frozenset[int]:
    """Rows of the utterance table by id.

    Raises:
        StoreError: naming ids that the store lacks, with the number that its teacher left out.
    """
    row_of = {row.id: index for index, row in enumerate(source.metadata.utterances)}
    unknown = sorted({id for id in ids if id not in row_of})
    if unknown:
        left_out = set(source.metadata.about.left_out) & set(unknown)
        why = f" ({len(left_out)} of them were left out by the teacher)" if left_out else ""
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise StoreError(
            f"{source.place} does not hold {len(unknown)} of the {len(set(ids))} utterances: "
            f"{', '.join(map(repr, unknown[:NAMED]))}{more}{why}: take them off the list"
        )
    return frozenset(row_of[id] for id in ids)


def plan_parts(source: StoreContents, num_parts: int) -> list[range]:
    """Rows of the table in runs of about as many frames each.

    Cut between shards if there are enough of them, otherwise between utterances.

    Raises:
        StoreError: when there are fewer utterances than parts.
    """
    metadata = source.metadata
    num_rows = len(metadata.utterances)
    if num_rows < num_parts:
        raise StoreError(
            f"{source.place} holds {num_rows} utterances, asked {num_parts} parts: ask for fewer"
        )
    last_rows = np.flatnonzero(np.diff(metadata.plan.shard_U.astype(np.int64))) + 1
    ends_E = np.append(last_rows, num_rows)
    if len(ends_E) < num_parts:
        ends_E = np.arange(1, num_rows + 1)
    frames_E = np.cumsum([row.num_frames for row in metadata.utterances])[ends_E - 1]
    cuts = [int(ends_E[at]) for at in _even_cuts(frames_E, num_parts)]
    return [range(*edges) for edges in zip([0, *cuts], [*cuts, num_rows], strict=True)]


def _even_cuts(frames_E: NDArray[np.int64], num_parts: int) -> Sequence[int]:
    """Which ends to cut at: each the nearest to its share of the frames; no part is empty."""
    cuts: list[int] = []
    for part in range(1, num_parts):
        share = frames_E[-1] * part / num_parts
        first = cuts[-1] + 1 if cuts else 0
        last = len(frames_E) - 1 - (num_parts - part)  # the parts after this one need ends too
        above = int(np.searchsorted(frames_E, share))
        below_is_nearer = above and share - frames_E[above - 1] <= frames_E[above] - share
        cuts.append(min(max(above - 1 if below_is_nearer else above, first), last))
    return cuts
