"""Transfer source: a sealed store that is to be copied, and its objects piece by piece.

A source is not trusted: never more is read of an object than its record allows, and the target
compares the digest of the bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.contents.contents import StoreContents
from storage.contents.listed_objects import refuse_odd_objects
from storage.contents.manifest import read_head, read_manifest_bytes, read_objects
from storage.contents.metadata import metadata_among, metadata_in, refuse_other_version
from storage.contents.part import read_part_of
from storage.errors import StoreMismatch, StorePartial
from storage.format.records import ObjectRecord, decode_manifest, manifest_name
from storage.place.find_place import find_place
from storage.place.place import Place

KEPT_BYTES = 1 << 24  # of a small object that is read for its content and then moved


@dataclass(frozen=True, slots=True)
class Source:
    """A sealed store. `manifest` are the bytes of its manifest, `held` those of small objects.

    Small objects are read before they are moved; from a server they are requested once.
    """

    contents: StoreContents
    manifest: bytes
    held: Mapping[str, bytes]

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self.contents.place

    def pieces(self, name: str, record: ObjectRecord) -> Iterator[bytes]:
        """An object's bytes, as many as its record lists.

        Raises:
            StoreCorrupt: when it is missing, shorter or longer.
            StoreUnreachable: when the system or the server does not let us read.
        """
        if name in self.held:
            yield self.held[name]
        else:
            yield from self.place.pieces(name, record.num_bytes)

    def refuse_left_out(self, names: Iterable[str]) -> None:
        """Make sure that the source has these objects.

        Raises:
            StorePartial: naming one that it does not have.
        """
        part = self.contents.part
        for name in names:
            if part is not None and not part.holds(name):
                raise StorePartial(
                    f"{self.place} is a partial copy itself, without {name}: pull from "
                    f"{part.source}, or ask for what is there ('essence cache info')"
                )


def open_source(place: Place | Path | str, *, expect: tuple[str, ...] = ()) -> Source:
    """A sealed store at a path or a URL. Every field that comes from there is checked.

    Raises:
        StoreIncomplete: when it is under construction.
        StoreMismatch: when its digest is none of those that are expected.
        StoreCorrupt: when an object differs from its record, or no store has such objects.
        StoreUnreachable: when the system or the server does not let us read.
    """
    place = find_place(place)
    digest = read_head(place)
    if expect and digest not in expect:
        raise StoreMismatch(
            f"{place}: found the store {digest}, expected {' or '.join(expect)}: it is another "
            "store, or not the one that you expect; nothing was copied"
        )
    manifest, held = read_manifest_bytes(place, digest), dict[str, bytes]()
    listed = decode_manifest(manifest, where=place.where(manifest_name(digest)))
    records = listed.records
    objects = _noted(read_objects(place, metadata_in(records)), held)
    metadata = metadata_among(objects, where=str(place))
    refuse_other_version(metadata, listed, where=str(place))
    refuse_odd_objects(metadata, records, where=str(place))
    part = read_part_of(place, digest)
    contents = StoreContents(
        place=place, digest=digest, records=records, metadata=metadata, part=part
    )
    return Source(contents, manifest, held)


def _noted(
    objects: Iterable[tuple[str, bytes]], held: dict[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    for name, content in objects:
        if len(content) <= KEPT_BYTES:
            held[name] = content
        yield name, content
