"""speech -> corpus files: train.h5, dev.h5, test.h5, lang/ and summary.json.

Where a part of train has no hard labels, train-labelled.txt has the ids of the utterances that do.

The statistics of a speaker need a pass over the split before the one that writes. One utterance
is in memory at a time.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.lang_folder import check_lang, write_lang_folder
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.contract.results import CorpusSummary, LabelledPart, SplitSummary
from stages.corpus.front_end import (
    FrontEndSettings,
    count_visits,
    row_dim,
    to_row_labels,
    to_rows,
)
from stages.corpus.kaldi_fingerprint import kaldi_fingerprint
from stages.corpus.kaldi_source import KaldiSource
from stages.corpus.labelled_share import choose_labelled, with_labels_of
from stages.corpus.normalisation import Normaliser, check_dim
from stages.corpus.raw import RawUtterance
from stages.corpus.settings import CorpusSettings
from stages.corpus.source import SPLITS, Source
from stages.corpus.spoken_source import SpokenSource, spoken_fingerprint
from stages.corpus.summary import summary_lines
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.files.publish import publish_file, remove_leavings

MS_PER_HOUR = 3_600_000
NO_FRAMES = "no frames"
LABELLED_FILE = "train-labelled.txt"


def build_corpus(settings: CorpusSettings, *, directory: Path, progress: Progress) -> CorpusSummary:
    """Read the source, run the front end, write the corpus into `directory`.

    Raises:
        BadInput: where the source is not what it should be; nothing half written stays.
    """
    with _scratch(directory) as scratch:
        source = _open_source(settings, scratch=scratch, progress=progress)
        check_lang(source.lang)  # a damaged one is said here, not after the training
        normaliser = Normaliser(settings.features, source)
        splits: list[SplitSummary] = []
        wanted = None  # feature dims: those of train hold for dev and test
        for split in SPLITS:
            figures, wanted = _write_split(
                split, source, settings, normaliser, wanted=wanted, directory=directory
            )
            heard = 0 if split == "train" else _count_heard(directory, split)
            splits.append(figures.model_copy(update={"heard_speakers": heard}))
    write_lang_folder(source.lang, directory / "lang")
    summary = CorpusSummary(
        source=settings.source,
        num_classes=source.lang.num_classes,
        num_words=len(source.lang.words),
        splits=tuple(splits),
    )
    publish_file(directory / "summary.json", summary.model_dump_json(indent=2).encode())
    for split in SPLITS:
        for remark in source.remarks(split):
            progress.note(f"{split}: {remark}")
    for line in summary_lines(summary):
        progress.note(line)
    return summary


def source_fingerprint(settings: CorpusSettings) -> str:
    """Identity of the source's content, cheap enough to ask for at every start.

    Raises:
        BadInput: where a Kaldi directory lacks a file.
    """
    if settings.source == "kaldi" and settings.path is not None:
        return kaldi_fingerprint(settings.kaldi, settings.path)
    return spoken_fingerprint(settings.spoken)


def _open_source(settings: CorpusSettings, *, scratch: Path, progress: Progress) -> Source:
    if settings.source == "kaldi" and settings.path is not None:
        return KaldiSource(settings.kaldi, settings.path, progress=progress)
    return SpokenSource(settings.spoken, scratch=scratch, progress=progress)


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """A folder for raw speech, gone at the end, as are the leavings of a killed run."""
    scratch = directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    remove_leavings(directory)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(slots=True)
class _Tally:
    """What a split holds."""

    utterances: int = 0
    rows: int = 0
    words: int = 0
    visits: int = 0
    lost_visits: int = 0
    milliseconds: float = 0.0
    speakers: set[str] = field(default_factory=set)

    @property
    def hours(self) -> float:
        return self.milliseconds / MS_PER_HOUR

    def as_part(self) -> LabelledPart:
        return LabelledPart(num_utterances=self.utterances, num_frames=self.rows, hours=self.hours)

    def count(self, raw: RawUtterance, *, num_rows: int) -> None:
        """One more utterance."""
        self.utterances += 1
        self.rows += num_rows
        self.words += len(raw.transcript.split())
        self.milliseconds += len(raw.features_TF) * raw.frame_shift_ms
        self.speakers.add(raw.speaker)

    def count_visits(self, labels_T: NDArray[np.int32], settings: FrontEndSettings) -> None:
        """States visited by one more alignment, and those of which no row is taken."""
        visits, lost = count_visits(labels_T, settings)
        self.visits += visits
        self.lost_visits += lost


def _write_split(
    split: str,
    source: Source,
    settings: CorpusSettings,
    normaliser: Normaliser,
    *,
    wanted: int | None,
    directory: Path,
) -> tuple[SplitSummary, int]:
    """The split's figures, and how many feature dims its source has."""
    normaliser.begin(split)
    left_out = {reason: list(ids) for reason, ids in source.left_out(split).items()}
    raws = _with_frames(source.utterances(split), left_out)
    if split == "train" and settings.labelled_share < 1:
        labelled = choose_labelled(source.labelled_speakers(split), settings.labelled_share)
        raws = with_labels_of(labelled, raws)
    first = next(raws, None)
    if first is None:
        reasons = ", ".join(f"{len(ids)} with {reason}" for reason, ids in left_out.items())
        raise BadInput(f"the {split} split holds no utterance (left out: {reasons or 'none'})")
    wanted = wanted or first.features_TF.shape[1]
    check_dim(first, wanted=wanted)
    front_end, labelled_ids = settings.features, list[str]()
    about = _about(split, source, front_end, first)
    tally, labelled_tally = _Tally(), _Tally()
    with CorpusWriter(directory / f"{split}.h5", about, dtype=front_end.dtype) as writer:
        for raw in chain([first], raws):
            check_dim(raw, wanted=wanted)
            rows_TD = to_rows(normaliser(raw), front_end)
            _add(raw, rows_TD, front_end, writer)
            tally.count(raw, num_rows=len(rows_TD))
            if raw.labels_T is not None:
                tally.count_visits(raw.labels_T, front_end)
                labelled_tally.count(raw, num_rows=len(rows_TD))
                labelled_ids.append(raw.id)
    is_labelled = labelled_tally.utterances == tally.utterances
    if split == "train" and not is_labelled:
        lines = "".join(f"{id}\n" for id in labelled_ids)
        publish_file(directory / LABELLED_FILE, lines.encode())
    figures = SplitSummary(
        split=split,
        num_utterances=tally.utterances,
        num_speakers=len(tally.speakers),
        num_frames=tally.rows,
        hours=tally.hours,
        num_words=tally.words,
        left_out={reason: tuple(ids) for reason, ids in left_out.items()},
        trimmed=tuple(source.trimmed(split)),
        labelled=None if is_labelled else labelled_tally.as_part(),
        lost_visits=tally.lost_visits / max(tally.visits, 1),
    )
    return figures, wanted


