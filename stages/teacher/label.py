"""corpus, members -> soft-label stores: the ensemble runs once, shard by shard."""

from collections.abc import Container, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from stages.contract.copies import originals_in_time, read_copies
from stages.contract.errors import BadPosterior, MissingPart
from stages.contract.progress import Progress
from stages.contract.results import TeacherSummary
from stages.contract.version import VERSION
from stages.members.shares import Share, order_members, refuse_other_corpus
from stages.teacher.given_transcript import SPLIT, TranscriptPlace
from stages.teacher.left_out import leave_out, read_left_out
from stages.teacher.settings import TeacherSettings
from stages.teacher.shard_work import Ensemble, MemberPlace, ShardWork, Versions, store_digest
from stages.teacher.summary import SUMMARY_FILE, describe
from stages.teacher.workforce import Workforce
from storage.care.audit import audit_store
from storage.care.store_audit import StoreAudit
from storage.corpus.corpus_file import CorpusFile
from storage.files.publish import publish_file
from storage.format.codec import CODINGS
from storage.format.layout import StoreAbout, StoreUtterance
from storage.format.pruning import make_pruning
from storage.format.shard_plan import fit_shard_frames
from storage.read.reader import open_store
from storage.write.writer import StoreWriter

GIVEN_TRANSCRIPT = ", given transcript"  # follows the rule in a store's `combine`


def label_corpus(
    settings: TeacherSettings,
    *,
    members: Sequence[Path],
    corpus_directory: Path,
    graph_directory: Path | None = None,
    directory: Path,
    device: str,
    progress: Progress,
    workforce: Workforce,
) -> TeacherSummary:
    """Write <split>.zarr for each split, and summary.json. Shards already written are kept.

    `graph_directory` holds the decoding graph, for posteriors given the transcript.

    Raises:
        BadInput, MissingPart: if members do not fit each other or the corpus.
        BadPosterior: naming member, utterance and frame, if `on_bad_posterior` is "fail".
        StoreError: if a store cannot be written.
    """
    ordered = order_members(members, settings.weights, device=device)
    stores = []
    for split in settings.splits:
        with CorpusFile(corpus_directory / f"{split}.h5") as corpus:
            refuse_other_corpus(ordered, corpus)
            teacher = _Teacher(
                settings=settings,
                shares=ordered,
                corpus=corpus,
                transcripts=_transcripts(settings, graph_directory, split),
                skipped_copies=_skipped_copies(settings, corpus_directory, corpus),
                device=device,
                progress=progress,
                workforce=workforce,
            )
            stores.append(teacher.label(directory / f"{split}.zarr"))
    summary = TeacherSummary(
        members=tuple(share.member.about.fingerprint for share in ordered), stores=tuple(stores)
    )
    publish_file(directory / SUMMARY_FILE, summary.model_dump_json(indent=2).encode() + b"\n")
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teacher:
    """The ensemble over one split."""

    settings: TeacherSettings
    shares: Sequence[Share]
    corpus: CorpusFile
    transcripts: TranscriptPlace | None
    skipped_copies: frozenset[str]
    device: str
    progress: Progress
    workforce: Workforce

    def label(self, path: Path) -> StoreAudit:
        """Fill the store at `path`; start over each time that utterances must be left out."""
        refused = path.with_suffix(".left-out.json")
        if self.skipped_copies:
            self.progress.note(
                f"{self.corpus.about.split}: {len(self.skipped_copies)} copies are not labelled: "
                "students read the soft labels of their originals"
            )
        while True:
            left_out = read_left_out(refused)
            writer, indices = self._begin(path, left_out)
            started = perf_counter()
            num_labelled, bad = self._write_shards(writer, indices)
            if not bad:
                return self._seal(writer, num_labelled / (perf_counter() - started))
            for why in bad.values():
                self.progress.note(f"left out: {why}")
            leave_out(refused, bad, store=path)

    def _begin(self, path: Path, left_out: Container[str]) -> tuple[StoreWriter, list[int]]:
        """A new or unfinished store of the other utterances, and their indices in the corpus."""
        indices = [
            index
            for index, row in enumerate(self.corpus.utterances)
            if row.id not in left_out and row.id not in self.skipped_copies
        ]
        if not indices:
            raise BadPosterior(
                f"{self.corpus.path}: every utterance was left out: train the members again"
            )
        rows = [self.corpus.utterances[index] for index in indices]
        writer = StoreWriter.create(
            path,
            self._about([row.num_frames for row in rows], left_out),
            utterances=[
                StoreUtterance(id=row.id, num_frames=row.num_frames, digest=row.digest)
                for row in rows
            ],
        )
        return writer, indices

    def _seal(self, writer: StoreWriter, frames_per_second: float) -> StoreAudit:
        writer.seal()
        audit = audit_store(open_store(writer.path), corpus=self.corpus)
        self.progress.note(describe(audit, frames_per_second=frames_per_second))
        return audit

    def _write_shards(
        self, writer: StoreWriter, indices: Sequence[int]
    ) -> tuple[int, dict[str, str]]:
        """Write the missing shards. Returns the number of frames, and bad utterances with reasons.

        All shards are labelled before the store is started over: one bad utterance costs a second
        pass, and a hundred cost no more. By then no work is under way that could write into it.

        Raises:
            BadPosterior: at the first bad utterance, if `on_bad_posterior` is "fail".
        """
        works = self._plan(writer, indices)
        num_frames = sum(work.num_frames for work in works)
        title = f"teacher, {self.corpus.about.split}"
        total = num_frames * len(self.shares)
        bad: dict[str, str] = {}
        plain: dict[str, str] = {}
        with (
            self.progress.task(title, total=total, unit="frames") as task,
            closing(self.workforce.do(works, task=task)) as each_done,
        ):
            for done in each_done:
                bad |= done.bad
                plain |= done.plain
                if bad and self.settings.on_bad_posterior == "fail":
                    raise BadPosterior(next(iter(bad.values())))
        if plain:
            id, why = next(iter(plain.items()))
            self.progress.note(
                f"{self.corpus.about.split}: {len(plain)} transcribed utterances have plain "
                f"posteriors: {id!r}: {why}"
            )
        return num_frames, bad

    def _plan(self, writer: StoreWriter, indices: Sequence[int]) -> list[ShardWork]:
        ensemble = Ensemble(
            versions=Versions.here(),
            store=writer.path.absolute(),
            store_digest=store_digest(writer.path),
            corpus=self.corpus.path.absolute(),
            corpus_fingerprint=self.corpus.fingerprint,
            members=tuple(
                MemberPlace(
                    directory=share.directory.absolute(),
                    fingerprint=share.member.about.fingerprint,
                    weight=share.weight,
                )
                for share in self.shares
            ),
            about=writer.about,
            device=self.device,
            threads=self.settings.threads,
            batch_frames=self.settings.batch_frames,
            most_loaded_bytes=self.settings.loaded_megabytes << 20,
            transcripts=self.transcripts,
        )
        return [
            _shard_work(ensemble, writer, indices, shard=shard) for shard in writer.missing_shards()
        ]

    def _about(self, lengths: Sequence[int], left_out: Container[str]) -> StoreAbout:
        settings, corpus = self.settings, self.corpus.about
        return StoreAbout(
            split=corpus.split,
            corpus_fingerprint=self.corpus.fingerprint,
            class_inventory=corpus.class_inventory,
            num_classes=corpus.num_classes,
            kept=settings.kept,
            members=tuple(share.member.about.fingerprint for share in self.shares),
            weights=tuple(share.weight for share in self.shares),
            combine=settings.combine + ("" if self.transcripts is None else GIVEN_TRANSCRIPT),
            temperature=settings.temperature,
            temperatures=settings.temperatures,
            shard_frames=fit_shard_frames(
                lengths, wanted=settings.shard_frames, chunk_frames=settings.chunk_frames
            ),
            chunk_frames=settings.chunk_frames,
            frame_shift_ms=corpus.frame_shift_ms,
            subsampling=corpus.subsampling,
            left_out=tuple(row.id for row in self.corpus.utterances if row.id in left_out),
            program_version=VERSION,
            coding=CODINGS[settings.codec],
            pruning=make_pruning(mass=settings.keep_mass, min_prob=settings.keep_min_prob),
        )


