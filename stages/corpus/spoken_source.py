"""The spoken corpus as a source: spoken once, kept on disk for every later pass.

Speaking costs far more than reading back. A kept utterance takes 4 bytes for every feature and
label: 60 MB an hour with 40 features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from stages.acoustic.lang.lang import Lang
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.raw import RawUtterance
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.speak import speak_corpus
from storage.files.fingerprint import fingerprint

SYNTHESISER = "espeakng-loader"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An utterance without its arrays, and how many frames and dims they have."""

    id: str
    speaker: str
    transcript: str
    num_frames: int
    feature_dim: int
    frame_shift_ms: float


class SpokenSource:
    """Three splits that the synthesiser speaks. `scratch` is an empty directory for its speech."""

    def __init__(self, settings: SpokenSettings, *, scratch: Path, progress: Progress) -> None:
        self._scratch = scratch
        self._corpus = speak_corpus(settings, progress=progress)
        self._kept: dict[str, list[_Kept]] = {}

    @property
    def lang(self) -> Lang:
        """Lexicon, units, language model."""
        return self._corpus.lang

    def has_labels(self, split: str) -> bool:
        """The synthesiser says when every phone begins."""
        return True

    def labelled_speakers(self, split: str) -> set[str]:
        """All who speak in the split; it is spoken for that, where it was not before."""
        if split not in self._kept:
            for _ in self._speak(split):
                pass
        return {row.speaker for row in self._kept[split]}

    def left_out(self, split: str) -> dict[str, list[str]]:
        """Nothing is."""
        return {}

    def trimmed(self, split: str) -> list[str]:
        """None: every frame has its label."""
        return []

    def remarks(self, split: str) -> list[str]:
        """None."""
        return []

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split: spoken and kept the first time, read back afterwards."""
        return self._read_back(split) if split in self._kept else self._speak(split)

    def _speak(self, split: str) -> Iterator[RawUtterance]:
        kept = []
        with self._file(split).open("wb") as file:
            for raw in self._corpus.splits[split]:
                if raw.labels_T is None or len(raw.labels_T) != len(raw.features_TF):
                    raise BadInput(f"utterance {raw.id!r}: a frame has no label")
                file.write(np.ascontiguousarray(raw.features_TF, dtype="<f4").tobytes())
                file.write(np.ascontiguousarray(raw.labels_T, dtype="<i4").tobytes())
                kept.append(
                    _Kept(
                        id=raw.id,
                        speaker=raw.speaker,
                        transcript=raw.transcript,
                        num_frames=len(raw.features_TF),
                        feature_dim=raw.features_TF.shape[1],
                        frame_shift_ms=raw.frame_shift_ms,
                    )
                )
                yield raw
        self._kept[split] = kept

    def _read_back(self, split: str) -> Iterator[RawUtterance]:
        with self._file(split).open("rb") as file:
            for row in self._kept[split]:
                num_values = row.num_frames * row.feature_dim
                features = np.frombuffer(file.read(4 * num_values), dtype="<f4")
                labels_T = np.frombuffer(file.read(4 * row.num_frames), dtype="<i4")
                yield RawUtterance(
                    id=row.id,
                    speaker=row.speaker,
                    transcript=row.transcript,
                    features_TF=features.reshape(row.num_frames, row.feature_dim),
                    labels_T=labels_T,
                    frame_shift_ms=row.frame_shift_ms,
                )

    def _file(self, split: str) -> Path:
        return self._scratch / f"{split}.raw"


def spoken_fingerprint(settings: SpokenSettings) -> str:
    """Identity of the speech: its settings, and the version of the synthesiser's package."""
    try:
        synthesiser = version(SYNTHESISER)
    except PackageNotFoundError:
        synthesiser = "absent"
    return fingerprint({"spoken": settings.identity(), SYNTHESISER: synthesiser})