def _count_heard(directory: Path, split: str) -> int:
    """How many speakers of the split are in train too."""
    speakers = []
    for name in (split, "train"):
        with CorpusFile(directory / f"{name}.h5") as written:
            speakers.append({row.speaker for row in written.utterances})
    return len(speakers[0] & speakers[1])


def _add(
    raw: RawUtterance,
    rows_TD: NDArray[np.float32],
    settings: FrontEndSettings,
    writer: CorpusWriter,
) -> None:
    largest = float(np.abs(rows_TD).max(initial=0.0))
    if largest > float(np.finfo(settings.dtype).max):
        raise BadInput(
            f"utterance {raw.id!r}: a feature of {largest:.3g} does not fit {settings.dtype}: "
            "set corpus.features.dtype to float32, or cmvn to speaker"
        )
    writer.add(
        raw.id,
        speaker=raw.speaker,
        transcript=raw.transcript,
        features_TF=rows_TD,
        labels_T=None if raw.labels_T is None else to_row_labels(raw.labels_T, settings),
    )


def _about(
    split: str, source: Source, settings: FrontEndSettings, first: RawUtterance
) -> CorpusAbout:
    return CorpusAbout(
        split=split,
        feature_dim=row_dim(settings, first.features_TF.shape[1]),
        num_classes=source.lang.num_classes,
        class_inventory=source.lang.class_inventory,
        frame_shift_ms=first.frame_shift_ms * settings.subsample,
        subsampling=settings.subsample,
        has_labels=source.has_labels(split),
        feature_settings=settings.model_dump(mode="json"),
    )


def _with_frames(
    raws: Iterator[RawUtterance], left_out: dict[str, list[str]]
) -> Iterator[RawUtterance]:
    for raw in raws:
        if len(raw.features_TF):
            yield raw
        else:
            left_out.setdefault(NO_FRAMES, []).append(raw.id)
