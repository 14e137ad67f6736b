"""Merge: sealed stores of different utterances, otherwise alike -> one store. Pure functions.

Every shard stays whole. Stores of other codecs or shard sizes must be encoded again, with
`recode`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from storage.contents.contents import StoreContents
from storage.derived.plan import (
    DerivedPlan,
    derived_about,
    lay_out,
    pack,
    whole_shards,
)
from storage.errors import StoreError, StoreMismatch
from storage.format.layout import StoreAbout, differences, fields_of

NAMED = 5  # utterances that a message spells out
# Fields in which stores of one labelling may differ.
OWN_FIELDS = ("corpus_fingerprint", "left_out", "program_version", "origin")
# Fields that may differ where all shards are encoded again.
CODING_FIELDS = ("shard_frames", "chunk_frames", "coding")


def plan_merge(
    sources: Sequence[StoreContents], *, recode: bool, program_version: str
) -> DerivedPlan:
    """All utterances of the sources, in their order.

    With `recode` the shards are filled again, and sizes, formats and codecs of the sources may
    differ; the new store has those of the first source of the newest format.

    Raises:
        StoreMismatch: when the sources were not made alike, field by field, or an utterance is
            in two of them with different content.
        StoreError: when an utterance is in two of them, or there are not two sources.
    """
    if len(sources) < 2:
        raise StoreError(f"found {len(sources)} store, wanted two or more to merge")
    for other in sources[1:]:
        _refuse_unlike(sources[0], other, recode=recode)
    _refuse_shared(sources)
    about = replace(_sized(sources), left_out=_left_out(sources))
    about = derived_about(about, sources, made_by="merge", program_version=program_version)
    if not recode:
        held = [r for at, source in enumerate(sources) for r in whole_shards(at, source.metadata)]
        return lay_out(about, held, sources)
    picks = [(at, row) for at, s in enumerate(sources) for row in range(len(s.metadata.utterances))]
    return lay_out(about, pack(picks, sources, shard_frames=about.shard_frames), sources)


def _refuse_unlike(first: StoreContents, other: StoreContents, *, recode: bool) -> None:
    ignored = {*OWN_FIELDS, *(CODING_FIELDS if recode else ())}
    found, wanted = (_settings(source.metadata.about, ignored) for source in (other, first))
    lines = differences(found, wanted)
    if not lines:
        return
    only_coding = all(line.startswith(CODING_FIELDS) for line in lines)
    raise StoreMismatch(
        f"{other.place} cannot be merged with {first.place}: {'; '.join(lines)}: "
        + (
            "add --recode, which encodes the same values in one format and in shards of one size"
            if only_coding
            else "merge stores of one split that the same ensemble labelled with the same settings"
        )
    )


def _settings(about: StoreAbout, ignored: set[str]) -> dict[str, Any]:
    return {name: value for name, value in fields_of(about).items() if name not in ignored}


def _refuse_shared(sources: Sequence[StoreContents]) -> None:
    """No utterance may be in two stores: either one could be meant."""
    place_of: dict[str, tuple[int, str]] = {}
    same: list[str] = []
    other: list[str] = []
    for at, source in enumerate(sources):
        for row in source.metadata.utterances:
            before, digest = place_of.setdefault(row.id, (at, row.digest))
            if before == at:
                continue
            text = f"{row.id!r} of {sources[before].place} and {source.place}"
            (same if digest == row.digest else other).append(text)
    if other:
        raise StoreMismatch(
            f"{len(other)} utterances are in two stores with different content (features or hard "
            f"labels): {_listed(other)}: these are no parts of one corpus"
        )
    if same:
        raise StoreError(
            f"{len(same)} utterances are in two stores, with the same content: {_listed(same)}: "
            "cut them out of one with 'essence cache split', or leave that store out"
        )


def _sized(sources: Sequence[StoreContents]) -> StoreAbout:
    """The first store's settings, the newest format, shards for the longest utterance of any."""
    abouts = [source.metadata.about for source in sources]
    chunk_frames = max(about.chunk_frames for about in abouts)
    shard_frames = max(about.shard_frames for about in abouts)
    whole = -(-shard_frames // chunk_frames) * chunk_frames
    newest = max((about.coding for about in abouts), key=lambda coding: coding.format_version)
    return replace(abouts[0], chunk_frames=chunk_frames, shard_frames=whole, coding=newest)


def _left_out(sources: Sequence[StoreContents]) -> tuple[str, ...]:
    """Refused in one store, and labelled in none."""
    labelled = {row.id for source in sources for row in source.metadata.utterances}
    refused = [id for source in sources for id in source.metadata.about.left_out]
    return tuple(id for id in dict.fromkeys(refused) if id not in labelled)


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more
