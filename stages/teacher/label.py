"""corpus, ensemble -> soft-label stores: the teacher speaks once, shard by shard."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from stages.errors import BadPosterior
from stages.speech.progress import Progress
from stages.speech.results import StoreSummary, TeacherSummary
from stages.teacher.left_out import leave_out, read_left_out
from stages.teacher.members import Share, order_members, refuse_other_corpus
from stages.teacher.settings import TeacherSettings
from stages.teacher.shard import BadUtterances, label_shard
from stages.teacher.summary import describe, summarise_store
from storage.corpus_file import CorpusFile
from storage.publish import publish_file
from storage.shard_plan import fit_shard_frames
from storage.store_format import StoreAbout, StoreUtterance
from storage.store_reader import open_store
from storage.store_writer import StoreWriter


def label_corpus(
    settings: TeacherSettings,
    *,
    members: Sequence[Path],
    corpus_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
) -> TeacherSummary:
    """Write <split>.zarr for each split, and summary.json. Shards that are there are kept.

    One member is in memory at a time, and the posteriors of one shard.

    Raises:
        BadInput, MissingPart: when members do not fit each other or the corpus.
        BadPosterior: naming member, utterance and frame, when it is to fail there.
        StoreError: when a store cannot be written.
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
                progress=progress,
            )
            stores.append(teacher.label(directory / f"{split}.zarr"))
    summary = TeacherSummary(
        members=tuple(share.member.about.fingerprint for share in ordered), stores=tuple(stores)
    )
    publish_file(directory / "summary.json", summary.model_dump_json(indent=2).encode() + b"\n")
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teacher:
    """The ensemble over one split."""

    settings: TeacherSettings
    shares: Sequence[Share]
    corpus: CorpusFile
    progress: Progress

    def label(self, path: Path) -> StoreSummary:
        """Fill the store at `path`; begin anew whenever an utterance is to be left out."""
        refused = path.with_suffix(".left-out.json")
        while True:
            try:
                return self._fill(path, left_out=read_left_out(refused))
            except BadUtterances as bad:
                if self.settings.on_bad_posterior == "fail":
                    raise BadPosterior(next(iter(bad.found.values()))) from bad
                for why in bad.found.values():
                    self.progress.note(f"left out: {why}")
                leave_out(refused, bad.found, store=path)

    def _fill(self, path: Path, *, left_out: Container[str]) -> StoreSummary:
        indices = [i for i, row in enumerate(self.corpus.utterances) if row.id not in left_out]
        if not indices:
            raise BadPosterior(f"{self.corpus.path}: every utterance was left out: train anew")
        rows = [self.corpus.utterances[index] for index in indices]
        writer = StoreWriter.create(
            path,
            self._about([row.num_frames for row in rows], left_out),
            utterances=[
                StoreUtterance(id=row.id, num_frames=row.num_frames, digest=row.digest)
                for row in rows
            ],
        )
        started = perf_counter()
        num_labelled = self._write_shards(writer, indices)
        seconds = perf_counter() - started
        writer.seal()
        summary = summarise_store(open_store(path), self.corpus)
        self.progress.note(describe(summary, frames_per_second=num_labelled / seconds))
        return summary

    def _write_shards(self, writer: StoreWriter, indices: Sequence[int]) -> int:
        """Write what is missing. Returns the frames that were labelled."""
        missing = [[indices[row] for row in writer.shard(i)] for i in writer.missing_shards()]
        lengths = [self.corpus.utterances[index].num_frames for run in missing for index in run]
        total = sum(lengths) * len(self.shares)
        title = f"teacher, {self.corpus.about.split}"
        with self.progress.task(title, total=total, unit="frames") as task:
            for shard, run in zip(writer.missing_shards(), missing, strict=True):
                kept = label_shard(
                    writer.about,
                    self.shares,
                    self.corpus,
                    run,
                    batch_frames=self.settings.batch_frames,
                    task=task,
                )
                writer.write_shard(shard, kept)
        return sum(lengths)

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
            combine=settings.combine,
            temperature=settings.temperature,
            temperatures=settings.temperatures,
            shard_frames=fit_shard_frames(
                lengths, wanted=settings.shard_frames, chunk_frames=settings.chunk_frames
            ),
            chunk_frames=settings.chunk_frames,
            frame_shift_ms=corpus.frame_shift_ms,
            subsampling=corpus.subsampling,
            left_out=tuple(row.id for row in self.corpus.utterances if row.id in left_out),
            program_version=version("essence"),
        )
