"""Plan of an import: what a source holds, and what it belongs to -> the metadata of a store."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance
from storage.exchange.survey import Survey
from storage.files.fingerprint import fingerprint
from storage.format.layout import StoreAbout, StoreUtterance
from storage.format.pruning import Pruning
from storage.format.recorded import NOT_RECORDED, digest_of_id
from storage.format.shard_plan import SHARD_FRAMES, fit_chunk_frames, fit_shard_frames
from storage.write.top_k import refuse_too_many

KEPT = 32  # ranks, as a teacher keeps by default


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a source belongs to. `rows` are the utterances of its corpus file, if one is given."""

    split: str
    frame_shift_ms: float
    subsampling: int = 1
    num_classes: int | None = None
    class_inventory: str | None = None
    corpus_fingerprint: str | None = None
    rows: Mapping[str, Utterance] | None = None


def identity_of(corpus: CorpusFile) -> Identity:
    """That of a corpus file: the store fits it, as one of a teacher does."""
    return Identity(
        split=corpus.about.split,
        frame_shift_ms=corpus.about.frame_shift_ms,
        subsampling=corpus.about.subsampling,
        num_classes=corpus.about.num_classes,
        class_inventory=corpus.about.class_inventory,
        corpus_fingerprint=corpus.fingerprint,
        rows={row.id: row for row in corpus.utterances},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A store to be made. `digests` are those of the source's values, by utterance."""

    about: StoreAbout
    utterances: tuple[StoreUtterance, ...]
    digests: tuple[str, ...]
    normalise: bool

    @property
    def num_frames(self) -> int:
        """Frames of all utterances."""
        return sum(row.num_frames for row in self.utterances)


def plan_import(
    found: Survey,
    identity: Identity,
    *,
    k: int | None,
    normalise: bool,
    program_version: str,
    pruning: Pruning | None = None,
) -> Import:
    """The store of a source that was surveyed.

    Without a corpus file, utterances have the digests of their ids, the corpus is the list of ids
    and lengths, and names of classes are not recorded. The source's digest is that of the member.

    Raises:
        StoreError: when k ranks cannot be kept.
    """
    most = found.num_classes if found.is_dense else max(1, found.most_pairs)
    kept = k or min(KEPT, most)
    refuse_too_many(kept, found.num_classes)
    rows = identity.rows
    lengths, chunk_frames = [row.num_frames for row in found.rows], fit_chunk_frames(kept)
    about = StoreAbout(
        split=identity.split,
        corpus_fingerprint=identity.corpus_fingerprint
        or fingerprint([[row.id, row.num_frames] for row in found.rows]),
        class_inventory=identity.class_inventory or NOT_RECORDED,
        num_classes=found.num_classes,
        kept=kept,
        members=(fingerprint([found.digest, normalise]),),
        weights=(1.0,),
        combine="arithmetic",
        temperature=1.0,
        temperatures=(),
        shard_frames=fit_shard_frames(lengths, wanted=SHARD_FRAMES, chunk_frames=chunk_frames),
        chunk_frames=chunk_frames,
        frame_shift_ms=identity.frame_shift_ms,
        subsampling=identity.subsampling,
        left_out=(),
        program_version=program_version,
        pruning=pruning,
    )
    return Import(
        about=about,
        utterances=tuple(
            replace(row, digest=rows[row.id].digest if rows else digest_of_id(row.id))
            for row in found.rows
        ),
        digests=tuple(row.digest for row in found.rows),
        normalise=normalise,
    )
