"""Makers of corpora with audio, and of small models that read the waveform."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storage.corpus.audio_span import AudioSpan
from storage.corpus.corpus_writer import CorpusWriter
from storage.files.fingerprint import file_digest
from tests.support.makers.sound import speechlike
from tests.support.makers.training import FEATURE_DIM, NUM_CLASSES, make_corpus_about

RATE = 16_000
ROW_SAMPLES = 160  # a row is 10 ms
LENGTHS = (31, 17, 44, 23, 38)  # rows


def make_audio_corpus_directory(directory: Path, *, rate: int = RATE) -> Path:
    """train.h5 and dev.h5 with the audio that they were made of, in wav/."""
    for seed, split in enumerate(("train", "dev", "test")):
        make_audio_corpus(directory / f"{split}.h5", seed=seed, rate=rate)
    return directory


def make_audio_corpus(
    path: Path, *, lengths: tuple[int, ...] = LENGTHS, seed: int = 0, rate: int = RATE
) -> Path:
    """A split whose first two utterances are of one FLAC of two channels, the others of WAVs."""
    spans = write_sounds(path.parent / "wav", path.stem, lengths, seed=seed, rate=rate)
    return write_rows(path, lengths, spans, seed=seed)


def write_rows(
    path: Path, lengths: Sequence[int], spans: Sequence[AudioSpan | None], *, seed: int
) -> Path:
    """A corpus file of random features, so long, which are those of these spans."""
    rng = np.random.default_rng(seed)
    with CorpusWriter(path, make_corpus_about(path.stem)) as writer:
        for number, (length, span) in enumerate(zip(lengths, spans, strict=True)):
            writer.add(
                f"{path.stem}-{number}",
                speaker="s",
                transcript="a word",
                features_TF=rng.normal(size=(length, FEATURE_DIM)).astype(np.float32),
                labels_T=rng.integers(NUM_CLASSES, size=length),
                audio=span,
            )
    return path


def write_sounds(
    folder: Path, name: str, lengths: tuple[int, ...], *, seed: int, rate: int
) -> list[AudioSpan]:
    """The recordings of utterances of so many rows, none of them of whole rows."""
    folder.mkdir(parents=True, exist_ok=True)
    waves = [
        speechlike(seed + 10 * n, length * rate // 100 + 3 * n) / 20_000
        for n, length in enumerate(lengths)
    ]
    first, second = waves[:2]
    both = np.concatenate([np.full(999, 0.1, np.float32), first, second, second[:50]])
    stereo = folder / f"{name}.flac"
    soundfile.write(stereo, np.stack([both[::-1], both], axis=1), rate)
    start, between = 999 / rate, (999 + len(first)) / rate
    span = span_of(stereo, channel=1)
    spans = [
        replace(span, start=start, end=between),
        replace(span, start=between, end=between + len(second) / rate),
    ]
    for number, wave in enumerate(waves[2:]):
        path = folder / f"{name} {number} ä.wav"
        soundfile.write(path, wave, rate, subtype="PCM_16")
        spans.append(span_of(path))
    return spans


def span_of(path: Path, *, channel: int = 0) -> AudioSpan:
    """All of a channel of a file, as it is now."""
    found = path.stat()
    return AudioSpan(
        path=str(path),
        start=0.0,
        end=None,
        channel=channel,
        row=None,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        digest=file_digest(path),
    )


def samples_of(span: AudioSpan) -> NDArray[np.float64]:
    """The samples of a span by soundfile alone, at the file's rate, in -1 to 1."""
    both, rate = soundfile.read(span.path, always_2d=True)
    end = len(both) if span.end is None else round(span.end * rate)
    wave: NDArray[np.float64] = both[round(span.start * rate) : end, span.channel]
    return wave


class WaveNet(nn.Module):
    """One convolution of 25 ms every 10 ms: logits (B, N, M) of samples (B, S)."""

    def __init__(self, *, classes: int = NUM_CLASSES, stride: int = ROW_SAMPLES) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.conv = nn.Conv1d(
                1, classes, 5 * stride // 2, stride=stride, padding=3 * stride // 4
            )
            nn.init.normal_(self.conv.weight)

    def forward(self, samples_BS: Tensor) -> Tensor:
        """Logits."""
        logits_BMN = self.conv(samples_BS[:, None])
        return logits_BMN.transpose(1, 2)


TINY_WAV2VEC2: Mapping[str, Any] = {
    "vocab_size": NUM_CLASSES,
    "num_labels": NUM_CLASSES,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8),
    "conv_kernel": (20, 20),
    "conv_stride": (10, 16),  # 10 ms
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
