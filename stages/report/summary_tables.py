"""Columns of the stores and of the corpus splits, for the page."""

from stages.contract.results import CorpusSummary, SplitSummary
from stages.report.column import Cell, Column, Table, column, make_table
from stages.report.formats import fixed, percent, thousands
from storage.care.store_audit import StoreAudit

STORE_COLUMNS: tuple[Column[StoreAudit], ...] = (
    column("split", title="Store", value=lambda store: store.split, is_text=True),
    column("utterances", title="Utterances", value=lambda s: s.num_utterances, shown=thousands),
    column("frames", title="Frames", value=lambda store: store.num_frames, shown=thousands),
    column("classes", title="Classes", value=lambda store: store.num_classes, shown=thousands),
    column("kept", title="Ranks kept", value=lambda store: store.kept),
    column(
        "bytes_per_frame",
        title="Bytes per frame",
        unit="all ranks",
        value=lambda store: store.bytes_per_frame.get(store.kept),
        shown=fixed(1),
    ),
    column(
        "of_dense",
        title="Of dense",
        unit="float32, %",
        value=lambda store: _share_of_dense(store),
        shown=percent,
    ),
    column(
        "kept_mass",
        title="Mass kept",
        unit="all ranks, %",
        value=lambda store: store.kept_mass.get(store.kept),
        shown=fixed(3, scale=100),
    ),
    column(
        "entropy",
        title="Entropy",
        unit="nats",
        value=lambda store: store.entropy.get(store.kept),
        shown=fixed(3),
    ),
    column(
        "teacher_frame_error",
        title="Frame error",
        unit="teacher, %",
        value=lambda store: store.teacher_frame_error,
        shown=percent,
    ),
    column(
        "digest",
        title="Digest",
        value=lambda store: store.digest[:12],
        shown=lambda digest: Cell(text=digest, style="code"),
        is_text=True,
    ),
)


def _share_of_dense(store: StoreAudit) -> float | None:
    size = store.bytes_per_frame.get(store.kept)
    return None if size is None else size / store.dense_bytes_per_frame


def split_table(corpus: CorpusSummary) -> Table[SplitSummary]:
    """A row for each split; hours with hard labels if a part of a split has none."""
    is_partly_labelled = any(split.labelled for split in corpus.splits)
    columns = [
        found for found in SPLIT_COLUMNS if is_partly_labelled or found.key != "labelled_hours"
    ]
    return make_table(columns, corpus.splits)


SPLIT_COLUMNS: tuple[Column[SplitSummary], ...] = (
    column("split", title="Split", value=lambda split: split.split, is_text=True),
    column("utterances", title="Utterances", value=lambda s: s.num_utterances, shown=thousands),
    column("speakers", title="Speakers", value=lambda split: split.num_speakers, shown=thousands),
    column("hours", title="Hours", value=lambda split: split.hours, shown=fixed(2)),
    column(
        "labelled_hours",
        title="Hours",
        unit="with hard labels",
        value=lambda split: split.labelled.hours if split.labelled else split.hours,
        shown=fixed(2),
    ),
    column("frames", title="Frames", value=lambda split: split.num_frames, shown=thousands),
    column("words", title="Words", value=lambda split: split.num_words, shown=thousands),
    column(
        "left_out",
        title="Left out",
        unit="utterances",
        value=lambda split: sum(map(len, split.left_out.values())),
    ),
)
