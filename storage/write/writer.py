"""StoreWriter: fills a soft-label store shard by shard, and can be resumed at any of them.

The store does not depend on teachers: it stores what it is given. Several writers may work on one
store: the first commit of a shard counts, and the others must have the same bytes.

Shapes: T frames of a shard, K kept ranks, G tiers, H temperatures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from storage.contents.commits import read_commit, shard_objects
from storage.contents.manifest import read_head
from storage.contents.metadata import StoreMetadata, read_metadata
from storage.errors import StoreCorrupt, StoreError
from storage.files.object_file import patiently, read_whole
from storage.files.publish import make_directories, sync_directory
from storage.format.codec import FORMAT_1
from storage.format.encoding import encode_metadata
from storage.format.layout import (
    StoreAbout,
    StoreUtterance,
    commit_name,
    fields_of,
    refuse_difference,
)
from storage.format.records import GROUP, HEAD, encode_records, manifest_name, record_of
from storage.format.shard_plan import ShardPlan, plan_shards
from storage.format.utterance_table import UtteranceTable
from storage.place.local_folder import LocalFolder
from storage.write.claim import check_claim, claim_new
from storage.write.commit import clear_stage, finish_commit, publish, refuse_lost
from storage.write.shard_commit import commit_objects, named_disk_errors, write_shard
from storage.write.top_k import KeptBlock


class StoreWriter:
    """A store under construction. Use `create`, which also resumes one that was interrupted."""

    def __init__(
        self, path: Path, about: StoreAbout, utterances: Sequence[StoreUtterance], plan: ShardPlan
    ) -> None:
        self.path = path
        self._place = LocalFolder(path)
        self.about = about
        self.utterances = UtteranceTable.of(utterances)
        self._plan = plan
        self._metadata = encode_metadata(about, self.utterances, plan)

    @classmethod
    def create(
        cls, path: Path, about: StoreAbout, *, utterances: Sequence[StoreUtterance]
    ) -> "StoreWriter":
        """Begin a store, or resume one that is there and has the same metadata.

        Raises:
            StoreMismatch: when another store is there, with a field-by-field difference, or it was
                begun by other code.
            StoreError: when an utterance id comes twice, holds NUL, or a disk cannot be written.
        """
        plan = plan_shards([row.num_frames for row in utterances], about.shard_frames)
        return cls.create_planned(path, about, utterances=utterances, plan=plan)

    @classmethod
    def create_planned(
        cls,
        path: Path,
        about: StoreAbout,
        *,
        utterances: Sequence[StoreUtterance],
        plan: ShardPlan,
    ) -> "StoreWriter":
        """As `create`, with a given plan of the shards."""
        _refuse_bad_ids(utterances)
        writer = cls(path, _in_format_there(path, about), utterances, plan)
        with named_disk_errors(path, writer._metadata):
            if (path / GROUP).is_file():
                writer._refuse_other_store()
                check_claim(path)
                writer._redo_installs()
            else:
                writer._refuse_commits_without_metadata()
                make_directories(path.parent)
                path.mkdir(exist_ok=True)
                sync_directory(path.parent)
                writer._publish_metadata()
        return writer

    @classmethod
    def open(cls, path: Path) -> "StoreWriter":
        """Resume a store with the content that its own metadata describe."""
        metadata = read_metadata(LocalFolder(path))
        return cls.create_planned(
            path, metadata.about, utterances=metadata.utterances, plan=metadata.plan
        )

    @property
    def num_shards(self) -> int:
        """How many shards the store has."""
        return self._plan.num_shards

    def shard(self, index: int) -> range:
        """The utterances of a shard, as indices into `utterances`."""
        return self._plan.utterances(index)

    def missing_shards(self) -> list[int]:
        """Shards without a commit record."""
        places = [self.path / commit_name(shard) for shard in range(self.num_shards)]
        found = [patiently(place.is_file, where=str(place)) for place in places]
        return [shard for shard, is_there in enumerate(found) if not is_there]

    def write_shard(self, index: int, kept: KeptBlock) -> None:
        """Encode and commit one shard: the frames of its utterances, one after the other.

        Writing a committed shard again is allowed when it gives the same bytes.

        Raises:
            StoreError: when `kept` does not fit the shard, another writer has committed
                something else, or the disk cannot be written.
        """
        self.write_blocks(index, [kept])

    def write_blocks(self, index: int, blocks: Iterable[KeptBlock]) -> None:
        """As `write_shard`, frames coming in blocks of any size.

        In memory are one block and the compressed shard, never all its frames.
        """
        num_frames = sum(self.utterances[row].num_frames for row in self.shard(index))
        write_shard(self.path, self.about, index, blocks, num_frames=num_frames)

    def write_objects(self, index: int, objects: dict[str, bytes]) -> None:
        """Commit one shard whose objects are encoded already. Raises as `write_shard`."""
        wanted = set(shard_objects(self._as_metadata(), index))
        if objects.keys() != wanted:
            raise StoreError(
                f"shard {index} has objects {sorted(objects)}, wanted {sorted(wanted)}"
            )
        commit_objects(self.path, self.about, index, objects)

    def seal(self) -> str:
        """Write the manifest, then HEAD. Returns the store's digest; may be done again.

        Raises:
            StoreError: when shards are missing.
        """
        missing = self.missing_shards()
        if missing:
            raise StoreError(f"{self.path}: {len(missing)} shards are missing, first {missing[0]}")
        records = {name: record_of(content) for name, content in self._metadata.items()}
        for shard in range(self.num_shards):
            records |= read_commit(self._place, self._as_metadata(), shard)
        for name, record in records.items():
            refuse_lost(self.path, name, record)
        manifest = encode_records(records, version=self.about.coding.format_version)
        digest = record_of(manifest).sha256
        sealed = {manifest_name(digest): manifest, HEAD: f"{digest}\n".encode()}
        with named_disk_errors(self.path, sealed):
            try:
                publish(self.path, sealed)
            except FileNotFoundError:
                # Another writer seals at this moment and has cleared the stage.
                if read_head(self._place) != digest:
                    raise
            if read_head(self._place) != digest:
                raise StoreCorrupt(f"{self.path / HEAD} is not what was written: seal it again")
            clear_stage(self.path)
        return digest

    def _publish_metadata(self) -> None:
        try:
            claim_new(self.path)
            publish(self.path, self._metadata)
        except FileNotFoundError:
            # Another writer has begun, filled and sealed the store, and cleared the stage.
            if not (self.path / GROUP).is_file():
                raise
            self._refuse_other_store()

    def _redo_installs(self) -> None:
        """Finish what a killed writer had committed and not yet renamed into place."""
        if (self.path / HEAD).is_file():
            return
        for shard in set(range(self.num_shards)) - set(self.missing_shards()):
            committed = read_commit(self._place, self._as_metadata(), shard)
            name = commit_name(shard)
            objects = {n: record for n, record in committed.items() if n != name}
            finish_commit(self.path, name, objects)

    def _as_metadata(self) -> StoreMetadata:
        return StoreMetadata(about=self.about, utterances=self.utterances, plan=self._plan)

    def _refuse_commits_without_metadata(self) -> None:
        """Shards that were committed under metadata that are gone may be of another store."""
        if any((self.path / commit_name(0)).parent.glob("*")):
            raise StoreCorrupt(
                f"{self.path} holds committed shards and no {GROUP}: their store is not known: "
                "remove the store and run 'essence teacher' again"
            )

    def _refuse_other_store(self) -> None:
        found = read_metadata(self._place)
        refuse_difference(str(self.path), fields_of(found.about), fields_of(self.about))
        if found.utterances != self.utterances:
            refuse_difference(
                f"{self.path}, its utterance table,",
                {row.id: (row.num_frames, row.digest[:12]) for row in found.utterances},
                {row.id: (row.num_frames, row.digest[:12]) for row in self.utterances},
            )
            raise StoreError(f"{self.path} lists the same utterances in another order: remove it")
        for name, content in self._metadata.items():
            if read_whole(self.path, name) != content:
                raise StoreCorrupt(
                    f"{self.path / name} differs from what was written: remove the store"
                )


def _in_format_there(path: Path, about: StoreAbout) -> StoreAbout:
    """As `about`, in format 1 if a sealed store of format 1 is there: it is finished."""
    if not (path / HEAD).is_file() or not (path / GROUP).is_file():
        return about
    coding = read_metadata(LocalFolder(path)).about.coding
    return replace(about, coding=coding) if coding == FORMAT_1 else about


def _refuse_bad_ids(utterances: Sequence[StoreUtterance]) -> None:
    seen: set[str] = set()
    for row in utterances:
        if row.id in seen:
            raise StoreError(f"utterance {row.id!r} comes twice")
        refuse_bad_id(row.id)
        seen.add(row.id)


def refuse_bad_id(id: str) -> None:
    """Make sure that a store can hold an utterance with this id.

    Raises:
        StoreError: when it cannot.
    """
    if "\0" in id or any("\ud800" <= letter <= "\udfff" for letter in id):
        raise StoreError(f"utterance {id!r}: its id holds NUL or is not UTF-8")
