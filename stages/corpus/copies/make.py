"""recordings -> utterances and their copies: features of both, labels mapped through the warp.

Shapes: T frames of the original, R frames of the copy.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.filterbank import log_mel, warped_log_mel
from stages.acoustic.features.rates import FRAME_SHIFT_MS
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.copies.kept_recordings import KeptRecordings
from stages.corpus.copies.kinds import AnyCopy
from stages.corpus.copies.original import Original
from stages.corpus.raw import CopyOf, RawUtterance
from stages.corpus.sound.noise import to_16_bits
from stages.corpus.sound.recording import Recording


def with_copies(
    recordings: Iterable[Recording],
    copies: Sequence[AnyCopy],
    *,
    split: str,
    num_mel_bins: int,
    scratch: Path,
    progress: Progress,
) -> Iterator[RawUtterance]:
    """The utterances of a split: the originals, then copy after copy of all of them.

    In dev and test a copy stands for the originals. `scratch` is a folder for the recordings,
    which are kept there only where there are copies.

    Raises:
        BadInput: where babble needs other speakers and there are none.
    """
    copies = [copy for copy in copies if split in copy.splits]
    if not copies:
        for recording in recordings:
            yield _as_raw(recording, num_mel_bins=num_mel_bins)
        return
    kept = KeptRecordings(scratch / f"{split}.recordings")
    for recording in kept.keep(recordings):
        if split == "train":
            yield _as_raw(recording, num_mel_bins=num_mel_bins)
    yield from copies_of(kept, copies, split=split, num_mel_bins=num_mel_bins, progress=progress)


def copies_of(
    kept: KeptRecordings,
    copies: Sequence[AnyCopy],
    *,
    split: str,
    num_mel_bins: int,
    progress: Progress,
) -> Iterator[RawUtterance]:
    """Copy after copy of all recordings."""
    with progress.task(f"Copy {split}", total=len(kept) * len(copies), unit="utterances") as task:
        for copy in copies:
            for original in kept.originals():
                yield make_copy(copy, original, num_mel_bins=num_mel_bins)
                task.advance()


def make_copy(copy: AnyCopy, original: Original, *, num_mel_bins: int) -> RawUtterance:
    """One copy of one recording, by the same speaker."""
    recording = original.recording
    try:
        perturbed = copy.perturb(original)
    except BadInput as error:
        raise BadInput(f"corpus.copies, {copy.name}: {error}") from error
    samples_T = to_16_bits(perturbed.samples_T)
    if perturbed.filter_warp == 1.0:
        features_TF = log_mel(samples_T, num_mel_bins=num_mel_bins)
    else:
        features_TF = warped_log_mel(
            samples_T, num_mel_bins=num_mel_bins, warp=perturbed.filter_warp
        )
    labels_T = recording.labels_T
    if labels_T is not None:
        labels_T = map_labels(labels_T, num_frames=len(features_TF), time_factor=copy.time_factor)
    return RawUtterance(
        id=f"{copy.name}-{recording.id}",
        speaker=recording.speaker,
        transcript=recording.transcript,
        features_TF=features_TF,
        labels_T=labels_T,
        frame_shift_ms=FRAME_SHIFT_MS,
        copy_of=CopyOf(
            original=recording.id, name=copy.name, is_time_warped=copy.time_factor != 1.0
        ),
    )


def map_labels(
    labels_T: NDArray[np.int32], *, num_frames: int, time_factor: float
) -> NDArray[np.int32]:
    """The label of every frame of the copy (R,): that of the original's nearest frame.

    Frame r is centred at r + 0.5, which is (r + 0.5) * time_factor in the original, and frame t of
    the original is nearest to all of [t, t + 1).
    """
    nearest_R = np.floor((np.arange(num_frames) + 0.5) * time_factor).astype(np.int64)
    mapped_R: NDArray[np.int32] = np.take(labels_T, nearest_R, mode="clip")
    return mapped_R


def _as_raw(recording: Recording, *, num_mel_bins: int) -> RawUtterance:
    return RawUtterance(
        id=recording.id,
        speaker=recording.speaker,
        transcript=recording.transcript,
        features_TF=log_mel(recording.samples_T, num_mel_bins=num_mel_bins),
        labels_T=recording.labels_T,
        frame_shift_ms=FRAME_SHIFT_MS,
    )