def _transcripts(
    settings: TeacherSettings, graph_directory: Path | None, split: str
) -> TranscriptPlace | None:
    """What posteriors given the transcript need; None for plain ones, which dev and test have."""
    if settings.posteriors == "plain" or split != SPLIT:
        return None
    if graph_directory is None:
        raise MissingPart("posteriors given the transcript need a decoding graph: name its folder")
    return TranscriptPlace.of(graph_directory, scale=settings.transcript_scale)


def _skipped_copies(
    settings: TeacherSettings, corpus_directory: Path, corpus: CorpusFile
) -> frozenset[str]:
    """Copies that need no soft labels of their own: their original is in the split, in time."""
    if settings.input == "copy":
        return frozenset()
    originals = originals_in_time(read_copies(corpus_directory, corpus.about.split))
    return frozenset(id for id, original in originals.items() if original in corpus)


def _shard_work(
    ensemble: Ensemble, writer: StoreWriter, indices: Sequence[int], *, shard: int
) -> ShardWork:
    rows = [writer.utterances[row] for row in writer.shard(shard)]
    return ShardWork(
        ensemble=ensemble,
        shard=shard,
        indices=tuple(indices[row] for row in writer.shard(shard)),
        num_frames=sum(row.num_frames for row in rows),
        utterances=f"utterances {rows[0].id!r} to {rows[-1].id!r}",
    )
