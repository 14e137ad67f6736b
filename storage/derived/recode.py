"""Recode: a sealed store -> the same values in format 2, with other codecs. A pure function.

The shards hold the same utterances; every chunk is decompressed, compressed again and compared.
"""

from dataclasses import replace

from storage.contents.contents import StoreContents
from storage.derived.plan import DerivedPlan, derived_about, lay_out, whole_shards
from storage.errors import StoreError
from storage.format.codec import CODINGS, CodecChoice


def plan_recode(source: StoreContents, codec: CodecChoice, *, program_version: str) -> DerivedPlan:
    """A store of all utterances, in the same shards.

    Raises:
        StoreError: when the source has these codecs already, in format 2.
    """
    about, coding = source.metadata.about, CODINGS[codec]
    if about.coding == coding:
        raise StoreError(
            f"{source.place} is in {coding} already: copy it with 'essence cache pull'"
        )
    derived = derived_about(
        replace(about, coding=coding), [source], made_by="recode", program_version=program_version
    )
    recipes = (replace(recipe, whole=None) for recipe in whole_shards(0, source.metadata))
    return lay_out(derived, recipes, [source])
