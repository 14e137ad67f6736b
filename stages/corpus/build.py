"""speech -> corpus files: train.h5, dev.h5, test.h5, lang/ and summary.json.

cmvn.json has the sums over train that features are normalised by, for speech after the training.

If a part of train has no hard labels, train-labelled.txt lists the utterances that have them.
If there are copies of utterances, copies.json lists the original of each; if a copy stands for the
originals of dev, these are in dev-originals.h5.

The statistics of a speaker need a pass over the split before the pass that writes it. One utterance
is in memory at a time.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.cmvn_file import CMVN_FILE, write_moments
from stages.acoustic.features.front_end import row_dim, to_row_labels, to_rows
from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.acoustic.lang.lang_folder import check_lang, write_lang_folder
from stages.acoustic.lang.token_lang import TokenLang
from stages.contract.copies import DEV_ORIGINALS, CopyGroup, write_copies
from stages.contract.ctc import frames_needed
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.contract.results import CorpusSummary, SplitSummary
from stages.corpus.labelled_share import choose_labelled, with_labels_of
from stages.corpus.normalisation import Normaliser, check_dim
from stages.corpus.open_source import open_source
from stages.corpus.raw import RawUtterance
from stages.corpus.settings import CorpusSettings
from stages.corpus.source import SPLITS, Source
from stages.corpus.summary import summary_lines
from stages.corpus.tally import SplitTally
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.files.leftovers import scratch_folder
from storage.files.publish import publish_file

NO_FRAMES = "no frames"
TOO_MANY_TOKENS = "more tokens than rows, which CTC cannot align"
LABELLED_FILE = "train-labelled.txt"


def build_corpus(settings: CorpusSettings, *, directory: Path, progress: Progress) -> CorpusSummary:
    """Read the source, run the front end, write the corpus into `directory`.

    Raises:
        BadInput: if the source is damaged or inconsistent; no partial file remains.
    """
    passes = directory / "alignment"  # of an earlier run that was interrupted, or of this one
    with scratch_folder(directory / "speech") as scratch:
        source = open_source(settings, scratch=scratch, passes=passes, progress=progress)
        check_lang(source.lang)  # fails now, not after the members are trained
        normaliser = Normaliser(settings.features, source)
        splits: dict[str, SplitSummary] = {}
        copies: dict[str, tuple[CopyGroup, ...]] = {}
        wanted = None  # feature dims of train, which dev and test must have too
        for split in SPLITS:
            written = _write_split(
                split, source, settings, normaliser, wanted=wanted, directory=directory
            )
            if split == "train" and (total := normaliser.total) is not None:
                write_moments(directory / CMVN_FILE, total)
            wanted, copies[split] = written.feature_dim, written.copies
            shared = 0 if split == "train" else _count_shared_speakers(directory, split)
            splits[split] = written.figures.model_copy(update={"heard_speakers": shared})
        if copies["dev"]:
            _write_split(
                DEV_ORIGINALS, source, settings, normaliser, wanted=wanted, directory=directory
            )
    write_lang_folder(source.lang, directory / "lang")
    if settings.copies:
        write_copies(directory, copies)
    summary = CorpusSummary(
        source=settings.source,
        num_classes=source.lang.num_classes,
        num_words=len(source.lang.words),
        splits=tuple(splits.values()),
    )
    publish_file(directory / "summary.json", summary.model_dump_json(indent=2).encode())
    for split in SPLITS:
        for remark in source.remarks(split):
            progress.note(f"{split}: {remark}")
    for line in summary_lines(summary):
        progress.note(line)
    shutil.rmtree(passes, ignore_errors=True)
    return summary


@dataclass(frozen=True, slots=True)
class _Written:
    """A split on disk: its summary and copies, and the number of feature dims of its source."""

    figures: SplitSummary
    copies: tuple[CopyGroup, ...]
    feature_dim: int


def _write_split(
    split: str,
    source: Source,
    settings: CorpusSettings,
    normaliser: Normaliser,
    *,
    wanted: int | None,
    directory: Path,
) -> _Written:
    """Write a corpus file. `wanted` is the number of feature dims of train; None for train."""
    normaliser.begin(split)
    left_out = {reason: list(ids) for reason, ids in source.left_out(split).items()}
    raws = _with_frames(_labelled_as_set(split, source, settings), left_out)
    if split == "train":  # what is only scored may have any length
        raws = _with_room_for_tokens(raws, settings.features, left_out)
    first = next(raws, None)
    if first is None:
        reasons = ", ".join(f"{len(ids)} with {reason}" for reason, ids in left_out.items())
        raise BadInput(f"the {split} split has no utterance (left out: {reasons or 'none'})")
    wanted = wanted or first.features_TF.shape[1]
    front_end, tally = settings.features, SplitTally()
    about = _about(split, source, front_end, first)
    with CorpusWriter(
        directory / f"{split}.h5",
        about,
        dtype=front_end.dtype,
        has_tokens=isinstance(source.lang, TokenLang),
    ) as writer:
        for raw in chain([first], raws):
            check_dim(raw, wanted=wanted)
            rows_TD = to_rows(normaliser(raw), front_end)
            _add(raw, rows_TD, front_end, writer)
            tally.count(raw, num_rows=len(rows_TD), front_end=front_end)
    if split == "train" and not tally.is_labelled:
        lines = "".join(f"{id}\n" for id in tally.labelled_ids)
        publish_file(directory / LABELLED_FILE, lines.encode())
    figures = _figures(split, tally, source, left_out)
    return _Written(figures=figures, copies=tally.copies, feature_dim=wanted)


def _labelled_as_set(
    split: str, source: Source, settings: CorpusSettings
) -> Iterator[RawUtterance]:
    """The utterances; in train, hard labels are kept for a share of the speakers only."""
    raws = source.utterances(split)
    if split != "train" or settings.labelled_share == 1:
        return raws
    labelled = choose_labelled(source.labelled_speakers(split), settings.labelled_share)
    return with_labels_of(labelled, raws)


def _figures(
    split: str, tally: SplitTally, source: Source, left_out: dict[str, list[str]]
) -> SplitSummary:
    return SplitSummary(
        split=split,
        num_utterances=tally.whole.utterances,
        num_speakers=len(tally.speakers),
        num_frames=tally.whole.rows,
        hours=tally.whole.hours,
        num_words=tally.num_words,
        left_out={reason: tuple(ids) for reason, ids in left_out.items()},
        trimmed=tuple(source.trimmed(split)),
        labelled=tally.labelled_part,
        lost_visits=tally.lost_visits,
        copies={group.name: len(group.original_of) for group in tally.copies},
    )


def _count_shared_speakers(directory: Path, split: str) -> int:
    """Number of speakers of the split that are also in train."""
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
        tokens_L=raw.tokens_L,
        audio=raw.audio,
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


def _with_room_for_tokens(
    raws: Iterator[RawUtterance], settings: FrontEndSettings, left_out: dict[str, list[str]]
) -> Iterator[RawUtterance]:
    for raw in raws:
        num_rows = -(-len(raw.features_TF) // settings.subsample)
        if raw.tokens_L is None or frames_needed(raw.tokens_L) <= num_rows:
            yield raw
        else:
            left_out.setdefault(TOO_MANY_TOKENS, []).append(raw.id)
